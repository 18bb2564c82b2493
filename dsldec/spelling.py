"""How does a message name an option? `--gen-length 8` on the command line, `gen_length=8` in Python.

The command line calls `on_command_line` once. Code that writes a message calls `option` and `setting`. Not
here: the list of options (`cli`, and the signatures of the public functions).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_flags: ContextVar[bool] = ContextVar("_flags", default=False)
_in_one_list: ContextVar[bool] = ContextVar("_in_one_list", default=False)

# Keywords that only the function that loads a model takes: a message names that function too.
OF_LOADING = frozenset({"trust_remote_code", "dtype", "device", "raw", "all_ids"})
# An option whose flag has another name: each use of the flag adds one value.
FLAGS = {"stop_ids": "stop-id"}
LONGEST_SHOWN = 60  # characters of a value in a message


class Letter(str):
    """A placeholder for a value that the reader must fill in. It gets no quotes."""

    __slots__ = ()


N = Letter("N")


@contextmanager
def on_command_line() -> Iterator[None]:
    """Inside, messages name options as flags."""
    token = _flags.set(True)
    try:
        yield
    finally:
        _flags.reset(token)


@contextmanager
def in_one_list() -> Iterator[None]:
    """Inside, options of loading and of decoding are arguments of one list: messages name no function."""
    token = _in_one_list.set(True)
    try:
        yield
    finally:
        _in_one_list.reset(token)


def reads_flags() -> bool:
    """Whether the reader is at a command line."""
    return _flags.get()


def option(name: str, value: object = None) -> str:
    """An option in backticks, to be pasted: `--cache none` or `cache="none"`. Without a value, its name
    alone.
    """
    return f"`{flag(name, value)}`" if reads_flags() else f"`{_called(name, value)}`"


def flag(name: str, value: object = None) -> str:
    """An option as the command line takes it, without backticks."""
    dashed = FLAGS.get(name) or name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{dashed}"
    return f"--{dashed}" if value is None else f"--{dashed} {typed(value)}"


def keyword(name: str, value: object = None) -> str:
    """An option as Python takes it, without backticks."""
    return name if value is None else f"{name}={written(value)}"


def setting(name: str, value: object) -> str:
    """A parameter of the policy with a value, in backticks: `--set block=4`, or `block=4`."""
    return f"`--set {name}={typed(value)}`" if reads_flags() else f"`{keyword(name, value)}`"


def typed(value: object) -> str:
    """A value as a shell takes it."""
    return (
        str(value)
        if isinstance(value, Letter)
        else shlex.quote(str(value).lower() if isinstance(value, bool) else str(value))
    )


def written(value: object) -> str:
    """A value as Python's source has it."""
    if isinstance(value, str) and not isinstance(value, Letter):
        return (
            '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
            if value.isprintable()
            else repr(value)
        )
    return str(value)


def _called(name: str, value: object) -> str:
    return (
        f"from_pretrained(..., {keyword(name, value)})"
        if name in OF_LOADING and value is not None and not _in_one_list.get()
        else keyword(name, value)
    )


def shown(value: object) -> str:
    """A value as a message names it: itself where it is short, else its type."""
    try:
        text = repr(value)
    except Exception:  # an object of the caller's; an int of thousands of digits
        text = ""
    return (
        f"`{text}`"
        if 0 < len(text) <= LONGEST_SHOWN and text.isprintable()
        else f"a `{type(value).__name__}`"
    )
