"""Compiles forms of steps in another process, one at a time, while this process goes on.

The other process stores the package in the cache, and this one loads it from there. It has the lowest
priority, and ends with this process. Not here: whether a form is compiled at all (`inductor`), the compiling
(`step_cache`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from enum import Enum, auto
from typing import IO

from ..diagnostics import UsageError
from . import step_cache
from .step_form import StepForm
from .user_folder import Unusable

VARIABLE = "DSLDEC_BACKGROUND"  # `0`: nothing is compiled in the background
# Without the working folder, which `-c` puts first: another user may have put modules there.
PROGRAM = "import sys; sys.path[:] = [p for p in sys.path if p]; from dsldec.backends.compile_job import main; raise SystemExit(main())"
MOST_ERROR = 4000  # bytes of an error that are read


class JobProgress(Enum):
    """How far the compilation of a form is."""

    WAITING = auto()  # another form is compiled
    COMPILING = auto()
    DONE = auto()
    FAILED = auto()


class CompileJobs:
    """The compilations of this process in the background. Threads may share the object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        """After a fork: the job belongs to the other process."""
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._key = ""
        self._ended: dict[str, str] = {}  # the errors by key; empty: it is in the cache

    def progress(self, key: str, form: StepForm) -> JobProgress:
        """How far the form is; its compilation starts if no other one runs. It does not wait."""
        with self._lock:
            if self._child is not None and self._child.poll() is not None:
                self._end()
            if key in self._ended:
                return JobProgress.FAILED if self._ended[key] else JobProgress.DONE
            if self._child is None:
                self._start(key, form)
                return JobProgress.FAILED if self._ended.get(key) else JobProgress.COMPILING
            return JobProgress.COMPILING if key == self._key else JobProgress.WAITING

    def error(self, key: str) -> str:
        """The reason why a form is not compiled, as the end of a sentence."""
        return self._ended.get(key, "")

    def stop(self) -> None:
        """End the compilation and its compiler."""
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                return
            with contextlib.suppress(OSError):
                if os.name == "posix":  # the C++ compiler too: the child began a session
                    os.killpg(self._child.pid, signal.SIGTERM)  # it and its compiler delete their files
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._child.wait(2)
                    os.killpg(self._child.pid, signal.SIGKILL)
                else:
                    self._child.kill()
            self._child.wait()
            self._end()

    def _start(self, key: str, form: StepForm) -> None:
        try:
            path = os.pathsep.join(one or os.getcwd() for one in sys.path)
            environment = os.environ | {
                "PYTHONPATH": path,
                "TORCHINDUCTOR_COMPILE_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                VARIABLE: "0",  # whatever the program does, it starts no other one
            }
            named = os.path.basename(sys.executable or "").lower()
            if getattr(sys, "frozen", False) or not named.startswith(("python", "pypy")):
                raise OSError("this process has no program of Python")
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # read when the child has ended
            with tempfile.TemporaryFile() as given:
                given.write(form.text().encode())
                given.seek(0)
                self._child = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, str(os.getpid())],
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    env=environment,
                    start_new_session=True,
                )
            self._key = key
        except (OSError, ValueError) as error:
            self._ended[key] = str(getattr(error, "strerror", None) or error).lower()

    def _end(self) -> None:
        assert self._child is not None
        assert self._errors is not None
        said = ""
        if self._child.returncode:
            self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - MOST_ERROR))
            lines = self._errors.read(MOST_ERROR).decode(errors="replace").strip().splitlines()
            said = lines[-1] if lines else f"its process ended with status {self._child.returncode}"
        self._ended[self._key] = said
        self._errors.close()
        self._child, self._errors, self._key = None, None, ""


JOBS = CompileJobs()
atexit.register(JOBS.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=JOBS.__init__)  # type: ignore[misc]


def allowed() -> bool:
    """Whether this process may compile in the background."""
    return os.environ.get(VARIABLE) != "0"


def main() -> int:
    """The other process: compile the form on standard input, and store it. The last line of standard error is
    the reason of a failure.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    if os.name == "posix":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    try:
        form = StepForm.from_text(sys.stdin.read())
        with tempfile.TemporaryFile(dir=step_cache.folder()):  # else the work would be lost
            pass
        step_cache.compiled(form)
    except UsageError as mistake:
        print(mistake.diagnostic.message, file=sys.stderr)
        return 1
    except (Unusable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _end_with(parent: int) -> None:
    """End this process and its compiler when the process that started it is gone, even by a signal."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGTERM)
