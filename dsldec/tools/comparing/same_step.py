"""Do two policies have the same step, whatever their names for parameters, values, states and phases?

Two programs are compared as graphs. A parameter counts as its value. A state counts as the expression of its
next value: all states begin equal, and a partition of them is refined until each class has one expression
(bisimulation). So the answer "the same" is a proof; "not the same" is none. Not here: the search for a
difference (`search`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ir.build import COMMUTATIVE
from ...ir.nodes import Operation
from ...ir.protocol import BEFORE_PREFIX, DISTRIBUTION_PREFIX, STATE_PREFIX, VISITS_PREFIX
from ...language.arithmetic import float32
from ...language.words import NUMBERS, Kind
from ...policy import Policy

OWN_NAMES = (STATE_PREFIX, VISITS_PREFIX, BEFORE_PREFIX, DISTRIBUTION_PREFIX)
# Attributes of these operations are names of parameters, or sizes.
SIZED = frozenset({"thin", "thin_by_kernel", "log_probabilities", "kl", "js"})
LENGTHS = (1, 2, 3, 7, 16, 64, 257)  # of generations whose plans are compared


def same_step(a: Policy, b: Policy) -> bool:
    """Whether the steps of two policies are proved to be the same, with their parameter values."""
    if any(_placing(a, length) != _placing(b, length) for length in _lengths(a, b)):
        return False
    numbers = _Numbers()
    first, second = _StepGraph(a, numbers), _StepGraph(b, numbers)
    classes = 0
    while True:
        results = [graph.results() for graph in (first, second)]
        refined = {graph: graph.refined() for graph in (first, second)}
        for graph, classes_of in refined.items():
            graph.classes = classes_of
        count = len({*first.classes.values(), *second.classes.values()})
        if count == classes:
            return results[0] == results[1]
        classes = count


def _lengths(*policies: Policy) -> set[int]:
    """The lengths to compare: also those around the windows' own sizes, below which each window is whole."""
    sizes = {policy.plan(1).window_size or 1 for policy in policies}
    return {*LENGTHS, *(size + more for size in sizes for more in (0, 1)), *(2 * size + 1 for size in sizes)}


def _placing(policy: Policy, length: int) -> tuple[object, ...]:
    """Where the windows of a policy lie, and what its denoiser sees."""
    plan = policy.plan(length)
    size = plan.window_size if plan.window in ("sliding", "until") else plan.block_length
    return (
        plan.window if size != length else "whole",
        size,
        plan.max_masks,
        plan.guidance,
        plan.noise,
        plan.branches,
        # More drafts that are accepted without being exact change the answers.
        1 if policy.facts.exact else plan.drafts,
    )


class _Numbers:
    """A number for each different value."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        return self.known.setdefault(value, len(self.known))


class _StepGraph:
    """A program with its parameter values. `classes`: the class of each field so far."""

    def __init__(self, policy: Policy, numbers: _Numbers) -> None:
        self.program, self.values, self.numbers = policy.program, policy.parameters, numbers
        self.classes = {name: self._first_class(name) for name in self.program.carried}

    def _first_class(self, name: str) -> int:
        carried = self.program.carried[name]
        own = "" if name.startswith(OWN_NAMES) and name in self.program.next else name
        return self.numbers.of(
            (own, carried.kind, carried.extent, self._size(carried.keep), name in self.program.next)
        )

    def _size(self, size: Any) -> Any:
        return self.values[size] if isinstance(size, str) and size in self.values else size

    def refined(self) -> dict[str, int]:
        """The class of each field, by its former class and the expression of its next value."""
        values = self._expressions()
        return {
            name: self.numbers.of((former, values[self.program.next[name]]))
            if name in self.program.next
            else former
            for name, former in self.classes.items()
        }

    def results(self) -> Mapping[str, int]:
        """The expressions of the step's results."""
        values, program = self._expressions(), self.program
        events = {name: values[index] for name, index in program.events.items() if name != "phase"}
        return {"canvas": values[program.canvas], "done": values[program.done], **events}

    def _expressions(self) -> list[int]:
        values: list[int] = []
        for operation in self.program.operations:
            inputs = [values[i] for i in operation.inputs]
            if operation.name in COMMUTATIVE:
                inputs.sort()
            values.append(self.numbers.of((*self._head(operation), *inputs)))
        return values

    def _head(self, operation: Operation) -> tuple[Any, ...]:
        name, attribute = operation.name, operation.attribute
        if name == "parameter":
            return self._parameter(str(attribute), operation)
        if name == "state":
            return name, self.classes[str(attribute)]
        if name == "number":
            return name, repr(_constant(attribute, operation.kind))
        if name in SIZED:
            return name, self._size(attribute)
        if name == "learned":
            return name, getattr(self.values[str(attribute)], "digest", None)
        return name, attribute, operation.kind

    def _parameter(self, name: str, operation: Operation) -> tuple[Any, ...]:
        """A parameter with one number counts as the constant."""
        value = self.values[name]
        if isinstance(value, bool | int | float):
            return "number", repr(_constant(value, operation.kind))
        return "parameter", getattr(value, "digest", None) or repr(value)


def _constant(value: Any, kind: Kind) -> Any:
    """A constant in one form. A real is a float32, also where it is whole."""
    return float32(value) if kind in NUMBERS - {Kind.INT} else value
