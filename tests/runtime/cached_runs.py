"""The runs for the tests of caches: policies that write, revoke, edit and move their windows in every way,
and prompts.

Not here: denoisers (`keeping`), the expected results (`test_cache`, `test_cache_approximate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dsldec
from dsldec.runtime.decode import Decoded

from ..backends.policies import random_policy
from ..shipped import ONE_CANDIDATE
from .families import MASK

SHIPPED = ONE_CANDIDATE
RAGGED = [
    [3, 4, 5, 6, 7, 1],
    [],
    [5],
    [0, 22, 9, 9],
    [9, 9, 1, 2, 8, 11, 12, 20, 3, 17, 2, 0, 14],
    [1, 2, 3, 4, 5, 6, 7, 8],
]
TEXTS = [
    [MASK, MASK, 7, MASK, 3, 4, 5, 6, 7, 8, MASK, MASK, 9],
    [5, 6, 7, 8, 9, MASK, 1, MASK, MASK, MASK, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    [1, MASK],
    [*range(9), MASK, MASK, *range(6), *[MASK] * 7],
]

GUIDED = "policy guided():\n  window blocks(5)\n  logits cfg(0.5)\n  commit masked and conf > 0.4 at least 1 by conf\n"
DRAWN = "policy drawn():\n  window blocks(6)\n  draw gumbel(0.7)\n  commit top(masked, 2, by=conf)\n"
SLIDING = (
    "policy sliding():\n  window sliding(max_masks=5, max_length=9)\n  commit masked and conf > 0.4 at least 1 by conf\n"
    "  revoke committed and p(canvas) < 0.2 at most committed_before - 1 by -p(canvas)\n"
)
UNTIL = "policy until_seven():\n  window until(7, 3, 11, min=2, max=7)\n  commit masked and conf > 0.4 at least 1 by conf\n"
LENIENT = (
    "policy lenient():\n  window blocks(5)\n  lookahead 4 accept p(draft) >= 0.25\n  commit top(masked, 1, by=conf)\n"
    "  revoke committed and conf < 0.1 at most committed_before - 1 by doubt\n"
)
EDITING = (
    "policy editing():\n  window blocks(7)\n  edit committed and token != canvas as token at most 2\n"
    "  commit top(masked, 2, by=conf)\n  stay at most 3 when edited_now + committed_now > 0\n"
)
OWN = [GUIDED, DRAWN, SLIDING, UNTIL, LENIENT, EDITING]
CHANGING = ["wino_plain", "rcr", "joint_threshold", "adablock"]  # what they wrote, or where their windows end
MORE = ["saber", "hierarchy_remask", "p2", "remdm_loop", "dcd", "slowfast", "dus"]


def bound(name: str, block: int, drafts: int = 1) -> tuple[dsldec.Policy, int | None]:
    """A policy in windows of `block`, and the drafts left to ask for, if it does not say them itself."""
    policy = dsldec.load(name)
    given = {
        "block": block,
        "steps": 7,
        "rounds": 3,
        "length": block,
        "masks": 4,
        "drafts": drafts,
        "confidence": 0.5,
    }
    policy = policy.bind(**{name: value for name, value in given.items() if name in policy.parameters})
    return policy, drafts if policy.facts.drafts is None else None


def decode(
    denoiser: Any, prompts: Sequence[Sequence[int]], policy: dsldec.Policy | str, cache: str, **how: Any
) -> Decoded:
    return dsldec.decode(
        denoiser, prompts, policy, cache=cache, **{"gen_length": 14, "backend": "eager", "trace": True} | how
    )


def told(decoded: Decoded) -> dict[str, Any]:
    """All that is told of a run."""
    errors = [error and (error.code, error.message) for error in decoded.errors]
    numbers = {
        name: getattr(decoded, name).tolist() for name in ("forwards", "rows", "wasted_rows", "tokens")
    }
    lists = {name: getattr(decoded, name) for name in ("proposed", "accepted", "trace")}
    return {"ids": [ids.tolist() for ids in decoded.ids], "errors": errors, **numbers, **lists}


def named(value: Any) -> str:
    return value.split("(")[0].removeprefix("policy ") if isinstance(value, str) else str(value)


def undrafting(seed: int) -> str:
    """A random policy that does not say how far it looks ahead."""
    return "".join(
        line
        for line in random_policy(seed, branches=False)[0].splitlines(keepends=True)
        if not line.lstrip().startswith("lookahead")
    )
