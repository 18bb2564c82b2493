"""`dsldec test`: run the cases beside some policies, and print each failure with its step.

Not here: reading a file of cases (`cases`), judging a case (`verdict`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..diagnostics import Diagnostic, PolicyError, UsageError
from ..files import LARGEST_CASES_FILE, Unreadable, read_text
from ..policy import load
from ..resources import cases_file, shipped_policies, shown_policy_file
from ..source import Source
from ..terminal import data
from . import quoted_path
from .cases import read_cases
from .check import JSON_VERSION, record
from .verdict import Outcome, outcome_of

PASSED, FAILED = 0, 1


def test(names: Sequence[str], *, as_json: bool) -> int:
    """Run the cases of policies or files of cases, print the failures, return the exit status.

    Raises `UsageError` for files that cannot be read.
    """
    outcomes = [outcome for name in names for outcome in outcomes_of(name)]
    if as_json:
        _print_json(outcomes)
    else:
        for outcome in outcomes:
            if outcome.diagnostics:
                print(outcome, end="\n\n")
        print(_summary(outcomes))
    return FAILED if any(outcome.diagnostics for outcome in outcomes) else PASSED


def _summary(outcomes: Sequence[Outcome]) -> str:
    cases = [outcome for outcome in outcomes if outcome.case is not None]
    failed = sum(bool(outcome.diagnostics) for outcome in cases)
    errors = sum(len(outcome.diagnostics) for outcome in outcomes if outcome.case is None)
    counts = (
        [f"{len(cases) - failed} pass"]
        + [f"{failed} fail"] * bool(failed)
        + [f"{errors} error{'s' * (errors > 1)}"] * bool(errors)
    )
    return f"{len(cases)} case{'s' * (len(cases) != 1)}: {', '.join(counts)}"


def _print_json(outcomes: Sequence[Outcome]) -> None:
    cases = [
        {
            "file": o.file,
            "line": o.case.span.line,
            "case": o.case.title,
            "passes": not o.diagnostics,
            "trace": o.trace,
        }
        for o in outcomes
        if o.case is not None
    ]
    diagnostics = [
        record(d.span.source.name if d.span else o.file, d) for o in outcomes for d in o.diagnostics
    ]
    print(
        json.dumps({"version": JSON_VERSION, "cases": cases, "diagnostics": diagnostics}, ensure_ascii=False),
        file=data(),
    )


def outcomes_of(name: str) -> Iterator[Outcome]:
    """Every case of a policy, or of a file of cases, with its outcome. Raises `UsageError` for files that
    cannot be read.
    """
    is_shipped, is_cases = name in shipped_policies(), name.endswith(".cases")
    stem = name.removesuffix(".cases" if is_cases else ".policy")
    file = cases_file(name) if is_shipped else Path(f"{stem}.cases")
    shown = shown_policy_file(file) if is_shipped else str(file)
    try:
        # The named file is read first, so that a diagnostic is about it.
        text = _read(file, is_cases) if is_cases else None
        policy = load(f"{stem}.policy" if is_cases else name)
        cases, wrong = read_cases(Source(_read(file, is_cases) if text is None else text, shown))
    except PolicyError as error:
        if error.diagnostics[0].code == "E0401":
            raise UsageError(error.diagnostics[0]) from None
        yield Outcome(shown, None, tuple(error.diagnostics))
        return
    if wrong:
        yield Outcome(shown, None, tuple(wrong))
    for case in cases:
        yield outcome_of(case, policy, shown)


def _read(file: Path, is_named: bool) -> str:
    try:
        return read_text(file, LARGEST_CASES_FILE)
    except UnicodeDecodeError as error:
        message = f"{quoted_path(file)} is not UTF-8 text: byte {error.start} is invalid"
        raise PolicyError([Diagnostic("E0440", message, help="save the file as UTF-8")]) from None
    except Unreadable as error:
        why, help = error.why, "give the path of a `.cases` file"
        if error.too_large:
            raise PolicyError(
                [
                    Diagnostic(
                        "E0445", f"{quoted_path(file)}: {why}", help="split it into files of fewer cases"
                    )
                ]
            ) from None
        if error.missing:
            why = "there is no such file" if is_named else "the cases of a policy stand in a file beside it"
            help = "begin that file with a line `case NAME`, a row `conf .9 .5` and a row `commit 0`"
        raise UsageError(
            Diagnostic("E0440", f"{quoted_path(file)} cannot be read: {why}", help=help)
        ) from None
