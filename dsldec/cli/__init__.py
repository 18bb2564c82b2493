"""The command line: verbs, arguments, exit status. Not here: the work of a verb (a file of `tools`)."""

from .dispatch import main

__all__ = ["main"]
