"""What holds for every test."""

from hypothesis import settings

# No time limit for one example: the first may compile, and a busy machine is not a bug.
settings.register_profile("dsldec", deadline=None, print_blob=True)
settings.load_profile("dsldec")
