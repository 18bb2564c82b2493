"""The tokens of an answer in a row, each with the step that wrote it.

The step is a number beside the token, and a colour too. Not here: the other parts of the view
(`trajectory_view`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..trajectory import Trajectory
from .markup import CODE, SOFT, paragraph, text

MOST_TOKENS, LONGEST_TOKEN = 256, 40
EARLY, LATE = 210, 20  # hues: from blue to red


def strip(trajectory: Trajectory) -> str:
    """The first tokens of an answer, with sentences that say how to read them."""
    ids, end = trajectory.ids, _end(trajectory)
    shown = min(end, MOST_TOKENS)
    notes = [
        "The small number is the step that wrote the token. Blue is early, red is late.",
        *_notes(trajectory, shown, end, len(ids)),
    ]
    tokens = "".join(_tokens(trajectory, shown))
    return f'<div style="{CODE};font-family:inherit;overflow-wrap:anywhere;line-height:1.9">{tokens}</div>{paragraph(" ".join(notes), soft=True)}'


def _notes(trajectory: Trajectory, shown: int, end: int, ids: int) -> Iterator[str]:
    if end > shown:
        yield f"{end - shown:,} more tokens follow."
    if ids > end:
        yield f"{ids - end:,} ids of the end of the text are left out."
    if not trajectory.tokens:
        yield "These are ids: <code>trace=&quot;values&quot;</code> also records their texts."


def _end(trajectory: Trajectory) -> int:
    """The place after the last id that is no end of text; the first end of text is shown."""
    ids, end = trajectory.ids, len(trajectory.ids)
    while end and ids[end - 1] == trajectory.eos_id:
        end -= 1
    return min(end + 1, len(ids))


def _tokens(trajectory: Trajectory, shown: int) -> Iterator[str]:
    logprobs, latest = trajectory.logprobs, max(1, len(trajectory.steps) - 1)
    for at in range(shown):
        step, confidence = logprobs.step[at], logprobs.confidence[at]
        token = text(token_text(trajectory, trajectory.ids[at]), LONGEST_TOKEN)
        if step < 0:
            yield f'<span title="position {at}, written by no step">{token}</span> '
            continue
        hue = EARLY + (LATE - EARLY) * step / latest
        sure = "" if confidence is None else f", confidence {confidence:.3g}"
        yield (
            f'<span title="position {at}, step {step}{sure}" style="background:hsla({hue:.0f},75%,50%,.28);'
            f'padding:.1em 0;border-radius:.2em">{token}</span><sub style="{SOFT}">{step}</sub> '
        )


def token_text(trajectory: Trajectory, id_: int) -> str:
    """The text of an id with visible line breaks, or its number where the text is not known."""
    if id_ == trajectory.mask_id:
        return "MASK"
    known = trajectory.tokens.get(id_)
    return f"#{id_}" if known is None else known.replace("\n", "␊")
