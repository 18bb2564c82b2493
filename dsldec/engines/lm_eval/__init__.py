"""A model class of lm-evaluation-harness that decodes under a policy: `lm_eval --model dsldec`.

Importing this package registers the class. `python -m dsldec.engines.lm_eval` is the harness's own command
with this class. Not here: the class (`model`), its arguments (`arguments`), the likelihood (`likelihood`).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import DslDecLM

__all__ = ["DslDecLM"]


def __getattr__(name: str) -> Any:
    if name != "DslDecLM":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .installed import require_harness

    require_harness()
    from .model import DslDecLM

    return DslDecLM


if find_spec("lm_eval") is not None:
    from . import model  # noqa: F401  # registers the class
