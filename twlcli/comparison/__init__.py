"""Comparing losses, or settings, on one's own data."""
