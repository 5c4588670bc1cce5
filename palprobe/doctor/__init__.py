"""What is wrong before a long run: with this machine, or with an encoder that somebody wants to trust."""
