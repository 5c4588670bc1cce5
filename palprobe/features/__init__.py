"""Features of frozen encoders, computed once per clip and kept: clips → identity → shard → store → extraction."""
