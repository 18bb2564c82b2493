"""The command line: verbs, arguments, exit status. Not here: what a verb does (`tools`, one file for
each).
"""

from .dispatch import main

__all__ = ["main"]
