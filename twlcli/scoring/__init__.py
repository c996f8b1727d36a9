"""Metrics, calibration and thresholds; everything between logits and a report."""
