"""Runs the code of a model in a process with limits, and tells whether its test passes.

Limits: time, memory, file sizes, no other processes, no network, no standard input, a temporary folder, an
empty environment. It is no sandbox. Not here: the process itself (`code_process`), the programs
(`code_programs`).
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...diagnostics import Diagnostic, UsageError
from ...terminal import printable

PROCESS = Path(__file__).with_name("code_process.py")
DEFAULT_SECONDS, DEFAULT_MEMORY = 10, 1024
LONGEST_VERDICT = 4096


@dataclass(frozen=True, slots=True)
class CodeLimits:
    """`seconds`: wall time of a program. `memory`: its address space in MiB."""

    seconds: int = DEFAULT_SECONDS
    memory: int = DEFAULT_MEMORY


def require_limits() -> None:
    """Raise `UsageError` (E0481) where the system cannot limit a process."""
    if os.name != "posix":
        message = "code of a model is not run on this system: it cannot limit the memory of a process"
        help = "score with `--scorer python` on Linux or macOS, in a container"
        raise UsageError(Diagnostic("E0481", message, help=help))


def failure_of(candidates: Sequence[str], limits: CodeLimits) -> str:
    """Run the first candidate that compiles, in a process. The reason of its failure, empty if it passes."""
    secret = secrets.token_hex(16)
    given = "\0".join([secret, *(one.replace("\0", "") for one in candidates)])
    reader, writer = os.pipe()
    try:
        # Also a program that deletes or fills its folder leaves nothing.
        with tempfile.TemporaryDirectory(prefix="dsldec-code-", ignore_cleanup_errors=True) as folder:
            try:
                ended = _run(given.encode("utf-8", "replace"), writer, folder, limits)
            finally:
                os.close(writer)
            os.set_blocking(reader, False)
            return _verdict(reader, secret) if ended == 0 else _ended(ended, limits)
    finally:
        os.close(reader)


def _run(given: bytes, verdict: int, folder: str, limits: CodeLimits) -> int | None:
    """The exit status of the process; None if its time was up."""
    # By default, libraries of linear algebra start threads.
    environment = {"TMPDIR": folder, "HOME": folder, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    arguments = [str(verdict), str(limits.seconds), str(limits.memory)]
    process = subprocess.Popen(
        [sys.executable, "-I", str(PROCESS), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, env=environment,
        pass_fds=(verdict,), start_new_session=True,
    )  # fmt: skip
    try:
        process.communicate(given, timeout=limits.seconds)
        return process.returncode
    except subprocess.TimeoutExpired:
        return None
    finally:  # also on Ctrl-C: the process and its children
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _verdict(reader: int, secret: str) -> str:
    try:
        text = os.read(reader, LONGEST_VERDICT).decode("utf-8", "replace")
    except OSError:
        text = ""
    given, _, verdict = text.partition(" ")
    if given != secret:
        return "the program ended before its test"
    return "" if verdict == "passed" else printable(verdict.removeprefix("failed "))


def _ended(status: int | None, limits: CodeLimits) -> str:
    if status is None or status in (-signal.SIGALRM, -signal.SIGXCPU):
        return f"the program was not finished after {limits.seconds} seconds"
    if status < 0:
        return f"the program ended with the signal {-status}"
    return "the program ended before its test"
