"""From a run to a deployable file; needs the `train` extra."""
