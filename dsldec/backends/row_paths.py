"""The likeliest path of one row, with numpy on a CPU: it reads only positions that are not written.

The class with the most ids, for example all ids that may stand within quotes, would take most of the time.
Its best id is often the best of all ids, which is found in one read of memory in order; where it is not, the
ids of the class are read. Shapes: T window positions, V vocabulary, S states, C classes, N chunks of ids, n
positions of a tile. Not here: several rows, other devices (`paths`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..ir.protocol import NO_PATH
from .reference_paths import LEAST, NONE

Array = NDArray[Any]
ScoreReader = Callable[[int, int], Tensor]  # the scores `[n, V]` of the positions from one to another
TILE = 2**19  # scores at a time, so that they stay in the cache


_KNOWN: Any = WeakTensorKeyDictionary()  # of chunks: the paths by place and MASK id


class PatternArrays(NamedTuple):
    """The tables of a pattern, as in `dsldec.patterns.tables`."""

    following: Array
    class_of: Array
    chunks: Array
    groups: Array
    tops: Array
    wide: Array


class _Best(NamedTuple):
    """The best scores of chunks `[N]`, of groups and of classes `[C]`, at one position, and its scores."""

    of_chunks: Array
    of_groups: Array
    of_classes: Array
    scores: Tensor


def row_path(chunks: Tensor, place: int, mask_id: int, arrays: Callable[[], PatternArrays]) -> RowPath:
    """The path of rows with the pattern at this place, made once for these `chunks [P, N, 64]`."""
    known: dict[tuple[int, int], RowPath] = _KNOWN.setdefault(chunks, {})
    if (place, mask_id) not in known:
        known[place, mask_id] = RowPath(arrays(), mask_id)
    return known[place, mask_id]


class RowPath:
    """Computes the path of a row with this pattern."""

    def __init__(self, pattern: PatternArrays, mask_id: int) -> None:
        self.pattern, self.mask_id = pattern, mask_id
        first, end = pattern.wide.tolist()
        chunks = torch.from_numpy(pattern.chunks)
        self.few, self.many, self.first = _Few(chunks[:first]), chunks[first:end].flatten(), first
        self.of_class = pattern.class_of[pattern.chunks[first, 0]] if end > first else -1

    def __call__(self, read: ScoreReader, canvas: Array, inside: Array, ends: Array, state: int) -> Array:
        """The ids `[T]`. `inside [T]`: the positions of the window; `ends [S]`: the states that may follow
        it; `state`: the one before it.
        """
        open_ = (canvas == self.mask_id) & inside
        best = dict(self._best(read, open_.nonzero()[0]))
        gains = dict(zip(best, self._gains([one.of_classes for one in best.values()]), strict=True))
        sums = self._sums(gains, canvas, inside, ends)
        if sums[0, state] == -np.inf:
            return np.full(len(canvas), NO_PATH)
        path = canvas.clip(0, len(self.pattern.class_of) - 1)
        for t in inside.nonzero()[0].tolist():
            if t in best:
                ahead = gains[t] + sums[t + 1][self.pattern.following[:, state]]
                ties = (ahead == sums[t, state]).nonzero()[0]
                path[t] = min(self._id(best[t], class_) for class_ in ties)
            state = self.pattern.following[self.pattern.class_of[path[t]], state]
        return path

    def _sums(self, gains: dict[int, Array], canvas: Array, inside: Array, ends: Array) -> Array:
        """The best sum from each position on, in each state before it, `[T + 1, S + 1]`."""
        length, following = len(canvas), self.pattern.following
        sums = np.full((length + 1, len(ends) + 1), -np.inf)
        sums[length, :-1][ends] = 0.0
        ahead = np.empty(following.shape)
        for t in range(length - 1, -1, -1):
            if not inside[t]:
                sums[t] = sums[t + 1]
            elif t in gains:
                sums[t + 1].take(following, out=ahead, mode="clip")
                np.add(ahead, gains[t][:, None], out=ahead)
                ahead.max(0, out=sums[t])
            elif 0 <= canvas[t] < len(self.pattern.class_of):
                sums[t] = sums[t + 1][following[self.pattern.class_of[canvas[t]]]]
        return sums

    def _gains(self, best: list[Array]) -> Array:
        """As `paths._gains`, for several positions."""
        if not best:
            return np.empty((0, 0))
        of = np.stack(best).astype(np.float64)
        top = of.max(1, keepdims=True)
        with np.errstate(invalid="ignore"):
            far = np.maximum(of - np.where(top > -np.inf, top, 0.0), LEAST)
        return np.where(of > -np.inf, np.where(np.isnan(far), LEAST, far), NONE)

    def _best(self, read: ScoreReader, open_: Array) -> Iterator[tuple[int, _Best]]:
        for first, end in _tiles(open_, self.pattern.chunks.size):
            scores = read(first, end)
            of_chunks = self._of_chunks(scores)
            of_groups = of_chunks[:, self.pattern.groups].max(2)
            of_classes = of_groups[:, self.pattern.tops].max(2)
            for n in range(end - first):
                yield first + n, _Best(of_chunks[n], of_groups[n], of_classes[n], scores[n])

    def _of_chunks(self, scores: Tensor) -> Array:
        """The best score of each chunk, `[n, N]`; of the class with the most ids, perhaps only of the best
        chunk.
        """
        count, chunks = len(scores), len(self.pattern.chunks)
        best = np.full(
            (count, chunks), -np.inf, dtype=np.float64 if scores.dtype is torch.float64 else np.float32
        )
        best[:, : self.first] = self.few.largest(scores)
        if len(self.many):
            width = self.pattern.chunks.shape[1]
            end = self.first + len(self.many) // width
            plain = _array(scores)
            ids = plain.argmax(1)  # the lowest of equal ones
            here = self.pattern.class_of[ids] == self.of_class
            places = self.first + np.searchsorted(self.many.numpy(), ids[here]) // width
            best[here.nonzero()[0], places] = plain[here, ids[here]]
            if not here.all():
                rest = (~here).nonzero()[0]
                for n in rest:
                    of_ids = scores[n].index_select(0, self.many)
                    best[n, self.first : end] = _array(of_ids.view(-1, width).amax(1))
        return best

    def _id(self, best: _Best, class_: int) -> int:
        """The best id of a class, the lower of equal ones."""
        groups = self.pattern.tops[class_]
        chunks = self.pattern.groups[groups[best.of_groups[groups].argmax()]]
        ids = self.pattern.chunks[chunks[best.of_chunks[chunks].argmax()]]
        return int(ids[_array(best.scores[torch.from_numpy(ids)]).argmax()])


class _Few:
    """Chunks of ids in any order. They are read in rising order: memory is several times faster in order."""

    def __init__(self, chunks: Tensor) -> None:
        ids, self.shape = chunks.flatten(), tuple(chunks.shape)
        self.ids, place = ids.sort()
        self.back = torch.empty_like(place)
        self.back[place] = torch.arange(len(ids))

    def largest(self, scores: Tensor) -> Array:
        """The largest score of each chunk, `[n, N]`."""
        of_ids = scores.index_select(1, self.ids).index_select(1, self.back)
        return _array(of_ids.view(scores.shape[0], *self.shape).amax(2))


def _array(x: Tensor) -> Array:
    return (x if x.dtype is torch.float64 else x.float()).numpy()


def _tiles(places: Array, ids: int) -> Iterator[tuple[int, int]]:
    """Runs of neighbouring places, as first place and end, at most so long that a tile of scores is small."""
    most, begin = max(1, TILE // max(1, ids)), 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[at - 1] + 1 or at - begin == most:
            yield int(places[begin]), int(places[at - 1]) + 1
            begin = at
