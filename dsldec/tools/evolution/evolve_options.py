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
from .. import quoted
from ..policy_words import names_of, policies_with_settings, title_of
from ..settings import chosen

DEFAULT_STARTS = ("threshold", "factor", "entropy_bounded", "dico")


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
    groups = policies_with_settings(words, "start")
    found: list[StartPolicy] = []
    for name, settings in groups or [(name, []) for name in DEFAULT_STARTS]:
        policy = chosen(name, settings)
        title = title_of(name, policy, names_of(settings))
        if title in [one.title for one in found]:
            help = "leave one out, or set its parameters to other values"
            raise UsageError(Diagnostic("E0423", f"the policy {quoted(title)} is given twice", help=help))
        found.append(StartPolicy(title, policy))
    return found
