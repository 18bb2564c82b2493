"""Does `dsldec compare` tell different policies apart, and find no difference between equal ones?"""

from __future__ import annotations

import time

import pytest

import dsldec
from dsldec.source import Source
from dsldec.tools.cases import read_cases
from dsldec.tools.comparing.case_text import ComparedSide, ToldApart
from dsldec.tools.comparing.same_step import same_step
from dsldec.tools.comparing.search import SearchLimits, SearchResult, same_blocks, search
from dsldec.tools.comparing.trial import ComparedPair
from dsldec.tools.comparing.verb import smallest
from dsldec.tools.verdict import outcome_of

from .compare_pairs import DIFFERENT, EQUAL, PROVED, Named, policy_of

SECONDS = 10.0  # of one core, for a pair that differs
QUICK = DIFFERENT[:3] + DIFFERENT[7:8] + DIFFERENT[12:13]


def title(named: Named) -> str:
    name, words = named
    return ",".join((name.partition("(")[0].removeprefix("policy "), *words))


def ident(pair: tuple[Named, Named]) -> str:
    return "-".join(map(title, pair))


def found(first: Named, second: Named, tries: int) -> tuple[SearchResult, ToldApart | None]:
    policies = [policy_of(named) for named in (first, second)]
    given = {word.partition("=")[0] for _, words in (first, second) for word in words}
    block = same_blocks(*policies, lambda name: name in given)
    result = search(ComparedPair(*policies), block, SearchLimits(tries, 600, 0, False))
    if result.trial is None:
        return result, None
    sides = [ComparedSide(policy_of((one[0], ())), title(one), one[1]) for one in (first, second)]
    return result, smallest(result.trial, (sides[0], sides[1]), block)


def require_told_apart(first: Named, second: Named) -> float:
    begun = time.process_time()
    _, told = found(first, second, 20_000)
    taken = time.process_time() - begun
    assert told is not None
    for own, text in enumerate(told.cases):
        cases, wrong = read_cases(Source(text, "shown.cases"))
        assert (len(cases), wrong) == (1, [])
        named = (first, second)[own]
        assert outcome_of(cases[0], policy_of((named[0], ())), "shown.cases").diagnostics == ()
    print(f"{taken:5.1f} s  {ident((first, second))}\n{told.cases[0]}")
    return taken


@pytest.mark.parametrize("pair", QUICK, ids=ident)
def test_a_few_pairs_are_told_apart(pair: tuple[Named, Named]) -> None:
    require_told_apart(*pair)


@pytest.mark.slow
@pytest.mark.parametrize("pair", DIFFERENT, ids=ident)
def test_each_pair_is_told_apart_in_time(pair: tuple[Named, Named]) -> None:
    assert require_told_apart(*pair) < SECONDS


@pytest.mark.parametrize("pair", EQUAL[:2], ids=ident)
def test_two_equal_pairs_stay_equal(pair: tuple[Named, Named]) -> None:
    result, _ = found(*pair, tries=1000)
    assert result.trial is None
    assert result.unconfirmed == 0


@pytest.mark.slow
@pytest.mark.parametrize("pair", EQUAL, ids=ident)
def test_equal_pairs_stay_equal(pair: tuple[Named, Named]) -> None:
    result, _ = found(*pair, tries=20_000)
    assert result.trial is None
    assert result.tries == 20_000


@pytest.mark.parametrize("pair", PROVED, ids=ident)
def test_the_same_step_is_proved(pair: tuple[Named, Named]) -> None:
    assert same_step(*(policy_of(named) for named in pair))
    assert same_step(*(policy_of(named) for named in reversed(pair)))


@pytest.mark.parametrize("pair", [*DIFFERENT, *EQUAL], ids=ident)
def test_no_other_step_is_proved_to_be_the_same(pair: tuple[Named, Named]) -> None:
    assert not same_step(*(policy_of(named) for named in pair))


WINDOWED = "policy windowed():\n  window {}\n  commit top(masked, 1, by=conf)\n"
DRAFTED = (
    "policy drafted():\n  window blocks(8)\n  lookahead {} accept {}\n  commit top(masked, 1, by=conf)\n"
)


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        (WINDOWED, ("blocks(300)",), ("blocks(400)",)),
        (WINDOWED, ("blocks(257)",), ("blocks(258)",)),
        (WINDOWED, ("all",), ("blocks(60000)",)),
        (DRAFTED, (4, "p(draft) >= 0.5"), (2, "p(draft) >= 0.5")),
    ],
)
def test_what_differs_in_long_texts_or_in_drafts_is_not_the_same_step(text, one, other) -> None:
    assert not same_step(dsldec.load(text.format(*one)), dsldec.load(text.format(*other)))
    assert same_step(dsldec.load(text.format(*one)), dsldec.load(text.format(*one)))
