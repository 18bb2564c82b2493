"""`dsldec why`: explains what a step wrote, of a prompt, of a trace file, or of a case.

Not here: the explanation itself (`explained`), the arguments (`cli`).
"""
