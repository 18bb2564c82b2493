"""A minute of texts; an hour of them is `python -m tests.fuzz --seconds 3600 --seed 7`."""

from __future__ import annotations

import pytest

from .__main__ import faults
from .scaled import SCALED
from .shrink import shrunk
from .texts import text_of
from .worker import POLICY, Text, Worker

SECONDS, TEXTS = 60, 1000  # a faster machine tries no others: what passes today passes tomorrow


def test_a_minute_of_texts() -> None:
    assert [
        f"text {number}, {fault}: {text.text!r}"
        for number, text, fault in faults(SECONDS, seed=1, most=TEXTS)
    ] == []


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker()


@pytest.mark.slow  # the minute above tries some of them
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
