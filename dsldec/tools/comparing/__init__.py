"""The work of `dsldec compare`: do two policies ever differ, and what is the smallest case that shows it?

Not here: the arguments (`cli.comparing`).
"""
