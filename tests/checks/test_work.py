"""The work for a text is bounded like the text: declarations, replaced functions, proofs, comparisons and
diagnostics.
"""

from __future__ import annotations

import difflib
import random
import time

import pytest

import dsldec
from dsldec.diagnostics import LONGEST_TEXT, Diagnostic, did_you_mean
from dsldec.language.limits import MOST_DECLARED, MOST_DIAGNOSTICS
from dsldec.language.words import KEYWORDS, WORDS

START, BEST = "policy p():\n  window all\n", "  commit top(masked, 1, by=conf)\n"
SECONDS = 2


def codes(text: str) -> list[str]:
    began = time.process_time()
    _, diagnostics = dsldec.check(text)
    assert time.process_time() - began < SECONDS
    return [diagnostic.code for diagnostic in diagnostics]


# --- one inventory of functions


FUNCTIONS = {
    "in a phase": ("  phase a:\n    def f(m) = m + 1\n    commit top(masked, 1, by=f(conf))\n", ["E0303"]),
    "in a phase, without its argument": (
        "  phase a:\n    def f(m) = m + 1\n    commit top(masked, 1, by=f())\n",
        ["E0303"],
    ),
    "in a phase, calling itself": (
        "  phase a:\n    def f(m) = f(m) + 1\n    commit top(masked, 1, by=f(conf))\n",
        ["E0303"],
    ),
    "twice, in a circle": (
        f"  def f(x) = x\n  def g(x) = f(x)\n  def f(x) = g(x)\n  y = f(1) + g(1)\n{BEST}",
        ["E0202"],
    ),
    "under a word's name": (
        f"  def blocks(n) = blocks(n)\n  y = blocks(1)\n{BEST}",
        ["E0202", "E0204", "E0204"],
    ),
    "under a parameter's name": (f"  def f(f) = f\n  y = f(1)\n{BEST}", ["E0202"]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_cannot_be_is_said_once_and_never_written_out(name: str) -> None:
    text, wanted = FUNCTIONS[name]
    assert sorted(set(codes(START + text))) == sorted(set(wanted))


@pytest.mark.parametrize(
    "statement",
    ["window before(conf)", "state s: real = before(conf) per block", "draw gumbel(before(conf))"],
)
def test_what_belongs_above_the_phases_is_said_once(statement: str) -> None:
    assert codes(f"{START}  phase a:\n    {statement}\n  {BEST}") == ["E0303"]


# --- limits on what a text makes


def test_nested_befores_are_read_once() -> None:
    nested = "before(" * 95 + "conf" + ")" * 95
    assert codes(START + f"  x = {nested}\n" + BEST) == ["W0201"]
    assert codes(START + "".join(f"  x{i} = {nested} + {i}\n" for i in range(30)) + BEST) == ["W0201"] * 30


def declared(what: str, number: int) -> str:
    many = range(number)
    if what == "parameters":
        return "policy p(" + ", ".join(f"a{i}: int = 1" for i in many) + "):\n  window all\n" + BEST
    if what == "states":
        return START + "".join(f"  state s{i}: int = 0 per block\n" for i in many) + BEST
    return START + "".join(
        f"  phase p{i}:\n  {BEST}    next p{i + 1 if i + 1 < number else 0}\n" for i in many
    )


@pytest.mark.parametrize("what", ["parameters", "states", "phases"])
def test_as_many_are_declared_as_may_be(what: str) -> None:
    assert "E0109" not in codes(declared(what, MOST_DECLARED))
    _, (diagnostic,) = dsldec.check(declared(what, MOST_DECLARED + 1))
    assert diagnostic.code == "E0109"
    assert what in diagnostic.message


def test_names_above_the_phases_count_once_in_each() -> None:
    names = "".join(f"  x{i} = conf + {i}\n" for i in range(100))
    phases = (
        "".join(f"  phase p{i}:\n    fill\n    next p{i + 1}\n" for i in range(60))
        + "  phase p60:\n    fill\n"
    )
    assert "E0108" in codes(START + names + phases)
    assert "E0108" not in codes(START + names + "  phase p60:\n    fill\n")


def test_no_more_is_said_than_anybody_reads_and_errors_first() -> None:
    unused = "".join(f"  x{i} = 1\n" for i in range(2_000))
    assert codes(START + unused + BEST) == ["W0201"] * MOST_DIAGNOSTICS
    found = codes(
        START + "".join(f"  x{i} = 1 - conf\n" for i in range(1_500)) + "  commit masked and conf > 0.9\n"
    )
    assert len(found) == MOST_DIAGNOSTICS
    assert found[-1] == "E0301"
    assert len(codes(START + "  commit top(masked, 1, by=cnf)\n" * 900)) == MOST_DIAGNOSTICS


def test_proofs_look_through_no_more_than_they_may() -> None:
    """The same name in one statement is looked through; in thousands of statements that would take minutes."""
    names = f"  a = {' or '.join(['idle'] * 90)}\n  b = {' or '.join(['a'] * 2)}\n"
    text = (
        START
        + "  phase a1:\n    commit masked and conf > 0.9\n"
        + names.replace("  ", "    ")
        + "    next a2 when b\n"
    )
    last = f"  phase a2:\n  {BEST}"
    assert codes(text + last) == []
    assert codes(text + "    next a2 when b\n" * 2_000 + last) == ["E0301"]


# --- hints


def test_misspelt_names_are_compared_with_no_more_than_a_few() -> None:
    text = START + "".join(f"  {'ab' * 17}{i:05d} = {'ba' * 17}{i:05d}\n" for i in range(1_900))
    assert codes(text + BEST) == ["E0201"] * MOST_DIAGNOSTICS


def test_a_bounded_hint_is_the_one_that_everything_compared_would_give() -> None:
    known, chance = sorted({*WORDS, *KEYWORDS}), random.Random(1)
    for _ in range(500):
        letters = [*chance.choice(known)]
        letters[chance.randrange(len(letters))] = chance.choice("abcdefghi")
        word = "".join(letters) + chance.choice(["", "s", "e"])
        wanted = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
        assert did_you_mean(word, known) == (wanted[0] if wanted else None)


def test_what_is_said_is_no_longer_than_anybody_reads() -> None:
    diagnostic = Diagnostic("E0101", "`" + "a" * 100_000 + "` is wrong", help="b" * 100_000)
    assert len(str(diagnostic)) < 3 * LONGEST_TEXT
    assert str(diagnostic).split("\n")[0].endswith("` is wrong")


# --- what is no text


@pytest.mark.parametrize("given", [None, b"policy p():\n", 3, ["policy p():\n"], object()])
def test_what_is_no_text_is_said_to_be_none(given: object) -> None:
    for call in (dsldec.check, dsldec.load):
        with pytest.raises(dsldec.UsageError, match="E0448"):
            call(given)  # type: ignore[operator]


@pytest.mark.parametrize("number", ["9" * 400, "1e999", "1e" + "9" * 5_000, "9" * 5_000 + ".5"])
def test_numbers_too_large_for_anything(number: str) -> None:
    assert codes(f"{START}  x = {number}\n{BEST}") == ["E0107"]
    assert codes(f"policy p(a: real = {number}):\n  window all\n{BEST}") == ["E0107"]


def test_of_two_consequences_at_one_place_one_is_said() -> None:
    assert codes("policy n():\n commit committed orelse top(masked, 1, by=conf)\n") == ["E0302"]


def test_a_text_of_many_lines_and_controls_is_said_on_one_line() -> None:
    shown = str(Diagnostic("E0203", "`a\tb\r\nc\x1b[2J` is wrong", help="write\u2028`d`"))
    assert shown == "error[E0203]: `a b  c\\x1b[2J` is wrong\n  = help: write `d`"
    for diagnostic in dsldec.check("policy p():\n  window all\n  x = grow(r=prefix(conf <\t 1))\n" + BEST)[1]:
        assert all(line.isprintable() for line in str(diagnostic).split("\n"))


@pytest.mark.parametrize("count", ["int(min(5))", "int(max(5))", "int(mean(5))"])
def test_a_reduction_has_no_value_before_anything_runs(count: str) -> None:
    assert codes(f"{START}{BEST}  stay at most {count}\n") == ["E0307"]
