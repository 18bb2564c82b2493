"""Patterns that a decoded text must match."""
