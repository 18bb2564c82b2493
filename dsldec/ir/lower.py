"""From a checked policy to the program of its step.

Each part is a class that extends the one before: `build`, `step_values`, `expressions`, `block_start`,
`step_start`,
`statements`, `next_state`. Not here: whether a policy may run (`checks`; a `CheckedPolicy` is the proof).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ..checks import CheckedPolicy
from ..checks.values import Value
from ..language import syntax
from ..language.walk import bodies
from ..language.words import Kind
from .next_state import NextState
from .nodes import Program, ProgramParameter
from .protocol import BEFORE_PREFIX, DISTRIBUTION_PREFIX, VISITS_PREFIX, Writer, field_of
from .reads import reads_written
from .verify import verify

# Fields that the step writes only if it reads them.
KEPT_WHERE_READ = (VISITS_PREFIX, BEFORE_PREFIX, DISTRIBUTION_PREFIX)


def lower(checked: CheckedPolicy, values: Mapping[str, Value] = MappingProxyType({})) -> Program:
    """The program of one step of a checked policy; verified if the environment has `DSLDEC_VERIFY=1`.

    `values`: the choices of the parameters that have named choices; by default their own defaults.
    """
    program = Lowering(checked, with_defaults(checked, values)).program()
    if os.environ.get("DSLDEC_VERIFY") == "1":
        verify(program)
    return program


def with_defaults(checked: CheckedPolicy, values: Mapping[str, Value]) -> dict[str, object]:
    """The values, and the defaults of all other parameters."""
    parameters = checked.resolved.policy.parameters
    return {p.identifier.text: p.default.value for p in parameters if p.default is not None} | dict(values)


def _parameter(parameter: syntax.Parameter) -> ProgramParameter:
    ends = (parameter.range.first.value, parameter.range.last.value) if parameter.range else (None, None)
    named = tuple(choice.text for choice in parameter.choices)
    default = None if parameter.default is None else parameter.default.value
    return ProgramParameter(Kind(parameter.kind.text), default, ends[0], ends[1], named)


class Lowering(NextState):
    """Lowers one policy. An object lowers once."""

    def program(self) -> Program:
        self.read_logits()
        self.place_window()
        self.begin_states()
        phase = self.enter_phase() if self.policy.phases else self.number(0)
        self.enter_states(phase)
        accepted, score = self.accepted(), self.score()
        afters = [self.body(body, index) for index, body in enumerate(bodies(self.policy))]
        after = self.merged(afters, phase)
        end = self.end(after)
        following = self.next_values(after, end)
        done = self.holds("or", end.full, end.finished)
        finite = self.observation("finite")
        return self._pruned(end.canvas, done, finite, following, self.events(end, phase, accepted, score))

    def _pruned(
        self, canvas: int, done: int, finite: int, following: dict[str, int], events: dict[str, int]
    ) -> Program:
        """The program, without the operations and the counters of visits that no result needs."""
        results = [canvas, done, finite, *events.values()]
        live = self._live(results, following)
        following = {name: value for name, value in following.items() if name in live}
        number = self.needed([*results, *following.values()])
        kept = [self.operations[old] for old in number]
        following = {name: number[value] for name, value in following.items()}
        operations = tuple(replace(one, inputs=tuple(number[i] for i in one.inputs)) for one in kept)
        read = [number[canvas], number[done], *(number[value] for value in events.values())]
        return Program(
            name=self.policy.identifier.text,
            doc=self.policy.doc.text if self.policy.doc else "",
            parameters={p.identifier.text: _parameter(p) for p in self.policy.parameters},
            operations=operations,
            canvas=number[canvas],
            done=number[done],
            finite=number[finite],
            carried={
                name: carried
                for name, carried in self.carried.items()
                if name in following or field_of(name).writer is Writer.HOST
            },
            next=following,
            events={name: number[value] for name, value in events.items()},
            phases=self.names,
            facts=self.checked.facts,
            reads_written=reads_written(operations, read, following),
        )

    def _live(self, results: list[int], following: dict[str, int]) -> set[str]:
        """The fields that the step writes and that a later result depends on.

        A phase counts its visits, and often only this counter reads the number. A branch that is not taken
        may be the only one that reads a value of the previous step. The states of a policy stay, because a
        host may show them.
        """
        live = {name for name in following if not name.startswith(KEPT_WHERE_READ)}
        while True:
            needed = self.needed([*results, *(following[name] for name in live)])
            read = {str(self.operations[i].attribute) for i in needed if self.operations[i].name == "state"}
            more = (read & following.keys()) - live
            if not more:
                return live
            live |= more
