"""The program of one step: a list of operations, each on the results of earlier ones.

Shapes: B rows, T window positions. A value is per run, `[B]` or `[B, T]`, by the place in its type. The canvas is a
value like any other: a commit gives the next one. Not here: how an operation is computed (`backends`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..checks.facts import Facts, Value
from ..language.words import Kind, Place

# What each operation does with its inputs. Both backends implement every one of them; a test compares the lists.
OPERATIONS: Mapping[str, str] = {
    "number": "a constant",
    "parameter": "a parameter's value",
    "observation": "an observation of this step's forward",
    "canvas": "the canvas as the step found it",
    "step": "the row's steps before this one",
    "pos": "the position, 0 for the first generated one",
    "masked": "positions of the window not written in this canvas",
    "committed": "positions of the window written in this canvas",
    "negate": "-a",
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a * b",
    "divide": "a / b",
    "less": "a < b",
    "less_equal": "a <= b",
    "greater": "a > b",
    "greater_equal": "a >= b",
    "equal": "a == b",
    "not_equal": "a != b; false where one has no value",
    "not": "not a",
    "and": "a and b",
    "or": "a or b",
    "window_start": "the window's first position",
    "window_end": "the position after the window's last one",
    "window_length": "how many positions the window has",
    "absolute": "|a|",
    "minimum": "the smaller of a and b; no value if either has none",
    "maximum": "the larger of a and b; no value if either has none",
    "where": "a where a condition holds, else b",
    "orelse": "mask a in rows where it holds a position, else mask b",
    "any": "whether a mask holds a position, per row",
    "fraction": "share of the window that a mask holds",
    "first": "first position of a mask; no value over nothing",
    "last": "last position of a mask; no value over nothing",
    "sum": "sum of x over a mask",
    "mean": "mean of x over a mask; no value over nothing",
    "std": "standard deviation of x over a mask; no value over nothing",
    "least": "smallest x over a mask; no value over nothing",
    "greatest": "largest x over a mask; no value over nothing",
    "count": "how many positions a mask holds, per row",
    "order": "the positions of a mask from the best score to the worst, ties to the lower position",
    "rank": "the place in an order, 1 for the best",
    "cumsum": "sum of x over the position and all before it in an order",
    "cummax": "largest x of the position and all before it in an order",
    "prefix": "the longest beginning of an order in which a condition holds",
    "top": "the first k positions of an order",
    "commit": "the canvas with the token written where a mask holds and nothing is written yet",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """`inputs` are indices of earlier operations; `of` names the observation, parameter or constant meant."""

    name: str
    inputs: tuple[int, ...]
    kind: Kind
    place: Place
    of: str | Value | None = None

    def __str__(self) -> str:
        inputs = ", ".join(f"%{i}" for i in self.inputs)
        about = "" if self.of is None else f" {self.of}"
        return f"{self.name}{about}({inputs}): {self.kind} per {self.place.name.lower()}"


@dataclass(frozen=True, slots=True)
class ProgramParameter:
    """A parameter of the program: its kind, its value where none is given, and the values it may take."""

    kind: Kind
    default: Value
    smallest: Value | None = None
    largest: Value | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """One step of a policy. `canvas` is the operation that gives the canvas after the step."""

    name: str
    doc: str
    parameters: Mapping[str, ProgramParameter]
    operations: tuple[Operation, ...]
    canvas: int
    facts: Facts = field(repr=False)

    @property
    def observations(self) -> frozenset[str]:
        """The observations that the step reads."""
        return frozenset(str(operation.of) for operation in self.operations if operation.name == "observation")

    def __str__(self) -> str:
        lines = [f"program {self.name}"]
        lines += [f"  {name}: {p.kind} = {p.default}" for name, p in self.parameters.items()]
        lines += [f"  %{i} = {operation}" for i, operation in enumerate(self.operations)]
        return "\n".join([*lines, f"  canvas %{self.canvas}"])
