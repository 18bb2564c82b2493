"""Tests of the SGLang plug-in inside the real engine, on a CPU."""
