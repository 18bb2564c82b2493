"""Tensor operations to a step: the same program on different machinery. Torch from here on."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..ir.nodes import Program
from ..spelling import option
from . import compiled, tensorrt, toolchain
from .module import StepModule
from .reference import ReferenceStep
from .step import Step, StepFunction, parameter_tensors, static_of

BACKENDS = ("reference", "eager", "inductor", "tensorrt")
COMPILED = frozenset({"inductor", "tensorrt"})  # once for each shape of a step's inputs
# Where compiling has paid for itself: measured at 1.3e9 logits with a warm compiler cache, 2.8e9 without (two
# CPU cores).
LOGITS_THAT_REPAY_COMPILING = 2 * 10**9


def known(backend: str) -> str:
    """The name of a backend, or `auto`. Raises `UsageError` (E0404) for another."""
    if isinstance(backend, str) and backend in ("auto", *BACKENDS):
        return backend
    close = did_you_mean(str(backend), BACKENDS)
    names = ", ".join(f"`{name}`" for name in ("auto", *BACKENDS))
    raise UsageError(
        Diagnostic(
            "E0404",
            f"there is no backend `{backend}`",
            help=f"did you mean `{close}`?" if close else f"the backends are {names}",
        )
    )


def make(
    program: Program, backend: str, mask_id: int, eos_id: int | None, static: Mapping[str, Value]
) -> StepFunction:
    """The step's function on a backend, for the values of its static parameters.

    Raises `UsageError` (E0404) where there is no such backend or it cannot run here.
    """
    if backend == "reference":
        return ReferenceStep(program, mask_id, eos_id, static)
    if backend == "eager":
        return StepModule(program, mask_id, eos_id, static)
    if backend == "inductor":
        if toolchain.compiler() is None:
            help_ = f"install one (Debian: `apt install g++`), or use {option('backend', 'eager')}"
            message = f"the backend `inductor` needs a C++ compiler and {toolchain.none_found()}"
            raise UsageError(Diagnostic("E0404", message, help=help_))
        return compiled.CompiledStep(StepModule(program, mask_id, eos_id, static))
    if backend == "tensorrt":
        return tensorrt.step(program, mask_id, eos_id, static)
    raise AssertionError(f"`known` lets no `{backend}` pass")


def choose(logits_to_read: int) -> tuple[str, str]:
    """The backend that `auto` stands for, and why in one line; never `tensorrt`, which has to be asked for."""
    if toolchain.compiler() is None:
        return "eager", "eager (no C++ compiler found)" if not os.environ.get(
            "CXX"
        ) else f"eager ({toolchain.none_found()})"
    if logits_to_read < LOGITS_THAT_REPAY_COMPILING:
        return "eager", "eager (too short a run to repay compiling)"
    if (trouble := toolchain.folder_trouble()) is not None:
        return "eager", f"eager ({trouble.message})"
    return "inductor", "inductor (compiling takes a moment)"


def bound(
    program: Program,
    backend: str,
    mask_id: int,
    eos_id: int | None,
    function: StepFunction,
    values: Mapping[str, Value],
) -> Step:
    """A step with its parameters: many may share one function."""
    return Step(
        program,
        backend,
        mask_id,
        eos_id,
        parameter_tensors(program, values),
        function,
        static_of(program, values),
    )
