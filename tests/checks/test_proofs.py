"""The prover is strong and sound: forms that it accepts end within their bound, in random runs; forms that are
nearly the same, and need not end, are refused.
"""

from __future__ import annotations

import random

import pytest

import dsldec

from ..toy import mix
from .test_sound import WithEnd

PARAMETERS = "n: int = 4 in 1..9, few: int = 0 in 0..4, share: real = 0.3 in 0..0.9, any_int: int = 3"
BEST = "commit top(masked, 1, by=conf)"


def policy(*lines: str, window: str = "blocks(8)") -> str:
    return f"policy p({PARAMETERS}):\n  window {window}\n" + "".join(f"  {line}\n" for line in lines)


def state(start: str, value: str) -> tuple[str, ...]:
    """A number of positions to write that a state holds."""
    return f"state k: int = {start} per block", "commit top(masked, k, by=conf)", f"set k = {value}"


def revoke(budget: str) -> tuple[str, ...]:
    return (
        "state s: int = 1000000000 per block", "set s = s * s if s > 0 else s - 1", "half = committed_now // 2",
        "commit masked and conf > 0.8 at least 3 by conf", "now = committed_now // 2",
        f"revoke committed at most {budget} by doubt",
    )  # fmt: skip


def leaving(*conditions: str) -> tuple[str, ...]:
    return (
        "one = any(masked and conf > 0.7)",
        "phase a at most 3 visits else b:", "  commit masked and conf > 0.9",
        *(f"  next b when {condition}" for condition in conditions),
        "phase b:", f"  {BEST}", "  next a",
    )  # fmt: skip


ACCEPTED = {
    "one and a count": ("commit masked and conf > 0.9 at least 1 + count(committed) by conf",),
    "one and a remainder": (
        "state k: int = 3 per block", "commit top(masked, 1 + k % 2, by=conf)", "set k = k + any_int",
    ),
    "one and a share": ("commit top(masked, 1 + int(progress * 4), by=conf)",),
    "a count and a parameter": ("commit top(masked, count(committed) + n, by=conf)",),
    "rounded up by negation": ("commit top(masked, -(-count(masked) // 2), by=conf)",),
    "what is left of a bound": ("commit top(masked, 5 - few, by=conf)",),
    "an absolute value": ("commit top(masked, 1 + abs(count(committed) - 20), by=conf)",),
    "a quotient and one": ("commit top(masked, any_int // (1 + step) % 3 + 1, by=conf)",),
    "a candidate's number and one": (
        "branch n as i:", "  commit top(masked, i + 1, by=conf)", "pick by count(committed)",
    ),
    "a root": ("commit top(masked, 1 + floor(sqrt(count(committed))), by=conf)",),
    "an exponential": ("commit top(masked, int(exp(progress)), by=conf)",),
    "the smaller of two sums": ("commit top(masked, min(1 + step, 2 + count(committed)), by=conf)",),
    "a state with a floor": state("1", "max(1, k - 1)"),
    "a state that grows": state("1", "k + 1"),
    "a state that grows by two numbers": state("1", "1 + k + few if k < 9 else few + k - 0"),
    "a state between two bounds": state("1", "clamp(k * 2 - few, 1, 8)"),
    "a state under a condition": state("n", "k - 1 if k > 1 else 4"),
    "a state under two conditions": state("n", "k - 1 if k >= 2 and step > 2 else max(k, 1)"),
    "a state of halves": state("5", "k // 2 + 1"),
    "a state of reals": (
        "state r: real = 0.5 per block", "commit top(masked, 1 + int(r), by=conf)", "set r = r * 0.9 + 0.05",
    ),
    "a state that may have no value": (
        "state r: real = 0.5 per block", "commit top(masked, 1 + int(r), by=conf)",
        "set r = mean(conf, over=committed)",
    ),
    "two states": (
        "state k: int = 1 per block", "state m: int = 2 per sequence", "commit top(masked, k, by=conf)",
        "set k = m", "set m = min(k + m, 9)",
    ),
    **{
        f"budget {budget}": revoke(budget)
        for budget in (
            "committed_now // 2", "clamp(committed_now - 1, 0, 2)", "committed_now - n", "int(committed_now * 0.5)",
            "int(committed_now / 2)", "floor(share * committed_now)", "max(0, committed_now - 2)",
            "(committed_now - 1) // n", "committed_now // 2 if step > 3 else 0", "now",
            "committed_now - 1 - count(committed)", "clamp(committed_before - n, -few, few)",
            "min(committed_now, 3) // 2", "committed_now - few - 1",
        )
    },
    "a step limit under blocks": ("commit masked and conf > 0.95", "fill when step + 1 >= n"),
    "a step limit and a revoke": (
        "commit masked and conf > 0.9", "revoke committed at most 3 by doubt", "fill when step >= n",
    ),
    "idle and a limit of the phase": leaving("idle and steps_in_phase + 1 >= n"),
    "idle and a limit of the window": leaving("idle and steps_in_window >= 3"),
    "idle and a limit of the row": leaving("idle and step >= n"),
    "idle and one of two": leaving("idle and (steps_in_phase >= 2 or one)"),
    "idle and a name or its opposite": leaving("idle and not one", "idle and one"),
    "a name, or idle without it": leaving("one", "idle and not one"),
}  # fmt: skip


def run(text: str, seed: int) -> None:
    """Runs a policy that must be accepted, with random parameters and a random denoiser (the loop asserts the
    bound).
    """
    chance = random.Random(seed)
    given = {
        "n": chance.randint(1, 9), "few": chance.randint(0, 4), "share": chance.choice([0.0, -0.0, 0.3, 0.9]),
        "any_int": chance.choice([-(10**9), -1, 0, 1, 7, 10**9]),
    }  # fmt: skip
    bound = dsldec.load(text).bind(**given)
    length = chance.randint(1, 20)
    denoiser = WithEnd(mix(seed) % 1000, chance.choice([0.2, 1.0, 3.0]))
    drafts = (
        {}
        if chance.random() < 0.7 or bound.facts.branches is not None
        else {"lookahead": chance.randint(2, 4)}
    )
    decoded = dsldec.decode(
        denoiser, [[1, 2, 3], [5]], bound, gen_length=length, backend="eager", stop_at_eos=False, **drafts
    )
    assert decoded.forwards.max() <= bound.facts.forwards_bound(length, bound.parameters)
    assert all(denoiser.mask_id not in ids for ids in decoded.ids)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_forms_end_within_their_bound(name: str) -> None:
    for seed in range(4):
        window = ("blocks(8)", "all", "blocks(1)", "sliding(max_masks=3, max_length=5)")[seed]
        run(policy(*ACCEPTED[name], window=window), seed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_forms_end_within_their_bound_in_a_thousand_runs(name: str) -> None:
    windows = (
        "blocks(8)",
        "all",
        "blocks(1)",
        "sliding(max_masks=3, max_length=5)",
        "until(2, 5, min=2, max=6)",
    )
    for seed in range(1_000):
        run(policy(*ACCEPTED[name], window=windows[seed % len(windows)]), seed)


REFUSED = {
    "a count alone": ("commit masked and conf > 0.9 at least count(committed) by conf",),
    "a remainder of what may be 0": ("commit top(masked, 1 + 3 % few - 1, by=conf)",),
    "a remainder of a number below 0": ("commit top(masked, 1 + any_int % (0 - 3), by=conf)",),
    "a share that may be 0": ("commit top(masked, int(progress * 4), by=conf)",),
    "one and a difference": ("commit top(masked, 1 + count(committed) - step, by=conf)",),
    "one and a quotient by what may be -0": ("commit top(masked, int(1 / share) + 1, by=conf)",),
    "one and 0 / 0": ("commit top(masked, 1 + floor(1 / (share - share)), by=conf)",),
    "a sum that wraps around": ("commit top(masked, 1 + int(exp(100 * progress)) * 100, by=conf)",),
    "a product of a parameter": ("commit top(masked, 1 + any_int * any_int * any_int, by=conf)",),
    "the smaller of a sum and a count": ("commit top(masked, min(1 + step, count(committed)), by=conf)",),
    "a power of what may be -0": ("commit top(masked, 1 + floor(share ** (0 - 1)), by=conf)",),
    "an exponential near the largest real": ("commit top(masked, int(exp(88.5) / 1e30 / 1e9), by=conf)",),
    "an exponential that may round down": ("commit top(masked, floor(exp(0.6931472)) - 1, by=conf)",),
    "an int compared with a real": ("commit top(masked, 1 if 16777217 > 16777216.0 else 0, by=conf)",),
    "an int plus a real": ("commit top(masked, int(16777217 + 1.0 - 16777217), by=conf)",),
    "an int or a larger real": ("commit top(masked, int(max(16777217, 0.5) - 16777216.0), by=conf)",),
    "an int, or a real": (
        "commit top(masked, int((16777217 if step > 3 else 16777218.0) - 16777216.0), by=conf)",
    ),
    "counts of groups, of which some have none": (
        "commit top(masked, 1 + sum(0 if count(masked, each=run(committed)) >= 1 else -9), by=conf)",
    ),
    "what is left of too little": ("commit top(masked, 4 - few, by=conf)",),
    "a candidate's number": ("branch n as i:", "  commit top(masked, i, by=conf)", "pick by count(committed)"),
    "two less than a candidate's number and one": (
        "branch n as i:", "  commit top(masked, 1 + i - 2, by=conf)", "pick by count(committed)",
    ),
    "a state without a floor": state("1", "k - 1"),
    "a state that doubles": state("1", "k * 2"),
    "a state of large jumps that grows": (
        "state k: int = -9 per block", "set k = max(k, -9) * 1000000000 * 1000000000",
        "commit top(masked, min(k + 1, 0) + 47 * 100000000 * 1000000000, by=conf)",
    ),
    "a state that starts at 0": state("0", "max(1, k)"),
    "a state of a parameter": state("any_int", "max(1, k)"),
    "a state under a weaker condition": state("1", "k - 1 if k > 0 else 4"),
    "a state under the opposite condition": state("1", "k - 1 if k < 2 else 4"),
    "a state of halves that ends at 0": state("5", "k // 2"),
    "a state under a condition that no value fails": (
        "state r: real = 1 per block", "state k: int = 1 per block", "commit top(masked, k, by=conf)",
        "set k = k if r > 0 else 0", "set r = mean(conf, over=committed and masked)",
    ),
    "a state set by another": (
        "state k: int = 1 per block", "state m: int = 2 per sequence", "commit top(masked, k, by=conf)",
        "set k = m", "set m = m - k",
    ),
    **{
        f"budget {budget}": revoke(budget)
        for budget in (
            "committed_now", "committed_now // n", "committed_now // 1", "clamp(committed_now - 1, 1, 2)",
            "clamp(committed_now, 0, 2)", "committed_now - few", "ceil(committed_now * 0.5)",
            "int(committed_now * 1.0)", "max(1, committed_now - 1)", "min(committed_now, 3)",
            "committed_now - 1 + 1", "committed_now // 2 + 1", "committed_now % 2", "committed_now - (0 - 5)",
            "committed_before // 2 + committed_now // 2", "committed_now - 1 - s - s - s", "-s", "0 - s - s - s",
            "int(committed_now / share)", "committed_now // (0 - 1)",
        )
    },
    "a limit from above": ("commit masked and conf > 0.95", "fill when step < n"),
    "a limit that is not known": ("commit masked and conf > 0.95", "fill when step >= count(masked)"),
    "idle and a name": leaving("idle and one"),
    "idle and not a name": leaving("idle and not one"),
    "idle, a limit and a name": leaving("idle and steps_in_phase >= 2 and one"),
    "idle and a limit that is not known": leaving("idle and steps_in_phase >= count(masked)"),
    "idle and a limit from above": leaving("idle and steps_in_phase <= 3"),
    "idle and two draws": leaving("idle and any(chance(masked, 0.5))", "idle and not any(chance(masked, 0.5))"),
    "not idle": leaving("not idle"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_forms_that_need_not_end_are_refused(name: str) -> None:
    checked, diagnostics = dsldec.check(policy(*REFUSED[name]))
    assert checked is None
    assert {d.code for d in diagnostics if d.code[0] == "E"} <= {"E0301", "E0308"}


class Author:
    """Writes random ints, most of them wrong as a count or a budget."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def number(self, depth: int) -> str:
        one = self.chance.choice
        if depth == 0:
            return one(
                [
                    "0",
                    "1",
                    "2",
                    "n",
                    "few",
                    "any_int",
                    "k",
                    "step",
                    "count(masked)",
                    "count(committed)",
                    "committed_now",
                    "1000000000",
                    "16777217",
                    "linear(n)",
                    "int(share)",
                    "visits_",
                ]
            )
        a, b = self.number(depth - 1), self.number(self.chance.randrange(depth))
        forms = [
            f"({a} + {b})",
            f"({a} - {b})",
            f"({a} * {b})",
            f"({a} // {b})",
            f"({a} % {b})",
            f"(-{a})",
            f"max({a}, {b})",
            f"min({a}, {b})",
            f"clamp({a}, {b}, {self.number(0)})",
            f"abs({a})",
            f"int({a} * progress)",
            f"int({a} / {b})",
            f"ceil({a} * mean(conf, over=committed))",
            f"floor(sqrt({a}))",
            f"({a} if {b} {one(['<', '<=', '>', '>=', '==', '!='])} {self.number(0)} else {self.number(0)})",
            f"int(exp({a}))",
            f"({a} if conf_high else {b})",
            f"floor({a} ** {b})",
            f"floor(share ** {b})",
            f"int({a} + {one(['0.0', '0.5', '1.0'])} - {b})",
            f"int(max({a}, 0.5) - {b})",
            f"int(random * {a})",
            f"({a} if {b} {one(['<', '<=', '>', '>=', '==', '!='])} {one(['0.5', '16777216.0'])} else {self.number(0)})",
        ]
        return one(forms)

    def text(self) -> str:
        """A policy with a count, a state and a budget."""
        counts = [self.number(self.chance.choice([1, 2, 3])) for _ in range(4)]
        window = self.chance.choice(["blocks(8)", "all", "blocks(1)", "sliding(max_masks=3, max_length=5)"])
        lines = [
            f"state k: int = {self.chance.choice(['0', '1', 'n', '3'])} per {self.chance.choice(['block', 'sequence'])}",
            "commit masked and conf > 0.99",
            "conf_high = max(conf) > 0.5",
            f"commit top(masked, {counts[0]}, by=conf)",
            f"set k = {counts[1]}",
        ]
        if self.chance.random() < 0.5:
            lines.append(f"revoke committed at most {counts[2]} by doubt")
        return policy(*lines, window=window).replace("visits_", "steps_in_window")  # fmt: skip


def accepted_of(seeds: range) -> int:
    accepted = 0
    for seed in seeds:
        text = Author(seed).text()
        checked, _ = dsldec.check(text)
        if checked is not None:
            accepted += 1
            for more in range(2):
                run(text, seed * 10 + more)
    return accepted


@pytest.mark.filterwarnings("ignore")
def test_random_counts_and_budgets_end_within_their_bound() -> None:
    assert accepted_of(range(300)) > 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_random_counts_and_budgets_end_within_their_bound() -> None:
    assert accepted_of(range(10_000, 16_000)) > 400
