"""Texts derived from `grammar/policy.lark` at random, with words from the table of words: their grammar is
right, and most of their meaning is wrong.
"""

from __future__ import annotations

import random
from functools import cache

from dsldec.language import words
from dsldec.language.grammar import _parser

OWN = ("a", "b", "near", "calm", "p1")
KINDS = tuple(sorted({kind.split()[0] for kind in words.PARAMETER_KINDS | words.STATE_KINDS}))
SHAPES = (*words.WINDOWS, *words.DRAWS, *words.TRANSFORMS)
SLOTS = tuple(sorted({slot.name for word in words.WORDS.values() for slot in word.slots if slot.named}))
NUMBERS = (
    "0",
    "1",
    "2",
    "4",
    "32",
    "0.5",
    ".9",
    "1e-3",
    "007",
    "65536",
    "65537",
    "1000000000",
    "1e30",
    "1e999",
    "9" * 400,
    "1e-400",
)
TEXTS = ('"what it does"', '""', '"""two\n lines"""', '"# no comment"')
LITERAL = {
    "EACH": "each",
    "EXACT": "exact",
    "TRUE": "true",
    "FALSE": "false",
    "MINUS": "-",
    "LPAR": "(",
    "RPAR": ")",
}
SIGNS = {"COLON": ":", "COMMA": ",", "EQUAL": "=", "__ANON_0": "..", "POWER_OPERATOR": "**"}
CHOICES = {
    "COMPARE": "< <= > >= == !=".split(),
    "SUM_OPERATOR": "+ -".split(),
    "PRODUCT_OPERATOR": "* / // %".split(),
}
FAR = 99


@cache
def rules() -> dict[str, list[list[str]]]:
    """The grammar's rules as lark compiled them: what a name may be made of."""
    found: dict[str, list[list[str]]] = {}
    for rule in _parser().rules:
        found.setdefault(str(rule.origin.name), []).append([str(symbol.name) for symbol in rule.expansion])
    return found


@cache
def depths() -> dict[str, int]:
    """How deep a tree of each rule is at least."""
    depth = dict.fromkeys(rules(), FAR)
    for _ in depth:
        for name, ways in rules().items():
            depth[name] = min(1 + max([depth.get(part, 0) for part in way], default=0) for way in ways)
    return depth


LARGEST = 600  # pieces, after which everything is as short as the grammar allows


class Derived:
    """One text; `room` is how deep it may still get."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.indent = 0
        self.out: list[str] = []

    def text(self) -> str:
        self.derive("policy", self.rng.choice((3, 5, 8)))
        return "".join(self.out) + self.rng.choice(("\n", ""))

    def derive(self, name: str, room: int) -> None:
        if name not in rules():
            self.terminal(name)
            return
        ways = rules()[name]
        on = [way for way in ways if len(way) == 1 and way[0] in rules()]
        if room <= 0 or len(self.out) > LARGEST:
            way = min(ways, key=_depth)
        elif on and len(ways) > len(on) and self.rng.random() < 0.85:
            way = self.rng.choice(on)  # most levels of precedence only pass on
        else:
            way = self.rng.choice(ways)
        for part in way:
            self.derive(part, room - (way not in on))

    def terminal(self, name: str) -> None:
        if name in ("_INDENT", "_DEDENT"):
            self.indent += 2 if name == "_INDENT" else -2
            return
        if name == "_NL":
            self.out.append("\n")
            return
        at_start = not self.out or self.out[-1] == "\n"
        self.out.append(" " * self.indent if at_start else " ")
        self.out.append(self.said(name))

    def said(self, name: str) -> str:
        if name == "NAME":
            return self.name()
        if name == "NUMBER":
            return self.rng.choice(NUMBERS[: self.rng.choice((6, len(NUMBERS)))])
        if name == "STRING":
            return self.rng.choice(TEXTS)
        if name in CHOICES:
            return self.rng.choice(CHOICES[name])
        return LITERAL.get(name) or SIGNS.get(name) or name.lower()

    def name(self) -> str:
        pools = (
            OWN,
            OWN,
            OWN,
            tuple(words.WORDS),
            tuple(words.WORDS),
            SHAPES,
            KINDS,
            SLOTS,
            ("block", "sequence"),
        )
        return self.rng.choice(self.rng.choice(pools))


def _depth(way: list[str]) -> int:
    return max([depths().get(part, 0) for part in way], default=0)


def derived(rng: random.Random) -> str:
    """A text that the grammar takes, apart from words that stand for names."""
    return Derived(rng).text()
