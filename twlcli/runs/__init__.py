"""Run folders, and the labelled images that models are measured on."""
