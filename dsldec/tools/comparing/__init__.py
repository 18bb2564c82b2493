"""The work of `dsldec compare`: do two policies ever differ, and on which smallest case?

Not here: the arguments (`cli.comparing`).
"""
