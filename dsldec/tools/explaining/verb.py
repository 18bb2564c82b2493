"""`dsldec why`: explains a position in one step, one step, or lists all steps.

Not here: the arguments (`cli`), where the steps come from (`sources`), how they are printed (`drawing`).
"""

from __future__ import annotations

import json
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...explained.reasons import ExplainedStep
from ...terminal import data
from .. import quoted
from ..process import log_on_stderr, termination_interrupts
from .as_json import line_objects, step_object, why_object
from .drawing import explanation, run_lines, step_lines
from .explained_run import ExplainedRun
from .sources import WhyOptions, run_of

EXPLAINED = 0
JSON_VERSION = 1
MOST_NAMED = 10  # positions in a message


def why(options: WhyOptions) -> int:
    """Explain, and return the exit status. Raises `UsageError` and `PolicyError`."""
    with termination_interrupts(), log_on_stderr():
        if options.position is not None and options.token is not None:
            message = "`--token` and `--position` both name a position"
            raise UsageError(Diagnostic("E0423", message, help="leave one of them out"))
        run = run_of(options)
        if not run.records:
            raise UsageError(Diagnostic("E0565", "no step can be explained: decoding made none"))
        position = options.position if options.token is None else _position_of(run, options.token)
        if position is not None:
            _require_position(run, position)
        step = options.step
        if step is not None:
            _require_step(run, step)
        elif position is not None:
            written = run.last_write(position)
            step = len(run.records) - 1 if written is None else written
        if options.format == "json":
            print(json.dumps(_found(run, step, position), ensure_ascii=False), file=data())
        else:
            print(_text(run, step, position))
    return EXPLAINED


def _text(run: ExplainedRun, step: int | None, position: int | None) -> str:
    if step is None:
        return "\n".join(run_lines(run))
    record = _recorded(run, step)
    if position is None:
        return "\n".join(step_lines(run, step, record, record.why_phase(run.texts)))
    explained = run.why(step, position)
    assert explained is not None
    return "\n".join(explanation(run, step, explained))


def _found(run: ExplainedRun, step: int | None, position: int | None) -> dict[str, Any]:
    """The output of `--format json`."""
    version: dict[str, Any] = {"version": JSON_VERSION}
    if step is None:
        return version | {"steps": [step_object(run, number) for number in range(len(run.records))]}
    record = _recorded(run, step)
    if position is None:
        lines = line_objects(record.why_phase(run.texts))
        return version | step_object(run, step) | {"lines": lines}
    explained = run.why(step, position)
    assert explained is not None
    return version | why_object(explained)


def _recorded(run: ExplainedRun, step: int) -> ExplainedStep:
    record = run.records[step]
    if record is None:
        message = f"step {step} has no recorded values, so nothing explains it"
        help = "record them: `dsldec run --trace FILE --values`"
        raise UsageError(Diagnostic("E0560", message, help=help))
    return record


def _require_step(run: ExplainedRun, step: int) -> None:
    if not 0 <= step < len(run.records):
        last = len(run.records) - 1
        message = f"there is no step {step}: the steps are 0 to {last}"
        raise UsageError(Diagnostic("E0566", message, help=f"for example `--step {last}`"))


def _require_position(run: ExplainedRun, position: int) -> None:
    last = run.length - 1
    if position < 0:
        message = f"position {position} is in the prompt, and no step writes the prompt"
        help = "position 0 is the first one after the prompt: `--position 0`"
        raise UsageError(Diagnostic("E0566", message, help=help))
    if position > last:
        message = f"there is no position {position}: the positions are 0 to {last}"
        raise UsageError(Diagnostic("E0566", message, help=f"for example `--position {last}`"))


def _position_of(run: ExplainedRun, text: str) -> int:
    """The position of a token in the answer, by the text of the token. Raises `UsageError` (E0567)."""
    final = run.canvases[-1]
    exact = [at for at, id_ in enumerate(final) if run.texts.get(id_) == text]
    found = exact or [at for at, id_ in enumerate(final) if run.texts.get(id_, "").strip() == text.strip()]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(map(str, found[:MOST_NAMED])) + ", ..." * (len(found) > MOST_NAMED)
        message = f"the token {quoted(text)} is at several positions: {some}"
        raise UsageError(Diagnostic("E0567", message, help=f"name one: `--position {found[0]}`"))
    message = f"no position of the answer has the token {quoted(text)}"
    help = "leave `--token` out: `dsldec why` then lists the tokens of all steps"
    raise UsageError(Diagnostic("E0567", message, help=help))
