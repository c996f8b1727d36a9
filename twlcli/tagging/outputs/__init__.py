"""What tags are written to."""
