"""The evaluation report: a page to look at scores, trade-offs and mistakes."""
