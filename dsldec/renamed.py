"""Public names that have changed. The former names work until version 0.3, with a `DeprecationWarning` that
gives the new name.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any


def warn_of_former(old: str, new: str) -> None:
    """Warn the caller of dsldec that `old` is now `new`."""
    message = f"`{old}` is now `{new}`; the former name works until dsldec 0.3"
    warnings.warn(message, DeprecationWarning, stacklevel=_frames_to_caller())


def _frames_to_caller() -> int:
    """How many frames are between a warning and the code that called dsldec. Python shows a deprecation to
    the author of `__main__` and of tests; a warning at a line of dsldec itself would stay hidden.
    """
    frame, frames = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "dsldec":
        frame, frames = frame.f_back, frames + 1
    return frames


def former(new: str) -> Any:
    """A descriptor for an attribute under its former name."""

    class Former:
        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type) -> Any:
            if instance is None:
                return self
            warn_of_former(self.name, new)
            return getattr(instance, new)

        def __set__(self, instance: Any, value: Any) -> None:
            warn_of_former(self.name, new)
            setattr(instance, new, value)

    return Former()
