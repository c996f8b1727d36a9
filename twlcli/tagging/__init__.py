"""Tagging files and folders with an exported model; never imports torch."""
