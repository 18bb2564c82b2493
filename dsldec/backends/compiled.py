"""A step's module compiled by Inductor: one graph with static shapes. On a CPU this needs a C++ compiler.

Shapes: B rows, T window positions, V vocabulary. Not here: the decision whether to compile (`choose` in this
package).
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Mapping
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from ..diagnostics import UsageError
from ..ir.nodes import Program
from ..lru import LRUCache
from . import toolchain
from .module import StepModule
from .step import StepFunction, StepOutput, StepState

log = logging.getLogger("dsldec")

# A step is compiled once for each shape of its inputs. Beyond this number of shapes, the code with the least
# recent use is freed.
MOST_SHAPES = 64

# `inplace_buffers`: torch 2.13 may write over memory that a sort or a scan still reads; the random policies
# of the tests found this. `reorder_for_locality`: it moves the reductions over the vocabulary close to their
# uses, and then Inductor no longer fuses them into one loop.
OPTIONS = {"inplace_buffers": False, "reorder_for_locality": False}
# With its default thresholds, Inductor stores the noise of every id, and the logits after a transform. Both
# take twice the memory of the logits. With much larger thresholds the compilation takes long, because
# Inductor then repeats the code of a value at each use instead of storing the value.
OPTIONS_OF_DRAWS = {"realize_opcount_threshold": 100}
OPTIONS_OF_MADE = {"realize_reads_threshold": 20}
MAKES_LOGITS = frozenset({"ban", "bias", "bias_all"})


def options(program: Program) -> dict[str, int | bool]:
    """The options of Inductor for a program."""
    draws = any(
        operation.name == "observe" and operation.attribute != "argmax" for operation in program.operations
    )
    made = any(operation.name in MAKES_LOGITS for operation in program.operations)
    return OPTIONS | (OPTIONS_OF_DRAWS if draws else {}) | (OPTIONS_OF_MADE if made else {})


class TracedStep:
    """A step's module, compiled by torch.compile for each shape of its inputs. It is called like every step.

    Raises `UsageError` (E0404, E0417) if this machine cannot compile.
    """

    def __init__(self, module: StepModule) -> None:
        self.module, self.name, self.options = module, module.program.name, options(module.program)
        self.compiled: LRUCache[tuple[object, ...], StepFunction] = LRUCache(MOST_SHAPES)

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        # Sorted, because torch compiles again for another order of the names.
        state, params = dict(sorted(state.items())), dict(sorted(params.items()))
        tensors = (logits, canvas, editable, *state.values(), *params.values())
        shape = (*state, *params, *((x.shape, x.stride(), x.dtype, x.device) for x in tensors))
        if shape in self.compiled:
            return self._called(shape, logits, canvas, editable, state, params)
        toolchain.require_folder()
        rows, positions, _ = logits.shape
        batch = "1 row" if rows == 1 else f"{rows} rows"
        log.info("compiling the step of `%s` for %s of %d positions: up to a minute or two the first time, less from "
                 "the cache afterwards; the backend `eager` starts at once", self.name, batch, positions)  # fmt: skip
        began = time.perf_counter()
        result = self._called(shape, logits, canvas, editable, state, params)
        log.info(
            "compiled in %.0f s; shapes this step is compiled for: %d",
            time.perf_counter() - began,
            len(self.compiled),
        )
        return result

    def _called(self, shape: tuple[object, ...], *inputs: Any) -> StepOutput:
        known = shape in self.compiled
        try:
            return self.compiled.get_or_make(shape, self._made)(*inputs)
        except Exception as error:
            again = known and _too_many_changes(error)
            if again or not known:
                self.compiled.drop(shape)
            if again:
                return self._called(shape, *inputs)
            if not toolchain.of_compiling(error):
                raise
            raise UsageError(
                toolchain.failure(error, "the backend `inductor` could not compile the step")
            ) from error

    def _made(self) -> StepFunction:
        return compiled(self.module, self.options)


def _too_many_changes(error: Exception) -> bool:
    """Whether torch refuses to compile again.

    It refuses after eight changes that are no part of a shape, for example gradients or the number of
    threads.
    """
    from torch._dynamo.exc import FailOnRecompileLimitHit

    return isinstance(error, FailOnRecompileLimitHit)


def compiled(module: StepModule, options: Mapping[str, int | bool]) -> StepFunction:
    """The module's `forward`, compiled at its first call. The compiled code is freed with the function.

    Torch stores compiled code with the code object of the Python function, at most eight versions for each.
    All policies share the code object of `StepModule.forward`. Without a copy, torch would refuse the ninth
    policy of a process and would never free any compiled code. Since 2.13, `torch.compile` has options for
    the limit, but none to free the code.
    """
    from torch._dynamo.eval_frame import (
        remove_from_cache,
    )  # this import creates torch's folder of compiled code

    forward = type(module).forward
    own = FunctionType(
        forward.__code__.replace(),
        forward.__globals__,
        forward.__name__,
        forward.__defaults__,
        forward.__closure__,
    )
    # Torch's table of original code objects refers to the compiled code, which refers back to the code
    # object. Without this removal the code object would never be freed.
    weakref.finalize(own, remove_from_cache, own.__code__).atexit = False
    return torch.compile(MethodType(own, module), fullgraph=True, dynamic=False, options=dict(options))
