"""Scoring finished runs: predictions, scores with intervals, and the two files that hold them."""
