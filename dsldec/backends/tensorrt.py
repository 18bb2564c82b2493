"""A step's module as one TensorRT engine for each shape of its inputs, built by Torch-TensorRT. Not measured
on a GPU.

Sums, products and functions such as `exp` are float32 here, because TensorRT has no float64; the other
backends compute in float64 and round once. So numbers may differ in the last bits, and decisions may differ
where they depend on these bits. TensorRT has no `log1p` and no `expm1` either: Torch-TensorRT writes them
with other functions, so entropies and margins near 0 have an error of about 1e-7. Policies that draw at
random are refused: random numbers need shifts and xors of bits, which TensorRT does not have. Shapes: B rows,
L columns of the canvas, T window positions, V vocabulary. Not here: the cache of engines on disk
(`engine_cache`), the computation of a step (`module`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..ir.nodes import Program
from ..lru import LRUCache
from ..spelling import option
from . import engine_cache, toolchain
from .compiled import MOST_SHAPES
from .engine_cache import Engine
from .module import StepModule
from .numerics import FOR_ENGINES
from .step import Events, Step, StepOutput, StepState, reported

LIBRARY = "torch_tensorrt"
INSTALL = '`pip install "dsldec[tensorrt]" --extra-index-url https://pypi.nvidia.com`'

# Every position is compared with every other, which writes several tensors [B, T, T].
LONGEST_WINDOW = 1024


def _otherwise() -> str:
    return f"use {option('backend', 'inductor')} or {option('backend', 'eager')}"


def library() -> Any:
    """Torch-TensorRT, which only this function imports. Raises `UsageError` (E0404) if it cannot work on this
    machine.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        _declined(
            "the backend `tensorrt` needs Torch-TensorRT and an NVIDIA GPU, and Torch-TensorRT is not installed",
            f"{INSTALL}, or {_otherwise()}",
        )
    if gpu() is None:
        _declined("the backend `tensorrt` needs an NVIDIA GPU, and torch finds none", _otherwise())
    try:
        # It prints to stdout and stderr before it raises, for example without the libraries of TensorRT.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            package = importlib.import_module(LIBRARY)
    except Exception as error:  # the package and its extensions raise exceptions of any class
        _declined(
            f"the backend `tensorrt` cannot load Torch-TensorRT: {_first_line(error)}",
            f"{INSTALL} brings what it needs; each release works with one minor version of torch, and the installed one is {torch.__version__}; "
            f"or {_otherwise()}",
        )
    notes = logging.getLogger(LIBRARY)
    # Each build logs warnings about settings; the error gives the reason of a failed build.
    if notes.level == logging.NOTSET:
        notes.setLevel(logging.ERROR)
    return package


def gpu() -> torch.device | None:
    """The current GPU of torch; `None` if there is no GPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None


def step(program: Program, mask_id: int, eos_id: int | None, static: Mapping[str, Value]) -> Engines:
    """The function of a step, for these values of its static parameters.

    Raises `UsageError` (E0404) if it cannot run on this machine, or if the policy draws at random.
    """
    _require_no_draws(program)
    if any(operation.name == "path" for operation in program.operations):
        _declined(
            f"the policy `{program.name}` has a pattern, and the backend `tensorrt` cannot", _otherwise()
        )
    torch_tensorrt = library()
    versions = (
        torch.__version__,
        torch.version.cuda,
        torch_tensorrt.__version__,
        importlib.import_module("tensorrt").__version__,
    )
    made_of = (program, mask_id, eos_id, sorted(static.items()), versions, sorted(_settings().items()))
    module = StepModule(program, mask_id, eos_id, static, FOR_ENGINES)
    return Engines(module, torch_tensorrt, tuple(reported(program)), made_of)


def with_model(denoiser: nn.Module, step: Step) -> Engines:
    """A denoiser and a step in one engine: one call for each forward, and the logits stay inside the engine.

    `denoiser`: a module from ids `[B, L]` int64 to logits `[B, L, V]`, in evaluation mode, on the device of
    its inputs. `step`: the result of `policy.compile("tensorrt", ...)`. The result has the call of
    `ModelAndStep.forward`, and a copy of the weights in each engine. These engines are built again at every
    start: the name of a cached engine would need a hash of all weights. Raises `UsageError` (E0404) if `step`
    belongs to another backend, or if the engine cannot be built.
    """
    if not isinstance(step.function, Engines):
        _declined(
            f"a denoiser can share an engine with a step of the backend `tensorrt`, not of `{step.backend}`",
            'write `policy.compile("tensorrt", ...)`',
        )
    both = ModelAndStep(denoiser, step.function.module)
    return Engines(both, step.function.library, tuple(reported(step.program)))


class ModelAndStep(nn.Module):
    """A forward of a denoiser and then the step of a window, as one module."""

    def __init__(self, denoiser: nn.Module, step: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.step = step

    def forward(
        self, ids: Tensor, columns: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        """The step's output for the window at `columns [B, T]` int64 of `ids [B, L]`."""
        rows = torch.arange(ids.shape[0], device=ids.device).unsqueeze(1)
        logits = self.denoiser(ids)[rows, columns]
        result: StepOutput = self.step(logits, ids.gather(1, columns), editable, state, params)
        return result


class Flat(nn.Module):
    """A step's module with flat lists of tensors as inputs and results, as engines and their files need them.

    Inputs: three tensors, then the state and the parameters. Results: canvas, done, the state and the events.
    """

    def __init__(self, module: nn.Module, state: Sequence[str], params: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.state, self.params = tuple(state), tuple(params)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        at = 3 + len(self.state)
        state, params = (
            dict(zip(self.state, tensors[3:at], strict=True)),
            dict(zip(self.params, tensors[at:], strict=True)),
        )
        output: StepOutput = self.module(*tensors[:3], state, params)
        following = (output.state[name] for name in self.state)
        return output.canvas, output.done, *following, *output.events.by_name().values()


class Engines:
    """A module as one engine for each shape of its inputs, called like every step.

    `events`: the events that it reports, in order. `made_of`: see `engine_cache.key`; with `None`, engines
    are not stored on disk. The inputs may be on any device: tensors outside a GPU are copied to the GPU, and
    the results are copied to the device of the first input. Raises `UsageError` (E0404) if an engine cannot
    be built.
    """

    def __init__(
        self,
        module: nn.Module,
        library: Any,
        events: Sequence[str],
        made_of: Sequence[object] | None = None,
    ) -> None:
        self.module, self.library, self.events, self.made_of = module, library, tuple(events), made_of
        self.engines: LRUCache[tuple[object, ...], Engine] = LRUCache(MOST_SHAPES)
        # All users of a machine share the default folder.
        self.timings = toolchain.temporary_folder("the backend `tensorrt`")

    def __call__(
        self, first: Tensor, second: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        home = first.device
        device = home if first.is_cuda else gpu()
        named = {"first": first, "second": second, "editable": editable}
        named |= {f"state {name}": value for name, value in state.items()} | {
            f"parameter {name}": value for name, value in params.items()
        }
        inputs = {name: value.to(device).contiguous() for name, value in named.items()}
        shapes = (device, *((name, value.shape, value.dtype) for name, value in inputs.items()))
        engine = self.engines.get_or_make(
            shapes, lambda: self._engine(Flat(self.module, list(state), list(params)).to(device), inputs)
        )
        canvas, done, *others = (result.to(home) for result in engine(*inputs.values()))
        following, events = others[: len(state)], others[len(state) :]
        return StepOutput(
            canvas,
            done,
            dict(zip(state, following, strict=True)),
            Events(**dict(zip(self.events, events, strict=True))),
        )

    def _engine(self, flat: Flat, inputs: Mapping[str, Tensor]) -> Engine:
        length, tensors = inputs["editable"].shape[1], tuple(inputs.values())
        if length > LONGEST_WINDOW:
            message = f"the backend `tensorrt` takes windows of up to {LONGEST_WINDOW} positions, and this one has {length}"
            _declined(message, f"choose a shorter block, or {_otherwise()}")
        if self.made_of is None:
            return self._built(flat, tensors)
        name = engine_cache.key(self.made_of, inputs)
        engine = engine_cache.load(name, tensors, self.library)
        if engine is None:
            engine = self._built(flat, tensors)
            engine_cache.save(name, engine, tensors, self.library)
        return engine

    def _built(self, flat: Flat, inputs: tuple[Tensor, ...]) -> Engine:
        toolchain.require_folder(writing=False)
        try:
            with torch.no_grad():
                program = torch.export.export(flat, inputs)
            return build(self.library, program, inputs, self.timings.name)
        except Exception as error:  # TensorRT has no exception class for its failures
            _declined(
                f"the backend `tensorrt` could not build an engine for the step: {_first_line(error)}",
                _otherwise(),
            )


def build(
    library: Any,
    program: torch.export.ExportedProgram,
    inputs: Sequence[Tensor],
    timings: str,
    **settings: object,
) -> Engine:
    """An exported program as a module that runs one engine, compiled by Torch-TensorRT. `settings`: more
    options.
    """
    given = (
        _settings() | {"device": inputs[0].device, "timing_cache_path": f"{timings}/timings.bin"} | settings
    )
    engine: Engine = library.dynamo.compile(program, arg_inputs=list(inputs), **given)
    return engine


def _settings() -> dict[str, object]:
    """The options of the compiler that change an engine."""
    return {
        # One engine or none: a graph split between TensorRT and torch would be slower than either.
        "min_block_size": 1,
        "require_full_compilation": True,
        "disable_tf32": torch.get_float32_matmul_precision() == "highest",
    }


def _require_no_draws(program: Program) -> None:
    if program.facts.constrains is not None:
        message = f"the policy `{program.name}` follows a pattern, and the backend `tensorrt` cannot"
        raise UsageError(Diagnostic("E0323", message, help=_otherwise()))
    if draws(program):
        _declined(
            f"the policy `{program.name}` draws at random, and the backend `tensorrt` cannot", _otherwise()
        )


def draws(program: Program) -> bool:
    """Whether a step has random numbers, which no engine computes."""
    return any(
        one.name == "random" or (one.name == "observe" and one.attribute != "argmax")
        for one in program.operations
    )


def _first_line(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "no reason given")
    return f"{type(error).__name__}: {first[:300]}"


def _declined(message: str, help_: str) -> NoReturn:
    raise UsageError(Diagnostic("E0404", message, help=help_))
