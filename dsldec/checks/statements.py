"""Do the values in the statements of a step fit?

Not here: the head of the policy (`head`), the types of expressions (`expression_types`), where steps lead
(`phases`), whether they end (`progress`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from .. import fixes
from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.walk import HEAD, bodies
from ..language.words import IDS, NUMBERS, Extent, Kind, Slot
from . import branches, head
from .expression_types import Typing
from .fitting import expect, expect_condition, expect_unsure, expect_value
from .inference import Inference
from .kinds import of_state
from .resolved import UNKNOWN, Resolved

MASK = Slot("mask", frozenset({Kind.MASK}))
COUNT = Slot("count", frozenset({Kind.INT}), Extent.ROW)
SCORE = Slot("by", NUMBERS, score=True)
ID = Slot("ids", IDS)


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Sets `types`; reports expressions and statements whose parts do not fit."""
    typing = Typing(resolved)
    head.check(typing, resolved.policy)
    branches.check(typing, resolved.policy)
    states = resolved.states
    for body in bodies(resolved.policy):
        for statement in body.statements:
            _statement(typing, statement, states)
    return replace(resolved, types=typing.types), typing.diagnostics


def _statement(
    typing: Inference, statement: syntax.Statement, states: Mapping[str, syntax.StateDeclaration]
) -> None:
    if isinstance(statement, HEAD):
        return  # `head` reports it as misplaced
    match statement:
        case syntax.Let():
            typing.infer(statement.value)
        case syntax.Set():
            name = statement.identifier.text
            wanted = of_state(states[name]) if name in states else UNKNOWN
            expect_value(typing, statement.value, wanted, f"the kind of `{name}`")
        case syntax.Commit():
            _commit(typing, statement)
        case syntax.Revoke():
            expect(typing, statement.mask, MASK, "`revoke` takes the positions to mask again")
            _revoked_at_most(typing, statement.at_most)
        case syntax.Edit():
            _edit(typing, statement)
        case syntax.Stay():
            expect(typing, statement.count, COUNT, "a bound on steps is an int")
            _when(typing, statement.condition)
        case syntax.Fill() | syntax.Refresh() | syntax.Next() | syntax.Finish():
            _when(typing, statement.condition)
        case syntax.Branch() | syntax.Pick():
            pass  # `branches` reads them
        case _:
            assert_never(statement)


def _when(typing: Inference, condition: syntax.Expression | None) -> None:
    if condition is not None:
        expect_condition(typing, condition, "each row does this or does not")


def _commit(typing: Inference, commit: syntax.Commit) -> None:
    expect(typing, commit.mask, MASK, "`commit` takes the positions to write")
    if commit.ids is not None:
        expect(typing, commit.ids, ID, "`as` takes the ids to write")
    _bound(typing, commit.at_least)
    _bound(typing, commit.at_most)
    for bound in (commit.at_least, commit.at_most):
        if bound is not None and bound.score is None:
            message = f"`{bound.span.text}` does not say which positions"
            help_ = f"write `{bound.span.text} by conf`"
            typing.wrong("E0203", message, bound, help=help_, fix=fixes.after(bound.span, " by conf"))


def _edit(typing: Inference, edit: syntax.Edit) -> None:
    expect(typing, edit.mask, MASK, "`edit` takes the positions to write over")
    if edit.ids is None:
        help_ = f"write `edit {edit.mask.span.text} as token at most 1`"
        most = edit.at_most
        fix = (
            fixes.after(edit.span, " as token at most 1")
            if most is None
            else fixes.before(most.span, "as token ")
        )
        typing.wrong("E0203", "this edit does not say what to write", edit, help=help_, fix=fix)
    else:
        expect(typing, edit.ids, ID, "`as` takes the ids to write")
    _bound(typing, edit.at_most)


def _bound(typing: Inference, bound: syntax.AtLeast | syntax.AtMost | None) -> None:
    """A count of positions, the most confident first."""
    if bound is not None:
        expect(typing, bound.count, COUNT, "a count is an int")
        if bound.score is not None:
            expect(typing, bound.score, SCORE, "positions are ranked by a score")


def _revoked_at_most(typing: Inference, bound: syntax.AtMost | None) -> None:
    """A count of positions, the least confident first."""
    if bound is not None:
        expect(typing, bound.count, COUNT, "a count is an int")
        if bound.score is not None:
            expect_unsure(typing, bound.score)
