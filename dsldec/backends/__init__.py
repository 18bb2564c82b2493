"""The backends: each makes a function that runs the program of a step. This package and the packages above it
import torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .. import options
from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..ir.nodes import Program
from ..spelling import option
from . import toolchain
from .step import Step, StepFunction, parameter_tensors, static_of

# Arguments: the program, the MASK id, the end-of-text id, the values of the static parameters.
Maker = Callable[[Program, int, int | None, Mapping[str, Value]], StepFunction]


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend.

    `make` imports the module of the backend when it is called. `compiles_per_shape`: whether the backend
    compiles anew for each shape of the inputs.
    """

    name: str
    make: Maker
    compiles_per_shape: bool = False

    @property
    def help(self) -> str:
        """The description of the backend in one line."""
        return options.BACKENDS[self.name]


def _reference(
    program: Program, mask_id: int, eos_id: int | None, static: Mapping[str, Value]
) -> StepFunction:
    from .reference import ReferenceStep

    return ReferenceStep(program, mask_id, eos_id, static)


def _eager(program: Program, mask_id: int, eos_id: int | None, static: Mapping[str, Value]) -> StepFunction:
    from .module import StepModule

    return StepModule(program, mask_id, eos_id, static)


def _inductor(
    program: Program, mask_id: int, eos_id: int | None, static: Mapping[str, Value]
) -> StepFunction:
    from .inductor import CompiledStep
    from .module import StepModule

    if toolchain.compiler() is None:
        help_ = f"install one (Debian: `apt install g++`), or use {option('backend', 'eager')}"
        message = f"the backend `inductor` needs a C++ compiler and {toolchain.none_found()}"
        raise UsageError(Diagnostic("E0404", message, help=help_))
    return CompiledStep(StepModule(program, mask_id, eos_id, static))


def _tensorrt(
    program: Program, mask_id: int, eos_id: int | None, static: Mapping[str, Value]
) -> StepFunction:
    from .tensorrt import step

    return step(program, mask_id, eos_id, static)


# A new backend needs an entry here, and its name and help text in `options.BACKENDS`.
REGISTRY = {
    backend.name: backend
    for backend in (
        Backend("reference", _reference),
        Backend("eager", _eager),
        Backend("inductor", _inductor, compiles_per_shape=True),
        Backend("tensorrt", _tensorrt, compiles_per_shape=True),
    )
}
BACKENDS = tuple(REGISTRY)
COMPILED = frozenset(backend.name for backend in REGISTRY.values() if backend.compiles_per_shape)
# From this number of logits on, compiling saves more time than it takes. Measured on two CPU cores: 1.3e9
# logits with a warm compiler cache, 2.8e9 without.
LOGITS_THAT_REPAY_COMPILING = 2 * 10**9


def known(backend: str) -> str:
    """The name of a backend, or `auto`. Raises `UsageError` (E0404) for an unknown name."""
    options.DECODE["backend"].require(backend)
    return backend


def make(
    program: Program, backend: str, mask_id: int, eos_id: int | None, static: Mapping[str, Value]
) -> StepFunction:
    """The function that runs a step on a backend, for these values of the static parameters.

    Raises `UsageError` (E0404) if the backend cannot run on this machine.
    """
    return REGISTRY[backend].make(program, mask_id, eos_id, static)


def choose(logits_to_read: int) -> tuple[str, str]:
    """The backend that `auto` chooses, and the reason in one line.

    `auto` never chooses `tensorrt`: that backend runs only if the caller names it.
    """
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
    """A step with its parameter values. Several steps may share one function."""
    return Step(
        program,
        backend,
        mask_id,
        eos_id,
        parameter_tensors(program, values),
        function,
        static_of(program, values),
    )
