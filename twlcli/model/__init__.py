"""A trained model: its spec, and what runs it."""
