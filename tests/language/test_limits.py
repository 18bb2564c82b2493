"""Hostile texts: each gets a diagnostic within seconds, and the diagnostic can be drawn."""

from __future__ import annotations

import random
import time

import pytest

from dsldec.diagnostics import Diagnostic
from dsldec.language.fmt import formatted
from dsldec.language.parse import parse
from dsldec.language.scan import pieces
from dsldec.resources import policy_file, shipped_policies
from dsldec.source import Source

START = "policy p():\n  window all\n"
VALUE = START + "  x = "

HOSTILE = {
    "text": ("E0104", "#" * 300_000),
    "lines": ("E0104", "a\n" * 300_000),
    "empty": ("E0103", ""),
    "blank": ("E0103", "\t \r\n" * 1000),
    "comments alone": ("E0103", "# a\n" * 50_000),
    "nul": ("E0103", "policy p\0():\n"),
    "a lone surrogate": ("E0103", "policy \ud800():\n"),
    "brackets": ("E0105", "(" * 20_000),
    "nested calls": ("E0105", VALUE + "f(" * 101 + "1" + ")" * 101 + "\n"),
    "not": ("E0105", VALUE + "not " * 5_000 + "masked\n"),
    "minus": ("E0105", VALUE + "-" * 5_000 + "1\n"),
    "powers": ("E0105", VALUE + "2 ** " * 3_000 + "1\n"),
    "choices": ("E0105", VALUE + "1 if a else " * 1_500 + "1\n"),
    "a long sum": ("E0105", VALUE + "1 + " * 200 + "1\n"),
    "one expression of 200,000 characters": ("E0108", VALUE + "1+" * 100_000 + "1\n"),
    "10,001 names": ("E0108", VALUE + "f(" + "a," * 5_000 + ")\n"),
    "signs": ("E0108", "?" * 200_000),
    "quotes": ("E0108", '"\n' * 100_000),
    "digits": ("E0107", VALUE + "9" * 5_000 + "\n"),
    "an endless real": ("E0107", VALUE + "1e999\n"),
    "a never closed description": ("E0101", 'policy p():\n  """' + "x\\" * 100_000),
    "a long word": ("E0101", "a" * 200_000),
    "a long strange word": ("E0101", VALUE + "a" * 200_000 + "ï\n"),
    "a mistake far right": ("E0101", VALUE + " " * 200_000 + ")\n"),
    "only tabs": ("E0103", "\t" * 1000),
}


def told(source: Source) -> list[Diagnostic]:
    """Parse, and hold what is said to what must hold of every diagnostic."""
    tree, diagnostics = parse(source)
    assert (tree is None) == bool(diagnostics)
    for diagnostic in diagnostics:
        assert diagnostic.code.startswith("E01") or diagnostic.code == "E0202"
        assert diagnostic.message
        assert diagnostic.span is not None
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(diagnostic.span.source.text)
        assert len(str(diagnostic)) < 2_000
        assert all(line.isprintable() for line in diagnostic.message.splitlines())
    return diagnostics


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_get_one_diagnostic_soon(name: str) -> None:
    code, text = HOSTILE[name]
    parse(Source(START + "  fill\n"))  # builds the parser, which is not measured
    began = time.process_time()
    assert [diagnostic.code for diagnostic in told(Source(text))] == [code]
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "value",
    [
        "(" * 100 + "1" + ")" * 100,
        "not " * 99 + "a",
        "-" * 99 + "1",
        "2 ** " * 99 + "1",
        "1 + " * 99 + "1",
        "1 if a else " * 99 + "1",
        "f(" * 99 + "1" + ")" * 99,
        "f(by=" * 99 + "1" + ")" * 99,
        "(1 + " * 99 + "1" + ")" * 99,
        "1  # " + "(" * 1_000,
        "0" * 10_000 + "1",
    ],
)
def test_what_is_just_within_the_limits(value: str) -> None:
    source = Source(VALUE + value + "\n")
    assert told(source) == []
    text, _ = formatted(source)
    assert text is not None


def test_a_text_just_within_the_limits_is_parsed_soon() -> None:
    text = START + "".join(f"  x{i} = x{i} + {i}\n" for i in range(1_990))
    began = time.process_time()
    assert told(Source(text)) == []
    assert time.process_time() - began < 10  # about a second


def test_brackets_in_comments_and_descriptions_do_not_nest() -> None:
    brackets = "(" * 1_000
    assert told(Source(f'policy p():  # {brackets}\n  "{brackets}"\n  fill  # {brackets}\n')) == []


SEEDS = [policy_file(name).read_text(encoding="utf-8") for name in shipped_policies()]
WORDS = [piece.text for text in SEEDS for piece in pieces(text)] + (
    '( ) " """ \t \r # \0 é && = == if else phase policy lookahead [ 1e9 .. : not -'.split(" ")
    + ["\n", "\n  ", "\n    ", "# c\n", " "]
)


def mutated(text: str, chance: random.Random) -> str:
    start = chance.randrange(len(text) + 1)
    end = min(len(text), start + chance.randrange(1, 30))
    match chance.randrange(7):
        case 0:
            return text[:start]
        case 1:
            return text[:start] + text[end:]
        case 2:
            return text[:start] + chance.choice(WORDS) + text[start:]
        case 3:
            return text[:start] + chance.choice(WORDS) + text[end:]
        case 4:
            other = chance.choice(SEEDS)
            at = chance.randrange(len(other))
            return text[:start] + other[at : at + chance.randrange(200)] + text[start:]
        case 5:
            lines = text.split("\n")
            chance.shuffle(lines)
            return "\n".join(lines)
    return (
        text[:start]
        + chr(
            chance.choice([chance.randrange(128), chance.randrange(0x3000), chance.randrange(0xD700, 0xE100)])
        )
        + text[end:]
    )


@pytest.mark.parametrize("seed", range(10))
def test_no_text_raises(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        if chance.random() < 0.2:
            text = " ".join(chance.choice(WORDS) for _ in range(chance.randrange(60)))
        else:
            text = chance.choice(SEEDS)
            for _ in range(chance.choice([1, 1, 1, 2, 3, 6])):
                text = mutated(text, chance)
        began = time.process_time()
        if told(Source(text)) == []:
            again, _ = formatted(Source(text))
            assert again is not None
            assert formatted(Source(again)) == (again, [])
        assert time.process_time() - began < 2
