"""The answers to the problems of a task, with their scores: as lines of a results file, and read back.

Not here: scores (`scorers`), decoding (`decoding`), the results file (`results_file`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...files import LARGEST_RESULTS, Unreadable, json_of, read_bytes
from .. import quoted_path
from ..owned import OwnedFile
from ..results import Result
from .problems import OWN_FIELDS, Problem, encoded
from .scorers import Judged, Scorer

AnswerLine = dict[str, Any]
MOST_PROCESSES = 16


@dataclass(frozen=True, slots=True)
class ScoredResult(Result):
    """A result with its score, if it has one yet. `wall_seconds`: the time of decoding since the result
    before.
    """

    judged: Judged | None = None
    scorer: str = ""
    wall_seconds: float = 0.0

    @classmethod
    def of(cls, result: Result, judged: Judged | None, scorer: str, wall_seconds: float) -> ScoredResult:
        values = {one.name: getattr(result, one.name) for one in fields(Result)}
        return cls(**values, judged=judged, scorer=scorer, wall_seconds=wall_seconds)

    def line(self) -> AnswerLine:
        line = Result.line(self) | {"wall_seconds": round(self.wall_seconds, 4)}
        return line | score_fields(self.scorer, self.judged) if self.judged is not None else line


def score_fields(scorer: str, judged: Judged) -> AnswerLine:
    """The fields of a score in a line."""
    found = {"found": judged.found} if judged.found is not None else {}
    why = {"why": judged.why} if judged.why else {}
    return {"score": judged.score, "scorer": scorer, **found, **why}


def lines_of(data: bytes, problems: Mapping[str | int, Problem]) -> Iterator[AnswerLine]:
    """The lines of a results file about these problems, the last one of each sample."""
    last: dict[tuple[str | int, int], AnswerLine] = {}
    for raw in data.splitlines():
        line = _parsed(raw)
        if line is None or line["id"] not in problems:
            continue
        if line.get("sample", 0) < problems[line["id"]].prompt.n:
            last[line["id"], line.get("sample", 0)] = line
    yield from last.values()


def _parsed(raw: bytes) -> AnswerLine | None:
    """A whole line as a result, None for another one."""
    try:
        line = json_of(raw.decode("utf-8"))
    except ValueError:
        return None
    whole = isinstance(line, dict) and isinstance(line.get("id"), str | int)
    return line if whole and ("text" in line or "error" in line) else None


def stored(file: str) -> bytes:
    """The content of a results file, empty where there is none. Another process may be writing it."""
    try:
        return read_bytes(file, LARGEST_RESULTS) if os.path.exists(file) else b""
    except Unreadable as failure:
        raise _unreadable(file, failure.why) from None


def score_file(file: str, problems: Mapping[str | int, Problem], scorer: Scorer, again: bool) -> None:
    """Score the stored answers that have no score; with `again`, all of them. The scores that are known when
    the user interrupts are stored. Raises `UsageError` where the file cannot be read or written.
    """
    owned = _owned(file)
    try:
        data = owned.read() if owned.size else b""
        parsed = [(raw, _parsed(raw)) for raw in data.splitlines(keepends=True)]
        lines = [line for _, line in parsed if line is not None and line["id"] in problems]
        here = {id(line) for line in lines}
        try:
            score_lines(lines, problems, scorer, again)
        finally:
            now = b"".join(
                raw if line is None or id(line) not in here else encoded(line) + b"\n" for raw, line in parsed
            )
            if now != data:
                owned.replace(now)
    except OSError as failure:
        raise _unreadable(file, failure.strerror or str(failure)) from None
    finally:
        owned.close()


def score_lines(
    lines: Iterable[AnswerLine], problems: Mapping[str | int, Problem], scorer: Scorer, again: bool
) -> None:
    """Set the score of answers, in place: of those without one, or with `again` of all."""
    wanted = [line for line in lines if "text" in line and (again or "score" not in line)]
    if not scorer.slow:
        for line in wanted:
            _set(line, scorer.name, scorer.judged(problems[line["id"]], line["text"]))
        return
    with ThreadPoolExecutor(min(MOST_PROCESSES, os.cpu_count() or 1)) as pool:
        try:
            running: dict[Future[Judged], AnswerLine] = {
                pool.submit(scorer.judged, problems[line["id"]], line["text"]): line for line in wanted
            }
            for one in as_completed(running):
                _set(running[one], scorer.name, one.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _set(line: AnswerLine, scorer: str, judged: Judged) -> None:
    for name in OWN_FIELDS:
        if name != "wall_seconds":
            line.pop(name, None)
    line.update(score_fields(scorer, judged))


def _owned(file: str) -> OwnedFile:
    try:
        owned = OwnedFile(file)
    except (OSError, ValueError) as failure:
        raise _unreadable(file, (isinstance(failure, OSError) and failure.strerror) or str(failure)) from None
    if owned.size > LARGEST_RESULTS:
        owned.close()
        raise _unreadable(file, f"it is larger than {LARGEST_RESULTS >> 20} MiB")
    return owned


def _unreadable(file: str, why: str) -> UsageError:
    message = f"the results file {quoted_path(file)} cannot be scored: {why.lower()}"
    return UsageError(Diagnostic("E0434", message, help="give `--out` another folder"))
