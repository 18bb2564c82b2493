"""Is lm-evaluation-harness installed? If not, a diagnostic has the command that installs it."""

from __future__ import annotations

from importlib.util import find_spec

from ...diagnostics import Diagnostic, UsageError


def require_harness() -> None:
    """Raise `UsageError` (E0409) where lm-evaluation-harness is not installed."""
    if find_spec("lm_eval") is None:
        message = "lm-evaluation-harness is not installed"
        raise UsageError(Diagnostic("E0409", message, help='`pip install "dsldec[eval]"`'))
