"""Features of images: what a network sees of them before its head, computed once and kept."""
