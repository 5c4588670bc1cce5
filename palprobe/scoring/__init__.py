"""Reading answers out of a probe: log likelihoods of choices, or generated text, and what is made of either.

`likelihood` and `generation` ask the model; `rules` and `reading` turn what it said into answers, and need no model.
"""
