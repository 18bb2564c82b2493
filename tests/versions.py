"""Which versions do the tests run with? `python -m tests.versions` prints one line for each package that
dsldec works with.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re


def versions() -> dict[str, str]:
    """The version of Python and of each package that dsldec requires, and of triton; `none` for one that is
    not installed.
    """
    required = importlib.metadata.requires("dsldec") or []
    names = [
        match.group() for one in required if "extra ==" not in one and (match := re.match(r"[\w-]+", one))
    ]
    found = {"python": platform.python_version()}
    for name in [*sorted(names), "triton"]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


if __name__ == "__main__":
    print(*(f"{name} {version}" for name, version in versions().items()), sep="\n")
