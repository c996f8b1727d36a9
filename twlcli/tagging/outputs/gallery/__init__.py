"""The page to look through tagged images."""
