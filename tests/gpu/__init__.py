"""Does dsldec do on a GPU what it does on a CPU, and how fast? `make gpu` runs these checks.

Each check is a module that runs as a process of its own, so that one that crashes takes no other with it:
`kernel` (the Triton kernel against torch), `steps` (every backend against the CPU), `waits` (where the host
waits for the GPU), `fakes` (what can be checked without a GPU). `__main__` runs them all within a time limit.
"""
