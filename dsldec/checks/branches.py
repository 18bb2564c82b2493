"""Is each `branch` one block of statements that write, with `pick by` directly below it?

A step makes all candidates from one forward. The next forward reads all of them, and `pick by` compares them
on their own observations. So no statement of the block may decide where the row goes on, and a policy that
branches drafts nothing. Not here: the values in the block (`statements`), why decoding ends (`progress`).
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import fixes
from ..diagnostics import Diagnostic, Fix
from ..language import syntax
from ..language.limits import MOST_BRANCHES
from ..language.walk import HEAD, expressions, statements, walk
from ..language.words import NUMBERS, RANDOM_WORDS, Extent, Kind, Slot
from .fitting import expect
from .inference import Inference
from .sizes import at_least_one, require_bounded, smallest_size

COUNT = Slot("count", frozenset({Kind.INT}), Extent.RUN)
SCORE = Slot("by", NUMBERS, Extent.ROW)
WRITES = (syntax.Let, syntax.Set, syntax.Commit, syntax.Revoke, syntax.Edit, syntax.Fill)
LEADS_ON = (syntax.Next, syntax.Finish, syntax.Stay, syntax.Refresh)


def check(typing: Inference, policy: syntax.PolicyDefinition) -> None:
    """Infers the types of the counts and scores; reports statements at a wrong place."""
    for block in (policy.statements, *(phase.statements for phase in policy.phases)):
        _block(typing, block)
    branches = [s for s in statements(policy) if isinstance(s, syntax.Branch)]
    for again in branches[1:]:
        typing.wrong("E0216", "a policy has one `branch`", again, help="write both as one block")
    lookahead = next((s for s in policy.statements if isinstance(s, syntax.Lookahead)), None)
    if branches and lookahead is not None:
        message = "a policy that branches cannot draft yet"
        fix = fixes.without_lines(lookahead.span)
        typing.wrong("E0324", message, lookahead, help="delete this line, or the branch", fix=fix)


def _block(typing: Inference, block: Sequence[syntax.Statement]) -> None:
    """Reports misplaced statements of a list."""
    inside, picked, pick_at = 0, False, -1
    for at, statement in enumerate(block):
        if isinstance(statement, syntax.Branch):
            _count(typing, statement.count)
            inside, pick_at = max(inside, at + 1 + statement.size), at + 1 + statement.size
            after = block[pick_at] if pick_at < len(block) else None
            if not isinstance(after, syntax.Pick):
                help_ = "add a line below its block: `pick by mean(conf)`"
                end = fixes.line_below(block[pick_at - 1].span, "").span
                indent = " " * (statement.span.column - 1)
                fix = Fix(end, f"\n{indent}pick by mean(conf)")
                message = "nothing says which candidate goes on"
                typing.wrong("E0216", message, statement, help=help_, fix=fix)
        elif isinstance(statement, syntax.Pick):
            _pick(typing, statement, is_placed=at == pick_at)
            picked = True
        elif at < inside:
            _in_branch(typing, statement)
        elif picked and not isinstance(statement, (*LEADS_ON, *HEAD)):
            label = "the candidates are compared with all that they wrote"
            help_ = "move this line into the branch, or above it"
            typing.wrong("E0216", f"{_word(statement)} cannot stand below `pick`", statement, label, help_)


def _in_branch(typing: Inference, statement: syntax.Statement) -> None:
    if isinstance(statement, LEADS_ON):
        message = f"{_word(statement)} cannot stand in a branch"
        typing.wrong("E0216", message, statement, help="move this line below `pick by`")
    elif not isinstance(statement, WRITES):
        message = f"{_word(statement)} applies to the whole policy"
        typing.wrong("E0303", message, statement, help="move this line to the top of the policy")


def _count(typing: Inference, count: syntax.Expression) -> None:
    if expect(typing, count, COUNT, "how many candidates a step makes").kind is not Kind.INT:
        return
    require_bounded(typing, count, MOST_BRANCHES)
    least = smallest_size(typing, count)
    if least is not None and least < 1:
        help_ = "write a number of 1 or more, or an int parameter with a range: `rows: int = 4 in 1..64`"
        message, fix = "a step makes at least one candidate", at_least_one(typing, count)
        typing.wrong("E0218", message, count, help=help_, fix=fix)


def _pick(typing: Inference, pick: syntax.Pick, *, is_placed: bool) -> None:
    if not is_placed:
        help_ = "write it directly below the block of a `branch`"
        typing.wrong("E0216", "no branch ends above this line", pick, help=help_)
    typing.within = ["pick"]
    expect(typing, pick.score, SCORE, "candidates are compared by one number each")
    typing.within = []


def _word(statement: syntax.Statement) -> str:
    return "a name" if isinstance(statement, syntax.Let) else f"`{statement.span.text.split()[0]}`"


def draws(policy: syntax.PolicyDefinition, branch: syntax.Branch) -> bool:
    """Whether the block of a branch draws at random, so that candidates differ without its int."""
    for block in (policy.statements, *(phase.statements for phase in policy.phases)):
        if branch in block:
            first = block.index(branch) + 1
            parts = (
                part
                for statement in block[first : first + branch.size]
                for expression in expressions(statement)
                for part in walk(expression)
            )
            return any(isinstance(p, syntax.Call) and p.function.text in RANDOM_WORDS for p in parts)
    return False


def read_by_score(name: syntax.Name) -> Diagnostic:
    """The diagnostic of a score that reads a name of the step that made the candidates."""
    text = name.identifier
    message = f"`{text}` is a value of the step that made the candidates"
    label = "candidates are compared after the next forward"
    help_ = f"carry it in a state: `state carried: real = 0 per sequence`, and in the branch `set carried = {text}`"
    return Diagnostic("E0217", message, name.span, label, help_)
