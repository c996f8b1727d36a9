"""Tagging on many machines, by Ray Data."""
