"""Measures many policies on the same prompts: right answers and forwards of each prompt, kept in a folder.

Not here: the verbs that use it, and what follows from the figures.
"""
