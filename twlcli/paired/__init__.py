"""Two or more models on the same images: which scores, labels and images differ."""
