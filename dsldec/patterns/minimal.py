"""The smallest automaton with the same matches: every state can be reached, and a final one from it.

Not here: what the symbols of an automaton are (`byte_automaton`, `over_ids`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .automaton import DEAD

Table = NDArray[np.int32]  # `[S, K]`: the state after each symbol, `DEAD` if there is none
Flags = NDArray[np.bool_]


def minimal(table: Table, final: Flags, start: int = 0) -> tuple[Table, Flags]:
    """The smallest automaton, with the start as state 0 and the others in the order of their first use.

    Without a match it has no state. `table [S, K]` int32, `final [S]` bool.
    """
    distance = distances(table, final)
    useful = (distance >= 0) & _reachable(table, start)
    if not useful[start]:
        return table[:0], final[:0]
    table, final, start = _restricted(table, final, useful, start)
    block = _blocks(table, final, distance[useful])
    first = np.unique(block, return_index=True)[1]
    merged = np.where(table[first] == DEAD, DEAD, block[table[first]]).astype(np.int32)
    return _in_order(merged, final[first], int(block[start]))


def distances(table: Table, final: Flags) -> NDArray[np.int64]:
    """The fewest symbols from each state `[S]` to a final one; -1 where none is reachable."""
    S = len(final)
    source, symbol = np.nonzero(table != DEAD)
    target = table[source, symbol]
    order = np.argsort(target, kind="stable")
    source, begin = source[order], np.searchsorted(target[order], np.arange(S + 1))
    distance = np.full(S, -1, np.int64)
    frontier, steps = np.flatnonzero(final), 0
    while len(frontier):
        distance[frontier] = steps
        before = np.unique(
            np.concatenate([source[begin[state] : begin[state + 1]] for state in frontier])
        ).astype(np.int64)
        frontier, steps = before[distance[before] < 0], steps + 1
    return distance


def _reachable(table: Table, start: int) -> Flags:
    seen = np.zeros(len(table), bool)
    frontier = np.array([start])
    while len(frontier):
        seen[frontier] = True
        after = np.unique(table[frontier])
        frontier = after[(after != DEAD) & ~seen[after]]
    return seen


def _restricted(table: Table, final: Flags, states: Flags, start: int) -> tuple[Table, Flags, int]:
    """The automaton without the other states."""
    number = np.where(states, np.cumsum(states) - 1, DEAD).astype(np.int32)
    rows = table[states]
    return np.where(rows == DEAD, DEAD, number[rows]).astype(np.int32), final[states], int(number[start])


def _blocks(table: Table, final: Flags, distance: NDArray[np.int64]) -> NDArray[np.int32]:
    """The block of each state `[S]`: states of one block have the same matches.

    Moore's refinement. It begins with the distance to a final state, which needs few rounds for long texts.
    """
    block = np.unique(distance, return_inverse=True)[1].astype(np.int32).reshape(-1)
    count = int(block.max()) + 1
    while True:
        after = np.where(table == DEAD, DEAD, block[table])
        block = classes_of(np.concatenate([block[:, None], after], axis=1))
        if (refined := int(block.max()) + 1) == count:
            return block
        count = refined


def classes_of(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """A number for each row of `[N, K]`: equal rows have the same number, `[N]`."""
    rows = np.ascontiguousarray(rows, np.int32)
    whole = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(-1)
    return np.unique(whole, return_inverse=True)[1].astype(np.int32).reshape(-1)


def _in_order(table: Table, final: Flags, start: int) -> tuple[Table, Flags]:
    """The same automaton with its states numbered in the order of a search from the start."""
    order, number = [start], np.full(len(final), DEAD, np.int32)
    number[start] = 0
    for state in order:
        row = table[state]
        after, first = np.unique(row[row != DEAD], return_index=True)
        for one in after[np.argsort(first)]:
            if number[one] == DEAD:
                number[one] = len(order)
                order.append(int(one))
    rows = table[order]
    return np.where(rows == DEAD, DEAD, number[rows]).astype(np.int32), final[order]
