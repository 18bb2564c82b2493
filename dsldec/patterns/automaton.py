"""A finite automaton over the ids of a vocabulary: which texts match a pattern.

S states, C classes of ids, V vocabulary. Ids of one class lead from each state to the same state. Not here:
how a pattern becomes an automaton, how a step uses it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEAD = -1  # no state: the text so far is not the beginning of a match
NEVER = 0  # the class of ids that no match contains; its column of `next_state` is all DEAD


@dataclass(frozen=True, slots=True, eq=False)
class TokenAutomaton:
    """`next_state [S, C]` int32: the state after an id of a class, `DEAD` if there is none.

    `class_of [V]` int32: the class of each id. `final [S]` bool: a text that ends in this state matches.
    State 0 is the start. With an end-of-text id, final states lead to a state in which only end-of-text
    follows; this state is final too. From every state a final one can be reached.
    """

    next_state: NDArray[np.int32]
    class_of: NDArray[np.int32]
    final: NDArray[np.bool_]

    @property
    def states(self) -> int:
        """S, the number of states."""
        return len(self.final)

    @property
    def classes(self) -> int:
        """C, the number of classes, with `NEVER`."""
        return int(self.next_state.shape[1])
