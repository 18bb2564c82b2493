"""Samples of a prompt that are sure to be equal: decoded once, and copied.

Not here: the random numbers of a sample (`noise.key`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..policy import Policy
from .requests import Request
from .rows import Row


def once(requests: Sequence[Request], policy: Policy) -> tuple[list[Request], dict[int, list[Request]]]:
    """The requests to decode, and by index the requests that are copies of one. Under a policy that draws
    nothing, the samples of a prompt are copies of the first.
    """
    if not policy.facts.deterministic:
        return list(requests), {}
    first: list[Request] = []
    copies: dict[int, list[Request]] = {}
    for request in requests:
        # The samples of a prompt are side by side, and have one list of ids.
        if first and request.text is first[-1].text and request.sample != first[-1].sample:
            copies.setdefault(first[-1].index, []).append(request)
        else:
            first.append(request)
    return first, copies


def with_copies(rows: Iterator[Row], copies: Mapping[int, Sequence[Request]]) -> Iterator[Row]:
    """The rows, each before its copies. A copy has the costs of the one decode."""
    if not copies:
        return rows
    return _with_copies(rows, copies)


def _with_copies(rows: Iterator[Row], copies: Mapping[int, Sequence[Request]]) -> Iterator[Row]:
    for row in rows:
        yield row
        for copy in copies.get(row.index, ()):
            trajectory = row.trajectory and replace(row.trajectory, sample=copy.sample)
            yield replace(
                row, index=copy.index, sample=copy.sample, ids=row.ids.clone(), trajectory=trajectory
            )
