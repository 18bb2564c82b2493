"""Loads a built package as a step.

The policy's text in the package is checked and lowered again, and the package must be the step of this
program.

Not here: the package's machine code and manifest (`backends.aot`), how a package is built (`tools.build`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import checks
from .backends import aot
from .backends.manifest import value_of
from .backends.step import Step
from .diagnostics import Diagnostic, UsageError
from .ir.lower import lower
from .ir.nodes import Program
from .resources import version
from .source import Source


def load(
    file: str | os.PathLike[str],
    *,
    mask_id: int,
    eos_id: int | None = None,
    bos_id: int | None = None,
    pad_id: int | None = None,
) -> Step:
    """The step of a package, for models with these ids; its parameters have the values it was built with.

    A package is native code that runs with all your rights: load only packages from people you trust. Its
    digest detects damage, but does not identify the builder. Unlike a package in torch alone, the step takes
    state and parameters in any order and tensors that are not contiguous, and refuses other shapes and
    dtypes. Raises `UsageError` (E0413) for these, for a file that is no package or was changed, and where
    this machine, this torch or this dsldec cannot run the package.
    """
    manifest = aot.about(file)
    aot.require_machine(manifest, file)
    special = {"eos": eos_id, "bos": bos_id, "pad": pad_id}
    return aot.step(file, manifest, _program(manifest, file), mask_id, special)


def _program(manifest: Mapping[str, Any], file: str | os.PathLike[str]) -> Program:
    """The program of the package's policy. Raises `UsageError` if this dsldec makes another program."""
    checked, _ = checks.check(Source(manifest["policy"]["text"], os.fspath(file)))
    values = {name: value_of(of) for name, of in manifest["params"].items() if "choices" in of}
    program = None if checked is None else lower(checked, values)
    if program is None or not aot.is_step(program, manifest):
        message = f"`{os.fspath(file)}` was built by dsldec {manifest['dsldec']}, and its policy is another step for this one, {version()}"
        help_ = "build it again, or use it without dsldec: torch alone can run it"
        raise UsageError(Diagnostic("E0413", message, help=help_))
    return program
