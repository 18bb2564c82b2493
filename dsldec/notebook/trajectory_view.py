"""The views of a trajectory and of one step.

Not here: the tokens of an answer (`strip`), the page with each step's values (`tools.viewing`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..trace_step import TraceStep
from ..trajectory import Trajectory
from .markup import framed, paragraph, table, text, unfolded
from .page_frame import page_frame
from .strip import strip

MOST_STEPS, MOST_POSITIONS = 64, 32


def trajectory_html(trajectory: Trajectory) -> str:
    """The answer, and the steps that wrote it."""
    steps = len(trajectory.steps)
    named = "" if trajectory.id is None else f" of prompt {text(trajectory.id)}"
    title = f"trajectory{named}: {trajectory.length:,} positions, {steps:,} steps"
    return framed(
        title,
        strip(trajectory),
        unfolded("Steps as a table", _steps(trajectory)),
        page_frame(trajectory, f"prompt {trajectory.id}" if trajectory.id is not None else "the prompt"),
    )


def _steps(trajectory: Trajectory) -> str:
    rows = (
        (str(number), text(step.phase), str(step.forward), *_written(step))
        for number, step in enumerate(trajectory.steps[:MOST_STEPS])
    )
    html = table(
        ("step", "phase", "forward", "committed", "revoked", "edited"), rows, numbers=(0, 2), prose=(3, 4, 5)
    )
    more = len(trajectory.steps) - MOST_STEPS
    if more > 0:
        html += paragraph(f"{more:,} more steps: <code>trajectory.steps[{MOST_STEPS}:]</code>.", soft=True)
    return html


def _written(step: TraceStep) -> Iterator[str]:
    for positions in (step.committed, step.revoked, step.edited):
        shown = " ".join(map(str, positions[:MOST_POSITIONS]))
        more = len(positions) - MOST_POSITIONS
        yield f"{shown}, and {more} more" if more > 0 else shown


def step_html(step: TraceStep) -> str:
    """The positions that one step changed."""
    phase = f", phase {text(step.phase)}" if step.phase else ""
    changed = [
        *(("committed", at) for at in step.committed),
        *(("revoked", at) for at in step.revoked),
        *(("edited", at) for at in step.edited),
    ]
    rows = (_change(step, kind, at) for kind, at in changed[:MOST_STEPS])
    parts = [table(("position", "", "id", "confidence"), rows, numbers=(0, 2, 3))] if changed else []
    if len(changed) > MOST_STEPS:
        parts.append(paragraph(f"{len(changed) - MOST_STEPS:,} more positions follow.", soft=True))
    if not changed:
        parts.append(paragraph("It writes nothing."))
    if step.record is not None:
        position = changed[0][1] if changed else 0
        parts.append(paragraph(f"<code>step.why({position})</code> explains a position.", soft=True))
    return framed(f"step of forward {step.forward}{phase}", *parts)


def _change(step: TraceStep, kind: str, at: int) -> tuple[str, ...]:
    id_ = step.removed.get(at) if kind == "revoked" else step.ids.get(at)
    confidence = step.confidence.get(at)
    return str(at), kind, "" if id_ is None else str(id_), "" if confidence is None else f"{confidence:.3g}"
