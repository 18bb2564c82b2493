"""dsldec: write how a diffusion language model decodes, have it checked, compiled and run.

The public names, each imported when it is first used: `--help` needs none of them, checking a policy needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks.facts import Facts
    from .diagnostics import Diagnostic, PolicyError, UsageError
    from .models.denoiser import Denoiser
    from .models.huggingface import from_pretrained
    from .policy import Policy, check, load
    from .resources import shipped_policies
    from .runtime.decode import decode
    from .runtime.decoded import Decoded, DecodingStopped, DecodingWarning

__all__ = [
    "Decoded",
    "DecodingStopped",
    "DecodingWarning",
    "Denoiser",
    "Diagnostic",
    "Facts",
    "Policy",
    "PolicyError",
    "UsageError",
    "check",
    "decode",
    "from_pretrained",
    "load",
    "shipped_policies",
]

_LAZY = {
    "Decoded": ".runtime.decoded",
    "DecodingStopped": ".runtime.decoded",
    "DecodingWarning": ".runtime.decoded",
    "Denoiser": ".models.denoiser",
    "Diagnostic": ".diagnostics",
    "Facts": ".checks.facts",
    "Policy": ".policy",
    "PolicyError": ".diagnostics",
    "UsageError": ".diagnostics",
    "check": ".policy",
    "decode": ".runtime.decode",
    "from_pretrained": ".models.huggingface",
    "load": ".policy",
    "shipped_policies": ".resources",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
