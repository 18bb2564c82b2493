"""How does an automaton over bytes become one over the ids of a vocabulary?

Every sequence of ids whose texts join to a match counts: no way to split a text into ids is preferred. Not
here: the texts of ids (`models.token_texts`), the automaton over bytes (`byte_automaton`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .automaton import DEAD, NEVER, TokenAutomaton
from .byte_automaton import ByteAutomaton
from .minimal import classes_of, distances, minimal

MOST_STATES = 8192
MOST_BYTES = 128 * 2**20  # of the table of states and classes


class TooLarge(Exception):
    """The automaton exceeds a limit. The message is the reason, as the end of a sentence."""


def over_ids(
    automaton: ByteAutomaton, texts: Sequence[bytes | None], eos_id: int | None
) -> TokenAutomaton | None:
    """The automaton over ids. `texts`: the bytes of each id; `None` or no bytes for an id that is never part
    of a match. `None` if no sequence of ids matches. Raises `TooLarge`.
    """
    if not automaton.states:
        return None
    columns = _TextColumns(automaton)
    translate, walked = automaton.class_of.astype(np.uint8).tobytes(), dict[bytes, int]()
    column_of = np.full(len(texts), _TextColumns.DEAD_ONE, np.int64)
    for id_, text in enumerate(texts):
        if text and id_ != eos_id:
            letters = text.translate(translate)
            if (column := walked.get(letters)) is None:
                column = walked[letters] = columns.after(letters)
            column_of[id_] = column
    used, class_of = np.unique(column_of, return_inverse=True)
    table, final = minimal(columns.table(used), automaton.final)
    if not len(final):
        return None
    return _complete(table, final, class_of.reshape(-1), eos_id)


class _TextColumns:
    """The columns that texts have: the state after a text, from each state `[S]`; S where there is none.

    Few columns occur, so each step from a column by one class of bytes is computed once.
    """

    DEAD_ONE = 0

    def __init__(self, automaton: ByteAutomaton) -> None:
        table = automaton.next_state
        self.states, self.letters = table.shape
        self._next = np.concatenate(
            [np.where(table == DEAD, self.states, table), np.full((1, self.letters), self.states)]
        )
        self._number: dict[bytes, int] = {}
        self._columns: list[NDArray[np.int32]] = []
        self._after: list[list[int]] = []  # by column and class of bytes; -1 where it is not computed yet
        self._add(np.full(self.states, self.states, np.int32))
        self.same = self._add(np.arange(self.states, dtype=np.int32))

    def after(self, letters: bytes) -> int:
        """The column of a text, given as the classes of its bytes."""
        column, after = self.same, self._after
        for letter in letters:
            then = after[column][letter]
            if then < 0:
                made = self._next[self._columns[column], letter].astype(np.int32)
                then = after[column][letter] = self._add(made)
            if then == self.DEAD_ONE:
                return then
            column = then
        return column

    def table(self, columns: NDArray[np.int64]) -> NDArray[np.int32]:
        """Some columns as a table `[S, N]`, with `DEAD`."""
        rows = np.array([self._columns[one] for one in columns.tolist()], np.int32)
        return np.ascontiguousarray(np.where(rows == self.states, DEAD, rows).T)

    def _add(self, column: NDArray[np.int32]) -> int:
        number = self._number.setdefault(column.tobytes(), len(self._columns))
        if number == len(self._columns):
            self._columns.append(column)
            self._after.append([-1] * self.letters)
            _require_size(self.states, len(self._columns))
        return number


def _complete(
    table: NDArray[np.int32], final: NDArray[np.bool_], class_of: NDArray[np.int64], eos_id: int | None
) -> TokenAutomaton:
    """The automaton with the class `NEVER`, the end of text, and one class for equal columns."""
    S, end = len(final), eos_id is not None
    _require_states(S + end)
    empty = np.full((S, 1), DEAD, np.int32)
    columns = np.concatenate([empty, table, empty], axis=1)  # NEVER, the texts, the end of text
    class_of = class_of + 1
    if eos_id is not None:
        columns = np.concatenate([columns, np.full((1, columns.shape[1]), DEAD, np.int32)])
        columns[:S, -1][final] = columns[S, -1] = S
        class_of[eos_id] = columns.shape[1] - 1
        final = np.append(final, True)
    used = np.union1d([NEVER], class_of)
    merged = classes_of(np.ascontiguousarray(columns.T[used]))
    first = np.unique(merged, return_index=True)[1]
    rank = np.argsort(np.argsort(first))  # classes in the order of their first column: NEVER is 0
    of_column = np.zeros(columns.shape[1], np.int32)
    of_column[used] = rank[merged]
    return TokenAutomaton(np.ascontiguousarray(columns[:, used[np.sort(first)]]), of_column[class_of], final)


def _require_states(states: int) -> None:
    if states > MOST_STATES:
        raise TooLarge(f"its automaton has {states:,} states, and the limit is {MOST_STATES:,}")


def _require_size(states: int, classes: int) -> None:
    if 4 * states * classes > MOST_BYTES:
        raise TooLarge(
            f"its automaton needs more than {MOST_BYTES >> 20} MiB: {states:,} states and {classes:,} classes of ids"
        )


def shortest(automaton: TokenAutomaton) -> int:
    """The fewest ids of a match, without the end of text."""
    return int(distances(automaton.next_state, automaton.final)[0])
