"""Chained equations: find the value of every equation. The answer is the value of the first one.

`<` is the value of the equation before it, and `>` the value of the next one: the equations of "6+>,34->,30"
have the values 10, 4 and 30. No equation can be computed before the one that it points to. Often the whole
prompt has to be solved from its end. So a decoder must find the order of writing itself. A response has one
to nine equations, and its length varies with their number. Chains that begin at different numbers can be
solved at the same time.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from .example import Example, Score

LARGEST = 60
MOST_EQUATIONS = 9
BEFORE, NEXT = "<", ">"
_ANSWER = re.compile(r"#### (\d+)$")
_OPERATIONS = "++--*"


@dataclass(frozen=True, slots=True)
class Equation:
    """`left op right`, or `left` alone without `op`. A side is a number, `<` or `>`."""

    left: str
    op: str = ""
    right: str = ""

    def __str__(self) -> str:
        return f"{self.left}{self.op}{self.right}"

    @property
    def sides(self) -> tuple[str, ...]:
        """One side, or two with an operation."""
        return (self.left, self.right) if self.op else (self.left,)

    def numbers(self, place: int, values: dict[int, int]) -> list[int]:
        """The sides as numbers, for an equation at `place` whose neighbours have these values."""
        neighbours = {BEFORE: place - 1, NEXT: place + 1}
        return [values[neighbours[side]] if side in neighbours else int(side) for side in self.sides]

    def value(self, place: int, values: dict[int, int]) -> int:
        """The value, for an equation at `place` whose neighbours have these values."""
        first, *second = self.numbers(place, values)
        if not second:
            return first
        return (
            first + second[0]
            if self.op == "+"
            else first - second[0]
            if self.op == "-"
            else first * second[0]
        )

    def solved(self, place: int, values: dict[int, int]) -> str:
        """The value, and after it the numbers if there is an operation: `7=3+4`."""
        numbers = self.op.join(str(number) for number in self.numbers(place, values))
        return f"{values[place]}={numbers}" if self.op else numbers


def _pointers(rng: random.Random, count: int) -> list[str]:
    """For each equation the neighbours that it needs: none, `<`, `>` or both. A chain of them ends at an
    equation without pointers.
    """
    if rng.random() < 0.3:
        starts = [count - 1]  # all the others point to the end
    else:
        starts = sorted(rng.sample(range(count), min(count, rng.choice((1, 1, 2, 2, 3)))))
    found = [""] * count
    for place in range(starts[0]):
        found[place] = NEXT
    for start, following in zip(starts, [*starts[1:], count], strict=True):
        # Up to `turn` the equations point back to `start`, and then to the next one without pointers.
        turn = count if following == count else rng.randint(start, following - 1)
        for place in range(start + 1, following):
            found[place] = BEFORE if place <= turn else NEXT
        if start < turn < following - 1 and rng.random() < 0.5:
            found[turn] = BEFORE + NEXT
    return found


def _equation(rng: random.Random, pointers: str, place: int, values: dict[int, int]) -> Equation | None:
    """An equation with these pointers and a value from 0 to `LARGEST`; None if 50 trials gave none."""
    if not pointers:
        return Equation(str(rng.randint(1, 30)))
    for _ in range(50):
        op = rng.choice(_OPERATIONS)
        constant = str(rng.randint(2, 6) if op == "*" else rng.randint(1, 30))
        sides = [pointers[0], pointers[1] if len(pointers) == 2 else constant]
        rng.shuffle(sides)
        equation = Equation(sides[0], op, sides[1])
        if 0 <= equation.value(place, values) <= LARGEST:
            return equation
    return None


def _order(pointers: list[str]) -> list[int]:
    """The places in an order in which each equation can be computed."""
    order: list[int] = []
    while len(order) < len(pointers):
        for place, of in enumerate(pointers):
            needed = [place - 1] * (BEFORE in of) + [place + 1] * (NEXT in of)
            if place not in order and all(other in order for other in needed):
                order.append(place)
    return order


def make(rng: random.Random) -> Example:
    """One to nine equations."""
    while True:
        pointers = _pointers(rng, rng.randint(1, MOST_EQUATIONS))
        equations: dict[int, Equation] = {}
        values: dict[int, int] = {}
        for place in _order(pointers):
            equation = _equation(rng, pointers[place], place, values)
            if equation is None:
                break
            equations[place] = equation
            values[place] = equation.value(place, values)
        else:
            places = range(len(pointers))
            prompt = ",".join(str(equations[place]) for place in places)
            solved = ",".join(equations[place].solved(place, values) for place in places)
            return Example("equations", prompt, f"{solved} #### {values[0]}", str(values[0]))


def score(example: Example, response: str) -> Score:
    """`answer`: the number after `####` is exact. `every_step`: the whole response is exact, for a prompt has
    one right response only.
    """
    found = _ANSWER.search(response.strip())
    return Score(found is not None and found[1] == example.answer, response.strip() == example.response)
