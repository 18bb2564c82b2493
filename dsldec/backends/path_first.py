"""A compiled step of a policy with a pattern: the path first, then everything else in compiled code.

The path of a pattern takes one pass over the positions, with the host's loops on a CPU; compiled, it would be
one piece of code for each position and each size of pattern. So the compiled code takes the path as one more
field of the state, and no pattern ever compiles anything. Shapes: B rows, T window positions. Not here: the
path itself (`paths`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..checks.values import Value
from ..ir.nodes import LoopCarried, Operation, Program
from ..ir.protocol import PATH
from ..language.words import Extent, Kind
from .inputs import Inputs
from .module import StepModule
from .numerics import EXACT
from .pattern_inputs import patterns
from .step import StepFunction, StepOutput, StepState


def without_path(program: Program) -> Program:
    """The program that takes the path as a field of its state, without the parameters of patterns."""
    unused = set(patterns(program))
    parameters = {name: of for name, of in program.parameters.items() if name not in unused}
    at = path_of(program)
    if at is None:
        return replace(program, parameters=parameters) if unused else program
    operations = list(program.operations)
    operations[at] = Operation("state", (), Kind.TOKEN, Extent.POSITION, PATH)
    ends = (program.canvas, program.done, program.finite, *program.next.values(), *program.events.values())
    kept = _needed(operations, ends)
    number = {old: new for new, old in enumerate(kept)}
    return replace(
        program,
        parameters=parameters,
        operations=tuple(
            replace(operations[old], inputs=tuple(number[i] for i in operations[old].inputs)) for old in kept
        ),
        canvas=number[program.canvas],
        done=number[program.done],
        finite=number[program.finite],
        carried={**program.carried, PATH: LoopCarried(Kind.TOKEN, Extent.POSITION)},
        next={name: number[i] for name, i in program.next.items()},
        events={name: number[i] for name, i in program.events.items()},
    )


def path_of(program: Program) -> int | None:
    """The operation that computes the path; `None` in a program without a pattern."""
    return next((at for at, one in enumerate(program.operations) if one.name == "path"), None)


def _needed(operations: list[Operation], ends: tuple[int, ...]) -> list[int]:
    wanted, waiting = set[int](), list(ends)
    while waiting:
        index = waiting.pop()
        if index not in wanted:
            wanted.add(index)
            waiting += operations[index].inputs
    return sorted(wanted)


class PathFirst:
    """A step that is called like every step. `compiled` makes the function of the program without the
    path.
    """

    def __init__(
        self,
        program: Program,
        ids: tuple[int, int | None],
        static: Mapping[str, Value],
        compiled: Callable[[Program], StepFunction],
    ) -> None:
        self.module = StepModule(program, *ids, static)
        self.rest_program = without_path(program)
        self.rest = compiled(self.rest_program)
        at = path_of(program)
        assert at is not None
        self.needed = _needed(list(program.operations), (at,))

    def with_rest(self, rest: StepFunction) -> PathFirst:
        """The same step with another function in place of the compiled one."""
        step = object.__new__(PathFirst)
        step.module, step.rest_program, step.needed, step.rest = (
            self.module,
            self.rest_program,
            self.needed,
            rest,
        )
        return step

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        module = self.module
        inputs = Inputs(
            logits, canvas, editable, state, params, module.mask_id, module.eos_id, module.static, EXACT
        )
        with torch.no_grad():
            path = module.value_of(self.needed, inputs)
        rest = self.rest_program
        own = {name: params[name] for name in (*rest.parameters, *rest.special_ids)}
        output = self.rest(logits, canvas, editable, {**state, PATH: path.contiguous()}, own)
        return output._replace(state={name: output.state[name] for name in state})
