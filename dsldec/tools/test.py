"""`dsldec test`: run the cases beside some policies, and print each failure with its step.

Not here: reading a file of cases (`cases`), judging a case (`verdict`), the places that no case reaches
(`coverage`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..diagnostics import Diagnostic, PolicyError, UsageError
from ..files import LARGEST_CASES_FILE, Unreadable, read_text
from ..policy import Policy, load
from ..resources import cases_file, shipped_policies, shown_policy_file
from ..source import Source
from ..terminal import data
from . import quoted_path
from .cases import Case, read_cases
from .check import JSON_VERSION, record
from .coverage.report import Coverage, coverage_of
from .verdict import Outcome, outcome_of

PASSED, FAILED = 0, 1


def test(names: Sequence[str], *, as_json: bool, coverage: bool, threshold: float | None) -> int:
    """Run the cases of policies or files of cases, print the failures, return the exit status.

    `coverage`: print the places that no case reaches, too. `threshold`: the percentage of its places that
    each policy must reach. Raises `UsageError` for files that cannot be read, and for a threshold without
    coverage.
    """
    if threshold is not None and not coverage:
        message = "`--threshold` has no meaning without `--coverage`"
        raise UsageError(Diagnostic("E0423", message, help="add `--coverage`"))
    of_names = {name: [*outcomes_of(name)] for name in names}
    outcomes = [outcome for name in names for outcome in of_names[name]]
    covered = list(_covered(of_names)) if coverage else []
    if as_json:
        _print_json(outcomes, covered if coverage else None)
    else:
        for outcome in outcomes:
            if outcome.diagnostics:
                print(outcome, end="\n\n")
        for one in covered:
            for diagnostic in one.diagnostics:
                print(diagnostic, end="\n\n")
        for one in covered:
            print(one)
        print(_summary(outcomes))
    low = [one for one in covered if threshold is not None and one.percent < threshold]
    for one in low:
        message = f"the cases of `{one.policy}` reach {one.percent:.1f} % of its places, and `--threshold` asks for {threshold:g} %"
        print(
            Diagnostic("E0555", message, help="add the cases that the warnings describe"),
            file=sys.stderr,
        )
    return FAILED if low or any(outcome.diagnostics for outcome in outcomes) else PASSED


def _covered(of_names: Mapping[str, Sequence[Outcome]]) -> Iterator[Coverage]:
    """The coverage of each policy that has no mistake, once for each name."""
    for name, outcomes in of_names.items():
        cases = [outcome.case for outcome in outcomes if outcome.case is not None]
        with suppress(PolicyError):  # printed already
            yield coverage_of(_policy_of(name), cases)


def _policy_of(name: str) -> str:
    """The policy of a file of cases; other names stay."""
    return f"{name.removesuffix('.cases')}.policy" if name.endswith(".cases") else name


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


def _print_json(outcomes: Sequence[Outcome], covered: Sequence[Coverage] | None) -> None:
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
    whole: dict[str, object] = {"version": JSON_VERSION, "cases": cases, "diagnostics": diagnostics}
    if covered is not None:
        whole["coverage"] = [one.as_json() for one in covered]
    print(json.dumps(whole, ensure_ascii=False), file=data())


def cases_of(name: str) -> tuple[Policy, list[Case]]:
    """The policy of a name, and its cases. Raises `UsageError` and `PolicyError`."""
    file, shown = _file_of(name)
    text = _read(file, name.endswith(".cases"))
    cases, wrong = read_cases(Source(text, shown))
    if wrong:
        raise PolicyError(wrong)
    return load(_policy_of(name)), cases


def _file_of(name: str) -> tuple[Path, str]:
    """The file of cases, and how diagnostics name it."""
    is_shipped = name in shipped_policies()
    stem = name.removesuffix(".cases" if name.endswith(".cases") else ".policy")
    file = cases_file(name) if is_shipped else Path(f"{stem}.cases")
    return file, shown_policy_file(file) if is_shipped else str(file)


def outcomes_of(name: str) -> Iterator[Outcome]:
    """Every case of a policy, or of a file of cases, with its outcome. Raises `UsageError` for files that
    cannot be read.
    """
    is_cases = name.endswith(".cases")
    file, shown = _file_of(name)
    try:
        # The named file is read first, so that a diagnostic is about it.
        text = _read(file, is_cases) if is_cases else None
        policy = load(_policy_of(name))
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
