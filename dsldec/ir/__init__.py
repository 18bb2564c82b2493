"""Checked policy to tensor operations. No torch here."""
