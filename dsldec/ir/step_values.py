"""Values of one step that expressions and statements share: of the canvas, of the window, and of the previous
step.

Not here: the operations of an expression (`expressions`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..language import syntax
from ..language.words import NO_ID, Extent, Kind
from . import protocol
from .build import NO_VALUE, Builder

STEPS_APART = 2**32  # between the random numbers of two candidates: more than the steps of any row
# More steps change no schedule of at most 65536 masks, and their product with the masks has 64 bits.
MOST_STEPS = 10**13


@dataclass(slots=True)
class Scope:
    """The values at one place in a phase: the current canvas, and the operation of each name.

    `committed`, `edited`: numbers of positions that the step has committed and edited so far. `touched`: the
    positions that it has committed, edited or revoked. `orders`: the sorted positions for `rank`, `cumsum`
    and `cummax`, innermost last.
    """

    canvas: int
    window: int
    committed: int
    touched: int
    edited: int
    visits: int | None = None
    states: dict[str, int] = field(default_factory=dict)
    lets: dict[syntax.Let | syntax.Branch, int] = field(default_factory=dict)
    orders: list[int] = field(default_factory=list)

    def copy(self) -> Scope:
        """An independent copy, without the orders."""
        return replace(self, states=dict(self.states), lets=dict(self.lets), orders=[])


class StepValues(Builder):
    """The values of one step that depend on no expression of the policy."""

    def __init__(self) -> None:
        super().__init__()
        self.befores: dict[int, int] = {}
        self.step = self.state(protocol.STEP)
        self.window_start = self.state(protocol.WINDOW_START)
        self.generation_length = self.state(protocol.GENERATION_LENGTH)
        self.editable = self.mask("editable")
        self.offset = self.add("offset", (), Kind.INT, Extent.POSITION)
        self.pos = self.int_("add", self.offset, self.window_start)
        self.canvas = self.add("canvas", (), Kind.TOKEN, Extent.POSITION)
        # The scope as a step begins; `before` stores values of this scope.
        self.start = Scope(self.canvas, self.editable, self.number(0), self.number(False), self.number(0))
        self.slides = -1  # distance that a sliding window moved since the previous step; -1 for other windows
        self.in_branch = False
        self.stayed = -1  # positions that were in the window in the previous step

    def masked(self, scope: Scope) -> int:
        return self.mask("and", self.mask("is_mask", scope.canvas), scope.window)

    def written(self, scope: Scope) -> int:
        return self.mask("and", self.holds("not", self.mask("is_mask", scope.canvas)), scope.window)

    def ends(self, scope: Scope) -> int:
        return self.mask("and", self.mask("is_end", scope.canvas), scope.window)

    def age(self, scope: Scope) -> int:
        new = self.mask("or", self.mask("is_mask", scope.canvas), scope.touched)
        return self.where(new, self.number(0), self.kept_at_positions(protocol.AGE), Kind.INT)

    def kept_at_positions(self, name: str, kind: Kind | None = None, *, keep: int | str | None = None) -> int:
        """A field per position. In a sliding window, each value moves with its position."""
        kept = self.state(name, kind, Extent.POSITION, keep=keep)
        kind = self.kind(kept)
        if self.slides < 0:
            return kept
        back = self.int_("negate", self.slides)
        return self.add(
            "shift" if keep is None else "shift_distributions", (kept, back), kind, Extent.POSITION
        )

    def length(self, scope: Scope) -> int:
        return self.reduced("count", Kind.INT, scope.window)

    def reach(self, scope: Scope) -> int:
        """The number of positions from the first of the window to the last one that may be written.

        Given positions in between count too.
        """
        places = self.int_("add", self.offset, self.number(1))
        return self.add(
            "truncate", (self.reduced("greatest", Kind.REAL, places, scope.window),), Kind.INT, Extent.ROW
        )

    @property
    def steps_in_window(self) -> int:
        return self.state(protocol.STEPS_IN_WINDOW)

    @property
    def begins(self) -> int:
        """Whether this is the window's first step."""
        return self.holds("equal", self.steps_in_window, self.number(0))

    def first_masks(self) -> int:
        """The number of masks at the window's first step."""
        now = self.reduced("count", Kind.INT, self.masked(self.start))
        return self.where(self.begins, now, self.state(protocol.FIRST_MASKS), Kind.INT)

    def even(self, steps: int, scope: Scope) -> int:
        """The share of one step: the quotient, and 1 more in the first steps if there is a remainder.

        After `steps` steps, it is the number of all masks left.
        """
        n, masks = self.int_("maximum", steps, self.number(1)), self.first_masks()
        more = self.holds("less", self.steps_in_window, self.int_("remainder", masks, n))
        share = self.int_(
            "add",
            self.int_("floor_divide", masks, n),
            self.where(more, self.number(1), self.number(0), Kind.INT),
        )
        left = self.reduced("count", Kind.INT, self.masked(scope))
        return self.where(self.holds("less", self.steps_in_window, n), share, left, Kind.INT)

    def due(self, steps: int, scope: Scope, left: Callable[[int, int, int], int]) -> int:
        """The number of masks to write so that `left(first masks, steps done, n)` masks are left afterwards."""
        n = self.int_("minimum", self.int_("maximum", steps, self.number(1)), self.number(MOST_STEPS))
        done = self.int_("minimum", self.int_("add", self.steps_in_window, self.number(1)), n)
        masks = self.reduced("count", Kind.INT, self.masked(scope))
        more = self.int_("subtract", masks, left(self.first_masks(), done, n))
        return self.int_("maximum", more, self.number(0))

    def linear_left(self, masks: int, done: int, n: int) -> int:
        """The largest int not above masks * (1 - done / n)."""
        product = self.int_("multiply", masks, self.int_("subtract", n, done))
        return self.int_("floor_divide", product, n)

    def cosine_left(self, masks: int, done: int, n: int) -> int:
        """The largest int not above masks * cos(pi / 2 * done / n)."""
        return self.int_("cosine_left", masks, done, n)

    def uniform(self, of: int | None = None) -> int:
        """A random number for each value of an int; for each position, if no int is given.

        Each candidate of a `branch` draws those of another step, and candidate 0 those of a policy without
        it.
        """
        step = self.step
        if self.in_branch:
            further = self.int_("multiply", self.state(protocol.BRANCH), self.number(STEPS_APART))
            step = self.int_("add", step, further)
        return self.random(self.state(protocol.KEY), step, self.pos if of is None else of)

    def shifted(self, value: int, by: int, scope: Scope) -> int:
        """A number or an id of each position, moved to the right. Values from outside the window are none."""
        kind = self.kind(value)
        there, moved = (
            self.mask("shift", scope.window, by),
            self.add("shift", (value, by), kind, Extent.POSITION),
        )
        return self.where(there, moved, self.number(NO_ID if kind is Kind.TOKEN else NO_VALUE), kind)

    def compared(self, operation: str, a: int, b: int) -> int:
        """A comparison of two values. An id that there is not (below 0) equals no id, not even another such
        one.
        """
        holds = self.holds(operation, a, b)
        if Kind.TOKEN not in (self.kind(a), self.kind(b)) or not (self.may_lack(a) and self.may_lack(b)):
            return holds
        there = self.holds("greater_equal", a, self.number(0))
        if operation == "equal":
            return self.all_of(there, holds)
        return self.holds("or", self.holds("not", there), holds)

    def may_lack(self, value: int) -> bool:
        """Whether an id may be none."""
        of = self.operations[value]
        if of.name == "number":
            return isinstance(of.attribute, int) and of.attribute < 0
        if of.name == "where":
            return any(self.may_lack(one) for one in of.inputs[1:])
        return of.name not in ("observation", "canvas", "write", "erase") and of.attribute != protocol.DRAFT

    def value_before(self, value: int) -> int:
        """A value in the previous step; no value in a window's first step."""
        index = self.befores.setdefault(value, len(self.befores))
        kind, place = self.kind(value), self.place(value)
        wide = place is Extent.POSITION
        kind = Kind.REAL if kind is Kind.INT else kind
        name = protocol.before_field(index)
        old = self.kept_at_positions(name, kind) if wide else self.state(name, kind)
        none = (
            self.number(False)
            if kind in (Kind.MASK, Kind.BOOL)
            else self.number(NO_ID if kind is Kind.TOKEN else NO_VALUE)
        )
        first = self.holds("not", self.stayed) if wide and self.slides >= 0 else self.begins
        return self.where(first, none, old, kind)
