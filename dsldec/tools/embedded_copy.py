"""A copy of an embedded model's folder, for a verb that writes into the folder of a model.

The folder inside dsldec belongs to all its users, and stays as it is. Not here: the files that the verb
writes (`export_hf`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..diagnostics import Diagnostic, UsageError
from ..models.embedded_names import PREFIX
from ..resources import embedded_model_folder
from . import quoted_path


@contextmanager
def embedded_copy(name: str, others: Sequence[str]) -> Iterator[str]:
    """A new folder `dsldec-NAME` in the current folder with the files of the embedded model `name`. It is
    removed if the work inside fails. `others`: the arguments after the model's, for the help.

    Raises `UsageError`: E0436 for a folder that exists already, E0432 where it cannot be written.
    """
    folder = f"dsldec-{name}"
    if os.path.lexists(folder):
        message = f"`{PREFIX}{name}` is copied to {quoted_path(folder)}, which exists already"
        help = f"to write into it: `{' '.join(('dsldec export-hf', folder, *others))}`"
        raise UsageError(Diagnostic("E0436", message, help=help))
    try:
        shutil.copytree(
            embedded_model_folder(name),
            folder,
            ignore=shutil.ignore_patterns("held_out*"),
            copy_function=shutil.copyfile,
        )
    except (OSError, shutil.Error) as failure:
        shutil.rmtree(folder, ignore_errors=True)
        why = (getattr(failure, "strerror", None) or str(failure)).lower()
        message = f"{quoted_path(folder)} cannot be written: {why}"
        raise UsageError(
            Diagnostic("E0432", message, help="change to a folder of yours, and try again")
        ) from None
    try:
        yield folder
    except BaseException:  # also Ctrl-C: half of an export is of no use
        shutil.rmtree(folder, ignore_errors=True)
        raise
