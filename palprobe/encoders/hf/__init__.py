"""Encoders that transformers implements: family (what differs) → source (what is there) → model → encoder.

The one package among the encoders that imports transformers. Remote code is never run.
"""

from palprobe.encoders.hf.encoder import HFEncoder as HFEncoder
