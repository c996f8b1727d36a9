"""Linear evaluation: how well a frozen network's features tell the labels of image sets."""
