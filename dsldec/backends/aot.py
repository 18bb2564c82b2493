"""A step as a file that torch alone can run: an exported program compiled ahead of time by Inductor, and what it says of itself.

Shapes: B rows, T window positions, V vocabulary. A package is machine code: load only those you would run. It holds for
machines of the kind it was built on (their instructions are used) and for the one shape it was built for. Not here: the
graph (`exported`); where a file is put and what is said about it (`tools.build`).
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import CppCompileError, InductorError
from torch.export import ExportedProgram

from .. import checks
from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..ir.lower import lower
from ..ir.nodes import Program
from ..resources import version
from ..source import Source
from . import compiled
from .described import described, form, shown
from .exported import EOS_ID, MASK_ID, NO_EOS, Sizes, exported
from .step import State, Step

FIRST = ("logits", "canvas", "editable")
KEY = "dsldec"  # of our text among the package's metadata
USE = (
    "import json, torch; step = torch._inductor.aoti_load_package(file); about = json.loads(step.get_metadata()['dsldec'])",
    "after each forward of the model: canvas, done, state = step(logits, canvas, editable, state, params)",
    "logits, canvas [B, T]: the window's; editable [B, T]: where the policy may write; done [B]: nothing is left to do in this window",
    "all are contiguous, with the dtype and shape said here; torch checks that only with AOTI_RUNTIME_CHECK_INPUTS=1 in the environment",
    "state and params are dicts in the order said here, which is alphabetical: torch reads them by their order and not by name",
    "state begins full of `first`; `yours` are what no step changes: window_start [B] counts from the first generated position, 0 on",
    "params are those of `value`; mask_id is the model's, and eos_id too (-1: it has none); what is `fixed` sizes the step: leave it",
    "where state['not_finite'] [B, T] is true, the logits were no numbers, and what was written in that row must not be used",
)


def build(program: Program, values: Mapping[str, Value], sizes: Sizes, file: Path) -> None:
    """Make the package of a policy's step; `file` ends in `.pt2`.

    Raises `UsageError` (E0404, E0412) where this machine cannot compile it, or the policy or the sizes do not allow it.
    """
    if compiled.compiler() is None:
        help_ = "install one (Debian: `apt install g++`); whoever runs the package needs none"
        raise UsageError(Diagnostic("E0404", "building a step needs a C++ compiler and none is found", help=help_))
    metadata = {KEY: json.dumps({"use": USE} | described(program, values, sizes))}
    package(exported(program, values, sizes), metadata, file, compiled.options(program))


def package(graph: ExportedProgram, metadata: dict[str, str], file: Path, options: Mapping[str, Any]) -> None:
    """Compile a graph into a package that carries some metadata; `options` are Inductor's. Raises `UsageError` (E0404) where it fails."""
    options = {**options, "aot_inductor.metadata": metadata}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own about its own
            torch._inductor.aoti_compile_and_package(graph, package_path=str(file), inductor_configs=options)
    except (InductorError, BackendCompilerFailed, CppCompileError) as error:
        why = (str(error).strip().splitlines() or ["no reason given"])[0]
        help_ = "mend the compiler: it needs Python's headers too (Debian: `apt install g++ python3-dev`)"
        raise UsageError(Diagnostic("E0404", f"the step could not be compiled: {why}", help=help_)) from error


def about(file: str | os.PathLike[str]) -> dict[str, Any]:
    """What a package says of itself, read without running any of it. Raises `UsageError` (E0413) where it is none of ours."""
    try:
        with zipfile.ZipFile(file) as archive:
            inside = [name for name in archive.namelist() if name.endswith("wrapper_metadata.json")]
            found: dict[str, Any] = json.loads(json.loads(archive.read(inside[0]))[KEY])
            return found
    except (OSError, zipfile.BadZipFile, IndexError, KeyError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no package that dsldec built"
        help_ = "`dsldec build threshold --vocab 32000 -o step.pt2` builds one"
        raise UsageError(Diagnostic("E0413", f"`{os.fspath(file)}` cannot be used: {why.lower()}", help=help_)) from None


def load(file: str | os.PathLike[str], *, mask_id: int, eos_id: int | None = None) -> Step:
    """A package as a step like any other, for models with these ids; `params` are the values it was built with.

    Unlike torch alone, it takes state and params in any order, tensors that are not contiguous, and nothing of another shape or
    dtype. Raises `UsageError` (E0413) for such, for a file that is no such package, and where this torch or this dsldec is too
    far from those that built it.
    """
    said = about(file)
    program = _program(said, file)
    try:
        packaged = torch._inductor.aoti_load_package(os.fspath(file))
    except RuntimeError as error:
        why = (str(error).strip().splitlines() or ["no reason given"])[0]
        help_ = f"it was built for {said['device']} by torch {said['torch']}, and this is torch {torch.__version__}: build it again here"
        raise UsageError(Diagnostic("E0413", f"`{os.fspath(file)}` cannot be loaded: {why}", help=help_)) from error
    static = {name: said["params"][name]["value"] for name in program.facts.static}
    return Step(program, "aot", mask_id, eos_id, _parameters(said, mask_id, eos_id), _Checked(packaged, said), static)


class _Checked:
    """The package's function, called like every step."""

    def __init__(self, packaged: Callable[..., Any], said: Mapping[str, Any]) -> None:
        self.packaged, self.said = packaged, said

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: State, params: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, State]:
        said = self.said
        first = self._fitting({"logits": logits, "canvas": canvas, "editable": editable}, {name: said[name] for name in FIRST})
        result: tuple[Tensor, Tensor, State] = self.packaged(
            *first.values(), self._fitting(state, said["state"]), self._fitting(params, said["params"])
        )
        return result

    def _fitting(self, given: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> dict[str, Tensor]:
        """The tensors in the order the package reads them in, contiguous."""
        if given.keys() != wanted.keys():
            odd = ", ".join(f"`{name}`" for name in sorted(given.keys() ^ wanted.keys()))
            help_ = "take those of `step.start(...)` and `step.params`"
            raise UsageError(Diagnostic("E0413", f"the package takes other names than it was given: {odd}", help=help_))
        for name, of in wanted.items():
            needed, found = f"{shown(of)} on {self.said['device']}", f"{shown(form(given[name]))} on {given[name].device.type}"
            if found != needed:
                message = f"the package takes `{name}` as {needed}, and this is {found}"
                raise UsageError(Diagnostic("E0413", message, help="a package has one form: `dsldec build` makes one of another"))
        return {name: given[name].contiguous() for name in wanted}


def _parameters(said: Mapping[str, Any], mask_id: int, eos_id: int | None) -> dict[str, Tensor]:
    values = {name: of["value"] for name, of in said["params"].items()} | {MASK_ID: mask_id, EOS_ID: NO_EOS if eos_id is None else eos_id}
    dtypes = {name: getattr(torch, of["dtype"]) for name, of in said["params"].items()}
    return {name: torch.tensor(value, dtype=dtypes[name], device=said["device"]) for name, value in values.items()}


def _program(said: Mapping[str, Any], file: str | os.PathLike[str]) -> Program:
    """The program that this dsldec makes of the package's policy, if it carries what the package's state holds."""
    checked, _ = checks.check(Source(said["policy"]["text"], os.fspath(file)))
    program = None if checked is None else lower(checked)
    if program is None or {*program.carried, "not_finite"} != said["state"].keys():
        message = f"`{os.fspath(file)}` was built by dsldec {said['dsldec']}, and its policy is another step for this one, {version()}"
        raise UsageError(Diagnostic("E0413", message, help="build it again, or use it without dsldec: torch alone can run it"))
    return program
