"""The search: proposes settings, measures them on the calibration prompts, and stores each trial.

A setting that cannot reach the floor any more, whatever the remaining prompts give, is not decoded further.
Not here: the proposals (`proposals`), decoding and scores (`measuring`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from ...policy import Policy
from ..evaluation.problems import Problem
from ..measuring.scores import Measurement
from .floor import TINY
from .proposals import proposals
from .searched import Searched, SettingValues
from .trials import TriedSetting

PARTS, SMALLEST_PART = 4, 8  # of the calibration prompts; after each, hopeless settings are dropped

# Measures policies on some prompts: a measurement for each, in the same order.
Measure = Callable[[Sequence[Policy], Sequence[Problem]], list[Measurement]]


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """The work of a search: `policy` with values for `searched`, on `problems`, `trials` settings in all.

    `floor`: the least accuracy. `seconds`: the time is minimised, not the forwards; then each setting is
    measured alone, because settings that share a batch share its time.
    """

    policy: Policy
    searched: Sequence[Searched]
    problems: Sequence[Problem]
    floor: float
    seconds: bool
    seed: int
    trials: int


def search(
    plan: SearchPlan,
    measure: Measure,
    tried: Sequence[TriedSetting],
    store: Callable[[Sequence[TriedSetting]], None],
) -> None:
    """Try settings after those of `tried`; `store` gets the trials of each round.

    A round that is interrupted is not stored. It is proposed again, and its finished prompts are read.
    """
    trials = [*tried]
    first = {one.name: plan.policy.parameters[one.name] for one in plan.searched}
    while settings := proposals(plan.searched, trials, first, plan.seed, plan.trials):
        round_ = _measured(plan, measure, settings)
        store(round_)
        trials += round_


def _measured(plan: SearchPlan, measure: Measure, settings: Sequence[SettingValues]) -> list[TriedSetting]:
    """The trials of a round. Part after part of the prompts, without the settings that are dropped."""
    found: dict[int, Measurement] = {}
    alive = [*range(len(settings))]
    policies = [plan.policy.bind(**setting) for setting in settings]
    for part in parts_of(plan.problems):
        groups = [[one] for one in alive] if plan.seconds else [alive]
        for group in groups:
            for place, more in zip(group, measure([policies[one] for one in group], part), strict=True):
                found[place] = more if place not in found else joined(found[place], more)
        alive = [one for one in alive if may_reach(found[one], plan.floor, len(plan.problems))]
        if not alive:
            break
    return [tried_setting(settings[place], found[place], plan) for place in range(len(settings))]


def measured_whole(policy: Policy, problems: Sequence[Problem], measure: Measure) -> Measurement:
    """The measurement of one policy on all prompts, part after part as in a search."""
    return reduce(joined, [measure([policy], part)[0] for part in parts_of(problems)])


def parts_of(problems: Sequence[Problem]) -> list[Sequence[Problem]]:
    """The prompts in order, in a few parts of nearly equal size."""
    count = max(1, min(PARTS, len(problems) // SMALLEST_PART))
    ends = [round(len(problems) * part / count) for part in range(count + 1)]
    return [problems[ends[part] : ends[part + 1]] for part in range(count)]


def joined(one: Measurement, more: Measurement) -> Measurement:
    """The measurement of one setting on the prompts of both."""
    scores, ids = (*one.scores, *more.scores), (*one.ids, *more.ids)
    return replace(one, scores=scores, ids=ids, seconds=one.seconds + more.seconds)


def may_reach(one: Measurement, floor: float, prompts: int) -> bool:
    """Whether the accuracy can still be at the floor, if all remaining prompts are right."""
    right = sum(score.right for score in one.scores)
    return right + prompts - len(one.scores) >= floor * prompts - TINY


def tried_setting(setting: SettingValues, one: Measurement, plan: SearchPlan) -> TriedSetting:
    """The figures of a measured setting. The cost of one that was dropped is of its decoded prompts."""
    prompts = len(one.scores)
    seconds = one.seconds / prompts
    lacks = plan.floor - one.accuracy
    return TriedSetting(
        setting, prompts, one.accuracy, one.forwards, seconds,
        cost=seconds if plan.seconds else one.forwards, lacks=0.0 if lacks <= TINY else lacks,
    )  # fmt: skip
