"""`python -m dsldec` runs the `dsldec` command.

Not here: the command line (`cli`).
"""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
