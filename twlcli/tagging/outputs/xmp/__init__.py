"""XMP sidecars."""
