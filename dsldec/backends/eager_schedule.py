"""The calls of an eager step in order. Calls that no result needs are left out; on a CPU, so are the calls of
a branch that no row takes.

Shapes: see `eager_graph`. Not here: which calls there are (`eager_graph`, `module_eager`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..language.words import Extent
from .eager_graph import EagerGraph, EagerNode
from .eager_values import selected

SlotCall = Callable[[list[Any]], None]
Guard = frozenset[tuple[EagerNode, bool]]  # a condition per row, and the branch it must take in some row

# A condition is read as a number if that saves at least this many calls.
CALLS_THAT_REPAY_READING = 3


def some_and_not_all(condition: Tensor) -> tuple[bool, bool]:
    """Whether a condition `[B]` holds in some row, and whether it fails in some row."""
    rows = condition.tolist()
    return True in rows, False in rows


NO_ROW = (False, False)  # of a condition that is not computed


@dataclass(slots=True)
class Schedule:
    """`template`: the slots of all values, with the constants. `segments`: for each guard (slots of the flags
    of its conditions, and the branch) the calls that it allows. `slots`: the slot of each node.
    """

    template: list[Any] = field(default_factory=list)
    segments: list[tuple[tuple[tuple[int, int], ...], list[SlotCall]]] = field(default_factory=list)
    slots: dict[EagerNode, int] = field(default_factory=dict)

    def run(self, values: list[Any]) -> None:
        """Computes all values. `values`: a copy of `template` with the inputs."""
        for guard, calls in self.segments:
            if all(values[slot][branch] for slot, branch in guard):
                for call in calls:
                    call(values)


def scheduled(graph: EagerGraph, inputs: Sequence[EagerNode], results: Sequence[EagerNode]) -> Schedule:
    """The calls that give the results, for a graph with these inputs."""
    read = _conditions_to_read(results) if graph.on_host else frozenset()
    settled = _Settled(graph, read)
    for node in _in_order(results, lambda node: _arguments(node)):
        settled.settle(node)
    guards = _guards(results, settled.flags)
    schedule = Schedule()
    for node in inputs:
        _slot(schedule, node)
    flags_of = {condition: flags for flags, condition in settled.conditions.items()}

    def needed(node: EagerNode) -> Iterable[EagerNode]:
        return (*_arguments(node), *(flags_of[condition] for condition, _ in sorted_guard(guards[node])))

    def sorted_guard(guard: Guard) -> list[tuple[EagerNode, bool]]:
        return sorted(guard, key=lambda one: (id(one[0]), one[1]))

    for node in _in_order(results, needed):
        guard = tuple(
            (_slot(schedule, flags_of[condition]), int(not branch))
            for condition, branch in sorted_guard(guards[node])
        )
        slot = _slot(schedule, node)
        if node.function is None:
            continue
        if node in settled.conditions:
            schedule.template[slot] = NO_ROW
        run = _run(schedule, node, slot)
        if schedule.segments and schedule.segments[-1][0] == guard:
            schedule.segments[-1][1].append(run)
        else:
            schedule.segments.append((guard, [run]))
    return schedule


def _arguments(node: EagerNode) -> list[EagerNode]:
    return [a for a in node.args if isinstance(a, EagerNode)]


def _in_order(
    results: Iterable[EagerNode], needed: Callable[[EagerNode], Iterable[EagerNode]]
) -> list[EagerNode]:
    """The results and all nodes they need. Each node comes after the nodes it needs."""
    order: dict[EagerNode, None] = {}
    waiting: list[tuple[EagerNode, bool]] = [(node, False) for node in reversed(list(results))]
    while waiting:
        node, ready = waiting.pop()
        if node in order:
            continue
        if ready:
            order[node] = None
        else:
            waiting.append((node, True))
            waiting += [(other, False) for other in reversed(list(needed(node)))]
    return list(order)


# --- branches


def _branches(node: EagerNode, conditions: Mapping[EagerNode, EagerNode] | None) -> EagerNode | None:
    """The condition that chooses between two arguments of a node, if it may be read."""
    if node.function is selected:
        condition: EagerNode = node.args[0]
        return condition
    if conditions is not None and isinstance(node.function, _Selected):
        return conditions[node.args[0]]
    return None


def _guards(
    results: Sequence[EagerNode], conditions: Mapping[EagerNode, EagerNode] | None = None
) -> dict[EagerNode, Guard]:
    """For each node, the branches that every way from it to a result goes through."""
    guards: dict[EagerNode, Guard] = {node: frozenset() for node in results}
    for node in reversed(_in_order(results, _arguments)):
        guard, condition = guards[node], _branches(node, conditions)
        uses = [(a, guard) for a in _arguments(node)]
        if condition is not None:
            for place, branch in ((-2, True), (-1, False)):
                uses[place] = (uses[place][0], guard | {(condition, branch)})
        for a, of_use in uses:
            guards[a] = guards[a] & of_use if a in guards else of_use
    return guards


def _conditions_to_read(results: Sequence[EagerNode]) -> frozenset[EagerNode]:
    """The conditions for which a branch without rows saves enough calls."""
    saved: dict[EagerNode, int] = {}
    for node, guard in _guards(results).items():
        calls = node.function is not None
        if node.function is selected:
            saved[node.args[0]] = saved.get(node.args[0], 0) + 1
        for condition, _ in guard if calls else ():
            saved[condition] = saved.get(condition, 0) + 1
    return frozenset(condition for condition, calls in saved.items() if calls >= CALLS_THAT_REPAY_READING)


@dataclass(frozen=True, slots=True)
class _Selected:
    """`where` with a condition `[B]`, after its flags are read. A branch without rows may be `None`."""

    shape: tuple[int, ...]

    def __call__(
        self, flags: tuple[bool, bool], condition: Tensor, then: Tensor, otherwise: Tensor
    ) -> Tensor:
        some, not_all = flags
        if some and not_all:
            if len(self.shape) == 2:
                return torch.where(condition.unsqueeze(1), _beside(then), _beside(otherwise))
            return torch.where(condition, then, otherwise)
        one = then if some else otherwise
        return one if one.shape == self.shape else _beside(one).expand(self.shape)


def _beside(x: Tensor) -> Tensor:
    return x.unsqueeze(1) if x.dim() == 1 else x


class _Settled:
    """Gives each `selected` its final call. `flags`: the condition of each node of flags."""

    def __init__(self, graph: EagerGraph, read: frozenset[EagerNode]) -> None:
        self.graph, self.read = graph, read
        self.conditions: dict[EagerNode, EagerNode] = {}

    @property
    def flags(self) -> Mapping[EagerNode, EagerNode]:
        return self.conditions

    def settle(self, node: EagerNode) -> None:
        if node.function is not selected:
            return
        condition, then, otherwise = node.args
        if condition in self.read:
            flags = self.graph.call(some_and_not_all, condition, extent=Extent.RUN, dtype=None)
            self.conditions[flags] = condition
            shape = self.graph.shape if node.extent is Extent.POSITION else (self.graph.rows,)
            node.function, node.args = _Selected(shape), (flags, condition, then, otherwise)
        else:
            _, beside = self.graph.beside(condition, then, otherwise)
            node.function, node.args = torch.where, tuple(beside)


# --- slots


def _slot(schedule: Schedule, node: EagerNode) -> int:
    if node not in schedule.slots:
        schedule.slots[node] = len(schedule.template)
        schedule.template.append(node.constant)
    return schedule.slots[node]


def _run(schedule: Schedule, node: EagerNode, out: int) -> SlotCall:
    """The call of a node, on the slots of its arguments."""
    function = node.function
    assert function is not None
    places = tuple(_slot(schedule, a) for a in node.args if isinstance(a, EagerNode))
    more = tuple(a for a in node.args if not isinstance(a, EagerNode))
    nodes_first = all(isinstance(a, EagerNode) for a in node.args[: len(places)])
    assert nodes_first, "an argument that is no node comes before one that is"
    return _RUNS.get(len(places), _any_run)(function, places, more, out)


def _one(function: Callable[..., Any], places: tuple[int, ...], more: tuple[Any, ...], out: int) -> SlotCall:
    (a,) = places

    def run(values: list[Any]) -> None:
        values[out] = function(values[a], *more)

    return run


def _two(function: Callable[..., Any], places: tuple[int, ...], more: tuple[Any, ...], out: int) -> SlotCall:
    a, b = places

    def run(values: list[Any]) -> None:
        values[out] = function(values[a], values[b], *more)

    return run


def _three(
    function: Callable[..., Any], places: tuple[int, ...], more: tuple[Any, ...], out: int
) -> SlotCall:
    a, b, c = places

    def run(values: list[Any]) -> None:
        values[out] = function(values[a], values[b], values[c], *more)

    return run


def _any_run(
    function: Callable[..., Any], places: tuple[int, ...], more: tuple[Any, ...], out: int
) -> SlotCall:
    def run(values: list[Any]) -> None:
        values[out] = function(*(values[place] for place in places), *more)

    return run


_RUNS = {1: _one, 2: _two, 3: _three}
