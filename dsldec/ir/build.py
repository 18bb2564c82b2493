"""Builds a program: the operations in order, equal operations once, and none whose result is known.

Not here: the operations of a policy (`expressions`, `lower`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..checks.values import Scalar
from ..language.words import CONDITIONS, NUMBERS, Extent, Kind
from .nodes import LoopCarried, Operation
from .protocol import field_of

NO_VALUE = float("nan")  # one object, because NaN equals only itself by identity

# The result is equal for inputs in another order.
COMMUTATIVE = frozenset({"and", "or", "add", "multiply", "equal", "not_equal"})
# The result is a part of the first input. For an order, that is a part of its mask.
PARTS = frozenset({"top", "prefix", "order", "thin", "thin_by_kernel", "trim", "runs_holding"})
UNIONS = frozenset({"or", "orelse"})
DEEPEST = 8  # operations between a mask and a mask that contains it


class Builder:
    """The operations so far, and the values carried from step to step."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.known: dict[tuple[object, ...], int] = {}
        self.carried: dict[str, LoopCarried] = {}
        self.sites = 0  # places that draw random numbers; each place draws different ones

    def add(
        self, name: str, inputs: tuple[int, ...], kind: Kind, place: Extent, of: str | Scalar | None = None
    ) -> int:
        # 1, 1.0 and true are equal in Python, but not as constants of a program: `kind` distinguishes them.
        # The key is a tuple: two tuples with the same NaN object are equal; two dataclasses are not, from
        # Python 3.13 on.
        key = (name, inputs, kind, place, of)
        if name in COMMUTATIVE and (swapped := (name, inputs[::-1], kind, place, of)) in self.known:
            return self.known[swapped]
        if key not in self.known:
            self.known[key] = len(self.operations)
            self.operations.append(Operation(name, inputs, kind, place, of))
        return self.known[key]

    def place(self, *inputs: int) -> Extent:
        """The widest extent of some values."""
        return max((self.operations[i].extent for i in inputs), default=Extent.RUN)

    def kind(self, value: int) -> Kind:
        return self.operations[value].kind

    def state(
        self,
        name: str,
        kind: Kind | None = None,
        extent: Extent | None = None,
        *,
        keep: int | str | None = None,
    ) -> int:
        """The value of a field of the state.

        Kind and extent come from the protocol's table. `kind` and `extent` (per row unless given) are for
        fields whose kind and extent the policy decides.
        """
        field = field_of(name)
        kind = kind if field.kind is None else field.kind
        assert kind is not None
        extent = field.extent if field.extent is not None else Extent.ROW if extent is None else extent
        self.carried[name] = LoopCarried(kind, extent, keep)
        return self.add("state", (), kind, extent, name)

    def number(self, value: Scalar) -> int:
        kind = Kind.BOOL if isinstance(value, bool) else Kind.INT if isinstance(value, int) else Kind.REAL
        return self.add("number", (), kind, Extent.RUN, value)

    def of_kind(self, value: int, kind: Kind) -> int:
        """The value; an int is converted to a real if `kind` is a real."""
        wanted = kind in NUMBERS - {Kind.INT} and self.kind(value) is Kind.INT
        return self.add("real", (value,), kind, self.place(value)) if wanted else value

    def int_(self, name: str, *inputs: int) -> int:
        if name == "negate" and (constant := self.operations[inputs[0]]).name == "number":
            assert isinstance(constant.attribute, int)
            return self.number(-constant.attribute)
        return self.add(name, inputs, Kind.INT, self.place(*inputs))

    def real(self, name: str, *inputs: int) -> int:
        return self.add(name, inputs, Kind.REAL, self.place(*inputs))

    def holds(self, name: str, *inputs: int) -> int:
        """A condition or mask with the widest extent of its inputs. Known results are simplified away."""
        if name == "not":
            of = self.operations[inputs[0]]
            if of.name == "number":
                return self.number(not of.attribute)
            if of.name == "not":
                return of.inputs[0]
        if name in ("and", "or"):
            neutral, decides = self.number(name == "and"), self.number(name == "or")
            if decides in inputs:
                return decides
            inputs = self._without_repetition(name, inputs) or (neutral,)
            if len(inputs) == 1:
                return inputs[0]
        place = self.place(*inputs)
        return self.add(name, inputs, Kind.MASK if place is Extent.POSITION else Kind.BOOL, place)

    def _without_repetition(self, name: str, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """The inputs of an `and` without masks that contain another input; of an `or`, without contained
        ones. Neutral constants are removed too.
        """
        neutral = self.number(name == "and")
        kept = [i for i in dict.fromkeys(inputs) if i != neutral]
        for one in tuple(kept):
            others = [other for other in kept if other != one]
            if any(self.within(*((other, one) if name == "and" else (one, other))) for other in others):
                kept = others
        return tuple(kept)

    def within(self, part: int, whole: int, depth: int = DEEPEST) -> bool:
        """Whether every position of `part` is one of `whole`, as far as the operations show it."""
        if part == whole:
            return True
        operation = self.operations[part]
        if depth == 0 or not operation.inputs:
            return False
        if operation.name == "and":
            return any(self.within(one, whole, depth - 1) for one in operation.inputs)
        if operation.name in UNIONS:
            return all(self.within(one, whole, depth - 1) for one in operation.inputs)
        return operation.name in PARTS and self.within(operation.inputs[0], whole, depth - 1)

    def mask(self, name: str, *inputs: int, of: str | Scalar | None = None) -> int:
        if name in ("and", "or", "not"):
            return self.holds(name, *inputs)
        return self.add(name, inputs, Kind.MASK, Extent.POSITION, of)

    def reduced(self, name: str, kind: Kind, *inputs: int) -> int:
        if name == "any" and inputs[0] == self.number(False):
            return inputs[0]
        return self.add(name, inputs, kind, Extent.ROW)

    def where(self, condition: int, then: int, otherwise: int, kind: Kind) -> int:
        if then == otherwise and self.kind(then) is kind:
            return then
        yes, no = self.number(True), self.number(False)
        if kind in CONDITIONS:
            if otherwise in (yes, no):
                condition, then, otherwise = self.holds("not", condition), otherwise, then
            if then == yes:
                return self.holds("or", condition, otherwise)
            if then == no:
                return self.holds("and", self.holds("not", condition), otherwise)
        return self.add("where", (condition, then, otherwise), kind, self.place(condition, then, otherwise))

    def needed(self, roots: Iterable[int]) -> dict[int, int]:
        """The operations that some results need, each with its new number after all others are removed."""
        wanted, waiting = set[int](), list(roots)
        while waiting:
            index = waiting.pop()
            if index not in wanted:
                wanted.add(index)
                waiting += self.operations[index].inputs
        return {old: new for new, old in enumerate(sorted(wanted))}

    def all_of(self, first: int, *more: int) -> int:
        for one in more:
            first = self.holds("and", first, one)
        return first

    def random(self, key: int, step: int, pos: int) -> int:
        self.sites += 1
        return self.add("random", (key, step, pos), Kind.REAL, self.place(key, step, pos), self.sites)
