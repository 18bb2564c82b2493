"""Public names that have changed. The former names work until version 0.3, with a `DeprecationWarning` that
gives the new name.
"""

from __future__ import annotations

import warnings
from typing import Any


def warn_of_former(old: str, new: str) -> None:
    """Warn that `old` is now `new`."""
    warnings.warn(
        f"`{old}` is now `{new}`; the former name works until dsldec 0.3", DeprecationWarning, stacklevel=3
    )


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
