"""Images through a model."""
