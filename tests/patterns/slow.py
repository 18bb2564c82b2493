"""Which texts match a pattern, in the plainest way: Python's `re` on every text."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from dsldec.patterns.automaton import DEAD, TokenAutomaton
from dsldec.patterns.byte_automaton import ByteAutomaton

LETTERS = ["a", "b", "c", "7", " ", "é", "語", "\n"]


def matches(regex: str, text: str) -> bool:
    """Whether the whole text matches."""
    return re.fullmatch(regex, text) is not None


def is_shown(regex: str, text: str) -> bool:
    """Whether a text, less one space in front, matches and has no space at its ends."""
    texts = [text, *([text[1:]] if text.startswith(" ") else [])]
    return any(one == one.strip() and matches(regex, one) for one in texts)


def accepts(automaton: ByteAutomaton, text: bytes) -> bool:
    """Whether an automaton over bytes ends in a final state."""
    state = 0 if automaton.states else DEAD
    for byte in text:
        if state == DEAD:
            return False
        state = int(automaton.next_state[state, automaton.class_of[byte]])
    return state != DEAD and bool(automaton.final[state])


def accepts_ids(automaton: TokenAutomaton, ids: Sequence[int]) -> bool:
    """Whether an automaton over ids ends in a final state."""
    state = 0
    for id_ in ids:
        state = int(automaton.next_state[state, automaton.class_of[id_]])
        if state == DEAD:
            return False
    return bool(automaton.final[state])


def random_regex(draw: random.Random, depth: int = 3) -> str:
    """A random regular expression that Python and Rust read alike."""
    kind = draw.randrange(9 if depth else 3)
    if kind == 0:
        return draw.choice(["a", "b", "7", " ", "é", "語", "ab", "\\n", ".", "(?s:.)", "\\S", "\\W"])
    if kind == 1:
        return draw.choice(["[ab]", "[^a]", "[a-c7]", "[é語]", "[^é]", "[0-9]"])
    if kind == 2:
        return draw.choice(["a", "b", "é"])
    if kind in (3, 4):
        return "".join(random_regex(draw, depth - 1) for _ in range(draw.randint(1, 3)))
    if kind in (5, 6):
        return f"(?:{'|'.join(random_regex(draw, depth - 1) for _ in range(draw.randint(2, 3)))})"
    repeat = draw.choice(["*", "+", "?", "{2}", "{1,3}", "*?", "??", "{0,2}?"])
    return f"(?:{random_regex(draw, depth - 1)}){repeat}"


def random_text(draw: random.Random) -> str:
    return "".join(draw.choices(LETTERS, k=draw.randint(0, 6)))


def distinguishable(table: Sequence[Sequence[int]], final: Sequence[bool]) -> bool:
    """Whether no two states have the same matches: Moore's refinement, state by state."""
    block = [int(one) for one in final]
    while True:
        signs = [
            (block[state], *(-1 if to == DEAD else block[to] for to in row))
            for state, row in enumerate(table)
        ]
        names = {sign: number for number, sign in enumerate(dict.fromkeys(signs))}
        refined = [names[sign] for sign in signs]
        if len(set(refined)) == len(set(block)):
            return len(set(refined)) == len(table)
        block = refined
