"""The arguments of `dsldec evolve`, and the mistakes in them that show before anything is decoded.

Not here: the work of the verb (`verb`), the folder of a search (`journal`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...diagnostics import Diagnostic, UsageError
from ...options import DEFAULT_DECODE, DEFAULT_LOAD, DecodeOptions, LoadOptions
from ...policy import Policy
from ...spelling import typed
from .. import quoted
from ..settings import chosen, shown

DEFAULT_STARTS = ("threshold", "factor", "entropy_bounded", "dico")
LEAST_PROMPTS = 4


@dataclass(frozen=True, slots=True)
class EvolveOptions:
    """The arguments of the command line. `starts`: `("start", name)` and `("set", "name=value")`, in order.
    None: not given.
    """

    task: str
    out: str
    starts: tuple[tuple[str, str], ...] = ()
    scorer: str | None = None
    limit: int | None = None
    calibration: int | None = None
    model: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    decode: DecodeOptions = DEFAULT_DECODE
    generations: int = 10
    population: int = 16
    seed: int = 0
    floor: float = 0.95
    budget: float = math.inf
    nodes: int = 60


@dataclass(frozen=True, slots=True)
class StartPolicy:
    """A policy that the search starts from. `title`: its name, and the parameters that were set."""

    title: str
    policy: Policy


def start_policies(words: Sequence[tuple[str, str]]) -> list[StartPolicy]:
    """The policies of `--start`, each with the `--set` after it. Raises `PolicyError` and `UsageError`: E0423
    for a `--set` before every `--start`, and for a policy that is given twice.
    """
    groups: list[tuple[str, list[str]]] = []
    for kind, text in words:
        if kind == "start":
            groups.append((text, []))
        elif groups:
            groups[-1][1].append(text)
        else:
            message = f"`--set {text}` comes before every `--start`, and belongs to none"
            help = f"write it after its policy: `--start threshold --set {typed(text)}`"
            raise UsageError(Diagnostic("E0423", message, help=help))
    found: list[StartPolicy] = []
    for name, settings in groups or [(name, []) for name in DEFAULT_STARTS]:
        policy = chosen(name, settings)
        given = {one.partition("=")[0].strip() for one in settings}
        values = ", ".join(shown(key, value) for key, value in policy.parameters.items() if key in given)
        title = f"{name}({values})" if values else name
        if title in [one.title for one in found]:
            help = "leave one out, or set its parameters to other values"
            raise UsageError(Diagnostic("E0423", f"the policy {quoted(title)} is given twice", help=help))
        found.append(StartPolicy(title, policy))
    return found


def calibration_size(options: EvolveOptions, prompts: int) -> int:
    """The number of calibration prompts; the others are held out. Raises `UsageError` (E0543)."""
    if prompts < LEAST_PROMPTS:
        message = f"the task has {prompts} prompts, and a search needs at least {LEAST_PROMPTS}"
        help = "half of them choose the policies, and the other half tests these"
        raise UsageError(Diagnostic("E0543", message, help=help))
    chosen_size = options.calibration or prompts // 2
    if chosen_size >= prompts:
        message = f"`--calibration {chosen_size}` leaves none of the {prompts} prompts to test the front on"
        help = f"for example `--calibration {prompts // 2}`"
        raise UsageError(Diagnostic("E0543", message, help=help))
    return chosen_size
