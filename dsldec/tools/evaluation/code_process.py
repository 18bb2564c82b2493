"""How is the code of a model run with limits? In this process, which runs one program.

The file is run by its path, with `-I`, limits as arguments, and on standard input a secret and candidate
programs, separated by NUL. The first candidate that compiles runs. The verdict goes to a pipe, with the
secret: `SECRET passed`, or `SECRET failed` and the reason. A program that ends this process writes no
verdict, so it has not passed. This is no sandbox: it stops mistakes, not attacks. It imports only Python's
standard library.

Not here: the time limit, the end of processes that are left (`code_runner`), the programs (`code_programs`).
"""

from __future__ import annotations

import os
import signal
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MIB = 1024 * 1024
LARGEST_FILE, MOST_FILES_OPEN = 16 * MIB, 64
LONGEST_REASON = 200
# Events of `sys.addaudithook` that a program may not cause: processes, signals, the network, C functions.
FORBIDDEN = frozenset(
    "os.fork os.forkpty os.posix_spawn os.spawn os.exec os.system os.startfile subprocess.Popen pty.spawn "
    "os.kill os.killpg signal.pthread_kill _thread.start_new_thread "
    "socket.connect socket.bind socket.sendto socket.sendmsg socket.getaddrinfo socket.gethostbyname "
    "ctypes.dlsym ctypes.dlsym/handle ctypes.call_function os.chroot os.setuid os.mount "
    "resource.setrlimit resource.prlimit".split()
)
# Events that change files: for each path its place in the arguments, and the place of its folder's
# descriptor.
CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),), "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)), "os.symlink": ((1, 2),), "os.chmod": ((0, 2),), "os.chown": ((0, 3),),
    "os.utime": ((0, 3),), "os.truncate": ((0, None),), "os.chflags": ((0, None),), "os.setxattr": ((0, None),),
    "os.removexattr": ((0, None),), "sqlite3.connect": ((0, None),),
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    verdict, seconds, memory = (int(argument) for argument in sys.argv[1:4])
    secret, *candidates = sys.stdin.buffer.read().decode("utf-8", "replace").split("\0")
    _closed()
    _bounded(seconds, memory)
    report = _reporter(verdict, secret)
    sys.addaudithook(_hook(os.path.realpath(os.getcwd())))
    report(_failure(candidates))
    os._exit(0)  # without the exit functions and threads of the program


def _reporter(verdict: int, secret: str) -> Callable[[str], None]:
    write = os.write

    def report(failure: str) -> None:
        text = f"{secret} failed {failure}" if failure else f"{secret} passed"
        write(verdict, text.encode("utf-8", "replace"))

    return report


def _closed() -> None:
    """Standard input has no more data, and output goes nowhere: a program may print for ever."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _bounded(seconds: int, memory: int) -> None:
    import resource

    limits = {
        "RLIMIT_CPU": seconds + 1,
        "RLIMIT_AS": memory * MIB,
        "RLIMIT_FSIZE": LARGEST_FILE,
        "RLIMIT_NOFILE": MOST_FILES_OPEN,
        "RLIMIT_NPROC": 0,  # no other process and no thread; not for root
        "RLIMIT_CORE": 0,
    }
    for name, most in limits.items():
        with suppress(AttributeError, ValueError, OSError):  # not on every system
            resource.setrlimit(getattr(resource, name), (most, most))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    signal.alarm(seconds + 2)  # the parent may be gone
    sys.dont_write_bytecode = True


def _hook(folder: str) -> Callable[[str, tuple[Any, ...]], None]:
    """Refuses processes, the network, and changes of files outside the folder."""
    join, realpath, fsdecode, isdir, separator = (
        os.path.join,
        os.path.realpath,
        os.fsdecode,
        os.path.isdir,
        os.sep,
    )

    def inside(path: Any, descriptor: int | None = None) -> bool:
        if isinstance(path, int):
            return True  # a descriptor, which was checked when its file was opened
        base = "" if descriptor in (None, -1) else f"/proc/self/fd/{descriptor}"
        whole = realpath(join(base, fsdecode(path)))
        return whole == folder or whole.startswith(folder + separator) or whole == os.devnull

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FORBIDDEN or (event == "ctypes.dlopen" and arguments[0] is not None):
            raise PermissionError(f"{event} is not allowed")
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & WRITES
            # The descriptor of a folder would give access to its files by their names alone.
            if (writes or (mode is None and not isinstance(path, int) and isdir(path))) and not inside(path):
                raise PermissionError("files outside the folder of the program are not written")
        for place, descriptor in CHANGES.get(event, ()):
            if not inside(arguments[place], None if descriptor is None else arguments[descriptor]):
                raise PermissionError(f"{event} is not allowed outside the folder of the program")

    return hook


def _failure(candidates: list[str]) -> str:
    """Run the first candidate that compiles. The reason of its failure, empty if it passes."""
    code: types.CodeType | None = None
    reason = "SyntaxError"
    for candidate in candidates:
        try:
            code = compile(candidate, "answer.py", "exec")
            break
        except BaseException as error:  # also a text that is too deep for the compiler
            reason = reason if reason != "SyntaxError" else _in_words(error)
    if code is None:
        return reason
    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:  # a program may raise anything, SystemExit included
        return _in_words(error)
    return ""


def _in_words(error: BaseException) -> str:
    try:
        first = (str(error).strip().splitlines() or [""])[0]
    except BaseException:  # `__str__` is code of the program, too
        first = ""
    return f"{type(error).__name__}{': ' if first else ''}{first}"[:LONGEST_REASON]


if __name__ == "__main__":
    main()
