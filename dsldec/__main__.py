"""`python -m dsldec` is the `dsldec` command.

Not here: what the command takes (`cli`).
"""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
