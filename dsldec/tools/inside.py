"""Writes files into a model's folder, never through a link. All are written to temporary files first, and
then renamed.

A link in the place of a file is replaced; its target stays. A link in the place of a folder is an error. The
folder is opened once, and names are looked up in the open folder. So a link that another process creates
meanwhile has no effect. Not here: the list of files (`export_hf`).
"""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..diagnostics import Diagnostic, UsageError
from ..terminal import printable
from . import quoted_path

A_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def require_own(folder: Path, names: Iterable[str]) -> None:
    """Raise `UsageError` (E0419) for a folder in a hub's cache, and for a folder with a part elsewhere."""
    real = Path(os.path.realpath(folder))
    if real.parent.name == "snapshots" and (real.parent.parent / "blobs").is_dir():
        message = f"{quoted_path(folder)} is a snapshot in the cache of Hugging Face, and other programs load the model from it"
        raise UsageError(
            Diagnostic(
                "E0419",
                message,
                help=f"copy it first, and export into the copy: `cp -rL {_shown(folder)}/ my-model`",
            )
        )
    for parent in {os.path.dirname(name) for name in names} - {""}:
        if (folder / parent).is_symlink():
            raise _leads_elsewhere(folder / parent)


def holds_other_text(folder: Path, name: str, text: str) -> bool:
    """Whether the name exists with any other content than this text. A link counts, whatever its target."""
    file, data = folder / name, text.encode()
    try:
        status = file.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != len(data):
        return True
    try:
        return file.read_bytes() != data
    except OSError:
        return True


def write_inside(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files, in this order. An existing file keeps its mode. After `UsageError` (E0419, E0432) no
    file was replaced.
    """
    staged: dict[str, str] = {}
    with _placing(folder, files) as places:
        name = ""
        try:
            for name, text in files.items():
                staged[name] = _staged(places[os.path.dirname(name)], os.path.basename(name), text)
            for name, new in list(staged.items()):
                place = places[os.path.dirname(name)]
                os.replace(new, os.path.basename(name), src_dir_fd=place, dst_dir_fd=place)
                del staged[name]
        except OSError as failure:
            raise _cannot(folder / name, failure) from None
        finally:
            for name, new in staged.items():
                with suppress(OSError):
                    os.unlink(new, dir_fd=places[os.path.dirname(name)])


@contextmanager
def _placing(folder: Path, files: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Descriptors of the folder and of its folders that the files need. A folder that was created for them is
    removed if no file was written.
    """
    places, made = {"": _opened(folder, os.path.realpath(folder))}, []
    try:
        for parent in dict.fromkeys(os.path.dirname(name) for name in files if "/" in name):
            if not _is_there(places[""], parent):
                _make(folder / parent, places[""], parent)
                made.append(parent)
            places[parent] = _opened(folder / parent, parent, places[""])
        yield places
    except UsageError:
        for parent in made:
            with suppress(OSError):  # it is not empty: others have written there
                os.rmdir(parent, dir_fd=places[""])
        raise
    finally:
        for descriptor in places.values():
            os.close(descriptor)


def _is_there(place: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=place, follow_symlinks=False)
    except OSError:
        return False
    return True


def _make(folder: Path, place: int, name: str) -> None:
    try:
        os.mkdir(name, dir_fd=place)
    except OSError as failure:
        raise _cannot(folder, failure) from None


def _opened(folder: Path, name: str, place: int | None = None) -> int:
    try:
        return os.open(name, A_FOLDER, dir_fd=place)
    except OSError as failure:
        raise (
            _leads_elsewhere(folder)
            if place is not None and folder.is_symlink()
            else _cannot(folder, failure)
        ) from None


def _staged(place: int, name: str, text: str) -> str:
    """The name of a new file beside the place, complete, with the mode of the file that it replaces."""
    new, before = f".{name}.{secrets.token_hex(4)}", _before(place, name)
    made = os.open(
        new,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW,
        0o666 if before is None else 0o600,
        dir_fd=place,
    )
    try:
        with open(made, "wb") as file:
            file.write(text.encode())
            if before is not None:
                with suppress(OSError):  # only the superuser can change the owner
                    os.fchown(made, before.st_uid, before.st_gid)
                os.fchmod(made, stat.S_IMODE(before.st_mode) & 0o777)
            file.flush()
            os.fsync(made)
    except OSError:
        os.unlink(new, dir_fd=place)
        raise
    return new


def _before(place: int, name: str) -> os.stat_result | None:
    """The status of the file there, or of the target of a link there: its readers may read the copy."""
    try:
        status = os.stat(name, dir_fd=place)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _leads_elsewhere(link: Path) -> UsageError:
    message = f"{quoted_path(link)} is a link, and dsldec writes only inside the model's folder"
    return UsageError(
        Diagnostic(
            "E0419",
            message,
            help=f"look at its target: `ls -l {_shown(link)}`, and put a folder in its place",
        )
    )


def _cannot(path: Path, failure: OSError) -> UsageError:
    why = (failure.strerror or str(failure)).lower()
    message = f"{quoted_path(path)} cannot be written to: {why}"
    return UsageError(Diagnostic("E0432", message, help="copy the model to your own folder: `cp -rL`"))


def _shown(path: Path) -> str:
    return printable(shlex.quote(str(path)))
