"""The arguments of `dsldec tune`, and the mistakes in them that show before anything is decoded.

Not here: the searched parameters (`searched`), the floor (`floor`), the task and its scorer (`evaluation`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ...diagnostics import Diagnostic, UsageError
from ...files import why_not_written
from ...options import DEFAULT_DECODE, DEFAULT_LOAD, DecodeOptions, LoadOptions
from .. import quoted_path
from ..evaluation.code_runner import CodeLimits
from ..evaluation.problems import EMBEDDED_TASKS

DEFAULT_TRIALS, DEFAULT_TASK = 24, "word_problems"
FORWARDS, SECONDS = "forwards", "seconds"
DEV, TEST = "dev", "test"


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """The arguments of the command line. None: not given."""

    policy: str
    floor: str
    settings: tuple[str, ...] = ()
    baseline: str | None = None
    minimise: str = FORWARDS
    trials: int = DEFAULT_TRIALS
    calibration: int | None = None
    report: str = DEV
    static: bool = False
    task: str = DEFAULT_TASK
    scorer: str | None = None
    limit: int | None = None
    model: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    decode: DecodeOptions = DEFAULT_DECODE
    out: str | None = None
    json: str | None = None
    run_code: bool = False
    limits: CodeLimits = field(default_factory=CodeLimits)


def require_sensible_search(options: TuneOptions) -> None:
    """Raise `UsageError` (E0423, E0432) for options without a meaning together, and for files that cannot be
    written.
    """
    if options.decode.n > 1:
        message = "`--n` has no meaning here: a trial decodes each prompt once"
        raise UsageError(Diagnostic("E0423", message, help="leave it out"))
    if options.decode.infill:
        message = "`--infill` has no meaning here: a task has prompts with answers"
        raise UsageError(Diagnostic("E0423", message, help="leave it out"))
    if options.json is not None:  # written at the end, after hours
        folder = os.path.dirname(os.path.realpath(options.json))
        why = why_not_written(options.json) or ("" if os.path.isdir(folder) else "its folder does not exist")
        if why or os.path.isdir(options.json):
            message = f"{quoted_path(options.json)} cannot be written: {why or 'it is a folder'}"
            raise UsageError(Diagnostic("E0432", message, help="for example `--json tuned.json`"))


def require_test_split(task: str) -> None:
    """Raise `UsageError` (E0423) for a task without a test split."""
    if task not in EMBEDDED_TASKS:
        message = f"the task {quoted_path(task)} has no test split"
        help = "leave `--report test` out: the report is on the prompts that did not calibrate"
        raise UsageError(Diagnostic("E0423", message, help=help))


def study_folder(out: str | None) -> str | None:
    """The folder `out`, which is made. Raises `UsageError` (E0432)."""
    if out is None:
        return None
    try:
        os.makedirs(out, exist_ok=True)
    except (OSError, ValueError) as failure:
        why = ((isinstance(failure, OSError) and failure.strerror) or str(failure)).lower()
        message = f"the folder {quoted_path(out)} cannot be made: {why}"
        help = "name a folder of yours: `--out tuned`"
        raise UsageError(Diagnostic("E0432", message, help=help)) from None
    return out
