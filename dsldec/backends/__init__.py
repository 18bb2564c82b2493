"""The backends: each makes a function that runs the program of a step. This package and the packages above it
import torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from .. import options
from ..checks.values import Value
from ..ir.nodes import Program
from . import toolchain
from .step import NO_SPECIAL, Step, StepFunction, parameter_tensors, static_of

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
    from . import step_cache
    from .inductor import CompiledStep
    from .path_first import without_path

    if toolchain.compiler() is None and not step_cache.has_any(without_path(program), static):
        step_cache.require_compiler()
    return _with_path(
        program,
        (mask_id, eos_id),
        static,
        lambda program: CompiledStep(
            program, (mask_id, eos_id), static, lambda: _eager(program, mask_id, eos_id, static)
        ),
    )


def _auto(program: Program, mask_id: int, eos_id: int | None, static: Mapping[str, Value]) -> StepFunction:
    from .inductor import CompiledStep, Waits

    return _with_path(
        program,
        (mask_id, eos_id),
        static,
        lambda program: CompiledStep(
            program, (mask_id, eos_id), static, lambda: _eager(program, mask_id, eos_id, static), Waits.NEVER
        ),
    )


def _with_path(
    program: Program,
    ids: tuple[int, int | None],
    static: Mapping[str, Value],
    compiled: Callable[[Program], StepFunction],
) -> StepFunction:
    """The compiled step; of a policy with a pattern, the path before it."""
    from .path_first import PathFirst, path_of, without_path

    if path_of(program) is None:
        return compiled(without_path(program))
    return PathFirst(program, ids, static, compiled)


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
AUTO = "auto"
# For a GPU: from this number of logits on, compiling saves more time than it takes. Measured on two CPU
# cores: 1.3e9 logits with a warm compiler cache, 2.8e9 without. On a CPU, `auto` measures (`inductor`).
LOGITS_THAT_REPAY_COMPILING = 2 * 10**9


def known(backend: str) -> str:
    """The name of a backend, or `auto`. Raises `UsageError` (E0404) for an unknown name."""
    options.DECODE["backend"].require(backend)
    return backend


def make(
    program: Program, backend: str, mask_id: int, eos_id: int | None, static: Mapping[str, Value]
) -> StepFunction:
    """The function that runs a step on a backend, for these values of the static parameters.

    `backend` is one of `BACKENDS`, or `auto`, the step that is eager until a compiled form is there. Raises
    `UsageError` (E0404) if the backend cannot run on this machine.
    """
    maker = _auto if backend == AUTO else REGISTRY[backend].make
    return maker(program, mask_id, eos_id, static)


def of_run(step: Step) -> Step:
    """The step for a decoding. With `inductor` on a CPU, only the first shape of a model waits for its
    compilation. Later ones are compiled in the background, and the step is eager until then.
    """
    if step.backend != "inductor":
        return step
    from .inductor import CompiledStep
    from .path_first import PathFirst

    function = step.function
    if isinstance(function, PathFirst) and isinstance(function.rest, CompiledStep):
        return replace(step, function=function.with_rest(function.rest.of_run()))
    return replace(step, function=function.of_run()) if isinstance(function, CompiledStep) else step


def takes_any_rows(step: Step, device: torch.device) -> bool:
    """Whether one compiled form of a step serves every number of rows on this device."""
    return device.type == "cpu" and step.backend in (AUTO, "inductor")


def choose(logits_to_read: int, device: torch.device | str = "cpu") -> tuple[str, str]:
    """The backend that `auto` chooses, and the reason in one line.

    On a CPU it is `auto` itself: a step that is eager until a compiled form is there, by the rule in
    `inductor`. On other devices it is `inductor` for a long run. `auto` never chooses `tensorrt`: that
    backend runs only if the caller names it.
    """
    on_cpu = torch.device(device).type == "cpu"
    if toolchain.compiler() is None and not (on_cpu and _some_are_stored()):
        named = os.environ.get("CXX")
        return "eager", f"eager ({toolchain.none_found() if named else 'no C++ compiler found'})"
    if not on_cpu and logits_to_read < LOGITS_THAT_REPAY_COMPILING:
        return "eager", "eager (too short a run to repay compiling)"
    # On a CPU, a background compilation finds a full disk, and every decoding passes here.
    if (trouble := toolchain.folder_trouble(writing=not on_cpu)) is not None:
        return "eager", f"eager ({trouble.message})"
    if on_cpu:
        return AUTO, "eager, until a compiled step is in the cache or repays its compilation"
    return "inductor", "inductor (compiling takes a moment)"


def _some_are_stored() -> bool:
    from . import step_cache, user_folder

    try:
        return bool(user_folder.files(step_cache.folder(), step_cache.SUFFIX))
    except user_folder.Unusable:
        return False


def bound(
    program: Program,
    backend: str,
    mask_id: int,
    eos_id: int | None,
    function: StepFunction,
    values: Mapping[str, Value],
    special: Mapping[str, int | None] = NO_SPECIAL,
) -> Step:
    """A step with its parameter values. Several steps may share one function.

    `special`: other ids of the model by their words, such as `pad`.
    """
    return Step(
        program,
        backend,
        mask_id,
        eos_id,
        parameter_tensors(program, values, special={**special, "eos": eos_id}),
        function,
        static_of(program, values),
    )
