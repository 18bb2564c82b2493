"""The tables of an automaton as a step reads them, and the states from which a match is still possible.

S states, C classes, V vocabulary, L positions of a text. Ids are sorted by class and cut into chunks of one
class, so that the largest logit of each class takes one read of the ids that a match may contain: the largest
of each chunk, then of each 64 chunks, then of each class. Not here: tensors (`backends.paths`), rows of a
batch (`runtime.request_patterns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .automaton import NEVER, TokenAutomaton

LARGE, SHARE = 4096, 6  # the ids, and the least part of the vocabulary, of a class for which all ids are read
CHUNK = 64  # ids of a chunk, and chunks of a group


@dataclass(frozen=True, slots=True, eq=False)
class PatternTables:
    """`following [C, S + 1]` int64: the state after an id of a class, S where there is none; S leads to S.

    `class_of [V]` int64: `NEVER` for MASK and for ids that the automaton does not have. `ids [N, 64]`: chunks
    of ids of one class, in rising order; a short chunk repeats its last id. `groups [M, 64]`: chunks of one
    class; `tops [C, K]`: the groups of each class. `wide [2]`: the first chunk of the class with the most
    ids, whose chunks are the last ones, and the number of chunks; equal if no class is large. `final [S]`
    bool.
    """

    following: NDArray[np.int64]
    class_of: NDArray[np.int64]
    ids: NDArray[np.int64]
    groups: NDArray[np.int64]
    tops: NDArray[np.int64]
    wide: NDArray[np.int64]
    final: NDArray[np.bool_]
    _matches: list[NDArray[np.bool_]] = field(default_factory=list)

    @property
    def states(self) -> int:
        """S, the number of states."""
        return len(self.final)

    def before(self, after: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The states `[S]` from which some id leads to a state in `after`."""
        padded = np.append(after, False)
        return np.asarray(padded[self.following[:, : self.states]].any(0))

    def matches_in(self, positions: int) -> NDArray[np.bool_]:
        """The states `[S]` from which exactly this number of ids leads to a final state."""
        if not self._matches:
            self._matches.append(self.final)
        while len(self._matches) <= positions:
            more = self.before(self._matches[-1])
            if np.array_equal(more, self._matches[-1]):  # and so on for every longer text
                return more
            self._matches.append(more)
        return self._matches[positions]

    def shortest(self, least: int = 0) -> int | None:
        """The smallest number of ids of a match, from `least` on; `None` if there is none."""
        for positions in range(least, least + self.states + 1):
            if self.matches_in(positions)[0]:
                return positions
        return None

    def open_states(self, given: Sequence[int], mask_id: int) -> NDArray[np.bool_]:
        """`[L + 1, S]` bool: the states before each position from which the rest of a text can become a
        match. `given`: the L ids of the text, `mask_id` where any id may be written.
        """
        length = len(given)
        if all(id_ == mask_id for id_ in given):
            return np.stack([self.matches_in(length - at) for at in range(length + 1)])
        rows = [self.final]
        for id_ in reversed(given):
            if id_ == mask_id:
                rows.append(self.before(rows[-1]))
            else:
                known = 0 <= id_ < len(self.class_of)
                class_ = self.class_of[id_] if known else NEVER
                rows.append(np.append(rows[-1], False)[self.following[class_, : self.states]])
        return np.stack(rows[::-1])


def tables_of(automaton: TokenAutomaton, vocab_size: int, mask_id: int) -> PatternTables:
    """The tables of an automaton for a model with this vocabulary and MASK id."""
    states, classes = automaton.next_state.shape
    class_of = np.full(vocab_size, NEVER, dtype=np.int64)
    known = min(vocab_size, len(automaton.class_of))
    class_of[:known] = automaton.class_of[:known]
    if 0 <= mask_id < vocab_size:
        class_of[mask_id] = NEVER
    following = np.full((classes, states + 1), states, dtype=np.int64)
    following[:, :states] = np.where(automaton.next_state >= 0, automaton.next_state, states).T
    following[np.bincount(class_of, minlength=classes) == 0] = states  # a class without an id
    following[NEVER] = states
    final = np.asarray(automaton.final, dtype=np.bool_)
    ids, groups, tops, wide = _chunks(class_of, classes)
    return PatternTables(following, class_of, ids, groups, tops, wide, final)


def _chunks(class_of: NDArray[np.int64], classes: int) -> tuple[NDArray[np.int64], ...]:
    order = np.argsort(class_of, kind="stable")
    counts = np.bincount(class_of, minlength=classes)
    ends = np.cumsum(counts)
    counts[NEVER] = 0
    largest = int(counts.argmax())
    wide = np.zeros(0, np.int64)
    ids: list[NDArray[np.int64]] = []
    groups: list[NDArray[np.int64]] = []
    tops = [np.zeros(0, np.int64)] * classes
    for class_ in sorted(range(NEVER + 1, classes), key=lambda class_: class_ == largest):
        of_class = order[ends[class_ - 1] : ends[class_]]
        first_chunk, first_group = len(ids), len(groups)
        ids += _cut(of_class)
        groups += _cut(np.arange(first_chunk, len(ids)))
        tops[class_] = np.arange(first_group, len(groups))
        wide = np.array(
            [first_chunk if counts[class_] >= max(LARGE, len(class_of) / SHARE) else len(ids), len(ids)]
        )
    ids, groups = ids or [np.zeros(CHUNK, np.int64)], groups or [np.zeros(CHUNK, np.int64)]
    most = max((len(one) for one in tops), default=1) or 1
    of_class = np.zeros((classes, most), dtype=np.int64)
    for class_, one in enumerate(tops):
        if len(one):
            of_class[class_] = np.append(one, np.full(most - len(one), one[-1]))
    return np.stack(ids), np.stack(groups), of_class, wide if len(wide) else np.array([1, 1])


def _cut(numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Pieces of 64 numbers; the last one repeats its last number."""
    pieces = [numbers[at : at + CHUNK] for at in range(0, len(numbers), CHUNK)]
    return [np.append(one, np.full(CHUNK - len(one), one[-1])) for one in pieces]
