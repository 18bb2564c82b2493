"""Does a step read the logits of positions that were written when it began?

A step always reads the logits of the masked positions of its window. Most steps read no others: a
value at a written position has no effect. If a step does, as with `p(canvas)` for a `revoke`, then the
logits there must be finite too. The answer may be yes for a step that reads none, and never the other way
round. Not here: the check of the logits (`protocol.NOT_FINITE`, which a step reports).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

from ..language.words import Extent
from . import protocol
from .build import PARTS
from .nodes import ELEMENTWISE, Operation

LOGITS = frozenset({"observe", "observation", "probability", "log_probabilities", "kl", "js", "path"})
# Operations that read their other inputs only at the positions of the mask, their input with this number.
AT_A_MASK: Mapping[str, int] = {
    **dict.fromkeys(("sum", "mean", "std", "least", "greatest", "quantile"), 1),
    **dict.fromkeys(("group_sum", "group_mean", "group_least", "group_greatest"), 1),
    **dict.fromkeys(("order", "thin", "thin_by_kernel"), 0),
}
ALONG_AN_ORDER = frozenset({"rank", "cumsum", "cummax", "prefix", "top"})


class Written(IntEnum):
    """Where a value depends on the logits of written positions: nowhere; at these positions only, each on its
    own logits; or at other positions too.
    """

    NOWHERE = 0
    THERE = 1
    ANYWHERE = 2


def reads_written(
    operations: Sequence[Operation], results: Sequence[int], following: Mapping[str, int]
) -> bool:
    """Whether a result depends on the logits of positions that were written when the step began.

    `results`: the canvas, `done` and the events. `following`: the next value of each field of the state.
    """
    fields: dict[str, Written] = dict.fromkeys(following, Written.NOWHERE)
    while True:
        values = _Values(operations, fields)
        found = {name: max(fields[name], values.written[index]) for name, index in following.items()}
        if found == fields:
            return any(values.written[index] != Written.NOWHERE for index in results)
        fields = found


class _Values:
    """`written`: where each value depends on the logits of written positions. `masked`: for each value,
    whether it is a mask of positions that were masked when the step began. `only_writes`: whether it is a
    canvas on which no further position is masked.
    """

    def __init__(self, operations: Sequence[Operation], fields: Mapping[str, Written]) -> None:
        self.operations, self.fields = operations, fields
        self.revokes = any(operation.name == "erase" for operation in operations)
        self.written: list[Written] = []
        self.masked: list[bool] = []
        self.only_writes: list[bool] = []
        for operation in operations:
            self.written.append(self._written(operation))
            self.masked.append(self._masked(operation))
            self.only_writes.append(self._only_writes(operation))

    def _written(self, operation: Operation) -> Written:
        name, given = operation.name, operation.inputs
        inputs = [self.written[i] for i in given]
        worst = max(inputs, default=Written.NOWHERE)
        if name in LOGITS:
            return max(worst, Written.THERE)
        if name == "state":
            return self._of_state(operation)
        if name == "and" and any(self.masked[i] for i in given):
            return _at_masks(worst)
        if name in ("where", "write"):
            mask, then, otherwise = given if name == "where" else (given[1], given[2], given[0])
            if self.masked[mask] or self._is_first_step(mask):
                then_written = self.written[then] if self.masked[mask] else Written.NOWHERE
                return max(self.written[mask], _at_masks(then_written), self.written[otherwise])
            return worst
        if name in ("shift", "shift_distributions") and self._moves_with_the_window(operation):
            return worst
        if name in ELEMENTWISE or name in ("erase", "is_mask", "is_end", "is_word", "lookup"):
            return worst
        if name in AT_A_MASK and self.masked[given[AT_A_MASK[name]]]:
            return _at_masks(worst)
        if name in ALONG_AN_ORDER and self.masked[given[0]]:
            return _at_masks(worst)
        return Written.NOWHERE if worst == Written.NOWHERE else Written.ANYWHERE

    def _of_state(self, operation: Operation) -> Written:
        """A position that is written now may be masked later if the policy revokes."""
        written = self.fields.get(str(operation.attribute), Written.NOWHERE)
        if written != Written.NOWHERE and self.revokes:
            return Written.ANYWHERE
        return written

    def _masked(self, operation: Operation) -> bool:
        name, given = operation.name, operation.inputs
        inputs = [self.masked[i] for i in given]
        if name == "and":
            return any(inputs)
        if name in ("or", "orelse"):
            return all(inputs)
        if name == "where":
            return inputs[1] and inputs[2]
        if name == "is_mask":
            return self.only_writes[given[0]]
        if name in PARTS:
            return inputs[0]
        return False

    def _only_writes(self, operation: Operation) -> bool:
        """Whether a value is a canvas that has MASK only where the step's first canvas has it."""
        name, given = operation.name, operation.inputs
        if name == "write":  # no statement writes MASK
            return self.only_writes[given[0]]
        if name == "where":
            return self.only_writes[given[1]] and self.only_writes[given[2]]
        return name == "canvas"

    def _is_first_step(self, condition: int) -> bool:
        """Whether a condition is that this is the window's first step: then every position is masked."""
        operation = self.operations[condition]
        if operation.name != "equal":
            return False
        left, right = (self.operations[i] for i in operation.inputs)
        return left.attribute == protocol.STEPS_IN_WINDOW and right.name == "number" and right.attribute == 0

    def _moves_with_the_window(self, shift: Operation) -> bool:
        """Whether this is a field that moves with a sliding window: each value stays at its position."""
        kept, back = (self.operations[i] for i in shift.inputs)
        if kept.name != "state" or back.name != "negate" or back.extent is not Extent.ROW:
            return False
        moved = self.operations[back.inputs[0]]
        return moved.name == "subtract" and any(
            self.operations[i].attribute == protocol.PLACED_AT for i in moved.inputs
        )


def _at_masks(written: Written) -> Written:
    """A value that is read only at positions that were masked."""
    return written if written == Written.ANYWHERE else Written.NOWHERE
