"""Random well-typed policies of every word, and random observations with many ties, for tests that compare backends."""

from __future__ import annotations

import random

import torch
from torch import Tensor

OBSERVED = ("conf", "doubt", "margin", "logit_margin", "entropy")
PARAMETERS = "level: prob = 0.5, weight: real = 1.5, few: int = 2 in 1..9, bold: bool = true"


class Writer:
    """Writes expressions of a wanted type; notes the words it used."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.within = False
        self.used: set[str] = set()

    def word(self, name: str) -> str:
        self.used.add(name)
        return name

    def number(self, depth: int) -> str:
        """A number a position, of no unit that could clash."""
        pick = self.rng.random()
        if depth <= 0 or pick < 0.3:
            return self.atom()
        if self.within and pick < 0.6:
            kind = self.rng.choice(("cumsum", "cummax"))
            return f"{self.word(kind)}({self.number(depth - 1)})"
        if pick < 0.7:
            return f"-{self.atom()}" if pick < 0.65 else f"(-{self.atom()})"
        if pick < 0.85:
            return self.function(depth)
        operator = self.rng.choice("+-*/")
        # Products lose their unit: `1 * x` lets any two numbers meet.
        return f"(1 * {self.number(depth - 1)} {self.word(operator)} 1 * {self.number(depth - 1)})"

    def function(self, depth: int) -> str:
        """A reduction, a pair, or a conditional."""
        name = self.rng.choice(("sum", "mean", "std", "min", "max", "abs", "clamp", "if", "count", "fraction", "first", "last", "pair"))
        if name == "pair":
            return f"{self.rng.choice(('min', 'max'))}(1 * {self.number(depth - 1)}, 1 * {self.number(0)})"
        self.used.add(name)
        if name == "if":
            return f"(1 * {self.number(0)} if {self.condition(1)} else 1 * {self.number(depth - 1)})"
        if name == "clamp":
            return f"clamp(1 * {self.number(depth - 1)}, 0.25, 1 * {self.atom()})"
        if name == "abs":
            return f"abs({self.number(depth - 1)})"
        outer, self.within = self.within, False
        mask = self.rng.choice(("masked", "committed", f"(masked and {self.condition(1)})"))
        inner = mask if name in ("count", "fraction", "first", "last") else self.number(depth - 1)
        self.within = outer
        over = f", over={mask}" if name in ("sum", "mean", "std", "min", "max") and self.rng.random() < 0.7 else ""
        return f"{name}({inner}{over})"

    def atom(self) -> str:
        choices = [*OBSERVED, "pos", "step", "window_start", "window_end", "window_length", "level", "weight", "few", "2", "0.25", "0"]
        choices += ["rank"] * 4 if self.within else []
        return self.word(self.rng.choice(choices))

    def score(self) -> str:
        """A score of high or unknown polarity."""
        return self.rng.choice((self.word("conf"), f"-{self.word('entropy')}", f"{self.number(2)} * margin * pos", "pos - few", "margin"))

    def condition(self, depth: int) -> str:
        pick = self.rng.random()
        if depth <= 0 or pick < 0.5:
            operator = self.word(self.rng.choice(("<", "<=", ">", ">=", "==", "!=")))
            chain = f" {self.rng.choice(('<', '>='))} 1 * {self.number(0)}" if self.rng.random() < 0.2 else ""
            return f"1 * {self.number(depth)} {operator} 1 * {self.number(1)}{chain}"
        if pick < 0.6:
            return f"{self.word('not')} ({self.condition(depth - 1)})"
        if pick < 0.65:
            return f"{self.word('any')}({self.rng.choice(('masked', 'committed'))})"
        if pick < 0.7:
            return "bold"
        return f"({self.condition(depth - 1)}) {self.word(self.rng.choice(('and', 'or')))} ({self.condition(depth - 1)})"

    def mask(self, depth: int) -> str:
        pick = self.rng.random()
        if depth <= 0 or pick < 0.2:
            return self.word(self.rng.choice(("masked", "masked", "committed")))
        if pick < 0.4:
            return f"({self.word('masked')} and ({self.condition(2)}))"
        if pick < 0.6:
            return f"{self.word('top')}({self.mask(depth - 1)}, {self.rng.choice(('1', 'few', '3', 'step', '0'))}, by={self.score()})"
        if pick < 0.85:
            source, score = self.mask(depth - 1), self.score()
            outer, self.within = self.within, True
            condition = self.condition(2)
            self.within = outer
            return f"{self.word('prefix')}({source}, by={score}, while={condition})"
        if pick < 0.93:
            return f"({self.mask(depth - 1)} {self.word('orelse')} {self.mask(depth - 1)})"
        return f"({self.mask(depth - 1)} {self.rng.choice(('and', 'or'))} {self.mask(depth - 1)})"


def random_policy(seed: int) -> tuple[str, set[str]]:
    """A policy's text and the words it uses; it passes every check."""
    rng = random.Random(seed)
    writer = Writer(rng)
    lines = [f"policy random_{seed}({PARAMETERS}):", "  window blocks(8)"]
    for number in range(rng.randint(1, 3)):
        if rng.random() < 0.4:
            lines.append(f"  part_{number} = {writer.mask(2)}")
            chosen = f"part_{number} or {writer.mask(1)}"
        else:
            chosen = writer.mask(3)
        lines.append(f"  commit {chosen}")
        if rng.random() < 0.4:
            lines[-1] += f" {writer.word('at least')} {rng.choice(('1', '2', 'few'))} by {writer.score()}"
        if rng.random() < 0.3:
            lines[-1] += f" {writer.word('at most')} {rng.choice(('1', '3', 'few'))} by {writer.score()}"
    lines.append("  commit masked at least 1 by conf at most 2 by margin" if rng.random() < 0.1 else "  commit top(masked, 1, by=conf)")
    return "\n".join(lines) + "\n", writer.used


def random_observations(seed: int, rows: int, length: int) -> dict[str, Tensor]:
    """Observations on a coarse dyadic grid: sums and products are exact, ties and extremes common."""
    generator = torch.Generator().manual_seed(seed)

    def grid(steps: int, size: float) -> Tensor:
        return torch.randint(0, steps + 1, (rows, length), generator=generator).float() * size

    conf = grid(8, 1 / 8)
    return {
        "token": torch.randint(0, 30, (rows, length), generator=generator),
        "conf": conf,
        "doubt": 1 - conf,
        "margin": grid(4, 1 / 4),
        "logit_margin": grid(12, 1 / 2),
        "entropy": grid(8, 1 / 4),
        "finite": torch.ones(rows, length, dtype=torch.bool),
    }
