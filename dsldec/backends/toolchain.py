"""Finds the reason why torch cannot compile on this machine: a folder, the disk, the C++ compiler, or
Python's headers.

The errors of torch name none of these. The folders are checked before a compilation, the compiler after a
failed one. Not here: compiling (`compiled`, `aot`), engines of TensorRT (`engine_cache`).
"""

from __future__ import annotations

import errno
import getpass
import os
import pickle
import re
import shutil
import stat
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from ..diagnostics import Diagnostic, UsageError
from ..spelling import option

INDUCTOR_CACHE, TRITON_CACHE = "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"
PROBE = bytes(64 * 1024)  # 64 KiB; a small compiled step takes more
SECONDS = 60  # the most time for a program of ten characters


def compiler() -> str | None:
    """The C++ compiler that Inductor uses on this machine."""
    if named := os.environ.get("CXX"):  # then torch tries no other compiler
        return shutil.which(named)
    return shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")


def none_found() -> str:
    """The reason why there is no compiler, as the end of a sentence."""
    named = os.environ.get("CXX")
    return f"`CXX` names `{named}`, which is no program here" if named else "none is found"


def eager() -> str:
    return f"or use {option('backend', 'eager')}, which compiles nothing"


def cache_folder() -> Path:
    """The folder of Inductor's cache, by torch's rules. Raises `OSError` or `KeyError` if there is none."""
    if given := os.environ.get(INDUCTOR_CACHE):
        return Path(given)
    name = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
    return Path(tempfile.gettempdir()) / f"torchinductor_{name}"


def folder_trouble(*, writing: bool = True) -> Diagnostic | None:
    """The fault of the folders of torch's compile caches; `None` if they have none.

    Without `writing`, only whether Inductor's folder can exist: torch creates it when its compiler is
    imported. Fake tensors, exporting, loading a package and transformers all import the compiler.
    """
    try:
        folders = {INDUCTOR_CACHE: cache_folder()}
    except (
        OSError,
        KeyError,
        ImportError,
    ) as error:  # the user has no name, or there is no folder for temporary files
        why = str(getattr(error, "strerror", None) or error).strip("'\"")
        return _trouble(f"torch finds no folder for compiled code: {why}", INDUCTOR_CACHE)
    if (
        writing and (triton := os.environ.get(TRITON_CACHE)) and torch.cuda.is_available()
    ):  # code for a CPU does not use Triton
        folders[TRITON_CACHE] = Path(triton)
    for name, folder in folders.items():
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = folder.stat()
            if os.name == "posix" and (found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH):
                raise PermissionError(
                    errno.EPERM, "another user owns it or can write it"
                )  # code from it is run
            if writing:
                with tempfile.TemporaryFile(dir=folder) as file:
                    file.write(PROBE)
                    file.flush()
        except (OSError, ValueError) as error:
            why = (getattr(error, "strerror", None) or str(error)).lower()
            is_of = f" (`{name}`)" if os.environ.get(name) else ""
            return _trouble(
                f"the folder `{folder}`{is_of}, torch's cache of compiled code, cannot be used: {why}",
                name,
            )
    return None


def require_folder(*, writing: bool = True) -> None:
    """Raises `UsageError` (E0417) for a fault found by `folder_trouble`.

    Call it before the compiler is imported: a failed import leaves a module half loaded.
    """
    if (trouble := folder_trouble(writing=writing)) is not None:
        raise UsageError(trouble)


def temporary_folder(what: str) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder that is deleted with the returned object.

    Raises `UsageError` (E0417) if there can be none; its message begins with `what`, which needs the folder.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="dsldec-")
    except OSError as error:
        message = f"{what} needs a folder for temporary files: {(error.strerror or str(error)).lower()}"
        raise UsageError(
            Diagnostic("E0417", message, help=f"set `TMPDIR` to your own folder with free space, {eager()}")
        ) from None


def failure(error: BaseException, what: str, otherwise: str | None = None) -> Diagnostic:
    """The diagnostic for an error of torch during a compilation.

    `what` is the begin of its message, and names what failed. `otherwise` is another way to go on.
    """
    otherwise = eager() if otherwise is None else otherwise
    if _disk_is_full(error):
        message = f"{what}: no space left on the disk of `{_shown_folder()}` or of `{_temporary_folder()}`"
        return Diagnostic(
            "E0417",
            message,
            help=f"free some space, or set `{INDUCTOR_CACHE}` and `TMPDIR` to folders with free space; {otherwise}",
        )
    if (trouble := folder_trouble()) is not None:
        return trouble
    if (trouble := _compiler_trouble(what, otherwise)) is not None:
        return trouble
    if _is_unreadable(error):
        message = f"{what}, and torch's cache `{_shown_folder()}` may be damaged: {_first_line(error)}"
        return Diagnostic(
            "E0417", message, help=f"empty that folder, or set `{INDUCTOR_CACHE}` to another; {otherwise}"
        )
    return Diagnostic(
        "E0404",
        f"{what}: {_first_line(error)}",
        help=f"try another version of torch or g++; {otherwise}",
    )


def of_compiling(error: BaseException) -> bool:
    """Whether the compiler raised the error, and not the compiled code."""
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler

    of_torch = (InductorError, BackendCompilerFailed, CppCompileError, InvalidCxxCompiler)
    kinds = (*of_torch, subprocess.SubprocessError)
    return isinstance(error, kinds) or _disk_is_full(error) or _is_unreadable(error)


def _trouble(message: str, name: str) -> Diagnostic:
    help_ = f"set `{name}` to your own folder with free space" + (
        ", or unset it" if os.environ.get(name) else ""
    )
    return Diagnostic("E0417", message, help=f"{help_}; {option('backend', 'eager')} compiles nothing")


def _compiler_trouble(what: str, otherwise: str) -> Diagnostic | None:
    """Tests the C++ compiler with an empty program, and with a program that needs Python's headers."""
    command = compiler()
    if command is None:
        return Diagnostic(
            "E0404",
            f"{what}: it needs a C++ compiler, and {none_found()}",
            help=f"install one (Debian: `apt install g++`), {otherwise}",
        )
    if Path(command).name.lower() in ("cl", "cl.exe"):  # it takes other options
        return None
    if why := _fails(command, "int one;\n"):
        named = (
            "`CXX` names it: unset that, or name another"
            if os.environ.get("CXX")
            else "install another (Debian: `apt install g++`)"
        )
        return Diagnostic(
            "E0404",
            f"{what}: the C++ compiler `{command}` does not work: {why}",
            help=f"{named}; {otherwise}",
        )
    include = sysconfig.get_path("include")
    if _fails(command, "#include <Python.h>\n", f"-I{include}"):
        message = f"{what}: Python's headers are missing, `{include}/Python.h`"
        return Diagnostic(
            "E0404", message, help=f"install them (Debian: `apt install python3-dev`), {otherwise}"
        )
    return None


def _fails(command: str, program: str, *options: str) -> str | None:
    """The reason why a compiler makes no library from a program; `None` if it makes one."""
    try:
        with tempfile.TemporaryDirectory(prefix="dsldec-") as folder:
            source, made = Path(folder) / "probe.cpp", Path(folder) / "probe.so"
            source.write_text(program)
            line = [command, "-shared", "-fPIC", *options, str(source), "-o", str(made)]
            ran = subprocess.run(line, capture_output=True, timeout=SECONDS, check=False)
            if ran.returncode == 0:
                return (
                    None
                    if made.exists() and made.stat().st_size
                    else "it ends without an error and writes nothing"
                )
            if ran.returncode < 0:
                return f"it was stopped by signal {-ran.returncode}"
            first = next(iter(ran.stderr.decode(errors="replace").strip().splitlines()), "it prints nothing")
            return f"it ends with status {ran.returncode}: {first[:200]}"
    except subprocess.TimeoutExpired:
        return f"it took more than {SECONDS} s for a line"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes. Torch also stores the error of a backend in an attribute."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__


def _disk_is_full(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(
        (isinstance(one, OSError) and one.errno in full) or os.strerror(errno.ENOSPC) in str(one)
        for one in _chain(error)
    )


def _is_unreadable(error: BaseException) -> bool:
    """Whether an error comes from a damaged file in a compile cache."""
    kinds = (OSError, ImportError, EOFError, SyntaxError, UnicodeError, pickle.UnpicklingError)
    return any(isinstance(one, kinds) for one in _chain(error))


def _shown_folder() -> str:
    try:
        return str(cache_folder())
    except (OSError, KeyError, ImportError):
        return "no folder"


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "no folder"


def _first_line(error: BaseException) -> str:
    """The first informative line: the first line of torch's errors may only name the backend."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return next((line for line in lines if line and not line.endswith("raised:")), type(error).__name__)
