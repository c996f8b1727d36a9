"""Finding images: in folders, by globs, in lists of paths and in tars."""
