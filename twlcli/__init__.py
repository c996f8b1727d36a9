"""twl: train, evaluate, export and run multi-label image taggers."""

__version__ = "0.1.0"
