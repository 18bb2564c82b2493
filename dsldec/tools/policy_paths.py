"""The path of a policy's file as a repository names it.

Not here: finding and reading a policy (`policy`).
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from ..resources import policy_file, shipped_policies

# GitHub Actions sets it to the folder of the repository.
WORKSPACE = "GITHUB_WORKSPACE"


def file_of(name: str) -> Path:
    """The file of a policy that is named on the command line."""
    is_path = name.endswith(".policy") or os.sep in name or "/" in name
    return Path(name) if is_path or name not in shipped_policies() else policy_file(name)


def in_repository(name: str) -> str | None:
    """The path from the root of the repository to the file, with `/`. The root is `GITHUB_WORKSPACE`, or else
    the current folder. None for a file that is outside.
    """
    root = os.environ.get(WORKSPACE) or os.getcwd()
    try:
        path = Path(os.path.abspath(file_of(name))).relative_to(os.path.abspath(root))
    except ValueError:
        return None
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def uri(name: str) -> tuple[str, bool]:
    """The URI of the file, and whether it is relative to the root of the repository."""
    path = in_repository(name)
    if path is None:
        return Path(os.path.abspath(file_of(name))).as_uri(), False
    return quote(path), True
