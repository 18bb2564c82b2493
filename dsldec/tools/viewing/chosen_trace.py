"""Which trace of a file is viewed, and which one beside it?

A file is read line by line, up to the trace. Not here: the form of a line (`trajectory_lines`), the page
(`page`).
"""

from __future__ import annotations

import os
from pathlib import Path

from ...diagnostics import Diagnostic, UsageError, did_you_mean
from ...explained.reasons import ExplainedStep
from ...trajectory import Trajectory
from .. import quoted, quoted_path
from ..process import say
from .page_data import ViewedRun, shown_parameter

IDS_SHOWN = 8


def trace_of(file: str, id: str | None, sample: int | None) -> Trajectory:
    """The trace of a prompt, or the first one of the file. Raises `UsageError` (E0460, E0570, E0571)."""
    ids: list[str] = []
    found = None
    for one in Trajectory.read(file):
        if found is not None:
            say(_more(file, found))
            return found
        if _is(one, id, sample):
            found = one
            if id is not None or sample is not None:
                return found
        else:
            ids.append(_name(one))
    if found is not None:
        return found
    if not ids:
        message = f"the trace file {quoted_path(file)} has no trace"
        help = f"write one: `dsldec run --trace {os.path.basename(file) or 'traces.jsonl'} --values ...`"
        raise UsageError(Diagnostic("E0570", message, help=help))
    raise UsageError(_no_such(file, id, sample, list(dict.fromkeys(ids))))


def trace_beside(file: str, first: Trajectory, id: str | None, sample: int | None) -> Trajectory:
    """The trace of the same prompt in another file, with the same id if one is given. Raises `UsageError`
    (E0460, E0571, E0572).
    """
    if id is not None or sample is not None:
        return trace_of(file, id, sample)
    same = (
        one
        for one in Trajectory.read(file)
        if one.prompt_ids == first.prompt_ids and one.given == first.given
    )
    found = next(same, None)
    if found is not None:
        return found
    message = f"the trace file {quoted_path(file)} has no trace of the same prompt"
    help = "`--id ID` compares the traces with this id in both files"
    raise UsageError(Diagnostic("E0572", message, help=help))


def titled(traces: list[tuple[str, Trajectory]]) -> list[ViewedRun]:
    """The runs with titles that differ: the names of the policies, with parameters or files if these are
    equal.
    """
    policies = [_policy(one) for _, one in traces]
    titles = [policy[0] or Path(file).stem for policy, (file, _) in zip(policies, traces, strict=True)]
    if len(set(titles)) < len(titles):
        others = [
            {
                name: value
                for name, value in own.items()
                if any(other.get(name) != value for _, other in policies)
            }
            for _, own in policies
        ]
        titles = [
            f"{title} {', '.join(f'{name}={shown_parameter(value)}' for name, value in own.items())}".strip()
            for title, own in zip(titles, others, strict=True)
        ]
    if len(set(titles)) < len(titles):
        titles = [
            f"{title}, {os.path.basename(file)}" for title, (file, _) in zip(titles, traces, strict=True)
        ]
    return [ViewedRun(title, one) for title, (_, one) in zip(titles, traces, strict=True)]


def _policy(trace: Trajectory) -> tuple[str, dict[str, object]]:
    """The name of a trace's policy and its parameter values, if the trace has values."""
    for step in trace.steps:
        if isinstance(step.record, ExplainedStep):
            explained = step.record.explained
            values: dict[str, object] = {
                name: value
                for name, value in explained.parameters.items()
                if isinstance(value, bool | int | float | str)
            }
            return explained.checked.resolved.policy.identifier.text, values
    return "", {}


def _is(trace: Trajectory, id: str | None, sample: int | None) -> bool:
    return (id is None or str(trace.id) == id) and (sample is None or (trace.sample or 0) == sample)


def _name(trace: Trajectory) -> str:
    return "" if trace.id is None else str(trace.id)


def _more(file: str, shown: Trajectory) -> str:
    which = f"that of prompt {quoted(_name(shown))}" if shown.id is not None else "the first one"
    return f"{quoted_path(file)} has several traces; the page shows {which}. `--id ID` chooses another"


def _no_such(file: str, id: str | None, sample: int | None, ids: list[str]) -> Diagnostic:
    wanted = " and ".join(
        part
        for part in (
            f"the id {quoted(id)}" if id is not None else "",
            f"the sample {sample}" if sample is not None else "",
        )
        if part
    )
    close = did_you_mean(id, ids) if id is not None else None
    some = ", ".join(quoted(one) for one in ids[:IDS_SHOWN]) + (", ..." if len(ids) > IDS_SHOWN else "")
    help = f"did you mean `--id {close}`?" if close else f"its ids are {some}"
    if id is not None and id in ids:
        help = "leave `--sample` out to see the first sample"
    return Diagnostic("E0571", f"the trace file {quoted_path(file)} has no trace with {wanted}", help=help)
