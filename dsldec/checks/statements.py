"""Does every statement stand where it may, and hold what it takes?

Not here: the types of expressions (`kinds`), where steps lead (`phases`), whether they end (`progress`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..diagnostics import Diagnostic, did_you_mean
from ..language import syntax
from ..language.words import (
    DRAWS,
    IDS,
    NUMBERS,
    STATE_KINDS,
    TRANSFORMS,
    WINDOWS,
    WORDS,
    Extent,
    Kind,
    Slot,
    Word,
)
from ..options import MOST_DRAFTS
from .arguments import signature
from .kinds import SHAPES, Typing, of_state
from .resolved import HEAD, UNKNOWN, Body, Resolved, bodies, statements

MASK = Slot("mask", frozenset({Kind.MASK}))
COUNT = Slot("count", frozenset({Kind.INT}), Extent.ROW)
SCORE = Slot("by", NUMBERS, score=True)
ID = Slot("ids", IDS)
DRAFTS = Slot("drafts", frozenset({Kind.INT}), Extent.RUN)
# What a window must at least hold, by the name of what says it.
AT_LEAST_ONE = ("n", "max_masks", "max_length", "max")


def check(found: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Fills `types`; reports expressions and statements whose parts do not fit."""
    checker = _Checker(found)
    checker.head(found.policy)
    for body in bodies(found.policy):
        checker.body(body)
    return replace(found, types=checker.types), checker.diagnostics


class _Checker(Typing):
    def __init__(self, found: Resolved) -> None:
        super().__init__(found)
        self.states = found.states

    # --- before the phases

    def head(self, policy: syntax.PolicyDefinition) -> None:
        for statement in policy.statements:
            match statement:
                case syntax.Window():
                    self.shape(statement.shape, "window", WINDOWS)
                    self.sizes(statement.shape)
                case syntax.Draw():
                    self.shape(statement.method, "draw", DRAWS)
                case syntax.Logits():
                    self.shape(statement.transform, "logits", TRANSFORMS)
                case syntax.Lookahead():
                    self.lookahead(statement)
                case syntax.StateDeclaration():
                    self.state(statement)
        self.once(policy)
        self.slides(policy)
        for phase in policy.phases:
            if phase.visits is not None:
                self.expect(phase.visits, COUNT, "a bound on visits is an int")
            if phase.condition is not None:
                self.expect_condition(phase.condition, "a phase is entered or not, row by row")
            self.stray(phase)
        if policy.phases:
            self.outside(policy)

    def once(self, policy: syntax.PolicyDefinition) -> None:
        windows = [s for s in policy.statements if isinstance(s, syntax.Window)]
        if not windows:
            first = syntax.Identifier((policy.statements or policy.phases)[0].span, "")
            message = "this policy does not say where a step may write"
            self.wrong("E0302", message, first, help="add a line before this one: `window blocks(32)`")
        for again in windows[1:]:
            self.wrong("E0302", "a policy has one window", again, help="delete this line")
        if windows and windows[0] is not policy.statements[0]:
            self.wrong(
                "E0302", "the window comes first", windows[0], help="move this line to the top of the policy"
            )
        for draw in [s for s in policy.statements if isinstance(s, syntax.Draw)][1:]:
            self.wrong("E0302", "a policy draws in one way", draw, help="delete this line")
        for lookahead in [s for s in policy.statements if isinstance(s, syntax.Lookahead)][1:]:
            self.wrong("E0302", "a policy drafts in one way", lookahead, help="delete this line")

    def slides(self, policy: syntax.PolicyDefinition) -> None:
        """A sliding window is never full before everything is written: nothing can stay."""
        if any(
            isinstance(s, syntax.Window) and s.shape.span.text.startswith("sliding")
            for s in policy.statements
        ):
            for stay in (s for s in statements(policy) if isinstance(s, syntax.Stay)):
                self.wrong(
                    "E0302",
                    "a sliding window moves on with its first mask, and cannot stay",
                    stay,
                    help="delete this line",
                )

    def stray(self, phase: syntax.Phase) -> None:
        for statement in phase.statements:
            if isinstance(statement, HEAD):
                what = statement.span.text.split()[0]
                self.wrong(
                    "E0303",
                    f"`{what}` is said of the whole policy",
                    statement,
                    help="move this line above the first phase",
                )

    def outside(self, policy: syntax.PolicyDefinition) -> None:
        for statement in policy.statements:
            if not isinstance(statement, (*HEAD, syntax.Let)):
                what = statement.span.text.split()[0]
                self.wrong(
                    "E0303",
                    f"`{what}` belongs to a phase: this policy has some",
                    statement,
                    help="move this line into a phase",
                )

    def shape(self, shape: syntax.Expression, statement: str, shapes: Mapping[str, Word]) -> None:
        """What stands after `window`, `draw` and `logits`: a name or a call of their own words."""
        name = (
            shape.identifier
            if isinstance(shape, syntax.Name)
            else shape.function.text
            if isinstance(shape, syntax.Call)
            else ""
        )
        word = shapes.get(name)
        text = shape.span.text
        if word is None:
            known = (
                name in WORDS
                or any(name in other for other in SHAPES.values())
                or shape in self.found.bindings
            )
            if known or not name:  # else it was reported as a name that nothing has
                close = did_you_mean(name, shapes)
                help_ = (
                    f"did you mean `{close}`?"
                    if close
                    else "write " + " or ".join(f"`{statement} {signature(w)}`" for w in shapes.values())
                )
                self.wrong("E0302", f"`{text}` cannot stand after `{statement}`", shape, help=help_)
        elif isinstance(shape, syntax.Call):
            self.arguments(shape, word)
        elif any(not slot.optional for slot in word.slots):
            self.wrong(
                "E0203", f"`{name}` needs arguments", shape, help=f"write `{statement} {signature(word)}`"
            )

    def sizes(self, shape: syntax.Expression) -> None:
        """A window holds at least one position."""
        if not isinstance(shape, syntax.Call) or shape.function.text not in WINDOWS:
            return
        plain = [
            (slot, value)
            for slot, value in zip(WINDOWS[shape.function.text].slots, shape.arguments, strict=False)
        ]
        plain = [] if any(slot.many for slot, _ in plain) else plain
        named = {slot.name: slot for slot in WINDOWS[shape.function.text].slots}
        plain += [(named[k.identifier.text], k.value) for k in shape.keywords if k.identifier.text in named]
        for slot, size in plain:
            if slot.name in AT_LEAST_ONE and self.types.get(size, UNKNOWN).kind is Kind.INT:
                smallest = self.smallest(size)
                if smallest is None and not slot.static and slot.name == "max_masks":
                    smallest = 0
                if smallest is not None and smallest < 1:
                    self.wrong(
                        "E0302",
                        "a window must hold at least one position",
                        size,
                        help=self.help_of_size(size),
                    )

    def smallest(self, size: syntax.Expression) -> int | None:
        """The smallest value a size can have; `None` where it was reported already as no size."""
        if isinstance(size, syntax.Number):
            return int(size.value)
        meaning = self.found.bindings.get(size) if isinstance(size, syntax.Name) else None
        if isinstance(meaning, syntax.Parameter):
            return int(meaning.range.first.value) if meaning.range is not None else None
        return None

    def help_of_size(self, size: syntax.Expression) -> str:
        meaning = self.found.bindings.get(size) if isinstance(size, syntax.Name) else None
        if isinstance(meaning, syntax.Parameter):
            default = max(1, int(meaning.default.value))
            return f"give the parameter a range: `{meaning.identifier.text}: int = {default} in 1..65536`"
        return "write a number from 1 on, or an int parameter with a range: `block: int = 32 in 1..65536`"

    def lookahead(self, lookahead: syntax.Lookahead) -> None:
        """A number of drafts that is known before the run, and a condition on what a draft writes."""
        drafts = lookahead.drafts
        if self.expect(drafts, DRAFTS, "how many steps are drafted ahead").kind is Kind.INT:
            self.size(drafts, MOST_DRAFTS)
            smallest = self.smallest(drafts)
            if smallest is not None and smallest < 1:
                help_ = "write a number from 1 on (1: nothing is drafted), or an int parameter with a range: `drafts: int = 4 in 1..32`"
                self.wrong("E0302", "at least one draft is made: the next step itself", drafts, help=help_)
        if lookahead.condition is not None:
            self.within = ["accept"]
            self._condition(lookahead.condition)
            self.within = []

    def state(self, state: syntax.StateDeclaration) -> None:
        if state.kind.text not in STATE_KINDS:
            known = ", ".join(f"`{kind}`" for kind in sorted(STATE_KINDS))
            close = did_you_mean(state.kind.text, STATE_KINDS)
            help_ = f"did you mean `{close}`?" if close else f"the kinds are {known}"
            self.wrong("E0208", f"`{state.kind.text}` is not a kind of state", state.kind, help=help_)
        self.expect_value(
            state.start, of_state(state), f"`{state.identifier.text}` is of kind `{state.kind.text}`"
        )

    # --- in a phase

    def body(self, body: Body) -> None:
        for statement in body.statements:
            self.statement(statement)

    def statement(self, statement: syntax.Statement) -> None:
        match statement:
            case syntax.Let():
                self.infer(statement.value)
            case syntax.Set():
                state = self.states.get(statement.identifier.text)
                wanted = of_state(state) if state is not None else UNKNOWN
                self.expect_value(statement.value, wanted, f"the kind of `{statement.identifier.text}`")
            case syntax.Commit():
                self.commit(statement)
            case syntax.Revoke():
                self.expect(statement.mask, MASK, "`revoke` takes the positions to mask again")
                self.at_most(statement.at_most, revokes=True)
            case syntax.Edit():
                self.edit(statement)
            case syntax.Stay():
                self.expect(statement.count, COUNT, "a bound on steps is an int")
                if statement.condition is not None:
                    self.expect_condition(statement.condition, "a row does it or not")
            case syntax.Fill() | syntax.Next() | syntax.Finish() if statement.condition is not None:
                self.expect_condition(statement.condition, "a row does it or not")

    def commit(self, commit: syntax.Commit) -> None:
        self.expect(commit.mask, MASK, "`commit` takes the positions to write")
        if commit.ids is not None:
            self.expect(commit.ids, ID, "`as` takes the ids to write")
        if commit.at_least is not None:
            self.expect(commit.at_least.count, COUNT, "a count is an int")
            if commit.at_least.score is not None:
                self.expect(commit.at_least.score, SCORE, "positions are ranked by a score")
        self.at_most(commit.at_most)
        for bound in (commit.at_least, commit.at_most):
            if bound is not None and bound.score is None:
                self.wrong(
                    "E0203",
                    f"`{bound.span.text}` does not say which positions",
                    bound,
                    help=f"write `{bound.span.text} by conf`",
                )

    def edit(self, edit: syntax.Edit) -> None:
        self.expect(edit.mask, MASK, "`edit` takes the positions to write over")
        if edit.ids is None:
            self.wrong(
                "E0203",
                "this edit does not say what to write",
                edit,
                help=f"write `edit {edit.mask.span.text} as token at most 1`",
            )
        else:
            self.expect(edit.ids, ID, "`as` takes the ids to write")
        self.at_most(edit.at_most)

    def at_most(self, bound: syntax.AtMost | None, *, revokes: bool = False) -> None:
        if bound is None:
            return
        self.expect(bound.count, COUNT, "a count is an int")
        if bound.score is not None and revokes:
            self.expect_unsure(bound.score)
        elif bound.score is not None:
            self.expect(bound.score, SCORE, "positions are ranked by a score")
