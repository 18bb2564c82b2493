"""The facts in the table of words: each is true of the words that have it, and of no other word.

Not here: facts for the proof that decoding ends, and costs (`test_facts_of_proofs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor

from dsldec.backends.reference import ReferenceStep, run_operation
from dsldec.backends.step import Step
from dsldec.language.words import DRAWS, NUMBERS, SPECIAL_IDS, WORDS, Extent, Slot, Word

from .evaluated import (
    NUMERIC,
    PLAIN,
    SEEDS,
    SOME,
    VALUES,
    Arguments,
    B,
    all_moments,
    call,
    equal,
    kind_of,
    moment,
    moments,
    names,
    step_of,
    watch,
    watch_words,
)

IN_ORDERS = [word for word in WORDS.values() if word.within == "prefix"]


def test_observations_follow_from_the_logits_and_from_nothing_else() -> None:
    """An observation changes with the logits alone; every other word with more, or not with the logits."""
    step = watch_words(VALUES, "watch", SOME)
    here, there = (list(moments(step, seed, masks=1)) for seed in (0, 1))
    by_logits: set[str] = set()
    by_the_rest: set[str] = set()
    for one, other in zip(here, there, strict=True):
        distributions = {
            name: value
            for name, value in one.state.items()
            if step.program.carried.get(name) and step.program.carried[name].distribution
        }
        anew, _ = moment(step, other.logits, one.canvas, one.editable, dict(one.state))
        elsewhere, _ = moment(step, one.logits, other.canvas, one.editable, {**other.state, **distributions})
        by_logits |= {name for name in one.values if not equal(one[name], anew[name])}
        both = one.active & other.active
        by_the_rest |= {
            name for name in one.values if not equal(one.values[name][both], elsewhere.values[name][both])
        }
    found = {name.removeprefix("w_") for name in by_logits - by_the_rest}
    assert found == names(lambda word: word.observation, VALUES)


def test_steady_words_keep_their_value_all_through_a_step() -> None:
    phase = (
        "watch",
        "commit masked and pos % 2 == 0 as 5",
        "commit top(masked, 1, by=conf)",
        "edit committed and pos % 3 == 0 as 2 at most 2 by pos",
    )
    first = {f"a_{word.name}": (word, word.name) for word in PLAIN}
    second = {f"b_{word.name}": (word, word.name) for word in PLAIN}
    sets = [f"set {label} = {text}" for label, (_, text) in second.items()]
    watched = tuple((label, kind_of(word), text) for label, (word, text) in (first | second).items())
    early = [f"set {label} = {text}" for label, (_, text) in first.items()]
    step = step_of(watched, (*early, *phase[1:], *sets))
    changed = {
        word.name
        for word in PLAIN
        for each in all_moments(step)
        if not equal(each[f"a_{word.name}"], each[f"b_{word.name}"])
    }
    assert {word.name for word in PLAIN} - changed == names(
        lambda word: word.steady or word.observation, PLAIN
    )


def test_late_words_say_nothing_before_the_first_write() -> None:
    """Then they have one value, whatever the row is; every other word has several."""
    body = ("watch", SOME, "edit committed as 5 at most 1 by pos")
    step = step_of(
        tuple((f"w_{word.name}", kind_of(word), word.name) for word in PLAIN),
        tuple(
            line
            for phase, other in (("one", "two"), ("two", "one"))
            for line in (
                f"phase {phase}:",
                *(f"  {line}" for line in expanded(body)),
                f"  next {other} when step % 3 != 1",
            )
        ),
    )
    found = all_moments(step)
    constant = {
        word.name
        for word in PLAIN
        if len({x for each in found for x in each[f"w_{word.name}"].flatten().tolist()}) == 1
    }
    # The ids of a model are constants of the whole run.
    assert constant - {*SPECIAL_IDS} == names(lambda word: word.late, PLAIN)


def expanded(body: tuple[str, ...]) -> list[str]:
    sets = [f"set w_{word.name} = {word.name}" for word in PLAIN]
    return [text for line in body for text in (sets if line == "watch" else [line])]


def test_random_words_depend_on_the_seed() -> None:
    numbers = Arguments(number="0.5")
    step = watch({f"w_{word.name}": (word, call(word, numbers)) for word in VALUES}, "watch", SOME)
    pairs = [
        (a, b)
        for seed in SEEDS
        for a, b in zip(moments(step, seed, key=1), moments(step, seed, key=2), strict=True)
    ]
    changed = {
        name.removeprefix("w_")
        for a, b in pairs
        for name in a.values
        if not equal(a.values[name], b.values[name])
    }
    assert changed == names(lambda word: word.random, VALUES)


@pytest.mark.parametrize("word", DRAWS.values(), ids=lambda word: word.name)
def test_random_draws_depend_on_the_seed(word: Word) -> None:
    shape = call(word, Arguments(row_number="1.0"))
    step = watch({"w_token": (WORDS["token"], "token")}, f"draw {shape}", "watch", SOME)
    tokens = [torch.stack([each.values["w_token"] for each in moments(step, 0, key=key)]) for key in (1, 2)]
    assert torch.equal(*tokens) is not word.random


def holes(value: Tensor) -> bool:
    """Whether some positions of a row have no value while others have one."""
    return value.dim() > 1 and bool((value.isnan().any(1) & ~value.isnan().all(1)).any())


def least(word: Word, all_arguments: list[Arguments]) -> float:
    """The smallest value a word was seen to have, -inf where some positions of a row alone had no value."""
    pairs = [False, True] if word.elementwise else [False]
    texts = {call(word, arguments, pair=pair) for arguments in all_arguments for pair in pairs}
    step = watch({f"w_{i}": (word, text) for i, text in enumerate(sorted(texts))}, "watch", SOME)
    values = [
        each[name] for masks in (0.4, 1.0) for each in all_moments(step, masks=masks) for name in each.values
    ]
    if any(map(holes, values)):
        return -torch.inf
    return min(float(value.nan_to_num(0.0).min()) for value in values if value.numel())


MASKS = [("masked", "pos >= 0"), ("committed", "masked"), ("pos < 0", "pos >= 0"), ("pos % 2 == 0", "masked")]


@pytest.mark.parametrize("word", NUMERIC, ids=lambda word: word.name)
def test_only_words_that_are_never_negative_are_marked_so(word: Word) -> None:
    arguments = [
        Arguments(number, row_number, int_, mask, more)
        for number, row_number, int_ in (
            ("pos - 3", "-1.5", "-2"),
            ("conf - 0.5", "0.0", "2"),
            ("-2", "2", "0"),
        )
        for mask, more in MASKS
    ]
    assert (least(word, arguments) >= 0) is word.nonnegative


@pytest.mark.parametrize(
    "word", [w for w in NUMERIC if any(s.kinds == NUMBERS for s in w.slots)], ids=lambda word: word.name
)
def test_only_words_that_stay_from_0_on_with_their_arguments_are_marked_so(word: Word) -> None:
    arguments = [
        Arguments(number, row_number, mask=mask, more=more)
        for number, row_number in (("pos", "2"), ("conf", "0.5"), ("0", "1"))
        for mask, more in MASKS
    ]
    assert (least(word, arguments) >= 0) is word.keeps_nonnegative


def functions() -> list[tuple[Word, tuple[Slot, ...]]]:
    """Words that give one number for each number they take."""
    found = [(word, word.elementwise or word.slots) for word in NUMERIC]
    return [
        (word, slots)
        for word, slots in found
        if slots and all(slot.kinds == NUMBERS and slot.extent is Extent.POSITION for slot in slots)
    ]


@pytest.mark.parametrize(
    ("word", "slots"), functions(), ids=lambda each: each.name if isinstance(each, Word) else ""
)
def test_rising_words_do_not_fall_when_an_argument_rises(word: Word, slots: tuple[Slot, ...]) -> None:
    lower, upper, fixed = "pos / 2 - 2", "pos / 2 - 1.5", ["0.7", "-1.2", "pos - 3"]
    calls = {}
    for i in range(len(slots)):
        for n, other in enumerate(fixed):
            for name, x in (("lower", lower), ("upper", upper)):
                given = [x if j == i else other for j in range(len(slots))]
                calls[f"{name}_{i}_{n}"] = (word, f"{word.name}({', '.join(given)})")
    step = watch(calls, "watch", SOME)
    falls = any(
        (each[name] > each[name.replace("lower", "upper")]).any()
        for each in all_moments(step)
        for name in each.values
        if name.startswith("lower")
    )
    assert falls is not word.rising


@pytest.mark.parametrize("word", IN_ORDERS, ids=lambda word: word.name)
def test_words_of_an_order(word: Word) -> None:
    """Their values from the best position to the worst, of numbers of both signs and from 0 on."""
    falls = dict.fromkeys(("conf - 0.5", "conf"), False)
    negative = dict(falls)
    for number in falls:
        condition = f"{call(word, Arguments(number))} > -9"
        step = step_of((), (f"commit prefix(masked, by=-entropy, while={condition}) at least 1 by conf",))
        for along in orders(step, word.name):
            falls[number] |= any(b < a for a, b in pairwise(along))
            negative[number] |= any(x < 0 for x in along)
    assert any(falls.values()) is not word.rises_in_order
    assert any(negative.values()) is not word.nonnegative
    assert negative["conf"] is not (word.keeps_nonnegative or word.nonnegative)


def orders(step: Step, name: str) -> Iterator[list[float]]:
    (index,) = [i for i, operation in enumerate(step.program.operations) if operation.name == name]
    function = step.function
    assert isinstance(function, ReferenceStep)
    for each in all_moments(step):
        for row in range(B):
            inputs = function._row(
                row, each.logits, each.canvas, each.editable, dict(each.state), step.params
            )
            values: list[object] = []
            for i in range(index + 1):
                values.append(run_operation(step.program, inputs, i, values))
            order = values[step.program.operations[index].inputs[0]]
            yield [values[index][position] for run in order.runs for position in run]  # type: ignore[attr-defined,index]


def test_complements_add_up_to_1() -> None:
    words = [word for word in PLAIN if word.observation and word.name != "token"]
    found = all_moments(watch_words(words, "watch", SOME))
    pairs = {
        (a.name, b.name)
        for a, b in combinations(words, 2)
        if all(torch.allclose(each[f"w_{a.name}"] + each[f"w_{b.name}"], torch.tensor(1.0)) for each in found)
    }
    both = pairs | {(b, a) for a, b in pairs}
    assert both == {(word.name, word.complement) for word in words if word.complement}
