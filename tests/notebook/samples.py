"""Values to show in notebooks, among them hostile texts. Without a model."""

from __future__ import annotations

import torch

from dsldec.diagnostics import Diagnostic
from dsldec.runtime.decoded import Decoded
from dsldec.trace_step import TraceStep
from dsldec.trajectory import Trajectory

HOSTILE = "</script><img src=x onerror=alert(1)> & \"'\x1b[31m\u202e</td></iframe>"
MASK, END = 9, 8


def trajectory(tokens=None, *, length=6, steps=None, **more) -> Trajectory:
    """A short answer that three steps wrote; the ids after the end of the text are no step's."""
    steps = steps or [
        TraceStep("", [0, 2], [], [], 0, {"conf": {0: 0.95, 2: 0.9}}, {0: 3, 2: 4}),
        TraceStep("", [1], [2], [], 1, {"conf": {1: 0.5, 2: 0.2}}, {1: 5}, {2: 4}),
        TraceStep("", [2, 3], [], [], 2, {"conf": {2: 0.8, 3: 0.99}}, {2: 6, 3: END}),
    ]
    ids = [3, 5, 6, END, END, END][:length]
    return Trajectory([1, 2], length, ids, MASK, END, steps, tokens=tokens or {}, **more)


def decoded(texts, errors=None, trajectories=()) -> Decoded:
    """Results with these texts."""
    errors = errors or [None] * len(texts)
    of_each = torch.ones(len(texts), dtype=torch.int64)
    return Decoded(
        ids=[torch.tensor([3, 5])] * len(texts),
        text=list(texts),
        forwards=of_each * 4,
        rows=of_each * 4,
        wasted_rows=of_each * 0,
        proposed=[[]] * len(texts),
        accepted=[[]] * len(texts),
        tokens=of_each * 10,
        trace=[[]] * len(texts),
        errors=list(errors),
        finish_reason=["stop" if one is None else "error" for one in errors],
        trajectories=list(trajectories),
    )


def failed(message="it failed", help="try `again`") -> Diagnostic:
    return Diagnostic("E0410", message, help=help)
