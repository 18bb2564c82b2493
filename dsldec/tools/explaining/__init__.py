"""`dsldec why`: explains the writes of a step: of a prompt, of a trace file, or of a case.

Not here: the explanation itself (`explained`), the arguments (`cli`).
"""
