"""The points of a frontier as text: aligned columns, or Markdown.

Not here: the points (`points`), the table of the page (`page`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..text_table import drawn
from .points import Frontier, Point
from .resampling import BCA, WILSON

HEAD = ("setting", "right", "95 %", "forwards", "tokens/forward", "tokens/s", "prompts", "front")
CURVE_HEAD = ("policy", "AUP", "points")
METHOD_NOTES = {
    BCA: "BCa bootstrap of the prompts, 10,000 resamples",
    WILSON: "Wilson's where all scores are equal",
}


def rows_of(points: Sequence[Point]) -> Iterator[tuple[str, ...]]:
    """A row for each point, in the order of `HEAD`."""
    for one in points:
        front = " and ".join(["forwards"] * one.on_front + ["tokens/s"] * one.on_speed_front)
        prompts = f"{one.prompts}" if one.prompts == one.of else f"{one.prompts} of {one.of}"
        failed = f", {one.failed} failed" if one.failed else ""
        yield (
            one.title, f"{one.accuracy:.3f}", f"{one.interval[0]:.3f} to {one.interval[1]:.3f}",
            "" if one.forwards is None else f"{one.forwards:.1f}",
            f"{one.tokens_per_forward:.2f}" if one.tokens_per_forward else "",
            f"{one.tokens_per_second:.0f}" if one.tokens_per_second else "", prompts + failed, front,
        )  # fmt: skip


def curve_rows(frontier: Frontier) -> Iterator[tuple[str, ...]]:
    for curve in frontier.curves:
        if curve.aup is not None:
            yield curve.name, f"{curve.aup:.1f}", f"{len(curve.points)}"


def notes_of(frontier: Frontier) -> list[str]:
    """What the columns mean."""
    methods = dict.fromkeys(one.method for one in frontier.points)
    said = "; ".join(METHOD_NOTES.get(one, one) for one in methods if one)
    return [
        "right: share of prompts with a right answer; a prompt without an answer counts as wrong",
        f"95 %: interval of `right`: {said}",
        "front: no other setting is at least as right in fewer forwards (or with more tokens a second)",
        "tokens/s: on this machine, in full batches; it depends on the machine and its load",
        "AUP: area under accuracy in percent over tokens per forward, as the d3LLM leaderboard computes it; "
        "the best accuracy of this table is its maximum",
    ]


def table_of(frontier: Frontier, markdown: bool) -> Iterator[str]:
    """The lines of the tables and the notes."""
    yield from drawn([HEAD, *rows_of(frontier.points)], markdown)
    if curves := list(curve_rows(frontier)):
        yield ""
        yield from drawn([CURVE_HEAD, *curves], markdown)
    yield ""
    yield from (f"- {note}" if markdown else f"  {note}" for note in notes_of(frontier))
