"""The program of a step: from a checked policy to tensor operations. Nothing here imports torch."""
