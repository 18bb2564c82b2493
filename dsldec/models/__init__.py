"""Denoisers: what one is, Hugging Face models as denoisers, and the embedded model with its tasks and its
training.
"""
