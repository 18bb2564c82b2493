"""Is the head of a policy complete and correct: window, draw, logits, lookahead, states, and the headers of
phases?

Not here: the statements of a step (`statements`), the names (`names`), the policy's functions (`functions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from .. import fixes
from ..diagnostics import Fix, did_you_mean
from ..language import syntax
from ..language.walk import HEAD, statements
from ..language.words import (
    DRAWS,
    NOISES,
    SHAPES,
    STATE_KINDS,
    TRANSFORMS,
    WINDOWS,
    WORDS,
    Extent,
    Kind,
    Slot,
    Word,
)
from . import before_logits, sizes, window_ends
from .arguments import signature
from .calls import arguments
from .fitting import condition, expect, expect_condition, expect_value
from .inference import Inference
from .kinds import of_state
from .patterns import constraints

VISITS = Slot("count", frozenset({Kind.INT}), Extent.ROW)


def check(typing: Inference, policy: syntax.PolicyDefinition) -> None:
    """Infers the types of the head's expressions; reports misfits and misplaced or repeated statements."""
    for statement in policy.statements:
        _statement(typing, statement)
    _once(typing, policy)
    _slides(typing, policy)
    for phase in policy.phases:
        if phase.visits is not None:
            expect(typing, phase.visits, VISITS, "a bound on visits is an int")
        if phase.condition is not None:
            expect_condition(typing, phase.condition, "each row enters a phase or does not")
        _require_no_head(typing, phase, policy)
    if policy.phases:
        _require_only_head(typing, policy)


def _statement(typing: Inference, statement: syntax.Statement) -> None:
    match statement:
        case syntax.Window():
            typing.within = ["window"]
            _shape(typing, statement.shape, "window", WINDOWS)
            typing.within = []
            window_ends.require_one_form(typing, statement.shape)
            sizes.require_positions(typing, statement.shape)
        case syntax.Noise():
            _shape(typing, statement.source, "noise", NOISES)
        case syntax.Draw():
            _shape(typing, statement.method, "draw", DRAWS)
            before_logits.check(typing, statement.method)
        case syntax.Logits():
            _shape(typing, statement.transform, "logits", TRANSFORMS)
            before_logits.check(typing, statement.transform)
        case syntax.Lookahead():
            _lookahead(typing, statement)
        case syntax.StateDeclaration():
            _state(typing, statement)
        case syntax.FunctionDeclaration():
            pass  # its body is checked in place of each call
        case syntax.Commit() | syntax.Revoke() | syntax.Edit() | syntax.Fill() | syntax.Set() | syntax.Let():
            pass  # a statement of a step
        case (
            syntax.Stay()
            | syntax.Refresh()
            | syntax.Next()
            | syntax.Finish()
            | syntax.Branch()
            | syntax.Pick()
        ):
            pass  # a statement of a step
        case _:
            assert_never(statement)


def _once(typing: Inference, policy: syntax.PolicyDefinition) -> None:
    """Reports a policy without a window or with two, and other statements that appear twice."""
    windows = [s for s in policy.statements if isinstance(s, syntax.Window)]
    if not windows:
        first = syntax.Identifier((policy.statements or policy.phases)[0].span, "")
        message = "this policy does not say where a step may write"
        fix = fixes.line_above(first.span, "window blocks(32)")
        help_ = "add a line before this one: `window blocks(32)`"
        typing.wrong("E0302", message, first, help=help_, fix=fix)
    for again in windows[1:]:
        _deleted(typing, "a policy has one window", again)
    if windows and windows[0] is not policy.statements[0]:
        help_ = "move this line to the top of the policy"
        fix = fixes.moved_up(windows[0].span, policy.statements[0].span)
        typing.wrong("E0302", "the window comes first", windows[0], help=help_, fix=fix)
    for kind, word in ((syntax.Noise, "noise"), (syntax.Draw, "draw"), (syntax.Lookahead, "lookahead")):
        for statement in tuple(s for s in policy.statements if type(s) is kind)[1:]:
            _deleted(typing, f"a policy has one `{word}`", statement)
    for constrain in constraints(policy)[1:]:
        _deleted(typing, "a policy has one `logits constrain`", constrain)


def _deleted(typing: Inference, message: str, line: syntax.Node) -> None:
    """Reports a line that must go."""
    typing.wrong("E0302", message, line, help="delete this line", fix=fixes.without_lines(line.span))


def _slides(typing: Inference, policy: syntax.PolicyDefinition) -> None:
    """Reports `stay` under a sliding window, which is full only when every position is written."""
    windows = [s for s in policy.statements if isinstance(s, syntax.Window)]
    if any(window.shape.span.text.startswith("sliding") for window in windows):
        message = "a sliding window moves on with its first mask, and cannot stay"
        for stay in (s for s in statements(policy) if isinstance(s, syntax.Stay)):
            _deleted(typing, message, stay)


def _require_no_head(typing: Inference, phase: syntax.Phase, policy: syntax.PolicyDefinition) -> None:
    for statement in phase.statements:
        if isinstance(statement, HEAD):
            message = f"`{statement.span.text.split()[0]}` applies to the whole policy"
            fix = fixes.moved_up(statement.span, policy.phases[0].span)
            fix = Fix(fix.span, _outdented(fix.text, statement, policy.phases[0]))
            help_ = "move this line above the first phase"
            typing.wrong("E0303", message, statement, help=help_, fix=fix)


def _outdented(text: str, line: syntax.Node, phase: syntax.Phase) -> str:
    """The text whose first line, once in a phase, has the indentation of the phases."""
    return text[line.span.column - phase.span.column :]


def _require_only_head(typing: Inference, policy: syntax.PolicyDefinition) -> None:
    for statement in policy.statements:
        if not isinstance(statement, (*HEAD, syntax.Let)):
            message = f"`{statement.span.text.split()[0]}` belongs in a phase, and this policy has phases"
            typing.wrong("E0303", message, statement, help="move this line into a phase")


def _shape(typing: Inference, shape: syntax.Expression, statement: str, shapes: Mapping[str, Word]) -> None:
    """Reports an expression after `window`, `noise`, `draw` or `logits` that is no word of that statement."""
    name = ""
    if isinstance(shape, syntax.Name | syntax.Call):
        name = shape.identifier if isinstance(shape, syntax.Name) else shape.function.text
    word = shapes.get(name)
    if word is None:
        _no_shape(typing, shape, name, statement, shapes)
    elif isinstance(shape, syntax.Call):
        arguments(typing, shape, word)
    elif any(not slot.optional for slot in word.slots):
        help_ = f"write `{statement} {signature(word)}`"
        typing.wrong("E0203", f"`{name}` needs arguments", shape, help=help_)


def _no_shape(
    typing: Inference, shape: syntax.Expression, name: str, statement: str, shapes: Mapping[str, Word]
) -> None:
    has_meaning = (
        name in WORDS or any(name in other for other in SHAPES.values()) or typing.binding(shape) is not None
    )
    if name and not has_meaning:
        return  # `names` has reported the unknown name
    close = did_you_mean(name, shapes)
    help_ = (
        f"did you mean `{close}`?"
        if close
        else "write " + " or ".join(f"`{statement} {signature(w)}`" for w in shapes.values())
    )
    at = shape.function.span if isinstance(shape, syntax.Call) else shape.span
    fix = Fix(at, close) if close else None
    typing.wrong("E0302", f"`{shape.span.text}` cannot stand after `{statement}`", shape, help=help_, fix=fix)


def _lookahead(typing: Inference, lookahead: syntax.Lookahead) -> None:
    sizes.require_drafts(typing, lookahead.drafts)
    if lookahead.condition is not None:
        typing.within = ["accept"]
        condition(typing, lookahead.condition)
        typing.within = []


def _state(typing: Inference, state: syntax.StateDeclaration) -> None:
    if state.kind.text not in STATE_KINDS:
        known = ", ".join(f"`{kind}`" for kind in sorted(STATE_KINDS))
        close = did_you_mean(state.kind.text, STATE_KINDS)
        help_ = f"did you mean `{close}`?" if close else f"the kinds are {known}"
        message, fix = f"`{state.kind.text}` is not a kind of state", str(close) if close else None
        typing.wrong("E0208", message, state.kind, help=help_, fix=fix)
    why = f"`{state.identifier.text}` is of kind `{state.kind.text}`"
    expect_value(typing, state.start, of_state(state), why)
