"""dsldec: write how a diffusion language model decodes, have it checked, compiled and run.

The public names are imported at their first use: `--help` needs none of them, and checking a policy needs no
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .shown_in_notebooks import show_by

if TYPE_CHECKING:
    from .checks.facts import Facts
    from .diagnostics import Diagnostic, PolicyError, UsageError
    from .library import shipped_policies
    from .models.denoiser import Denoiser
    from .models.huggingface import from_pretrained
    from .patterns import Pattern
    from .policy import Policy, check, load
    from .runtime.decode import decode, stream
    from .runtime.decoded import Decoded, DecodingStopped, DecodingWarning
    from .runtime.session import Session
    from .runtime.trace import StepEvent
    from .trajectory import Trajectory

__all__ = [
    "Decoded",
    "DecodingStopped",
    "DecodingWarning",
    "Denoiser",
    "Diagnostic",
    "Facts",
    "Pattern",
    "Policy",
    "PolicyError",
    "Session",
    "StepEvent",
    "Trajectory",
    "UsageError",
    "check",
    "decode",
    "from_pretrained",
    "load",
    "shipped_policies",
    "stream",
]

_LAZY = {
    "Decoded": ".runtime.decoded",
    "DecodingStopped": ".runtime.decoded",
    "DecodingWarning": ".runtime.decoded",
    "Denoiser": ".models.denoiser",
    "Diagnostic": ".diagnostics",
    "Facts": ".checks.facts",
    "Pattern": ".patterns",
    "Policy": ".policy",
    "PolicyError": ".diagnostics",
    "Session": ".runtime.session",
    "StepEvent": ".runtime.trace",
    "Trajectory": ".trajectory",
    "UsageError": ".diagnostics",
    "check": ".policy",
    "decode": ".runtime.decode",
    "from_pretrained": ".models.huggingface",
    "load": ".policy",
    "shipped_policies": ".library",
    "stream": ".runtime.decode",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_elsewhere(name)}")

    return getattr(import_module(_LAZY[name], __name__), name)


# Public names that live in another module, and names of other libraries for our functions.
_ELSEWHERE = {
    "custom_generate": "dsldec.engines.transformers",
    "denoiser_of": "dsldec.models.huggingface",
    "HuggingFaceDenoiser": "dsldec.models.huggingface",
    "version": "dsldec.resources",
}
_CALLED = {
    "generate": "decode",
    "run": "decode",
    "sample": "decode",
    "compile": "load",
    "parse": "check",
    "policies": "shipped_policies",
}


def _elsewhere(name: str) -> str:
    from .diagnostics import did_you_mean

    if name in _ELSEWHERE:
        return f": write `from {_ELSEWHERE[name]} import {name}`"
    close = None if name.startswith("_") else _CALLED.get(name) or did_you_mean(name, __all__)
    return f": did you mean `dsldec.{close}`?" if close else ""


def _html_of(value: object) -> str | None:
    from .notebook import html_of

    return html_of(value)


# The values show themselves in notebooks. Their classes are below the code that makes the HTML.
show_by(_html_of)


def __dir__() -> list[str]:
    return sorted(__all__)
