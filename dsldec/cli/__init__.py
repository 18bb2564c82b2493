"""How the command line is read. Not here: what a verb does (`tools`, one file a verb)."""

from .dispatch import main

__all__ = ["main"]
