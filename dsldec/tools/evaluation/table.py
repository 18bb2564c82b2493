"""The figures as text: aligned columns, or Markdown.

Not here: the figures (`figures`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..text_table import drawn
from .figures import Difference, Figures, Interval

NOTES = (
    "right: share of prompts with a right answer; a prompt without an answer counts as wrong",
    "95 %: Wilson interval of `right`",
    "forwards, tokens/forward: of one answer; tokens after the end of its text do not count",
    "tokens/s: measured on this machine, all rows of a batch together; it depends on the machine and its load",
)
DIFFERENCE_NOTES = {
    "Newcombe": "difference: on the same prompts; 95 %: Newcombe's interval for pairs; p: McNemar's exact test",
    "paired bootstrap": "difference: on the same prompts; 95 %: bootstrap of the prompts, 10,000 resamples",
}


def table(figures: Sequence[Figures], differences: Sequence[Difference], markdown: bool) -> Iterator[str]:
    """The lines of the tables: a row for each policy, then a row for each difference, then notes."""
    yield from drawn([*_rows(figures)], markdown)
    if differences:
        yield ""
        yield from drawn([*_difference_rows(differences)], markdown)
    yield ""
    methods = dict.fromkeys(one.method for one in differences)
    for note in (*NOTES, *(DIFFERENCE_NOTES[method] for method in methods)):
        yield f"- {note}" if markdown else f"  {note}"


def _rows(figures: Sequence[Figures]) -> Iterator[Sequence[str]]:
    ks = sorted({k for one in figures for k in one.pass_at if k > 1})
    unscored, partial = any(one.unscored for one in figures), any(one.prompts < one.of for one in figures)
    yield (
        "policy", "right", "95 %", *(f"pass@{k}" for k in ks), "forwards", "tokens/forward", "tokens/s", "prompts", "failed",
        *["not scored"] * unscored,
    )  # fmt: skip
    for one in figures:
        yield (
            one.policy, f"{one.accuracy:.3f}", _interval(one.interval, "{:.3f}"),
            *(f"{one.pass_at[k]:.3f}" if k in one.pass_at else "" for k in ks),
            f"{one.forwards:.1f}", f"{one.tokens_per_forward:.2f}",
            _rate(one.tokens_per_second), f"{one.prompts} of {one.of}" if partial else f"{one.prompts}",
            f"{one.failed}", *[f"{one.unscored}"] * unscored,
        )  # fmt: skip


def _difference_rows(differences: Sequence[Difference]) -> Iterator[Sequence[str]]:
    binary = any(one.p is not None for one in differences)
    only = ("only this right", "only first right", "p") if binary else ()
    yield ("policy", f"difference to {differences[0].against}", "95 %", *only, "prompts")
    for one in differences:
        counted = (
            (f"{one.only_policy}", f"{one.only_against}", f"{one.p:.3g}") if one.p is not None else ("",) * 3
        )
        yield (
            one.policy, f"{one.difference:+.3f}", _interval(one.interval, "{:+.3f}"), *(counted if binary else ()),
            f"{one.prompts}",
        )  # fmt: skip


def _interval(interval: Interval, form: str) -> str:
    return f"{form.format(interval[0])} to {form.format(interval[1])}"


def _rate(rate: float) -> str:
    return "" if not rate else f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
