"""Tests of the SGLang plug-in."""
