"""The explanations of a run as data of a page: each form of an explanation once, then its values.

The texts are those of `Why`; the page only puts the values into their places. Not here: the reasons
(`explained`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...explained.why import Why
from ...source import Span
from ...terminal import printable
from .shown_text import ShownText


class WhyTable:
    """The explanations of one run, each form and each explanation once.

    `forms`: `[template of the head, outcome, [[depth, template, holds, decides, span], ...]]`, where a span
    is a place in `spans` or -1; `cells`: `[form, value, value, ...]`.
    """

    def __init__(self, policy: ShownText | None) -> None:
        self.policy = policy
        self.spans: dict[tuple[int, int], int] = {}
        self._forms: dict[tuple[Any, ...], int] = {}
        self._cells: dict[tuple[Any, ...], int] = {}

    def add(self, why: Why) -> int:
        """The number of the explanation's cell."""
        lines, values = [], list[str]()
        for line in why.lines:
            decides = bool(getattr(line, "decides", False))
            lines.append((line.depth, printable(line.template), line.holds, decides, self.span(line.span)))
            values += map(printable, line.arguments)
        form = (_head(why), why.outcome, tuple(lines))
        number = self._forms.setdefault(form, len(self._forms))
        return self._cells.setdefault((number, *values), len(self._cells))

    def span(self, span: Span | None) -> int:
        """The number of a place in the text of the policy."""
        if span is None or self.policy is None:
            return -1
        place = self.policy.place(span.start), self.policy.place(span.end)
        return self.spans.setdefault(place, len(self.spans))

    def data(self) -> dict[str, Any]:
        """The fields of the page's run."""
        return {
            "forms": [[head, outcome, _lists(lines)] for head, outcome, lines in self._forms],
            "cells": _lists(self._cells),
            "spans": _lists(self.spans),
        }


def _head(why: Why) -> str:
    """The template of the first line: position and step are values."""
    first = printable(str(why).split("\n", 1)[0])
    start = f"position {why.position}, step {why.step}"
    if not first.startswith(start):
        return _literal(first)
    return "position {}, step {}" + _literal(first.removeprefix(start))


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _lists(some: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(one) for one in some]
