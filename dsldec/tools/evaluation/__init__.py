"""Evaluates policies on a task: problems, scorers, code of models, stored answers, figures and tables.

Not here: the verb's arguments (`cli`), decoding (`attempts`), the table of shipped policies (`evaluate`).
"""
