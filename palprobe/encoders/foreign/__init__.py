"""Encoders that were written for other tools, run unmodified, and features that other tools have computed."""
