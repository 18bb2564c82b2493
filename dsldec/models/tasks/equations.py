"""Chained equations: find the value of every variable. The prompt asks for one of them at the end.

The response has the equations in the order of the prompt, with the value of each variable, and with numbers
in place of the other variables. Often they cannot be solved in this order: the first equation may need the
value of the last one. So a decoder must find the order of writing itself. A response has one to eight
equations, and its length varies with their number. A value can be computed when the values that it needs are
known. So the longest chain of equations decides how many forwards an answer needs.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from .example import Example, Score

LARGEST = 60
MOST_EQUATIONS = 8
LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ANSWER = re.compile(r"#### (\d+)$")


@dataclass(frozen=True, slots=True)
class Equation:
    """`variable = left op right`, or `variable = left` without `op`. A side is a number or a variable."""

    variable: str
    left: str
    op: str
    right: str

    def __str__(self) -> str:
        return f"{self.variable}={self.left}{self.op}{self.right}"

    def solved(self, values: dict[str, int]) -> str:
        """The value, and after it the equation with numbers if it has an operation: `x=7=3+4`.

        The value is beside its variable, where other equations look for it.
        """
        sides = f"={_number(self.left, values)}{self.op}{_number(self.right, values)}" if self.op else ""
        return f"{self.variable}={values[self.variable]}{sides}"


def _number(side: str, values: dict[str, int]) -> int:
    return int(side) if side.isdigit() else values[side]


def _value(left: int, op: str, right: int) -> int:
    return left + right if op == "+" else left - right if op == "-" else left * right


def _known(rng: random.Random, known: list[str]) -> str:
    """A variable whose value is known. Mostly the newest one, which makes long chains."""
    return known[-1] if rng.random() < 0.65 else rng.choice(known)


def _equation(rng: random.Random, variable: str, values: dict[str, int]) -> Equation:
    """An equation of known variables and numbers, with a value from 0 to `LARGEST`."""
    known = list(values)
    if not known or rng.random() < 0.15:
        return Equation(variable, str(rng.randint(1, 30)), "", "")
    while True:
        first = _known(rng, known)
        second = rng.choice(known) if rng.random() < 0.3 else ""
        op = rng.choice("++--*")
        constant = rng.randint(2, 6) if op == "*" else rng.randint(1, 30)
        sides = [first, second or str(constant)]
        rng.shuffle(sides)
        equation = Equation(variable, sides[0], op, sides[1])
        if 0 <= _value(_number(sides[0], values), op, _number(sides[1], values)) <= LARGEST:
            return equation


def make(rng: random.Random) -> Example:
    """One to eight equations, and the question for the value of one variable."""
    names = rng.sample(LETTERS, rng.randint(1, MOST_EQUATIONS))
    values: dict[str, int] = {}
    equations: list[Equation] = []
    for name in names:
        equation = _equation(rng, name, values)
        left = _number(equation.left, values)
        values[name] = _value(left, equation.op, _number(equation.right, values)) if equation.op else left
        equations.append(equation)
    if rng.random() < 0.35:
        equations.reverse()  # each equation comes before the values that it needs
    else:
        rng.shuffle(equations)
    asked = names[-1] if rng.random() < 0.7 else rng.choice(names)
    prompt = ",".join([*map(str, equations), f"{asked}=?"])
    solved = ",".join(equation.solved(values) for equation in equations)
    return Example("equations", prompt, f"{solved} #### {values[asked]}", str(values[asked]))


def make_lookups(rng: random.Random) -> Example:
    """Variables with their values in the prompt, in another order in the response. Training has these beside the
    equations: from them a model learns to find the value of a letter.
    """
    values = {name: rng.randint(0, LARGEST) for name in rng.sample(LETTERS, rng.randint(2, 7))}
    shuffled = rng.sample([*values], len(values))
    asked = rng.choice(shuffled)
    prompt = ",".join([*(f"{name}={value}" for name, value in values.items()), f"{asked}=?"])
    response = ",".join(f"{name}={values[name]}" for name in shuffled) + f" #### {values[asked]}"
    return Example("equations", prompt, response, str(values[asked]))


def score(example: Example, response: str) -> Score:
    """`answer`: the number after `####` is exact. `every_step`: the whole response is exact, for a prompt has
    one right response only.
    """
    found = _ANSWER.search(response.strip())
    return Score(found is not None and found[1] == example.answer, response.strip() == example.response)
