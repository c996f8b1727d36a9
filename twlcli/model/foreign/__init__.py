"""Models of other programs: where their labels are, and how images go into them."""
