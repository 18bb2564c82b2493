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
from .minimal import classes_of, minimal

CHUNK = 4096  # texts whose states are computed together
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
    translate = automaton.class_of.astype(np.uint8).tobytes()
    found: dict[bytes, int] = {}  # the texts, each byte as its class
    text_of = np.full(len(texts), -1, np.int64)
    for id_, text in enumerate(texts):
        if text and id_ != eos_id:
            text_of[id_] = found.setdefault(text.translate(translate), len(found))
    columns, column_of = _columns(automaton, list(found))
    table, final = minimal(np.ascontiguousarray(columns.T), automaton.final)
    if not len(final):
        return None
    class_of = np.where(text_of < 0, -1, column_of[text_of] if len(column_of) else -1)
    return _complete(table, final, class_of, eos_id)


def _columns(automaton: ByteAutomaton, texts: Sequence[bytes]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The different columns `[N, S]`: the state after a text from each state; and the column of each text."""
    table, S = automaton.next_state, automaton.states
    with_dead = np.concatenate([np.where(table == DEAD, S, table), np.full((1, table.shape[1]), S)])
    flat = np.ascontiguousarray(with_dead, np.int32).reshape(-1)
    K = table.shape[1]
    known: dict[bytes, int] = {}
    rows: list[NDArray[np.int32]] = []
    column_of = np.full(len(texts), -1, np.int64)
    chunk = max(1, min(CHUNK, 2**25 // S))
    by_length = sorted(range(len(texts)), key=lambda place: (len(texts[place]), texts[place]))
    for begin in range(0, len(texts), chunk):
        places = np.array(by_length[begin : begin + chunk])
        lengths = np.array([len(texts[place]) for place in places])
        letters = np.zeros((len(places), int(lengths.max())), np.int32)
        for row, place in enumerate(places):
            letters[row, : lengths[row]] = np.frombuffer(texts[place], np.uint8)
        state = np.tile(np.arange(S, dtype=np.int32), (len(places), 1))
        alive = np.arange(len(places))
        for at in range(letters.shape[1]):
            alive = alive[lengths[alive] > at]
            state[alive] = flat[state[alive] * K + letters[alive, at, None]]
            alive = alive[(state[alive] < S).any(axis=1)]
        same = classes_of(state)
        for one, first in zip(*np.unique(same, return_index=True), strict=True):
            if (state[first] < S).any():
                number = known.setdefault(state[first].tobytes(), len(known))
                if number == len(rows):
                    rows.append(np.where(state[first] == S, DEAD, state[first]).astype(np.int32))
                    _require_size(S, len(rows))
                column_of[places[same == one]] = number
    return np.array(rows, np.int32).reshape(len(rows), S), column_of


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
        columns[:S, -1][final] = S
        columns[S, -1] = S
        class_of[eos_id] = columns.shape[1] - 1
        final = np.append(final, True)
    merged = classes_of(np.ascontiguousarray(columns.T))
    # Columns in the order of their first use; NEVER is the first.
    _, first, order = np.unique(merged, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    columns = columns[:, np.sort(first)]
    renamed = rank[order.reshape(-1)][class_of].astype(np.int32)
    # A column may be without ids: the texts' columns are those that some id has, the end's may be missing.
    used = np.zeros(columns.shape[1], bool)
    used[renamed] = used[NEVER] = True
    place = (np.cumsum(used) - 1).astype(np.int32)
    return TokenAutomaton(np.ascontiguousarray(columns[:, used]), place[renamed], final)


def _require_states(states: int) -> None:
    if states > MOST_STATES:
        raise TooLarge(f"its automaton has {states:,} states, and the limit is {MOST_STATES:,}")


def _require_size(states: int, classes: int) -> None:
    if 4 * states * classes > MOST_BYTES:
        raise TooLarge(
            f"its automaton needs more than {MOST_BYTES >> 20} MiB: {states:,} states and {classes:,} classes of ids"
        )


def shortest(automaton: TokenAutomaton, eos_id: int | None) -> int:
    """The fewest ids of a match, without the end of text."""
    from .minimal import distances

    del eos_id
    return int(distances(automaton.next_state, automaton.final)[0])
