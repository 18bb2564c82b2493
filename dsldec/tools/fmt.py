"""`dsldec fmt`: rewrite policies in their canonical form, or report those in another form.

Not here: the canonical form (`language.fmt`).
"""

from __future__ import annotations

import difflib
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from .. import policy
from ..diagnostics import Diagnostic, PolicyError, UsageError
from ..files import LARGEST_POLICY_FILE, Unreadable, policies_below, read_all
from ..language.fmt import formatted
from ..resources import policy_file, shipped_policies
from ..source import Source
from ..terminal import data
from . import quoted, quoted_path

DONE, FAILED = 0, 1
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class _Text:
    """A policy's text before and after. `after` is None where `diagnostics` prevent formatting."""

    name: str
    before: str
    after: str | None
    diagnostics: list[Diagnostic]


def fmt(names: Sequence[str], *, check: bool = False, diff: bool = False) -> int:
    """Rewrite each file in its canonical form. With `check` or `diff`, only report what would change. Returns
    the exit status.

    A folder means the policies in it, `-` means standard input. A file with errors is reported and left
    unchanged. Raises `UsageError` for files that cannot be read or written, before the first file is written
    where possible.
    """
    files = [file for name in names for file in _files(name)]
    for name in files:
        if name in shipped_policies() and not (check or diff):
            raise UsageError(_is_shipped(name))
    texts = [_read(name) for name in files]
    for text in texts:
        for diagnostic in text.diagnostics:
            print(diagnostic, end="\n\n", file=sys.stderr)
    changed = [text for text in texts if text.after not in (None, text.before)]
    if diff:
        for text in changed:
            data().writelines(_difference(text))
    if check and not diff:
        for text in changed:
            print(text.name)
    if not (check or diff):
        _write_all(texts)
    return FAILED if any(text.after is None for text in texts) or (check and changed) else DONE


def _files(name: str) -> list[str]:
    if name == STANDARD_INPUT or name in shipped_policies() or not os.path.isdir(name):
        return [name]
    try:
        files = policies_below(name)
    except Unreadable as error:
        message = f"the folder {quoted_path(name)} cannot be searched: {error.why}"
        raise UsageError(
            Diagnostic("E0401", message, help="name the policies, or a folder further down")
        ) from None
    if not files:
        raise UsageError(
            Diagnostic(
                "E0401",
                f"the folder {quoted_path(name)} holds no policy",
                help="a policy's file ends in `.policy`",
            )
        )
    return files


def _is_shipped(name: str) -> Diagnostic:
    message = f"{quoted(name)} is a shipped policy, and those are not rewritten"
    return Diagnostic(
        "E0423",
        message,
        help=f"copy it first: `cp {policy_file(name)} {name}.policy`; or add `--check` or `--diff`",
    )


def _read(name: str) -> _Text:
    try:
        before, shown = (_standard_input(), "<stdin>") if name == STANDARD_INPUT else policy.read(name)
    except PolicyError as error:
        if any(diagnostic.code == "E0401" for diagnostic in error.diagnostics):
            raise UsageError(error.diagnostics[0]) from None
        return _Text(name, "", None, error.diagnostics)
    after, diagnostics = formatted(Source(before, shown))
    return _Text(name, before, after, diagnostics)


def _standard_input() -> str:
    if sys.stdin is None:
        raise UsageError(Diagnostic("E0401", "standard input is closed", help="`dsldec fmt - < mine.policy`"))
    try:
        return read_all(sys.stdin.buffer, LARGEST_POLICY_FILE).decode("utf-8-sig")
    except OSError as error:
        why = (error.strerror or "it is not open for reading").lower()
        raise UsageError(
            Diagnostic("E0401", f"standard input cannot be read: {why}", help="`dsldec fmt - < mine.policy`")
        ) from None
    except Unreadable:
        raise PolicyError(
            [
                Diagnostic(
                    "E0104",
                    "standard input exceeds the size limit of a policy",
                    help="policies are short texts",
                )
            ]
        ) from None
    except UnicodeDecodeError as error:
        message = f"standard input is not UTF-8 text: byte {error.start} is invalid"
        raise PolicyError([Diagnostic("E0103", message, help="save the text as UTF-8")]) from None


def _difference(text: _Text) -> list[str]:
    lines = difflib.unified_diff(
        _lines(text.before), _lines(text.after or ""), text.name, f"{text.name} (formatted)"
    )
    # A last line without its line break would join the next output.
    return [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]


def _lines(text: str) -> list[str]:
    """Lines as a file has them. `str.splitlines` splits at many more line breaks."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + [last for last in text.split("\n")[-1:] if last]


def _write_all(texts: Sequence[_Text]) -> None:
    for text in texts:
        if text.name == STANDARD_INPUT and text.after is not None:
            out = data().buffer
            out.flush()
            out.write(text.after.encode("utf-8"))  # a policy is UTF-8, whatever the encoding of the terminal
            out.flush()
        elif text.after not in (None, text.before):
            assert text.after is not None
            _replace(text.name, text.after)
            print(f"formatted {text.name}")


def _replace(name: str, text: str) -> None:
    """Replace a file at once: a reader, or a crash, finds the old file or the new one."""
    path = os.path.realpath(name)  # through a link: the file changes, the link stays
    new = None
    try:
        handle, new = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path))
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(new, os.stat(path).st_mode & 0o7777)
        os.replace(new, path)
    except OSError as error:
        if new is not None and os.path.exists(new):
            os.unlink(new)
        why = (error.strerror or "it cannot be written").lower()
        raise UsageError(
            Diagnostic("E0432", f"{quoted_path(name)} cannot be written: {why}", help="it is as it was")
        ) from None
