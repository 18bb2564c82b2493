"""The facts on which proofs and costs rest: each is true of the words that have it, and of no other word."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import dsldec
from dsldec.backends.step import DTYPES
from dsldec.ir.nodes import ROWS as ROW_OPERATIONS
from dsldec.language.arithmetic import ELEMENTWISE
from dsldec.language.words import KEYWORDS, WINDOWS, WORDS, Extent, Kind, Word

from .evaluated import (
    MASK,
    PLAIN,
    SEEDS,
    SOME,
    VALUES,
    Arguments,
    B,
    all_moments,
    argument,
    call,
    equal,
    kind_of,
    moments,
    names,
    step_of,
    watch,
    watch_words,
)


@pytest.mark.parametrize(
    "word",
    [
        w
        for w in VALUES
        if w.slots
        and Kind.MASK in w.slots[0].kinds
        and w.name != "before"
        and w.gives is not None
        and w.gives.kind is Kind.MASK
    ],
    ids=lambda word: word.name,
)
def test_selectors_give_positions_of_their_first_argument(word: Word) -> None:
    given = ("masked", "committed", "pos % 2 == 0")
    calls = {f"w_{i}": (word, call(word, Arguments("0.5", mask=mask))) for i, mask in enumerate(given)}
    first = {f"m_{i}": (WORDS["masked"], mask) for i, mask in enumerate(given)}
    found = all_moments(watch(calls | first, "watch", SOME))
    outside = any((each[f"w_{i}"] & ~each[f"m_{i}"]).any() for each in found for i in range(len(given)))
    assert outside is not word.selects


def ints_of_the_row() -> list[Word]:
    return [
        word
        for word in PLAIN
        if word.gives is not None and word.gives.kind is Kind.INT and word.gives.extent is Extent.ROW
    ]


def test_counters_are_one_more_in_each_step() -> None:
    words = ints_of_the_row()
    step = watch_words(words, "watch", SOME)
    grows = {word.name for word in words}
    for seed in SEEDS:
        found = list(moments(step, seed, masks=1))
        for before, now in pairwise(found):
            for word in words:
                more = now.values[f"w_{word.name}"] - before.values[f"w_{word.name}"]
                if not bool((more[now.active] == 1).all()):
                    grows.discard(word.name)
    assert grows == names(lambda word: word.counter, words)


def test_gains_are_what_one_step_commits() -> None:
    words = ints_of_the_row()
    step = watch_words(words, SOME, "watch")
    equals = {(word.name, which) for word in words for which in ("this", "before")}
    for seed in SEEDS:
        before = torch.zeros(B, dtype=torch.int64)
        for each in moments(step, seed):
            this = ((each.canvas == MASK) & (each.after != MASK)).sum(1)
            for name, which in sorted(equals):
                counted = this if which == "this" else before
                if not equal(each[f"w_{name}"][:, 0], counted[each.active]):
                    equals.discard((name, which))
            before = this
    assert {name for name, _ in equals} == names(lambda word: word.gain, words)


@pytest.mark.parametrize(
    "word", [w for w in WORDS.values() if w.schedule is not None], ids=lambda word: word.name
)
def test_schedules_count_all_that_is_left_from_their_end_on(word: Word) -> None:
    sizes = (1, 2, 3)
    calls = {f"w_{n}": (word, f"{word.name}({n})") for n in sizes} | {
        "left": (WORDS["count"], "count(masked)")
    }
    step = watch(calls, "watch", "commit top(masked, 1, by=conf)")
    assert word.schedule is not None
    differs = False
    for seed in SEEDS:
        for number, each in enumerate(moments(step, seed, masks=1), 1):
            for n in sizes:
                if number >= n + word.schedule:
                    assert equal(each[f"w_{n}"], each["left"])
                else:
                    differs |= number == n + word.schedule - 1 and not equal(each[f"w_{n}"], each["left"])
    assert differs


def test_every_word_of_a_number_of_steps_is_a_schedule() -> None:
    of_steps = [
        w for w in WORDS.values() if [(s.name, s.kinds) for s in w.slots] == [("n", frozenset({Kind.INT}))]
    ]
    assert {word.name for word in of_steps} == names(
        lambda word: word.schedule is not None, [*WORDS.values()]
    )


# --- what it costs, and how it is written


def carried_bytes(*lines: str) -> int:
    carried = step_of((), lines).program.carried.values()
    wide = [one for one in carried if one.extent is Extent.POSITION and not one.distribution]
    return sum(DTYPES.get(one.kind, torch.float32).itemsize for one in wide)


@pytest.mark.parametrize(
    "word", [w for w in WORDS.values() if w.name != "before"], ids=lambda word: word.name
)
def test_the_bytes_that_a_word_carries_are_counted(word: Word) -> None:
    text = call(word)
    if word.gives is not None and word.gives.kind in (Kind.GROUP, Kind.KERNEL):
        return
    if word.within == "accept":
        step = dsldec.load(f"policy p():\n  window all\n  lookahead 2 accept p({text}) > 0.5\n  {SOME}\n")
        assert step.facts.state_bytes_per_position == word.carried_bytes
        return
    line = f"x = {text}" if word.within is None else f"x = prefix(masked, by=conf, while={text} < 3)"
    use = "commit masked and (x == x) at least 1 by conf"
    if word.within or kind_of(word) in ("mask", "bool"):
        use = "commit masked and x at least 1 by conf"
    assert carried_bytes(line, use) == word.carried_bytes
    facts = step_of((), (line, use))
    assert (
        dsldec.load(
            f"policy p(lore: table = 0.5, brain: network):\n  window all\n  {line}\n  {use}\n"
        ).facts.state_bytes_per_position
        == word.carried_bytes
    )
    assert facts.program.facts.deterministic is not word.random


@pytest.mark.parametrize("word", [*WORDS.values(), *WINDOWS.values()], ids=lambda word: word.name)
def test_static_arguments_size_the_step_and_have_a_largest_value(word: Word) -> None:
    static = [slot for slot in word.slots if slot.static]
    if not static:
        return
    (slot,) = static
    word_text = call(word) if word.name not in ("kl", "js") else f"{word.name}(before, keep=2)"
    text = word_text.replace(
        f"{slot.name}=2" if slot.named else "2", f"{slot.name}=picks" if slot.named else "picks"
    )
    if word.name in WINDOWS:
        lines = (f"window {text}", SOME)
    else:
        test = text if kind_of(word) == "mask" else f"{text} > 0"
        lines = ("window all", f"commit masked and {test} at least 1 by conf")
    policy = "\n".join(["policy p(picks: int = 2 in 1..{}):", *(f"  {line}" for line in lines), ""])
    assert dsldec.load(policy.format(4)).facts.static == ("picks",)
    assert slot.largest is not None
    assert [d.code for d in dsldec.check(policy.format(slot.largest))[1]] == []
    assert [d.code for d in dsldec.check(policy.format(slot.largest + 1))[1]] == ["E0211"]


@pytest.mark.parametrize("word", [w for w in WORDS.values() if w.one_of], ids=lambda word: word.name)
def test_exactly_one_of_some_slots_is_given(word: Word) -> None:
    def codes(*given: str) -> list[str]:
        more = "".join(
            f", {s.name}={argument(s, Arguments(), is_first=False)}" for s in word.slots if s.name in given
        )
        text = (
            call(Word(word.name, tuple(s for s in word.slots if s.name not in word.one_of), word.gives, ""))[
                :-1
            ]
            + more
            + ")"
        )
        return [
            d.code
            for d in dsldec.check(f"policy p():\n  window all\n  commit {text} at least 1 by conf\n")[1]
        ]

    assert codes() == codes(*word.one_of) == ["E0203"]
    assert all(codes(name) == [] for name in word.one_of)


def test_operations_are_those_of_the_program() -> None:
    assert all(word.operation in ELEMENTWISE for word in WORDS.values() if word.operation)
    assert all(word.reduction in ROW_OPERATIONS for word in WORDS.values() if word.reduction)


def test_an_alias_is_no_word_and_leads_to_one() -> None:
    aliases = {alias: word.name for word in WORDS.values() for alias in word.aliases}
    assert not aliases.keys() & {*WORDS, *KEYWORDS}
    for alias, name in aliases.items():
        _, (diagnostic,) = dsldec.check(f"policy p():\n  window all\n  commit top(masked, 1, by={alias})\n")
        assert diagnostic.help == f"did you mean `{name}`?"
