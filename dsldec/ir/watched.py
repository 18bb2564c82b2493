"""A program that also gives the value of every expression of a policy, and what each statement did.

`dsldec test --coverage` reads it on the reference backend; no decode runs such a program. Not here: which
parts of a policy a step reached (`tools.coverage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from ..checks import CheckedPolicy
from ..checks.values import Scalar, Value
from ..language import syntax
from ..language.walk import Body, expressions
from ..language.words import Extent, Kind
from .lower import Lowering, with_defaults
from .nodes import Program
from .protocol import PHASE
from .statements import After
from .step_values import Scope

WATCHED = "watched_"  # begins the names of the results that no step reports
# Results of a statement, by name: the positions chosen before and after its limit, the positions that it
# wrote, whether its condition holds, whether the row stays in a full window.
CHOSEN, LIMITED, WRITTEN, WHEN, STAYS = "chosen", "limited", "written", "when", "stays"
# Further ones: the masked positions in the window as a commit runs, and the rank of each position in the
# order of its floor and of its limit.
MASKED, FLOOR_RANK, LIMIT_RANK = "masked", "floor rank", "limit rank"
# Operations of an expression, by name: the mask that a call selects from or reduces over, its score and the
# rank by it, the groups, the distance to a mask, the random number, the width of the picks, other masks.
MASK, SCORE, RANK, GROUPS, DISTANCE, RANDOM = "mask", "score", "rank", "groups", "distance", "random"
WIDTH, LEFT, RIGHT, TRIM, OFFSET = "width", "left", "right", "trim", "offset"
# Results of a step: the phase that ran, the phase that the state named, the canvas after the statements.
RAN, NAMED, AFTER = "ran", "named", "after"
ACCEPT = "accept"
# The inputs of an operation that an explanation shows, by the name of the operation.
SHOWN_INPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "order": (MASK, SCORE, GROUPS),
        "thin": (MASK, SCORE, "", WIDTH),
        "thin_by_kernel": (MASK, SCORE, "", WIDTH),
        "grow": (MASK, LEFT, RIGHT, OFFSET, "", TRIM),
        "runs_holding": (MASK, LEFT),
        "trim": (MASK, TRIM),
        "runs": (MASK,),
        "run_count": (MASK,),
        "run_length": (MASK,),
        "distance": (MASK,),
        "density": (MASK,),
        "any": (MASK,),
        "equal": (LEFT, RIGHT),
        "count": (MASK,),
        **dict.fromkeys(("sum", "mean", "std", "quantile", "least", "greatest"), ("", MASK)),
        **dict.fromkeys(("group_any", "group_count"), (MASK, GROUPS)),
        **dict.fromkeys(
            ("group_sum", "group_mean", "group_least", "group_greatest"), ("", MASK, GROUPS)
        ),
    }
)  # fmt: skip
SHOWN_VALUES: Mapping[str, str] = MappingProxyType({"distance": DISTANCE, "random": RANDOM})


class WatchedPart(NamedTuple):
    """An expression at one place of a step: a part of a statement, or a part of another part.

    `operation`: its value; `parts`: its own parts, in the order in which they are computed. A part that a
    choice leaves out is not here. `named`: further operations by name (`MASK`, `SCORE`, `RANK` ...).
    """

    node: syntax.Expression
    operation: int
    parts: tuple[WatchedPart, ...]
    named: Mapping[str, int]

    def numbered(self, number: Mapping[int, int]) -> WatchedPart:
        """The same part in a program with other numbers."""
        return WatchedPart(
            self.node,
            number[self.operation],
            tuple(part.numbered(number) for part in self.parts),
            {name: number[value] for name, value in self.named.items()},
        )

    def operations(self) -> set[int]:
        """Every operation of the part."""
        inside = {value for part in self.parts for value in part.operations()}
        return {self.operation, *self.named.values(), *inside}


@dataclass(frozen=True, slots=True)
class WatchedProgram:
    """A program, and the operations that give the values of a policy's parts.

    `expressions`: the operations of an expression, by the index of its phase. An expression has several where
    it is the argument of a function that reads it more than once. `statements`: the operations of a statement
    by name (`CHOSEN`, `LIMITED`, `WRITTEN`, `WHEN`, `STAYS` ...). `parts`: the expressions of a statement
    with their parts. `headers`: those of the header of a phase. `accept`: the condition of `accept`, under
    `ACCEPT`. `results`: of the step (`AFTER`; with phases
    also `RAN`, `NAMED`).
    """

    program: Program
    expressions: Mapping[tuple[int, syntax.Expression], tuple[int, ...]]
    statements: Mapping[tuple[int, syntax.Statement], Mapping[str, int]]
    parts: Mapping[tuple[int, syntax.Statement], tuple[WatchedPart, ...]] = field(default_factory=dict)
    headers: Mapping[str, tuple[WatchedPart, ...]] = field(default_factory=dict)
    results: Mapping[str, int] = field(default_factory=dict)
    accept: Mapping[str, tuple[WatchedPart, ...]] = field(default_factory=dict)


def watched(checked: CheckedPolicy, values: Mapping[str, Value]) -> WatchedProgram:
    """The program of a checked policy under these choices, with the values of its parts."""
    lowering = _WatchedLowering(checked, with_defaults(checked, values))
    program = lowering.program()
    number = lowering.numbers
    return WatchedProgram(
        program,
        {key: tuple(number[i] for i in indices) for key, indices in lowering.of_expressions.items()},
        {key: {name: number[i] for name, i in of.items()} for key, of in lowering.of_statements.items()},
        {key: tuple(one.numbered(number) for one in parts) for key, parts in lowering.of_bodies.items()},
        {name: tuple(one.numbered(number) for one in parts) for name, parts in lowering.of_headers.items()},
        {name: number[i] for name, i in lowering.of_results.items()},
        {name: tuple(one.numbered(number) for one in parts) for name, parts in lowering.of_accept.items()},
    )


@dataclass(slots=True)
class _PartBegun:
    """An expression or a statement while it is lowered. `made`: its operations, without those of its parts."""

    parts: list[WatchedPart] = field(default_factory=list)
    made: list[int] = field(default_factory=list)


class _WatchedLowering(Lowering):
    def __init__(self, checked: CheckedPolicy, values: Mapping[str, object]) -> None:
        self.begun = [_PartBegun()]  # innermost last
        super().__init__(checked, values)
        self.index = -1  # of the phase; -1 outside of the statements of a step
        self.statement: syntax.Statement | None = None
        self.of_expressions: dict[tuple[int, syntax.Expression], dict[int, None]] = {}
        self.of_statements: dict[tuple[int, syntax.Statement], dict[str, int]] = {}
        self.of_bodies: dict[tuple[int, syntax.Statement], list[WatchedPart]] = {}
        self.of_headers: dict[str, list[WatchedPart]] = {}
        self.of_results: dict[str, int] = {}
        self.of_accept: dict[str, list[WatchedPart]] = {}
        self.numbers: dict[int, int] = {}  # of each watched operation: its number in the program

    def add(
        self, name: str, inputs: tuple[int, ...], kind: Kind, place: Extent, of: str | Scalar | None = None
    ) -> int:
        value = super().add(name, inputs, kind, place, of)
        self.begun[-1].made.append(value)
        return value

    def enter_phase(self) -> int:
        ran = super().enter_phase()
        self.of_results = {RAN: ran, NAMED: self.state(PHASE)}
        for name, header in self.phases.items():
            own = expressions(header)
            self.of_headers[name] = [part for part in self.begun[-1].parts if part.node in own]
        return ran

    def accepted(self) -> int | None:
        before = len(self.begun[-1].parts)
        holds = super().accepted()
        if holds is not None:
            self.of_accept = {ACCEPT: self.begun[-1].parts[before:]}
        return holds

    def body(self, body: Body, index: int) -> After:
        self.index = index
        after = super().body(body, index)
        self.index = -1
        return after

    def expression(self, expression: syntax.Expression, scope: Scope) -> int:
        begun = _PartBegun()
        self.begun.append(begun)
        value = super().expression(expression, scope)
        self.begun.pop()
        named = self._named(begun.made, value) if isinstance(expression, syntax.Call) else {}
        self.begun[-1].parts.append(WatchedPart(expression, value, tuple(begun.parts), named))
        if self.index >= 0:
            self.of_expressions.setdefault((self.index, expression), {})[value] = None
        return value

    def _named(self, made: list[int], whole: int) -> dict[str, int]:
        """The operations that explain a call, by name."""
        named: dict[str, int] = {}
        for value in made:
            operation = self.operations[value]
            if operation.name == "equal" and value != whole:  # `same` also compares numbers of steps
                continue
            inputs = zip(SHOWN_INPUTS.get(operation.name, ()), operation.inputs, strict=False)
            named.update({name: given for name, given in inputs if name and name not in named})
            if operation.name in SHOWN_VALUES:
                named[SHOWN_VALUES[operation.name]] = value
            if operation.name == "order":
                named[RANK] = self.int_("rank", value)
        return named

    def _statement(self, statement: syntax.Statement, after: After) -> None:
        self.statement = statement
        self.begun.append(_PartBegun())
        super()._statement(statement, after)
        self.of_bodies[self.index, statement] = self.begun.pop().parts
        if isinstance(statement, syntax.Stay):
            self._did(STAYS, after.stays)

    def _commit(self, commit: syntax.Commit, scope: Scope) -> None:
        self._did(MASKED, self.masked(scope))
        super()._commit(commit, scope)

    def _at_most(self, chosen: int, bound: syntax.AtMost | None, scope: Scope) -> int:
        made = self.begun[-1].made
        floor = [value for value in made if self.operations[value].name == "order"]
        limited = super()._at_most(chosen, bound, scope)
        self._did(CHOSEN, chosen)
        self._did(LIMITED, limited)
        if floor:
            self._did(FLOOR_RANK, self.int_("rank", floor[-1]))
        if bound is not None:
            self._did(LIMIT_RANK, self.int_("rank", self.operations[limited].inputs[0]))
        return limited

    def _write(self, chosen: int, ids: int | None, scope: Scope) -> None:
        super()._write(chosen, ids, scope)
        self._did(WRITTEN, chosen)

    def _when(
        self,
        statement: syntax.Fill | syntax.Stay | syntax.Refresh | syntax.Next | syntax.Finish,
        scope: Scope,
    ) -> int:
        when = super()._when(statement, scope)
        self._did(WHEN, when)
        return when

    def _did(self, what: str, value: int) -> None:
        assert self.statement is not None
        self.of_statements.setdefault((self.index, self.statement), {})[what] = value

    def _pruned(
        self, canvas: int, done: int, finite: int, following: dict[str, int], events: dict[str, int]
    ) -> Program:
        of_parts = (*self.of_expressions.values(), *(set(of.values()) for of in self.of_statements.values()))
        self.of_results[AFTER] = canvas
        trees = [*self.of_bodies.values(), *self.of_headers.values(), *self.of_accept.values()]
        wanted = {value for values in of_parts for value in values} | {*self.of_results.values()}
        wanted.update(value for parts in trees for part in parts for value in part.operations())
        named = {f"{WATCHED}{value}": value for value in wanted}
        program = super()._pruned(canvas, done, finite, following, events | named)
        self.numbers = {value: program.events[name] for name, value in named.items()}
        return replace(program, events={name: program.events[name] for name in events})
