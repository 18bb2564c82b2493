"""Random automata over ids, and the slow answers to questions about them, from the definition alone."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence

import numpy as np

from dsldec.patterns.automaton import DEAD, NEVER, TokenAutomaton


def random_automaton(
    rng: random.Random,
    vocab: int,
    mask: int,
    eos: int | None,
    most_states: int = 5,
    never: tuple[int, ...] = (),
) -> TokenAutomaton:
    """An automaton whose start leads to a final state; from every state one can be reached. With `eos`, final
    states lead by it to a last state in which only it follows. `never`: ids that no text has.
    """
    while True:
        states, classes = rng.randint(1, most_states), rng.randint(2, 5)
        next_state = np.full((states, classes), DEAD, dtype=np.int32)
        for state, class_ in itertools.product(range(states), range(1, classes)):
            if rng.random() < 0.6:
                next_state[state, class_] = rng.randrange(states)
        final = np.array([rng.random() < 0.4 for _ in range(states)])
        class_of = np.array([rng.randrange(classes) for _ in range(vocab)], dtype=np.int32)
        class_of[[mask, *never]] = NEVER
        if eos is not None:
            class_of[eos] = classes
            closed = np.where(final, states, DEAD).astype(np.int32)
            next_state = np.column_stack([next_state, closed])
            last = [[*[DEAD] * classes, states]]
            next_state = np.concatenate([next_state, np.array(last, dtype=np.int32)])
            final = np.append(final, True)
        for class_ in range(1, next_state.shape[1]):  # a class without an id leads nowhere
            if class_ not in class_of:
                next_state[:, class_] = DEAD
        good = _reaching(next_state, final)
        next_state[~good[np.where(next_state < 0, 0, next_state)]] = DEAD
        if good[0] and (next_state[0] >= 0).any():
            return TokenAutomaton(next_state, class_of, final & good)


def _reaching(next_state: np.ndarray, final: np.ndarray) -> np.ndarray:
    good = final.copy()
    for _ in range(len(final)):
        reached = np.where(next_state < 0, False, good[np.where(next_state < 0, 0, next_state)])
        good = good | reached.any(1)
    return good


def after(automaton: TokenAutomaton, ids: Sequence[int], state: int = 0) -> int:
    """The state after some ids, `DEAD` if there is none."""
    for id_ in ids:
        if state == DEAD or not 0 <= id_ < len(automaton.class_of):
            return DEAD
        state = int(automaton.next_state[state, automaton.class_of[id_]])
    return state


def matches(automaton: TokenAutomaton, ids: Sequence[int]) -> bool:
    state = after(automaton, ids)
    return state != DEAD and bool(automaton.final[state])


def texts(vocab: int, given: Sequence[int | None], mask: int) -> Iterator[tuple[int, ...]]:
    """Every text with these ids, in the order of its ids; MASK is in none."""
    places = [[id_] if id_ is not None else [one for one in range(vocab) if one != mask] for id_ in given]
    yield from itertools.product(*places)


def likeliest_match(
    automaton: TokenAutomaton, scores: Sequence[Sequence[float]], given: Sequence[int | None], mask: int
) -> tuple[int, ...] | None:
    """The match of greatest weight by looking at every text; of equal ones, the first in the order of ids.

    The weight: first few ids without a probability, then a large sum of scores, of positions not given.
    """
    best, weight = None, (math.inf, math.inf)
    for text in texts(len(automaton.class_of), given, mask):
        if not matches(automaton, text):
            continue
        gains = [scores[at][id_] for at, id_ in enumerate(text) if given[at] is None]
        none = sum(gain == -math.inf for gain in gains)
        this = (none, -math.fsum(gain for gain in gains if gain > -math.inf))
        if this < weight:
            best, weight = text, this
    return best
