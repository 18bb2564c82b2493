"""The package of a step: its exported program, compiled ahead of time by Inductor. Torch runs it without
dsldec.

Shapes: B rows, T window positions, V vocabulary. A package contains machine code: load only packages from
people you trust. It runs on machines with the same processor features, with the torch version that built it
or a later one, and for one shape. Not here: the graph (`exported`), the check for damage (`sealed`), the
manifest (`manifest`, `manifest_reader`), the output file and the messages (`tools.build`), the loading of a
package together with its policy (`dsldec.packages`).
"""

from __future__ import annotations

import json
import os
import re
import struct
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ..checks.parameters import unfit
from ..checks.values import Value, static_values
from ..diagnostics import Diagnostic, UsageError
from ..ir.nodes import Program
from ..language.words import NO_ID
from ..renamed import warn_of_former
from . import compiled, manifest_reader, sealed, toolchain
from .exported import EOS_ID, MASK_ID, MOST_LOGITS, Sizes, example, example_events, exported
from .manifest import described, form, machine, shown, value_of
from .manifest_reader import KEY, NoManifest
from .sealed import NotWhole
from .step import Events, Step, StepOutput, StepState

FIRST = ("logits", "canvas", "editable")
VECTORS = ("DEFAULT", "AVX2", "AVX512")  # torch's names; each set includes the sets before it
USE = (
    "import json, torch; step = torch._inductor.aoti_load_package(file); about = json.loads(step.get_metadata()['dsldec'])",
    "after each forward of the model: canvas, done, state, events = step(logits, canvas, editable, state, params)",
    "logits, canvas [B, T]: the window's; editable [B, T]: where the policy may write; done [B]: the window needs no further step",
    "all tensors are contiguous, with the dtype and shape given here; torch checks that only with AOTI_RUNTIME_CHECK_INPUTS=1 in the environment",
    "state and params are dicts in the order given here, which is alphabetical: torch reads them by order and not by name",
    "state starts with the values `first`; the caller sets the fields that are `yours`: window_start [B] counts from the first generated position, 0 on",
    "events is a dict, and no input of the next step; `means` says what a field of state or events holds",
    "params start with the values `value`; mask_id and eos_id (-1: none) are the model's, and so are eos, bos and pad if the policy reads them; do not change `fixed` ones",
    "where events['not_finite'] [B, T] is true, the logits were not finite: do not use the tokens of that row",
)


def build(program: Program, values: Mapping[str, Value], sizes: Sizes, file: Path) -> None:
    """Build the package of a policy's step. The name of `file` ends in `.pt2`.

    Raises `UsageError` (E0404, E0412, E0417) if this machine cannot compile the step, or if the policy or the
    sizes do not allow a package.
    """
    if toolchain.compiler() is None:
        help_ = "install one (Debian: `apt install g++`); running the package needs no compiler"
        raise UsageError(
            Diagnostic(
                "E0404", f"building a step needs a C++ compiler and {toolchain.none_found()}", help=help_
            )
        )
    toolchain.require_folder()
    metadata = {KEY: json.dumps({"use": USE} | described(program, values, sizes))}
    package(exported(program, values, sizes), metadata, file, compiled.options(program))


def package(
    graph: ExportedProgram,
    metadata: dict[str, str],
    file: Path,
    options: Mapping[str, Any],
    what: str = "the step could not be compiled",
    otherwise: str | None = "running the package needs no compiler",
) -> None:
    """Compile a graph into a sealed package with metadata. `options`: options of Inductor.

    Raises `UsageError` (E0404, E0417) if the compilation fails; `what` and `otherwise` as in
    `toolchain.failure`.
    """
    options = {**options, "aot_inductor.metadata": metadata}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about its own code
            torch._inductor.aoti_compile_and_package(graph, package_path=str(file), inductor_configs=options)
        sealed.seal(file)
    except Exception as error:
        if not toolchain.of_compiling(error):
            raise
        raise UsageError(toolchain.failure(error, what, otherwise)) from error


def about(file: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a package, read without running its code.

    Raises `UsageError` (E0413) if the file is no package of dsldec, or was changed after the build.
    """
    try:
        sealed.require_whole(file)
        return manifest_reader.read(file)
    except (NotWhole, NoManifest) as error:
        why = str(error)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        why = (getattr(error, "strerror", None) or str(error)).lower()
    help_ = "copy it again or build it again: `dsldec build threshold --vocab 32000 -o step.pt2`"
    raise UsageError(Diagnostic("E0413", f"`{os.fspath(file)}` cannot be used: {why}", help=help_))


def step(
    file: str | os.PathLike[str],
    said: Mapping[str, Any],
    program: Program,
    mask_id: int,
    special: Mapping[str, int | None],
) -> Step:
    """The step of a package with this manifest. `special`: other ids of the model by their words.

    Raises `UsageError` (E0413) if torch cannot load it.
    """
    try:
        packaged = torch._inductor.aoti_load_package(os.fspath(file))
    except Exception as error:  # torch's loader raises exceptions of many classes
        why = (str(error).strip().splitlines() or ["no reason given"])[0]
        help_ = f"it was built for {said['device']} by torch {said['torch']}, and the installed torch is {torch.__version__}: build it again here"
        raise UsageError(
            Diagnostic("E0413", f"`{os.fspath(file)}` cannot be loaded: {why}", help=help_)
        ) from error
    params = _parameters(said, mask_id, special)
    static = static_values(
        program.facts.static, {name: value_of(said["params"][name]) for name in program.facts.static}
    )
    return Step(program, "aot", mask_id, special["eos"], params, _Checked(packaged, said), static)


def __getattr__(name: str) -> Any:
    """`load` under its former name. This module imports it by name, because its new module is above."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn_of_former("dsldec.backends.aot.load", "dsldec.packages.load")
    return import_module("dsldec.packages").load


class _Checked:
    """The function of a package. It checks its inputs, and is called like every step."""

    def __init__(self, packaged: Callable[..., Any], said: Mapping[str, Any]) -> None:
        self.packaged, self.said = packaged, said

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        said = self.said
        first = self._fitting(
            {"logits": logits, "canvas": canvas, "editable": editable}, {name: said[name] for name in FIRST}
        )
        canvas, done, state, events = self.packaged(
            *first.values(), self._fitting(state, said["state"]), self._fitting(params, said["params"])
        )
        return StepOutput(canvas, done, state, Events(**events))

    def _fitting(self, given: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors, contiguous, in the order in which the package reads them."""
        if given.keys() != wanted.keys():
            odd = ", ".join(f"`{name}`" for name in sorted(given.keys() ^ wanted.keys()))
            help_ = "take those of `step.start(...)` and `step.params`"
            raise UsageError(
                Diagnostic("E0413", f"the package takes other names than the given ones: {odd}", help=help_)
            )
        for name, of in wanted.items():
            needed, found = (
                f"{shown(of)} on {self.said['device']}",
                f"{shown(form(given[name]))} on {given[name].device.type}",
            )
            if found != needed:
                message = f"the package takes `{name}` as {needed}, not {found}"
                raise UsageError(
                    Diagnostic(
                        "E0413",
                        message,
                        help="a package has fixed shapes and dtypes: `dsldec build` makes one with others",
                    )
                )
        return {name: given[name].contiguous() for name in wanted}


def _parameters(
    said: Mapping[str, Any], mask_id: int, special: Mapping[str, int | None]
) -> dict[str, Tensor]:
    ids = {name: NO_ID if id_ is None else id_ for name, id_ in special.items()}
    values = {name: of["value"] for name, of in said["params"].items()} | {
        MASK_ID: mask_id,
        EOS_ID: ids["eos"],
        **{name: id_ for name, id_ in ids.items() if name in said["params"]},
    }
    dtypes = {name: getattr(torch, of["dtype"]) for name, of in said["params"].items()}
    return {
        name: torch.tensor(value, dtype=dtypes[name], device=said["device"]) for name, value in values.items()
    }


def require_machine(said: Mapping[str, Any], file: str | os.PathLike[str]) -> None:
    """Raises `UsageError` (E0413) if the code of the package would end the process instead of raising an
    error.

    A package calls functions of torch. Later releases of torch still have these functions, and each release
    adds new ones.
    """
    built, here = said["machine"], machine(said["device"])
    if (
        (of := _release(said["torch"])) is None
        or (there := _release(torch.__version__)) is None
        or of > there
    ):
        why, help_ = (
            f"it was built by torch {said['torch']}, and the installed torch is {torch.__version__}",
            "an older torch cannot run a newer package",
        )
    elif (built["system"], built["processor"]) != (here["system"], here["processor"]):
        why = f"it was built for {built['system']} on {built['processor']}, not {here['system']} on {here['processor']}"
        help_ = "a package is machine code"
    elif said["device"] == "cuda" and not torch.cuda.is_available():
        why, help_ = (
            "it was built for a CUDA device, and torch finds none on this machine",
            "a package runs on one kind of device",
        )
    elif _lacks(built["vectors"], here["vectors"]):
        why, help_ = (
            f"it was built for processors with {built['vectors']}, and torch finds {here['vectors']} here",
            "the process would be killed",
        )
    else:
        return
    raise UsageError(
        Diagnostic(
            "E0413", f"`{os.fspath(file)}` cannot run here: {why}", help=f"{help_}: build it again here"
        )
    )


def _release(version: str) -> tuple[int, int] | None:
    """The major and the minor number of a torch version."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})(?!\d)", version)
    return None if found is None else (int(found[1]), int(found[2]))


def _lacks(built: str, here: str) -> bool:
    """Whether the code needs vector instructions that this processor does not have."""
    if built in VECTORS and here in VECTORS:
        return VECTORS.index(built) > VECTORS.index(here)
    return built != here


def is_step(program: Program, said: Mapping[str, Any]) -> bool:
    """Whether the inputs of a package are those of this program, for the sizes and values in its manifest."""
    try:
        values = {name: value_of(of) for name, of in said["params"].items()}
    except (ValueError, TypeError, IndexError, struct.error):
        return False
    none = {MASK_ID: None, **dict.fromkeys((EOS_ID, *program.special_ids), NO_ID)}
    ids = {name: values.pop(name) for name in none if name in values}
    if values.keys() != program.parameters.keys() or ids != none:
        return False
    B, T, V = (said["sizes"][letter] for letter in "BTV")
    if (
        any(_unfit(program, name, value) for name, value in values.items())
        or not 1 <= B * T * V <= MOST_LOGITS
    ):
        return False
    sizes = Sizes(B, T, V, getattr(torch, said["logits"]["dtype"]), said["device"])
    logits, canvas, editable, state, params = example(program, values, sizes)
    first = {name: form(x) for name, x in (("logits", logits), ("canvas", canvas), ("editable", editable))}
    return (
        first == {name: _form(said[name]) for name in FIRST}
        and [*((name, form(x)) for name, x in state.items())]
        == [(name, _form(of)) for name, of in said["state"].items()]
        and {name: form(x) for name, x in example_events(program, sizes).items()}
        == {name: _form(of) for name, of in said["events"].items()}
        and [*((name, form(x)) for name, x in params.items())]
        == [(name, _form(of)) for name, of in said["params"].items()]
    )


def _unfit(program: Program, name: str, value: Value) -> bool:
    parameter = program.parameters[name]
    low, high = parameter.smallest, parameter.largest
    if parameter.choices:
        return value not in parameter.choices
    if unfit(parameter.kind, value):
        return True
    if not isinstance(value, bool | int | float) or low is None or high is None:
        return False
    return not low <= value <= high


def _form(of: Mapping[str, Any]) -> dict[str, Any]:
    return {"dtype": of["dtype"], "shape": of["shape"]}
