"""Searches parameter values of a policy: fewest forwards, or least time, with an accuracy above a floor.

Not here: the verb's arguments (`cli`), decoding and scoring of settings (`measuring`).
"""
