"""The patterns of the requests in a batch: the inputs of a step, the state before each window, and mistakes.

The text of a pattern is the generation region: the ids after a prompt, or from the first mask of an infilling
to its last, with the given ids in between. Rows of a batch may have different patterns, or none. Shapes: B
rows, C canvas columns, L generated positions, S states of the largest pattern. Not here: the tables of one
pattern (`patterns.tables`), the path of a step (`backends.paths`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..backends.on_device import on_device
from ..backends.pattern_inputs import CHUNKS, CLASSES, ENDS, FOLLOWING, GROUPS, TOPS, WIDE, no_pattern
from ..backends.step import StepState
from ..diagnostics import Diagnostic, UsageError
from ..ir.protocol import NO_PATTERN, PATTERN_AT, PATTERN_STATE, WINDOW_END
from ..lru import LRUCache
from ..patterns.automaton import TokenAutomaton
from ..patterns.tables import PatternTables, tables_of
from ..policy import Policy
from ..spelling import option
from .requests import Request
from .rows import Rows
from .windows import Placement

MOST_PATTERNS, MOST_TEXTS = 64, 256  # whose tables and open states are stored
NOWHERE = 2**31  # the state after ids that no match begins with; larger than every state

# The automaton is stored too, so that no other one gets its id.
_TABLES: LRUCache[tuple[int, int, int], tuple[TokenAutomaton, PatternTables]] = LRUCache(MOST_PATTERNS)
_OPEN: LRUCache[tuple[object, ...], tuple[PatternTables, NDArray[np.bool_]]] = LRUCache(MOST_TEXTS)


def known_tables(automaton: TokenAutomaton, vocab_size: int, mask_id: int) -> PatternTables:
    """The tables of an automaton, made once for each model."""
    key = (id(automaton), vocab_size, mask_id)
    return _TABLES.get_or_make(key, lambda: (automaton, tables_of(automaton, vocab_size, mask_id)))[1]


def _open_states(tables: PatternTables, request: Request, mask_id: int) -> NDArray[np.bool_]:
    """`PatternTables.open_states` for the text of a request."""
    text = [mask_id] * request.length
    for position, id_ in enumerate(request.text, -request.begin):
        if 0 <= position < request.length:
            text[position] = id_
    given = tuple((at, id_) for at, id_ in enumerate(text) if id_ != mask_id)
    key = (id(tables), request.length, given)
    return _OPEN.get_or_make(key, lambda: (tables, tables.open_states(text, mask_id)))[1]


class RowPatterns:
    """The patterns of a batch's rows. `name`: of the policy's parameter."""

    def __init__(self, name: str, rows: Rows, vocab_size: int) -> None:
        self.name, self.rows = name, rows
        each = [one.pattern for one in rows.requests]
        automata = list({id(one): one for one in each if one is not None}.values())
        self.tables = [known_tables(one, vocab_size, rows.mask_id) for one in automata]
        places = {id(one): place for place, one in enumerate(automata)}
        of_row = [places.get(id(one), -1) for one in each]
        self.inputs = no_pattern(name, rows.device)
        self.open = torch.ones((len(each), 1, 1), dtype=torch.bool, device=rows.device)
        if automata:
            self.inputs |= self._inputs([max(0, place) for place in of_row])
            self.open = self._open(of_row)
        self._ends: tuple[Placement, dict[str, Tensor]] | None = None

    def _inputs(self, of_row: Sequence[int]) -> dict[str, Tensor]:
        most = max(one.states for one in self.tables)

        def stacked(part: Callable[[PatternTables], NDArray[Any]]) -> Tensor:
            parts = [part(one) for one in self.tables]
            sizes = [max(sizes) for sizes in zip(*(one.shape for one in parts), strict=True)]
            wide = [np.pad(x, [(0, to - of) for of, to in zip(x.shape, sizes, strict=True)]) for x in parts]
            return torch.from_numpy(np.stack(wide)).to(self.rows.device)

        def following(one: PatternTables) -> NDArray[np.int64]:
            # No id leads on from states that only a larger pattern has.
            wide = np.full((len(one.following), most + 1), most, dtype=np.int64)
            wide[:, : one.states] = np.where(
                one.following[:, : one.states] == one.states, most, one.following[:, : one.states]
            )
            return wide

        tables = {FOLLOWING: stacked(following), CLASSES: stacked(lambda one: one.class_of)}
        tables |= {CHUNKS: stacked(lambda one: one.ids), GROUPS: stacked(lambda one: one.groups)}
        tables |= {TOPS: stacked(lambda one: one.tops), "": on_device(of_row, self.rows.device).unsqueeze(1)}
        tables[WIDE] = stacked(lambda one: one.wide)
        classes = tables[FOLLOWING].shape[1]  # a class that only another pattern has leads nowhere
        for place, one in enumerate(self.tables):
            tables[FOLLOWING][place, len(one.following) : classes] = most
        return {self.name + part: table for part, table in tables.items()}

    def _open(self, of_row: Sequence[int]) -> Tensor:
        """`[B, L + 1, S]` bool: the states before each position from which the row can become a match."""
        most = max(one.states for one in self.tables)
        longest = max(request.length for request in self.rows.requests)
        open_ = np.ones((len(of_row), longest + 1, most), dtype=np.bool_)
        for row, (place, request) in enumerate(zip(of_row, self.rows.requests, strict=True)):
            if place >= 0:
                of_text = _open_states(self.tables[place], request, self.rows.mask_id)
                open_[row] = False
                open_[row, : len(of_text), : of_text.shape[1]] = of_text
        return torch.from_numpy(open_).to(self.rows.device)

    def of_windows(self, placed: Placement) -> dict[str, Tensor]:
        """All inputs of a step whose windows are there."""
        if self._ends is None or self._ends[0] is not placed:
            at = placed.end.clamp(0, self.open.shape[1] - 1)
            ends = self.open[torch.arange(len(self.open), device=at.device), at]
            self._ends = placed, self.inputs | {self.name + ENDS: ends}
        return self._ends[1]

    def fields(self, state: StepState, canvas: Tensor, placed: Placement, *, reads: bool) -> StepState:
        """The fields of a step's state that belong to the pattern, for windows that are there. `reads`:
        whether the host may read values.
        """
        moved = self.moved(state, canvas, placed.start.clamp(min=0), reads=reads)
        return {**moved, WINDOW_END: placed.end}

    def moved(self, state: StepState, canvas: Tensor, to: Tensor, *, reads: bool) -> StepState:
        """The fields after the ids up to the positions `to [B]`."""
        at, now = state[PATTERN_AT], state[PATTERN_STATE]
        steps = self._steps(to - at, reads)
        if not steps:
            return {PATTERN_AT: at, PATTERN_STATE: now}
        following, classes = self.inputs[self.name + FOLLOWING], self.inputs[self.name + CLASSES]
        of_row, most = self.inputs[self.name].expand(len(at), 1)[:, 0], following.shape[2] - 1
        columns = self.rows.begin + at
        new = now.clamp(0, most)
        for step in range(steps):
            column = (columns + step).clamp(0, canvas.shape[1] - 1)
            id_ = canvas.gather(1, column.unsqueeze(1))[:, 0].clamp(0, classes.shape[1] - 1)
            new = torch.where(at + step < to, following[of_row, classes[of_row, id_], new], new)
        new = torch.where(new == most, NOWHERE, new)
        return {PATTERN_AT: torch.maximum(at, to), PATTERN_STATE: torch.where(now < 0, now, new)}

    def _steps(self, far: Tensor, reads: bool) -> int:
        if reads:
            return max(0, int(far.max()))
        return int(self.rows.start.shape[1]) if self.rows.given_inside else self.rows.positions


def first_states(rows: Rows) -> Tensor:
    """`[B]` int64: the state of the pattern before the first position."""
    states = [NO_PATTERN if one.pattern is None else 0 for one in rows.requests]
    return on_device(states, rows.device, torch.int64)


# --- mistakes


def require_patterns(policy: Policy, requests: Sequence[Request], vocab_size: int, mask_id: int) -> None:
    """Raise `UsageError` where the requests of a run cannot match their patterns (E0321), do not agree with
    the policy (E0323), or give no value to its pattern (E0320).
    """
    for request in requests:
        require_pattern(policy, request, vocab_size, mask_id)
    name, without = policy.constrains, sum(one.pattern is None for one in requests)
    if name is None or not without:
        return
    if without == len(requests) or policy.parameters[name] is not None:
        message = f"the pattern `{name}` of the policy `{policy.name}` has no value"
        help_ = f"give the pattern, for example {option('constrain', '[0-9]+')}"
        raise UsageError(Diagnostic("E0320", message, help=help_))


def require_pattern(policy: Policy, request: Request, vocab_size: int, mask_id: int) -> None:
    """As `require_patterns`, for one request (E0321, E0323)."""
    if request.pattern is None:
        return
    if policy.constrains is None:
        message = f"the policy `{policy.name}` has no pattern, and a request has one"
        help_ = "decode with `policy.constrained()`, or add the line `logits constrain(shape)`"
        raise UsageError(Diagnostic("E0323", message, help=help_))
    if request.begin < 0:
        message = "a request with a pattern begins in the middle of its text"
        help_ = "admit it with its first block; `show` the blocks after it"
        raise UsageError(Diagnostic("E0323", message, help=help_))
    tables = known_tables(request.pattern, vocab_size, mask_id)
    if _open_states(tables, request, mask_id)[0, 0]:
        return
    given, shortest = request.infills or request.gaps, tables.shortest()
    text = (
        "the text with the given ids cannot match"
        if given
        else f"no text of {_tokens(request.length)} matches"
    )
    help_ = _fitting(tables, shortest, request.length, given)
    raise UsageError(Diagnostic("E0321", f"{text} the pattern", help=help_))


def _fitting(tables: PatternTables, shortest: int | None, length: int, given: bool) -> str:
    if shortest is None:
        return "no text of the model's tokens matches it"
    if given or shortest <= length:
        longer = tables.shortest(length + 1)
        more = "" if longer is None or given else f", the next longer one {_tokens(longer)}"
        return f"its shortest match has {_tokens(shortest)}{more}"
    return f"its shortest match has {_tokens(shortest)}: generate at least as many, {option('gen_length', shortest)}"


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"
