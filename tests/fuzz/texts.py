"""Texts to try, one for each seed and number: derived from the grammar, mutated from existing policies, or
scaled.

Not here: their rules (`holds`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from dsldec.codes import CODES
from dsldec.language.scan import pieces
from dsldec.resources import cases_file, policy_file, shipped_policies
from dsldec.tools.cases import ROWS

from .derived import derived
from .scaled import SCALED
from .worker import POLICY, ROOT, Text

STRANGE = '\0 \ud800 \ufeff é ä ² “ ” \x1b[2J \u202e \t \r \x0c \\ ; ! && == : :: .. ... """ " \' ( ) , = - ** // 1e999 9'.split(
    " "
)
STRANGE += [
    "\n",
    "\n\n",
    "\n  ",
    "\n    ",
    "\r\n",
    " ",
    "  # c\n",
    "9" * 400,
    "a" * 300,
    "(" * 120,
    "not " * 120,
    "1 + " * 120,
]
CELLS = [
    ". _ - eos 0 1 7 .5 0.9 1 1.5 -1 inf nan 1e999 999999999 9999999999 é # =".split(),
    "a=1 set confidence=0.9 block=2".split(),
]


@cache
def policies() -> tuple[str, ...]:
    """Policies that there are: shipped, those of the codes, of the reference page, and well-typed
    random ones.
    """
    from ..backends.policies import random_policy
    from ..checks.test_diagnostics import CASES

    page = (ROOT / "grammar" / "README.md").read_text(encoding="utf-8")
    found = [policy_file(name).read_text(encoding="utf-8") for name in shipped_policies()]
    found += [text for code in CODES.values() for text in (code.bad, code.good) if 0 < len(text) < 10_000]
    found += [part.split("```")[0] for part in page.split("```policy\n")[1:]]
    found += [*CASES.values()]
    return (*found, *(random_policy(seed)[0] for seed in range(40)))


@cache
def words() -> tuple[str, ...]:
    return tuple(sorted({piece.text for text in policies() for piece in pieces(text)}))


def mutated(text: str, rng: random.Random, others: tuple[str, ...], known: tuple[str, ...]) -> str:
    """The text with one thing changed."""
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.randrange(1, 30))
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    match rng.randrange(10):
        case 0:
            return text[:start] + text[end:]
        case 1:
            return text[:start] + rng.choice(STRANGE) + text[start:]
        case 2:
            other = rng.choice(others).split("\n")
            return "\n".join([*lines[:at], rng.choice(other), *lines[at:]])
        case 3:
            return "\n".join([*lines[:at], lines[at], *lines[at:]])
        case 4:
            return "\n".join(lines[:at] + lines[at + 1 :])
        case 5:
            other_at = rng.randrange(len(lines))
            lines[at], lines[other_at] = lines[other_at], lines[at]
            return "\n".join(lines)
        case 6:
            return _word_changed(text, rng, rng.choice(known))
        case 7:
            words_here = [piece.text for piece in pieces(text)]
            return _word_changed(text, rng, rng.choice(words_here) if words_here else "")
        case 8:
            return "\n".join([*lines[:at], " " * rng.randrange(9) + lines[at].strip(), *lines[at + 1 :]])
    middle, times = text[start:end], rng.choice((2, 3, 10, 100))
    return text[:start] + middle * times + text[end:]


def _word_changed(text: str, rng: random.Random, word: str) -> str:
    found = [piece for piece in pieces(text) if not piece.text.isspace()]
    if not found:
        return word
    piece = rng.choice(found)
    return text[: piece.start] + word + text[piece.end :]


def of_grammar(rng: random.Random) -> Text:
    return Text(POLICY, derived(rng))


def of_mutation(rng: random.Random) -> Text:
    text = rng.choice(policies())
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6, 12))):
        text = mutated(text, rng, policies(), words())
    return Text(POLICY, text)


def of_grammar_mutated(rng: random.Random) -> Text:
    return Text(POLICY, mutated(derived(rng), rng, policies(), words()))


def of_types(rng: random.Random) -> Text:
    """A policy that passes the checks, with some words of a policy changed for others."""
    from ..backends.policies import random_policy

    text = random_policy(rng.randrange(10**9))[0]
    for _ in range(rng.choice((0, 1, 2))):
        text = _word_changed(text, rng, rng.choice(words()))
    return Text(POLICY, text)


def of_scale(rng: random.Random) -> Text:
    make, most = SCALED[rng.choice(sorted(SCALED))]
    return Text(POLICY, make(rng.choice((1, 2, max(1, most // 10), max(1, most // 2), most))))


def of_cases(rng: random.Random) -> Text:
    """A file of cases: a shipped one mutated, or rows drawn at random."""
    policy = rng.choice([name for name in shipped_policies() if cases_file(name).is_file()])
    if rng.random() < 0.6:
        text = cases_file(policy).read_text(encoding="utf-8")
        for _ in range(rng.choice((1, 1, 2, 4, 8))):
            text = mutated(text, rng, (text,), (*ROWS, *CELLS[0], *CELLS[1]))
        return Text(policy, text)
    length = rng.choice((1, 2, 4, 8))
    rows = ["case a"]
    for _ in range(rng.randrange(12)):
        few = CELLS[0][:9] if rng.random() < 0.8 else CELLS[rng.randrange(2)]
        cells = [rng.choice(few) for _ in range(length if rng.random() < 0.8 else rng.randrange(9))]
        rows.append(f"  {rng.choice(ROWS)} {' '.join(cells)}")
    return Text(policy, "\n".join(rows) + "\n")


MAKERS: tuple[tuple[int, Callable[[random.Random], Text]], ...] = (
    (25, of_grammar),
    (10, of_grammar_mutated),
    (40, of_mutation),
    (15, of_types),
    (3, of_scale),
    (7, of_cases),
)


def text_of(seed: int, number: int) -> Text:
    """The same text for the same seed and number."""
    rng = random.Random(f"{seed}/{number}")
    (make,) = rng.choices([make for _, make in MAKERS], [weight for weight, _ in MAKERS])
    return make(rng)
