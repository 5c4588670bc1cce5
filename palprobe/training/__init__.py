"""Training a probe: inputs, batches, the loop, checkpoints and what it all costs."""
