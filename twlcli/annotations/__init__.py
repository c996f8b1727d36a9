"""Label files of every common format, read into one `Annotations`."""
