"""Denoisers: the protocol, Hugging Face models, and the embedded model with its tasks and its training."""
