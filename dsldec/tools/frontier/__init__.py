"""Accuracy against forwards of many policies: measured, summed up, and shown as a table and a picture.

Not here: decoding and scores (`measuring`), the arguments of the verb (`cli`).
"""
