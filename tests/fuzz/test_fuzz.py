"""Tries a few texts. `python -m tests.fuzz --seconds 3600 --seed 7` tries texts for an hour."""

from __future__ import annotations

import pytest

from .__main__ import faults
from .scaled import SCALED
from .shrink import shrunk
from .texts import text_of
from .worker import POLICY, Text, Worker

# How many texts, and in at most how many seconds: a faster machine tries no others.
FEW, MANY = (200, 60), (1000, 300)


@pytest.mark.parametrize(("texts", "seconds"), [FEW, pytest.param(*MANY, marks=pytest.mark.slow)])
def test_texts_without_a_fault(texts: int, seconds: int) -> None:
    assert [
        f"text {number}, {fault}: {text.text!r}"
        for number, text, fault in faults(seconds, seed=1, most=texts)
    ] == []


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker()


@pytest.mark.slow  # the texts above have some of them
@pytest.mark.parametrize("name", sorted(SCALED))
def test_no_construct_takes_more_than_its_time(name: str, worker: Worker) -> None:
    make, most = SCALED[name]
    assert worker.fault(Text(POLICY, make(most))) == ""


def test_the_same_seed_and_number_give_the_same_text() -> None:
    assert [text_of(3, number) for number in range(20)] == [text_of(3, number) for number in range(20)]
    assert len({text_of(3, number).text for number in range(20)}) > 15


def test_what_fails_is_shrunk() -> None:
    text = "".join(f"line {i}\n" for i in range(40)) + "here is a needle, and more\n" + "end\n" * 20
    assert shrunk(text, lambda some: "needle" in some) == "needle"
