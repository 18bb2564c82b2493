"""The places of a policy that its cases can reach: statements, both sides of `orelse` and of `x if c else y`,
phases and their `else`, limits, and conditions that hold and that do not.

Not here: which of them a step reaches (`reached`). The lines above the phases that no case can show have no
places: windows, draws, changes of logits, drafts, start values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...language import syntax
from ...language.walk import HEAD, expressions, statements, walk
from ...source import Span

# Of each kind of place: what no case does, and the case that does it.
KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "phase": ("no case enters this phase", "add a case that does: `phase NAME` states the phase of a step"),
        "phase else": ("no case enters this phase instead", "add a case that reaches the bound on visits, or fails `when`"),
        "commit": ("no case commits a position of this mask", "add a case in which a masked position passes"),
        "at least": ("no case needs this floor", "add a case in which fewer positions pass"),
        "at most": ("no case reaches this limit", "add a case in which more positions pass"),
        "revoke": ("no case revokes a position here", "add a case with a row `revoke`"),
        "edit": ("no case edits a position here", "add a case with a row `edit`"),
        "fill": ("no case fills the window here", "add a case in which the condition holds at a masked position"),
        "fill not": ("no case continues without filling the window", "add a case in which the condition fails"),
        "stay": ("no case stays in a full window", "add a case that goes on after its last mask is written"),
        "stay not": ("no case leaves a full window", "add a case in which the condition fails, or the number is reached"),
        "refresh": ("no case refreshes the cache here", "add a case with a row `refresh`"),
        "refresh not": ("no case continues without refreshing", "add a case with a row `refresh -`"),
        "next": ("no case enters the next phase here", "add a case in which this is the first condition that holds"),
        "next not": ("this condition holds in all cases", "add a case in which it fails, after all conditions above it failed"),
        "finish": ("no case ends here", "add a case with a row `done` in which this condition holds"),
        "finish not": ("all cases end here", "add a case in which the condition fails"),
        "orelse left": ("no case takes the left side of `orelse`", "add a case in which it selects a position"),
        "orelse right": ("no case takes the right side of `orelse`", "add a case in which the left side selects nothing"),
        "if": ("no case takes this value", "add a case in which the condition after `if` holds"),
        "if not": ("no case takes this value", "add a case in which the condition before `else` fails"),
    }
)  # fmt: skip
WITH_CONDITION = (syntax.Fill, syntax.Stay, syntax.Refresh, syntax.Next, syntax.Finish)

PlaceKey = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class CoveragePlace:
    """A place in a policy's text, and the kind of what happens there (a key of `KINDS`)."""

    span: Span
    kind: str

    @property
    def key(self) -> PlaceKey:
        return key_of(self.span, self.kind)


def key_of(span: Span, kind: str) -> PlaceKey:
    """Identifies a place: the text of a function stands in the tree once for each call."""
    return span.start, span.end, kind


def kind_of(statement: syntax.Statement) -> str:
    """The kind of a statement's place: the word that begins the statement."""
    return type(statement).__name__.lower()


def span_of(statement: syntax.Statement) -> Span:
    """Where the place of a statement is shown: a commit's mask, else the statement."""
    return statement.mask.span if isinstance(statement, syntax.Commit) else statement.span


def places_of(policy: syntax.PolicyDefinition) -> list[CoveragePlace]:
    """All places of a policy, in the order of the text. `policy`: the tree with its functions expanded."""
    found = {place.key: place for place in _places(policy)}
    return sorted(found.values(), key=lambda place: place.key)


def _places(policy: syntax.PolicyDefinition) -> Iterator[CoveragePlace]:
    for phase in policy.phases:
        yield CoveragePlace(phase.identifier.span, "phase")
        if phase.otherwise is not None:
            yield CoveragePlace(phase.otherwise.span, "phase else")
    for statement in statements(policy):
        if not isinstance(statement, HEAD):
            yield from _of_statement(statement)
            for expression in expressions(statement):
                yield from _of_expression(expression)


def _of_statement(statement: syntax.Statement) -> Iterator[CoveragePlace]:
    kind, span = kind_of(statement), span_of(statement)
    if isinstance(statement, syntax.Commit | syntax.Revoke | syntax.Edit):
        yield CoveragePlace(span, kind)
    if isinstance(statement, syntax.Commit):
        if statement.at_least is not None:
            yield CoveragePlace(statement.at_least.span, "at least")
        if statement.at_most is not None:
            yield CoveragePlace(statement.at_most.span, "at most")
    if isinstance(statement, WITH_CONDITION):
        yield CoveragePlace(span, kind)
        if statement.condition is not None or isinstance(statement, syntax.Stay):
            yield CoveragePlace(span, f"{kind} not")


def _of_expression(expression: syntax.Expression) -> Iterator[CoveragePlace]:
    for part in walk(expression):
        if isinstance(part, syntax.Alternative):
            yield CoveragePlace(part.left.span, "orelse left")
            yield CoveragePlace(part.right.span, "orelse right")
        elif isinstance(part, syntax.Conditional):
            yield CoveragePlace(part.then.span, "if")
            yield CoveragePlace(part.otherwise.span, "if not")
