"""Which policies are measured if none is named? Twelve of the shipped ones, three values each.

Not here: the shipped policies (`policies/`), how a grid is read (`grids`).
"""

from __future__ import annotations

from ...policy import load
from .grids import PolicyGrid, grid_of

# Policies, the parameter that trades accuracy for forwards, and three of its values, from careful to fast.
DEFAULTS: tuple[tuple[str, str, tuple[float | int, ...]], ...] = (
    ("static", "tokens", (1, 2, 4)),
    ("threshold", "confidence", (0.95, 0.8, 0.6)),
    ("factor", "budget", (0.5, 1.0, 2.0)),
    ("frechet", "delta", (0.5, 0.25, 0.1)),
    ("entropy_bounded", "gamma", (0.05, 0.2, 0.8)),
    ("entropy_threshold", "calm", (0.1, 0.4, 1.0)),
    ("local_leap", "near", (0.85, 0.75, 0.5)),
    ("klass", "confidence", (0.9, 0.7, 0.5)),
    ("dico", "keep_conf", (0.9, 0.6, 0.4)),
    ("dinfer_hierarchy", "low", (0.8, 0.6, 0.4)),
    ("freedave_plus", "confidence", (0.95, 0.8, 0.6)),
    ("saber", "share", (2, 8, 16)),
)


def default_grids(gen_length: int | None) -> list[PolicyGrid]:
    """The default grids. `gen_length`: with it, the block of each policy is the whole text, so that the rules
    alone differ, and not their blocks; None: each has its own block.
    """
    return [
        grid_of(name, _block(name, gen_length), **{parameter: values}) for name, parameter, values in DEFAULTS
    ]


def _block(name: str, gen_length: int | None) -> dict[str, int]:
    if gen_length is None or "block" not in load(name).parameters:
        return {}
    return {"block": gen_length}
