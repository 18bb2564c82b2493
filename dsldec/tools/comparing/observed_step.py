"""A step that gets observations in place of logits, for many rows at once.

The program of a policy reads `conf` and the other observations from its logits. Here each of them is a field
of the state that the host sets, as in a case. So a number can lie exactly on a threshold. Shapes: N rows, T
window positions, G positions, V vocabulary. Not here: the numbers (`observations`), the search (`search`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...backends import noise
from ...backends.module import StepModule
from ...backends.step import Step, parameter_tensors, static_of
from ...ir.nodes import LoopCarried, Operation, Program
from ...ir.protocol import state_field
from ...language.words import Extent
from ...policy import Policy
from ...runtime.requests import continued
from ...runtime.rows import Rows
from ...runtime.session import Session

COMPARED_WITH_BEFORE = ("kl", "js")
FINITE = "finite"


def field_of_observation(name: str) -> str:
    """The field of an observation. No state of a policy has a space in its name."""
    return state_field(f"observed {name}")


def observed_names(program: Program) -> frozenset[str]:
    """The observations that a program reads: words without arguments, and `p`, `kl`, `js`."""
    names = {str(one.attribute) for one in program.operations if one.name == "observation"} - {FINITE}
    operations = {one.name for one in program.operations}
    return frozenset(names | ({"kl", "js"} & operations) | ({"p"} if "probability" in operations else set()))


def observed_program(program: Program) -> Program:
    """The program with its observations as fields of the state. Only `p` still reads logits."""
    carried = {name: field for name, field in program.carried.items() if not field.distribution}
    operations = list[Operation]()
    raw = next((i for i, one in enumerate(program.operations) if one.name == "logits"), 0)
    for operation in program.operations:
        name = str(operation.attribute) if operation.name == "observation" else operation.name
        if operation.name == "observation" or name in COMPARED_WITH_BEFORE:
            field = field_of_observation(name)
            carried[field] = LoopCarried(operation.kind, Extent.POSITION)
            operation = Operation("state", (), operation.kind, Extent.POSITION, field)
        elif operation.name == "probability":
            operation = replace(operation, inputs=(raw, *operation.inputs[1:]))
        operations.append(operation)
    following = {name: index for name, index in program.next.items() if name in carried}
    return _pruned(replace(program, operations=tuple(operations), carried=carried, next=following))


def _pruned(program: Program) -> Program:
    """The program without the operations that no result needs."""
    waiting = [
        program.canvas,
        program.done,
        program.finite,
        *program.next.values(),
        *program.events.values(),
    ]
    needed = set[int]()
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting += program.operations[index].inputs
    number = {old: new for new, old in enumerate(sorted(needed))}
    kept = (program.operations[old] for old in sorted(needed))
    return replace(
        program,
        operations=tuple(replace(one, inputs=tuple(number[i] for i in one.inputs)) for one in kept),
        canvas=number[program.canvas],
        done=number[program.done],
        finite=number[program.finite],
        next={name: number[index] for name, index in program.next.items()},
        events={name: number[index] for name, index in program.events.items()},
    )


@dataclass(frozen=True, slots=True)
class ModelIds:
    """The ids of a small vocabulary: ordinary ones from 0 on, then the special ones; MASK is outside."""

    words: int

    @property
    def special(self) -> dict[str, int]:
        return {"eos": self.words, "bos": self.words + 1, "pad": self.words + 2}

    @property
    def mask(self) -> int:
        return self.words + 3

    @property
    def vocabulary(self) -> int:
        return self.words + 3


class ObservedRows:
    """N rows of `length` positions under one policy, each from its start."""

    def __init__(self, policy: Policy, rows: int, length: int, ids: ModelIds) -> None:
        self.program, self.length = observed_program(policy.program), length
        special = ids.special
        params = parameter_tensors(self.program, policy.parameters, special=special)
        static = static_of(self.program, policy.parameters)
        function = StepModule(self.program, ids.mask, special["eos"], static)
        step = Step(self.program, "eager", ids.mask, special["eos"], params, function, static)
        request = replace(continued(0, [], length, None), key=noise.key(0, 0))
        layout = Rows(
            [request] * rows,
            policy.plan(length).block_length,
            ids.mask,
            special["eos"],
            torch.device("cpu"),
        )
        self.session = Session(policy, step, layout, vocab_size=ids.vocabulary)
        self.fields = tuple(name for name in self.program.carried if " " in name)
        self.no_logits = torch.zeros(rows, layout.longest, ids.vocabulary)
        self.reads_logits = any(one.name == "probability" for one in self.program.operations)
        self.refreshes = torch.zeros(rows, dtype=torch.bool)

    @property
    def canvas(self) -> Tensor:
        """`[N, G]` int64."""
        return self.session.written[:, : self.length]

    @property
    def ended(self) -> Tensor:
        """`[N]` bool: rows with nothing left to do."""
        return self.session.done

    def step(self, observed: Mapping[str, Tensor], logits: Tensor) -> None:
        """One step of all rows. `observed`: `[N, G]` by name; `logits [N, G, V]`, which `p` reads."""
        session = self.session
        state = dict(session.state.state)
        state |= dict(self._fields(observed))
        session.state = replace(session.state, state=state)
        output = session.step(logits if self.reads_logits else self.no_logits)
        refresh = output.events.refresh
        self.refreshes = torch.zeros_like(self.refreshes) if refresh is None else refresh

    def _fields(self, observed: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The fields at the positions of each row's window."""
        start, _ = self.session.windows()
        columns = start.unsqueeze(1) + torch.arange(self.session.rows.positions)
        inside = columns < self.length
        columns = columns.clamp(max=self.length - 1)
        for field in self.fields:
            name = field.removeprefix(state_field("observed "))
            if name == FINITE:
                yield field, torch.ones_like(inside)
                continue
            values = observed[name].gather(1, columns)
            yield field, torch.where(inside, values, 0)
