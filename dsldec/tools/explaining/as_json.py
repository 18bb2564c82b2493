"""Explanations as JSON objects.

Not here: explanations as text (`drawing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...explained.why import Why, WhyLine
from ...source import Span
from .explained_run import ExplainedRun


def why_object(why: Why) -> dict[str, Any]:
    """An explanation as an object."""
    named = {"position": why.position, "step": why.step, "phase": why.phase, "outcome": why.outcome}
    return named | {"lines": line_objects(why.lines)}


def line_objects(lines: Iterable[WhyLine]) -> list[dict[str, Any]]:
    """Lines as objects."""
    return [
        {
            "depth": line.depth,
            "text": line.text,
            "holds": line.holds,
            "decides": line.decides,
            "place": None if line.span is None else _place(line.span),
        }
        for line in lines
    ]


def _place(span: Span) -> dict[str, Any]:
    """A place in the policy: line and column from 1, and the characters from 0."""
    line, column = span.source.position(span.start)
    return {"file": span.source.name, "line": line, "column": column, "start": span.start, "end": span.end}


def step_object(run: ExplainedRun, step: int) -> dict[str, Any]:
    """The writes of a step: ids by position."""
    after = run.canvases[step + 1]
    return {"step": step, "written": {str(position): after[position] for position in run.written(step)}}
