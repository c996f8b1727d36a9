"""The page of the images whose labels teach a model most."""
