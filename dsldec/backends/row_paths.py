"""The likeliest path of one row, with numpy on a CPU: it reads only positions that are not written.

The class with the most ids, for example all ids that may stand within quotes, would take most of the time.
All ids are read for it, because memory is read several times faster in order. Shapes: T window positions, V
vocabulary, S states, C classes, N chunks of ids, n positions of a tile. Not here: several rows, other devices
(`paths`).
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
    wide: Array


class _Best(NamedTuple):
    """The best scores of chunks `[N]` and of classes `[C]` at one position, its scores, and the best id of
    the class with the most ids.
    """

    of_chunks: Array
    of_classes: Array
    scores: Tensor
    of_many: int


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
        self.few = _Few(chunks[:first], pattern.class_of)
        self.many = _Many(chunks[first:end].flatten(), pattern.class_of) if end > first else None

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
        ids = self.few.ids.numel() if self.many is None else len(self.pattern.class_of)
        rooms = _Rooms()
        for first, end in _tiles(open_, ids):
            scores = read(first, end)
            plain = rooms.plain(scores) if 8 * ids > scores.shape[1] else scores
            of_chunks = self.few.largest(plain, rooms)
            of_classes = np.full((end - first, len(self.pattern.following)), -np.inf, of_chunks.dtype)
            if len(self.few.classes):
                of_classes[:, self.few.classes] = np.maximum.reduceat(of_chunks, self.few.first, axis=1)
            of_many = [-1] * (end - first)
            if self.many is not None:
                of_many, of_classes[:, self.many.class_] = self.many.best(plain, rooms)
            for n in range(end - first):
                yield first + n, _Best(of_chunks[n], of_classes[n], scores[n], of_many[n])

    def _id(self, best: _Best, class_: int) -> int:
        """The best id of a class, the lower of equal ones."""
        if self.many is not None and class_ == self.many.class_:
            return best.of_many
        first, end = self.few.of_class[class_]
        ids = self.pattern.chunks[first + best.of_chunks[first:end].argmax()]
        return int(ids[_array(best.scores[torch.from_numpy(ids)]).argmax()])


class _Rooms:
    """Memory for the values of tiles. New memory for each tile would take as much time as the values."""

    def __init__(self) -> None:
        self.known: dict[str, Tensor] = {}

    def of(self, name: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        size = shape[0] * shape[1]
        if name not in self.known or self.known[name].numel() < size:
            self.known[name] = torch.empty(size, dtype=dtype)
        return self.known[name][:size].view(shape)

    def plain(self, scores: Tensor) -> Tensor:
        """The scores as float32 or float64, which are read faster."""
        if scores.dtype is _dtype(scores):
            return scores
        return self.of("plain", (scores.shape[0], scores.shape[1]), torch.float32).copy_(scores)


class _Few:
    """Chunks of ids in any order. They are read in rising order: memory is several times faster in order.

    `classes`: those with chunks here, `first`: the first chunk of each, `of_class`: the first one and the one
    after the last.
    """

    def __init__(self, chunks: Tensor, class_of: Array) -> None:
        self.shape = tuple(chunks.shape)
        self.ids, place = chunks.flatten().sort()
        self.back = torch.empty_like(place)
        self.back[place] = torch.arange(len(place))
        of_chunks = class_of[chunks[:, 0].numpy()]
        self.first = np.flatnonzero(np.diff(of_chunks, prepend=-1))
        self.classes = of_chunks[self.first]
        begun = self.first.tolist()
        ends = [*begun[1:], len(of_chunks)]
        self.of_class = dict(zip(self.classes.tolist(), zip(begun, ends, strict=False), strict=True))

    def largest(self, scores: Tensor, rooms: _Rooms) -> Array:
        """The largest score of each chunk, `[n, N]`."""
        shape = (len(scores), len(self.ids))
        rising, of_ids = (rooms.of(name, shape, scores.dtype) for name in ("rising", "of_ids"))
        torch.index_select(scores, 1, self.ids, out=rising)
        torch.index_select(rising, 1, self.back, out=of_ids)
        return _array(of_ids.view(len(scores), *self.shape).amax(2))


class _Many:
    """The ids of the class with the most ids, in rising order. All scores are read, in order, which is faster
    than to read these.
    """

    def __init__(self, ids: Tensor, class_of: Array) -> None:
        self.ids, self.class_of, self.class_ = ids, class_of, int(class_of[ids[0]])
        self.limit = torch.from_numpy(np.where(class_of == self.class_, np.inf, -np.inf).astype(np.float32))

    def best(self, scores: Tensor, rooms: _Rooms) -> tuple[list[int], Array]:
        """The best id at each position, the lower of equal ones, and its score `[n]`."""
        room = rooms.of("all", (len(scores), len(self.limit)), _dtype(scores))
        limited = torch.minimum(scores, self.limit, out=room).numpy()
        ids = limited.argmax(1)
        for n in (self.class_of[ids] != self.class_).nonzero()[0]:  # all -inf, or MASK's has no value
            ids[n] = self.ids[int(_array(scores[n, self.ids]).argmax())]
            limited[n, ids[n]] = float(scores[n, ids[n]])
        return ids.tolist(), limited[np.arange(len(ids)), ids]


def _array(x: Tensor) -> Array:
    return x.to(_dtype(x)).numpy()


def _dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype is torch.float64 else torch.float32


def _tiles(places: Array, ids: int) -> Iterator[tuple[int, int]]:
    """Runs of neighbouring places, as first place and end, at most so long that a tile of scores is small."""
    most, begin = max(1, TILE // max(1, ids)), 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[at - 1] + 1 or at - begin == most:
            yield int(places[begin]), int(places[at - 1]) + 1
            begin = at
