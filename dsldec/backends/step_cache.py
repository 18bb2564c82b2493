"""The cache of compiled steps on disk: one package of AOTInductor for each form of a step.

The name of a file is a digest of everything that the machine code depends on. A file that is damaged, or that
another user can write, is ignored: the step is then compiled again. The cache has a limit of bytes; beyond
it, the least recently used packages are deleted. Not here: the compiling of a graph (`aot`), the trust in
files (`user_folder`), the decision whether to compile (`inductor`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import ir
from ..diagnostics import Diagnostic, UsageError
from ..ir.nodes import Program
from ..spelling import option
from . import sealed, toolchain, user_folder
from .sealed import NotWhole
from .step_form import StepForm, form_key, program_key
from .user_folder import Unusable

log = logging.getLogger("dsldec")

FOLDER, VARIABLE = "steps", "DSLDEC_STEPS"
SUFFIX = ".pt2"
MOST_BYTES = 256 * 2**20  # a package has about half a megabyte
KEY = "dsldec_step"  # the entry in the metadata of a package
MEMBER = "wrapper_metadata.json"
MOST_METADATA = 2**20  # bytes
PACE = "pace"  # a file: the seconds of the last compilation, in multiples of `_typical_seconds`

# The inputs in the order of the package, contiguous; the list is emptied. The results in the order of the
# package.
Runner = Callable[[list[Tensor]], list[Tensor]]


@dataclass(frozen=True, slots=True)
class CachedPackage:
    """A package in the cache. `policy`: the name of the policy that it was compiled for first."""

    file: Path
    bytes: int
    policy: str
    form: str


def available() -> bool:
    """Whether this torch can load packages."""
    return hasattr(torch._C, "_aoti") and hasattr(torch._C._aoti, "AOTIModelPackageLoader")


def folder() -> Path:
    """The folder of the cache. Raises `Unusable`."""
    return user_folder.folder(FOLDER, VARIABLE)


def load(form: StepForm) -> Runner | None:
    """The package of a form, if the cache has one."""
    try:
        file = folder() / _name(form)
    except Unusable:
        return None
    return _loaded(file)


def compiled(form: StepForm) -> Runner:
    """The package of a form, from the cache or compiled now. Only one process compiles a form.

    Raises `UsageError` (E0404, E0417) if this machine cannot compile.
    """
    try:
        file = folder() / _name(form)
    except Unusable as error:
        log.info("compiled steps are not stored: %s", error)
        return _compiled(form, None)
    with user_folder.locked(file):
        return _loaded(file) or _compiled(form, file)


def has_any(program: Program, static: Mapping[str, Any]) -> bool:
    """Whether the cache has a package of this program, of any size."""
    try:
        return any(folder().glob(f"{_prefix(program, static)}-*{SUFFIX}"))
    except (Unusable, OSError):
        return False


def expected_seconds(program: Program) -> float:
    """The time that compiling a form of the program takes on this machine.

    The pace of the last compilation, times a line through the times of the shipped policies.
    """
    try:
        pace = float((folder() / PACE).read_bytes()[:32])
    except (Unusable, OSError, ValueError):
        pace = 1.0
    return _typical_seconds(program) * min(max(pace, 0.1), 100.0)


def packages() -> list[CachedPackage]:
    """The packages in the cache, the least recently used first. Raises `Unusable` without a folder."""
    found = []
    for file, about in user_folder.files(folder(), SUFFIX):
        try:
            said = _metadata(file)
        except (NotWhole, Unusable, OSError):
            said = {"policy": "(damaged)", "form": ""}
        found.append(CachedPackage(file, about.st_size, said["policy"], said["form"]))
    return found


def clear() -> tuple[int, int]:
    """Delete all packages; returns their number and their bytes. Raises `Unusable` without a folder."""
    found = user_folder.files(folder(), SUFFIX)
    user_folder.delete([file for file, _ in found])
    return len(found), sum(about.st_size for _, about in found)


# --- one package


def _loaded(file: Path) -> Runner | None:
    """The package in a file of the cache; `None` if there is none, or if it cannot be used."""
    try:
        said = _metadata(file)
    except FileNotFoundError:
        return None
    except (NotWhole, Unusable, OSError) as error:
        log.info("`%s` is not used, and the step is compiled again: %s", file, error)
        return None
    if (here := _compiler()) and said["compiler"] != here:  # without a compiler, the old code runs
        log.info("`%s` was made by another C++ compiler, and the step is compiled again", file)
        return None
    try:
        loaded = _runner(file)
    except Exception as error:  # torch's loader raises exceptions of many classes
        log.info("`%s` cannot be loaded, and the step is compiled again: %s", file, error)
        return None
    user_folder.used(file)
    return loaded


def _runner(file: Path) -> Runner:
    # By position, because the names of the arguments differ between releases: the model in the file, more
    # than one thread may call it, one copy of its memory, no GPU.
    loader = torch._C._aoti.AOTIModelPackageLoader(os.fspath(file), "model", False, 1, -1)
    run: Runner = loader.boxed_run
    return run


def _metadata(file: Path) -> dict[str, Any]:
    """The metadata of an undamaged file that no other user can write.

    Raises `NotWhole`, `Unusable`, or `OSError` if the file cannot be read.
    """
    user_folder.require_private(file)
    sealed.require_whole(file)
    try:
        with zipfile.ZipFile(file) as archive:
            inside = [one for one in archive.infolist() if one.filename.endswith(MEMBER)]
            if len(inside) != 1 or inside[0].file_size > MOST_METADATA:
                raise NotWhole("it is no compiled step of dsldec")
            said: dict[str, Any] = json.loads(json.loads(archive.read(inside[0]))[KEY])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        raise NotWhole("it is no compiled step of dsldec") from None
    return said


def _compiled(form: StepForm, file: Path | None) -> Runner:
    """Compile a form, load it, and store it in `file`."""
    from . import aot, compiled
    from .exported import exported

    program, began = form.program, time.perf_counter()
    require_compiler()
    toolchain.require_folder()
    options = {**compiled.options(program), **_wrapper_options(), "cpp.threads": form.threads}
    with toolchain.temporary_folder("compiling a step") as beside:
        made = Path(beside) / f"step{SUFFIX}"
        graph = exported(program, form.values, form.sizes)
        said = {
            "policy": program.name,
            "form": f"{form.words}, {form.threads} thread{'s' * (form.threads > 1)}",
            "compiler": _compiler(),
        }
        what = "the backend `inductor` could not compile the step"
        aot.package(graph, {KEY: json.dumps(said)}, made, options, what, None)
        try:
            run = _runner(made)
        except Exception as error:  # no space or `noexec` where torch unpacks it: exceptions of many classes
            why = (str(error).strip().splitlines() or ["no reason given"])[0]
            help_ = f"set `TMPDIR` to your own folder with free space, {toolchain.eager()}"
            message = f"the compiled step cannot be loaded: {why}"
            raise UsageError(Diagnostic("E0417", message, help=help_)) from error
        seconds = time.perf_counter() - began
        if file is not None:
            _stored(made.read_bytes(), file, seconds / _typical_seconds(program))
    return run


def _stored(data: bytes, file: Path, pace: float) -> None:
    try:
        user_folder.stored(data, file, MOST_BYTES)
        user_folder.stored(f"{pace:.3f}".encode(), file.parent / PACE, MOST_BYTES)
    except OSError as error:  # for example a full disk, or a folder that this user may only read
        why = (error.strerror or str(error)).lower()
        log.info("the compiled step is not stored in `%s`: %s", file.parent, why)


def require_compiler() -> None:
    """Raises `UsageError` (E0404) without a C++ compiler."""
    if toolchain.compiler() is None:
        help_ = f"install one (Debian: `apt install g++`), or use {option('backend', 'eager')}"
        message = f"the backend `inductor` needs a C++ compiler and {toolchain.none_found()}"
        raise UsageError(Diagnostic("E0404", message, help=help_))


def _wrapper_options() -> dict[str, Any]:
    """Options for the C++ code around the kernels. It takes half of the time of a compilation.

    Without line tables it compiles a tenth faster, and a package has a third of the size.
    """
    from torch._inductor import config

    return (
        {"aot_inductor.enable_line_tables": False}
        if hasattr(config.aot_inductor, "enable_line_tables")
        else {}
    )


def _typical_seconds(program: Program) -> float:
    return 11.0 + 0.1 * len(program.operations)


# --- the names of files


def _prefix(program: Program, static: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{program_key(program, static)} {_here()}".encode()).hexdigest()[:24]


def _name(form: StepForm) -> str:
    return f"{_prefix(form.program, form.static)}-{form_key(form)[:24]}{SUFFIX}"


@functools.cache
def _here() -> str:
    """A digest of the code of dsldec, of torch, and of the processor.

    Inductor compiles for the processor of this machine, so all features of the processor count.
    """
    text = sources_digest()
    parts: tuple[object, ...] = (
        torch.__version__,
        torch.version.git_version,
        platform.system(),
        platform.machine(),
        platform.processor(),
        torch.backends.cpu.get_cpu_capability(),
        _processor(),
    )
    for part in parts:
        text.update(f"{part!r}\0".encode())
    return str(text.hexdigest())


def sources_digest() -> Any:
    """A SHA-256 object, updated with the code of dsldec that makes a graph."""
    text = hashlib.sha256()
    for source in sorted([*Path(__file__).parent.glob("*.py"), *Path(ir.__file__).parent.glob("*.py")]):
        text.update(source.read_bytes())
    return text


def _processor() -> str:
    """The model and the features of the processor, where the system tells them."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            first = stream.read(65536).split("\n\n")[0]
    except OSError:
        return ""
    wanted = ("vendor_id", "model name", "flags", "Features", "CPU part")
    return "\n".join(line for line in first.splitlines() if line.startswith(wanted))


def _compiler() -> str:
    """The C++ compiler as a program file: its path, size and time; empty without one."""
    found = toolchain.compiler()
    if found is None:
        return ""
    try:
        real = os.path.realpath(found)
        about = os.stat(real)
    except OSError:
        return found
    return f"{real} {about.st_size} {about.st_mtime_ns}"
