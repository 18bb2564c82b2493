"""Patterns that a decoded text must match."""

from .pattern import Pattern as Pattern
