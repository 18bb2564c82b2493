"""The view of the results of `decode`: a row for each prompt, and how the first answers were written.

Not here: one answer (`trajectory_view`), the page with each step's values (`page_frame`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..diagnostics import Diagnostic
from ..runtime.decoded import Decoded
from .markup import framed, paragraph, table, text, unfolded
from .page_frame import page_frame
from .strip import strip

MOST_PROMPTS, MOST_STRIPS, MOST_FAILED = 20, 3, 10


def decoded_html(decoded: Decoded) -> str:
    """The results of some prompts, the first ones of many."""
    count, failed = len(decoded.errors), len(decoded.failed)
    rows = (_row(decoded, place) for place in range(min(count, MOST_PROMPTS)))
    forwards, tokens = int(decoded.forwards.sum()), int(decoded.tokens.sum())
    title = (
        f"{count:,} prompt{'s' * (count != 1)}, {failed:,} failed: {tokens:,} tokens in {forwards:,} forwards"
    )
    head = ("", "text", "finish reason", "forwards", "tokens", "tokens a forward")
    return framed(
        title, table(head, rows, numbers=(0, 3, 4, 5), prose=(1,)), *_rest(decoded), *_strips(decoded)
    )


def _row(decoded: Decoded, place: int) -> tuple[str, ...]:
    error, forwards, tokens = decoded.errors[place], int(decoded.forwards[place]), int(decoded.tokens[place])
    rate = f"{tokens / forwards:.2f}" if forwards else ""
    answer = _answer(decoded, place) if error is None else _failure(error)
    reason = decoded.finish_reason[place] if place < len(decoded.finish_reason) else ""
    return str(place), answer, text(reason), f"{forwards:,}", f"{tokens:,}", rate


def _answer(decoded: Decoded, place: int) -> str:
    answer = decoded.text[place]
    if answer is None:
        return f"<em>no tokenizer: <code>decoded.ids[{place}]</code> has the ids</em>"
    return text(answer) or "<em>an empty text</em>"


def _failure(error: Diagnostic) -> str:
    help = f"<br>help: {text(error.help)}" if error.help else ""
    return f"<strong>{text(error.code)}</strong>: {text(error.message)}{help}"


def _rest(decoded: Decoded) -> Iterator[str]:
    more = len(decoded.errors) - MOST_PROMPTS
    if more <= 0:
        return
    said = f"{more:,} more prompts follow, from <code>decoded.text[{MOST_PROMPTS}]</code> on."
    failed = [place for place in decoded.failed if place >= MOST_PROMPTS]
    if failed:
        places = ", ".join(map(str, failed[:MOST_FAILED])) + ", …" * (len(failed) > MOST_FAILED)
        said += f" {len(failed):,} of them failed: {places}."
    yield paragraph(said)


def _strips(decoded: Decoded) -> Iterator[str]:
    traced = [(place, one) for place, one in enumerate(decoded.trajectories) if one is not None and one.steps]
    for number, (place, trajectory) in enumerate(traced[:MOST_STRIPS]):
        yield unfolded(f"How prompt {place} was written", strip(trajectory), opened=not number)
        yield page_frame(trajectory, f"prompt {place}") if not number else ""
    if len(traced) > MOST_STRIPS:
        yield paragraph(
            f"<code>decoded.trajectories[{traced[MOST_STRIPS][0]}]</code> shows the next.", soft=True
        )
