"""palprobe: how much an audio encoder tells a language model, what it costs, and whether a difference is real."""

__version__ = "0.1.0"
