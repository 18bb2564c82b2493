"""A step's module compiled by Inductor: one graph, static shapes; needs a C++ compiler on a CPU.

Not here: when compiling pays (`choose` in this package).
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Mapping

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import InductorError

from ..diagnostics import Diagnostic, UsageError
from ..ir.nodes import Program
from ..spelling import option
from .module import StepModule
from .step import State

log = logging.getLogger("dsldec")

MOST_SHAPES = 256  # a step is compiled once for each shape of its inputs; past this it is refused

# Torch 2.13 may write over memory that a sort or a scan still reads; the random policies of the tests found it. Moved beside
# their uses, the reductions over the vocabulary would come to stand too far apart to be made one loop.
OPTIONS = {"inplace_buffers": False, "reorder_for_locality": False}
# With the thresholds it has, Inductor would keep the noise of every id, and logits made of others: both twice as large as the
# logits. Far larger ones take it long to compile: what is not kept is written out wherever it is used.
OPTIONS_OF_DRAWS = {"realize_opcount_threshold": 100}
OPTIONS_OF_MADE = {"realize_reads_threshold": 20}
MAKES_LOGITS = frozenset({"ban", "bias", "bias_all"})


def options(program: Program) -> dict[str, int | bool]:
    """What Inductor is told for a program."""
    draws = any(operation.name == "observe" and operation.of != "argmax" for operation in program.operations)
    made = any(operation.name in MAKES_LOGITS for operation in program.operations)
    return OPTIONS | (OPTIONS_OF_DRAWS if draws else {}) | (OPTIONS_OF_MADE if made else {})


def compiler() -> str | None:
    """The C++ compiler Inductor would use on this machine."""
    return shutil.which(os.environ.get("CXX") or "g++") or shutil.which("clang++") or shutil.which("cl")


class CompiledStep:
    """The module as one compiled graph, called like every step; each new shape of its inputs compiles again.

    Raises `UsageError` (E0404) where this machine's compiler cannot do it.
    """

    def __init__(self, module: StepModule) -> None:
        # All policies share the module's code: without isolation the ninth of a process would be refused.
        # (2.13 has both options, but its type hints do not know them yet.)
        self.name, self.shapes = module.program.name, set[object]()
        self.compiled = torch.compile(  # type: ignore[call-overload]
            module, fullgraph=True, dynamic=False, isolate_recompiles=True, recompile_limit=MOST_SHAPES, options=options(module.program)
        )

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: State, params: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, State]:
        # In one order: with another order of names it would be compiled again.
        state, params = dict(sorted(state.items())), dict(sorted(params.items()))
        shape = (logits.shape, logits.dtype, logits.device)
        if shape in self.shapes:
            return self._called(logits, canvas, editable, state, params)
        rows, positions, _ = logits.shape
        batch = "1 row" if rows == 1 else f"{rows} rows"
        log.info("compiling the step of `%s` for %s of %d positions: up to a minute or two the first time, less from "
                 "the cache afterwards; the backend `eager` starts at once", self.name, batch, positions)  # fmt: skip
        began = time.perf_counter()
        result = self._called(logits, canvas, editable, state, params)
        self.shapes.add(shape)
        log.info("compiled in %.0f s; shapes this step is compiled for: %d", time.perf_counter() - began, len(self.shapes))
        return result

    def _called(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: State, params: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, State]:
        try:
            result: tuple[Tensor, Tensor, State] = self.compiled(logits, canvas, editable, state, params)
            return result
        except (InductorError, BackendCompilerFailed) as error:
            why = (str(error).strip().splitlines() or ["no reason given"])[0]
            mend = "mend the compiler: it needs Python's headers too (Debian: `apt install g++ python3-dev`)"
            help_ = f"use {option('backend', 'eager')}, or {mend}"
            raise UsageError(Diagnostic("E0404", f"the backend `inductor` could not compile the step: {why}", help=help_)) from error
