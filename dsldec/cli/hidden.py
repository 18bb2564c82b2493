"""Keeps the warnings about options without effect until the verb is done.

A mistake that ends the verb is printed first, and alone. Not here: finding them (`arguments`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..diagnostics import Diagnostic

_found: list[Diagnostic] = []


def add_hidden(found: Iterable[Diagnostic]) -> None:
    """Warnings for the next `take_hidden`."""
    _found.extend(found)


def take_hidden() -> list[Diagnostic]:
    """The warnings about options without effect since the last call."""
    found = [*_found]
    _found.clear()
    return found
