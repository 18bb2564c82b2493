"""Candidates: the states that a step with `branch` makes from one forward, and the choice among them.

The same `StepRunner` makes all candidates of a step, one call for each. It is pure, so a candidate changes
nothing. The next forward reads the candidates, and the step that follows each of them reports its score.
Shapes: B rows, N candidates. Not here: the forward of the candidates (`branch_loop`), ends of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..ir.protocol import BRANCH
from .forward_output import ForwardOutput
from .step_runner import BatchState, StepResult, StepRunner


@dataclass(frozen=True, slots=True)
class DistinctInputs:
    """Which candidates are rows of a forward. `rows`: for each candidate, its rows of the batch that no
    earlier candidate equals; `same`: for each candidate and each row of the batch, the first candidate with
    the same input.
    """

    rows: list[list[int]]
    same: list[list[int]]

    @property
    def one_each(self) -> bool:
        """Whether no row has two different candidates."""
        return not any(self.rows[1:])


class Brancher:
    """Makes the candidates of a step, and picks one of them in each row. `branches`: their number."""

    def __init__(self, runner: StepRunner, branches: int) -> None:
        self.runner, self.branches = runner, branches

    def forked(self, state: BatchState, seen: ForwardOutput, rows: Tensor | None) -> list[StepResult]:
        """The step of each candidate in the rows `[B]` bool, `None` for all."""
        return [self.runner(_as_branch(state, i), seen, rows) for i in range(self.branches)]

    def distinct(self, candidates: Sequence[BatchState], live: Sequence[int]) -> DistinctInputs:
        """The inputs of a forward in these rows. A forward reads the canvas, and the place of the window."""
        slots = range(len(self.runner.rows.requests))
        rows: list[list[int]] = [[] for _ in candidates]
        same = [[0 for _ in slots] for _ in candidates]
        inputs = [
            torch.cat([one.canvas, *(side.unsqueeze(1) for side in self.runner.placed(one).bounds)], 1)
            for one in candidates
        ]
        ids = torch.stack(inputs).tolist()  # one read
        for row in live:
            first: dict[tuple[int, ...], int] = {}
            for number, of_candidate in enumerate(ids):
                same[number][row] = first.setdefault(tuple(of_candidate[row]), number)
                if same[number][row] == number:
                    rows[number].append(row)
        return DistinctInputs(rows, same)

    def best(
        self, candidates: Sequence[BatchState], seen: Sequence[ForwardOutput], rows: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """`[B]` int64: the number of the candidate with the best score in each row; and the scores `[N, B]`.

        `seen`: the logits of each candidate. A candidate with logits that are not finite loses to all others.
        A score without a value loses to every value. Of equals, the first wins.
        """
        after = [self.runner(one, logits, rows).after for one, logits in zip(candidates, seen, strict=True)]
        failed = torch.stack([one.failed for one in after])
        scores = torch.stack(
            [torch.zeros(()) if one.events.score is None else one.events.score for one in after]
        )
        without = scores.isnan()
        standing = 2 * (~failed).long() + (~without).long()
        eligible = standing == standing.amax(0)
        compared = torch.where(without, 0, scores)
        hit = eligible & (compared == torch.where(eligible, compared, float("-inf")).amax(0))
        number = torch.arange(len(after), device=hit.device).unsqueeze(1)
        return torch.where(hit, number, len(after)).amin(0), scores


def chosen(candidates: Sequence[BatchState], which: Tensor) -> BatchState:
    """The state of candidate `which [B]` in each row."""
    result = candidates[0]
    for number, one in enumerate(candidates[1:], 1):
        result = one.where(which == number, result)
    return result


def _as_branch(state: BatchState, number: int) -> BatchState:
    """The state before the step that makes this candidate."""
    if BRANCH not in state.state:  # the policy never reads the number
        return state
    return replace(state, state=state.state | {BRANCH: torch.full_like(state.state[BRANCH], number)})
