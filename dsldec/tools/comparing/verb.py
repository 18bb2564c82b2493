"""`dsldec compare`: says whether two policies ever differ, and prints the smallest case that shows it.

Not here: the arguments (`cli`), the search (`search`), prompts (`on_prompts`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...diagnostics import PolicyError
from ...policy import Policy
from ..policy_words import names_of
from ..process import log_on_stderr, say, termination_interrupts
from .case_text import ComparedSide, ToldApart, told_apart
from .case_why import case_why
from .compare_options import (
    SECONDS,
    TRIES,
    CompareOptions,
    bound_policy,
    not_compared,
    require_searchable,
    sides_of,
)
from .same_step import same_step
from .search import BLOCKS, SearchLimits, SearchResult, same_blocks, search
from .shrink import Shrinker
from .trial import ComparedPair, Trial, tells_apart, tells_apart_on_paper

EQUAL, DIFFERENT, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
SHRINKING = 6.0  # seconds of computing


def compare(options: CompareOptions) -> int:
    """Compare, and return the exit status. Raises `UsageError`."""
    with termination_interrupts(), log_on_stderr():
        try:
            sides = sides_of(options)
        except PolicyError as wrong:  # a status of 1 would mean a difference
            say("\n\n".join(str(one) for one in wrong.diagnostics))
            return WRONG_USAGE
        policies = [bound_policy(side) for side in sides]
        if options.decodes:
            from .on_prompts import compare_on_prompts

            return compare_on_prompts(options, sides, policies)
        return _searched(options, sides, policies)


def _searched(
    options: CompareOptions, sides: tuple[ComparedSide, ComparedSide], policies: Sequence[Policy]
) -> int:
    for side, policy in zip(sides, policies, strict=True):
        require_searchable(side, policy)
    if same_step(policies[0], policies[1]):
        print(_same(sides, policies))
        return EQUAL
    pair = ComparedPair(policies[0], policies[1])
    given = names_of(word for side in sides for word in side.settings)
    block = same_blocks(pair.a, pair.b, lambda name: name in given)
    limits = SearchLimits(
        options.tries or TRIES, options.seconds or SECONDS, options.decode.seed, options.rounding
    )
    found = search(pair, block, limits)
    if found.trial is None:
        print("\n".join(_nothing(found, sides, block, policies)))
        return INTERRUPTED if found.interrupted else EQUAL
    shown = smallest(found.trial, sides, block, rounding=options.rounding)
    if shown is None:
        print("\n".join(_only_observed(found, sides)))
        return DIFFERENT
    print("\n".join([*_different(found, sides, shown), *_why(shown, sides)]))
    return DIFFERENT


def smallest(
    trial: Trial, sides: tuple[ComparedSide, ComparedSide], block: str | None, *, rounding: bool = False
) -> ToldApart | None:
    """The cases of the smallest trial that tells two policies apart. `None` where no case can."""

    def holds(changed: Trial) -> bool:
        return tells_apart(changed) and (rounding or tells_apart_on_paper(changed))

    def is_case(changed: Trial) -> bool:
        return holds(changed) and told_apart(changed, sides) is not None

    for condition in (holds, is_case):
        if condition is is_case and told_apart(trial, sides) is None:
            return None
        shrinker = Shrinker(condition, time.process_time() + SHRINKING, block)
        shown = told_apart(shrinker.smallest(trial), sides)
        if shown is not None:
            return shown
    return None


def _same(sides: Sequence[ComparedSide], policies: Sequence[Policy]) -> str:
    a, b = (side.title for side in sides)
    lines = [f"{a} and {b} have the same step. This is proved from their operations, not searched."]
    drafts = [policy.plan(256).drafts for policy in policies]
    if drafts[0] != drafts[1]:
        counts = " and ".join(f"{side.title} {count}" for side, count in zip(sides, drafts, strict=True))
        lines.append(f"Their forwards differ: drafts verified in one forward: {counts}.")
    return "\n".join(lines)


def _nothing(
    found: SearchResult, sides: Sequence[ComparedSide], block: str | None, policies: Sequence[Policy]
) -> list[str]:
    a, b = (side.title for side in sides)
    until = " until the interrupt" if found.interrupted else ""
    lines = [
        f"no difference between {a} and {b} in {found.tries} tries{until}",
        f"tried in {found.seconds:.0f} s: {found.forwards} forwards, texts of 1 to {found.longest} positions, "
        "random numbers, numbers on and beside the thresholds of both, ties, ends of text, "
        "distributions that stay and that move",
    ]
    if block is not None:
        lines.append(f"both had the same `{block}`: {', '.join(map(str, BLOCKS))}")
    lines += [f"not compared: {what}" for what in not_compared(sides, policies)]
    if found.rounded:
        lines.append(
            f"in {found.rounded} tries only the rounding of float32 made a difference: "
            "on paper both do the same (`--rounding` shows such a case)"
        )
    return lines


def _different(found: SearchResult, sides: Sequence[ComparedSide], shown: ToldApart) -> list[str]:
    a, b = (side.title for side in sides)
    forwards, positions = len(shown.played.forwards), len(shown.played.a[0].before)
    plural = "s" * (forwards > 1), "s" * (positions > 1)
    lines = [
        f"# {a} and {b} differ, found in {found.tries} tries. The smallest case found has {forwards} forward{plural[0]}",
        f"# and {positions} position{plural[1]}. Each policy passes its case, and fails that of the other.",
    ]
    for side, text in zip(sides, shown.cases, strict=True):
        lines += ["", f"# for the cases of {side.title}", text.rstrip("\n")]
    return lines


def _why(shown: ToldApart, sides: Sequence[ComparedSide]) -> list[str]:
    lines = [*case_why(shown, sides)]
    return ["", *lines] if lines else []


def _only_observed(found: SearchResult, sides: Sequence[ComparedSide]) -> list[str]:
    """For a difference that needs more than a case can say."""
    a, b = (side.title for side in sides)
    assert found.trial is not None
    return [
        f"{a} and {b} differ, found in {found.tries} tries; no case can show it",
        "a case has one row `p` for every `p(...)`, and one number for each observation",
    ]
