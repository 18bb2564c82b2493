"""Runs the verb of a command line, and gives each mistake its exit status.

Not here: the arguments of a verb (a file for each group of verbs), the work of a verb (`tools`). Only the
file of the verb is imported, and no file of `cli` imports torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module

from .. import collector, terminal
from ..diagnostics import Diagnostic, PolicyError, UsageError
from ..resources import version
from ..spelling import on_command_line
from .hidden import take_hidden

FAILED, WRONG_USAGE, INTERRUPTED, PIPE_BROKEN = 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """The `dsldec` command: returns its exit status, and prints every mistake as a diagnostic to standard
    error.
    """
    streams = ExitStack()
    streams.enter_context(terminal.escaped())
    if arguments is None:
        collector.start()
    try:
        return _status(list(sys.argv[1:] if arguments is None else arguments))
    finally:
        if arguments is None:
            collector.end()
        # In the process of the command, later output is escaped too, such as the traceback of a bug.
        if arguments is not None:
            streams.close()


def _status(arguments: list[str]) -> int:
    try:
        if sys.stdout is None:
            raise UsageError(
                Diagnostic(
                    "E0432", "standard output is closed", help="`> /dev/null` throws away what is printed"
                )
            )
        with on_command_line():
            take_hidden()
            status = _dispatch(arguments)
        sys.stdout.flush()
        for hidden in take_hidden():
            _reported(str(hidden), status)
        return status
    except UsageError as mistake:
        return _reported(str(mistake.diagnostic), WRONG_USAGE)
    except PolicyError as mistake:
        return _reported("\n\n".join(str(diagnostic) for diagnostic in mistake.diagnostics), FAILED)
    except KeyboardInterrupt:
        return _reported("interrupted before the first answer", INTERRUPTED)
    except BrokenPipeError:
        return _reader_left()
    except terminal.OutputFailed as failure:
        why = (failure.strerror or "no reason is given").lower()
        unwritable = Diagnostic(
            "E0432",
            f"standard output cannot be written: {why}",
            help="send it to a file on a disk with free space: `> FILE`",
        )
        _reader_left()
        return _reported(str(unwritable), FAILED)


def _reported(text: str, status: int) -> int:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _reader_left()
    return status


def _reader_left() -> int:
    """The reader of our output (`head`, `less`) has exited: end without a message, also in the interpreter's
    last flush.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    return PIPE_BROKEN


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(), end="")
        return 0 if arguments else WRONG_USAGE
    if arguments[0] in ("--version", "-V"):
        print(f"dsldec {version()}")
        return 0
    if arguments[0] not in VERBS:
        from .unknown import unknown_verb

        raise UsageError(unknown_verb(arguments[0], [*VERBS]))
    return VERBS[arguments[0]][1](arguments[1:])


def _of(file: str, verb: str) -> Callable[[list[str]], int]:
    """The function of a verb in a file of this folder, which is imported at the call."""

    def called(arguments: list[str]) -> int:
        run: Callable[[list[str]], int] = getattr(import_module(f".{file}", __package__), verb)
        return run(arguments)

    return called


# Each verb: its purpose, and the function that parses its arguments.
VERBS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "run": ("decode prompts under a policy", _of("decoding", "run")),
    "batch": ("decode a file of prompts on many machines, with Ray", _of("distributing", "batch")),
    "check": ("print the mistakes in policies, before anything runs", _of("policies", "check")),
    "fmt": ("format policies", _of("policies", "fmt")),
    "test": ("run the cases of policies", _of("policies", "test")),
    "list": ("list the shipped policies", _of("listing", "list_")),
    "explain": (
        "explain a policy, a word of the language, or the code of a diagnostic",
        _of("policies", "explain"),
    ),
    "why": ("explain why a step wrote a position, or did not", _of("explaining", "why")),
    "show": (
        "print a stage of a policy's compilation: tree, facts, operations, torch graph",
        _of("policies", "show"),
    ),
    "build": ("compile a policy's step into a file that needs torch only", _of("exporting", "build")),
    "precompile": (
        "compile steps into the user's cache, so that later processes start at once",
        _of("precompiling", "precompile"),
    ),
    "export-hf": (
        "write a policy into a model's folder: transformers decodes and serves with it",
        _of("exporting", "export_hf"),
    ),
    "bench": ("measure the time of steps and of whole decodes, as ratios", _of("bench", "bench")),
    "model": (
        "print the properties of a model that decoding needs, and their sources",
        _of("decoding", "model"),
    ),
    "evaluate": ("measure the accuracy and the speed of policies on a task", _of("evaluating", "evaluate")),
    "frontier": (
        "show accuracy against forwards of many policies, as a picture",
        _of("frontiers", "frontier"),
    ),
    "compare": (
        "show the smallest case on which two policies differ, or say what was tried",
        _of("comparing", "compare"),
    ),
    "view": ("write a page that shows every step of a trace", _of("viewing", "view")),
    "evolve": ("search for new policies on a task", _of("evolving", "evolve")),
    "play": ("write policies in the browser, and watch them decode", _of("playing", "play")),
    "lsp": ("serve an editor with the Language Server Protocol", _of("editing", "lsp")),
    "tune": ("search parameter values of a policy, with an accuracy above a floor", _of("tuning", "tune")),
}


def _help() -> str:
    verbs = "\n".join(f"  {name:<12}{what}" for name, (what, _) in VERBS.items())
    return (
        "usage: dsldec VERB ...\n\na policy language for decoding diffusion language models\n\n"
        f"verbs:\n{verbs}\n\n`dsldec VERB --help` shows a verb's options; `dsldec --version` the version\n"
    )
