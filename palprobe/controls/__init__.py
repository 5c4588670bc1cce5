"""Controls: what is compared beside the encoders, so that a score can be believed."""
