"""LoPA and Info-Gain as loops over single canvases, in plain Python.

Both make several candidates of the next canvas from one forward, forward all of them, and go on with the best
one. Its output is that of the next step, so no canvas is forwarded twice. Equal candidates are forwarded
once. Positions count from 0 for the first generated one. Not here: policies, batches, nor any code of dsldec
except its random numbers.

LoPA (zhijie-group/LoPA, `scale_dream_d2f.py`, arXiv:2512.16229), with one active block at a time
(`block_add_threshold` 1):

* The anchor row has the normal commits: all positions of the block above `confidence` (strictly), or the
  likeliest one if there is none.
* Each other row has these and one more: the likeliest position that is left in the block, the second
  likeliest, and so on, while there is one.
* The score of a row is alpha * c + (1 - alpha) * f. c is the confidence of the position it has more, in the
  forward before; 1 for the anchor. f is the mean of the lowest confidences over the masks of its own block, in
  its own forward: `share` of the masks, rounded down, at least one. A row that has filled its block is judged
  by its next block.
* The best score goes on; of equal ones the row with the likelier position, the anchor last.
* A row without any mask ends the text at once. The published loop forwards it once more, with f = 1, and in
  the end takes the row that finished in the fewest rounds.

Info-Gain (yks23/Information-Gain-Sampler, `info_gain/core.py` and `llada/sampler.py`), at token temperature 0:

* Each step has a number k of positions to write, from a schedule: the even split of the block.
* If any position of the block has at least the confidence `bypass`, the k likeliest of these are written, and
  there are no candidates. The published default has no bypass.
* If k or fewer masks are left, they are written, and there are no candidates.
* Otherwise candidate 0 is the k likeliest positions. Each other candidate has the k largest of
  confidence / temperature + Gumbel noise. Equal sets count once.
* The score of a candidate is minus the sum of the entropies of its positions, in the forward before, minus
  the mean entropy over the masks that are left, in its own forward. The published loop takes this mean over
  the masks of all blocks; here it is over the block, which is the same for its default of one block.
* The best score goes on; of equal ones the earlier candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dsldec.backends.noise import uniform_float

from .rules import Canvas, See, Seen, best, blocks, masks, split_evenly, write

SITE = 1  # the first place of a policy that draws
CANDIDATE = 2**32  # candidate i draws the numbers of the step + i times this


@dataclass
class BranchRun:
    """What a run came to.

    `path`: the canvas after each step; `picked`: the candidate that each step went on with; `fed`: the number
    of canvases of each forward.
    """

    see: See
    canvas: Canvas
    path: list[Canvas] = field(default_factory=list)
    picked: list[int] = field(default_factory=list)
    fed: list[int] = field(default_factory=list)

    @property
    def forwards(self) -> int:
        return len(self.fed)

    @property
    def rows(self) -> int:
        return sum(self.fed)

    def forward(self, canvases: Iterable[Canvas]) -> dict[tuple[int | None, ...], Seen]:
        """The outputs of some canvases; equal ones are forwarded once."""
        seen = {tuple(canvas): self.see(canvas) for canvas in canvases}
        self.fed.append(len(seen))
        return seen

    def go_on(self, candidates: Sequence[Canvas], score: Callable[[int, Seen], float]) -> Seen | None:
        """Picks a candidate. Gives its output; `None` if it ends the text."""
        ended = [i for i, canvas in enumerate(candidates) if None not in canvas]
        seen = {} if ended else self.forward(candidates)
        if ended:
            winner = ended[0]
        else:
            scores = [score(i, seen[tuple(canvas)]) for i, canvas in enumerate(candidates)]
            winner = max(range(len(scores)), key=lambda i: (scores[i], -i))
        self.canvas = candidates[winner]
        self.path.append(self.canvas)
        self.picked.append(winner)
        return seen.get(tuple(self.canvas))


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def open_block(canvas: Canvas, block: int) -> list[int]:
    """The masks of the first block that has any."""
    return next(m for window in blocks(len(canvas), block) if (m := masks(canvas, window)))


def lopa(
    see: See, length: int, *, confidence: float, rows: int, alpha: float, share: float, block: int
) -> BranchRun:
    run = BranchRun(see, [None] * length)
    (seen,) = run.forward([run.canvas]).values()
    current: Seen | None = seen
    while current is not None:
        m = open_block(run.canvas, block)
        sure = [i for i in m if current.conf[i] > confidence] or best(m, current.conf)
        anchor = list(run.canvas)
        write(anchor, sure, current.token)
        left = [i for i in m if i not in sure]
        candidates, created = list[Canvas](), list[float]()
        for more in best(left, current.conf, rows - 1):
            candidate = list(anchor)
            write(candidate, [more], current.token)
            candidates.append(candidate)
            created.append(current.conf[more])
        # Rows without a position of their own are anchors.
        anchors = rows - len(candidates)
        candidates += [anchor] * anchors
        created += [1.0] * anchors

        def score(
            i: int, s: Seen, candidates: list[Canvas] = candidates, created: list[float] = created
        ) -> float:
            confidences = sorted(s.conf[j] for j in open_block(candidates[i], block))
            lowest = confidences[: max(1, math.floor(len(confidences) * share))]
            return alpha * created[i] + (1 - alpha) * mean(lowest)

        current = run.go_on(candidates, score)
    return run


def info_gain(
    see: See, length: int, *, rows: int, temperature: float, bypass: float, steps: int, block: int, key: int
) -> BranchRun:
    run = BranchRun(see, [None] * length)
    (seen,) = run.forward([run.canvas]).values()
    current: Seen | None = seen
    begun, step_of_block, schedule = -1, 0, list[int]()
    while current is not None:
        m = open_block(run.canvas, block)
        if m[0] // block != begun:
            begun, step_of_block, schedule = m[0] // block, 0, split_evenly(len(m), steps)
        k = max(1, schedule[step_of_block] if step_of_block < steps else len(m))
        sets = _sets(current, m, k, rows, temperature, bypass, key, len(run.path))
        candidates = []
        for chosen in sets:
            candidate = list(run.canvas)
            write(candidate, chosen, current.token)
            candidates.append(candidate)
        costs = [sum(current.entropy[i] for i in chosen) for chosen in sets]

        def score(
            i: int, s: Seen, candidates: list[Canvas] = candidates, costs: list[float] = costs
        ) -> float:
            return -costs[i] - mean([s.entropy[j] for j in open_block(candidates[i], block)])

        current = run.go_on(candidates, score)
        step_of_block += 1
    return run


def _sets(
    seen: Seen, m: list[int], k: int, rows: int, temperature: float, bypass: float, key: int, step: int
) -> list[list[int]]:
    """The positions of each candidate."""
    if sure := [i for i in m if seen.conf[i] >= bypass]:
        return [best(sure, seen.conf, k)]
    sets = [best(m, seen.conf, k)]
    if len(m) <= k:
        return sets
    for candidate in range(1, rows):
        noisy = {
            i: seen.conf[i] / temperature
            - math.log(-math.log(uniform_float(key, step + candidate * CANDIDATE, i, SITE)))
            for i in m
        }
        sets.append(sorted(m, key=lambda i: (-noisy[i], i))[:k])
    return sets
