"""Which parts does a policy have, as a tree for an editor's outline, and which lines can be folded?

Not here: the names inside expressions (`declared_names`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..language import syntax
from ..source import Span
from .analysis import analysed
from .declared_names import DeclaredName, NameKind


@dataclass(frozen=True, slots=True)
class OutlineEntry:
    """A part of a policy: its name, its text, the span of the name, and the parts in it."""

    name: str
    kind: NameKind | None
    detail: str
    span: Span
    name_span: Span
    inside: tuple[OutlineEntry, ...] = ()


def symbols(text: str) -> list[OutlineEntry]:
    """The policy with its parameters, states, functions, values and phases; empty without a policy."""
    analysis = analysed(text)
    tree = analysis.tree
    if tree is None:
        return []
    source = analysis.source
    here = [one for one in analysis.names if one.kind is not NameKind.ARGUMENT]
    of_phases = [(phase, _within(here, phase)) for phase in tree.phases]
    inside = {id(one) for _, names in of_phases for one in names}
    phases = {id(phase): names for phase, names in of_phases}
    entries = []
    for name in here:
        if id(name) not in inside:
            children = [_entry(one, ()) for one in phases.get(id(name.node), ())]
            entries.append(_entry(name, tuple(children)))
    end = len(source.text.rstrip())
    whole = Span(source, tree.span.start, max(end, tree.identifier.span.end))
    return [OutlineEntry(tree.identifier.text, None, "policy", whole, tree.identifier.span, tuple(entries))]


def _within(names: Sequence[DeclaredName], phase: syntax.Phase) -> list[DeclaredName]:
    return [
        one
        for one in names
        if one.kind in (NameKind.VALUE, NameKind.CANDIDATE)
        and phase.span.start <= one.span.start <= phase.span.end
    ]


def _entry(name: DeclaredName, inside: tuple[OutlineEntry, ...]) -> OutlineEntry:
    span = name.node.span
    trimmed = Span(span.source, span.start, max(name.span.end, span.start + len(span.text.rstrip())))
    return OutlineEntry(name.name, name.kind, str(name.kind), trimmed, name.span, inside)


def folds(text: str) -> list[Span]:
    """The spans of several lines that an editor can fold: the policy, its phases, long statements."""
    analysis = analysed(text)
    tree = analysis.tree
    if tree is None:
        return []
    nodes: list[syntax.Node] = [*tree.statements, *tree.phases]
    nodes += [one for phase in tree.phases for one in phase.statements]
    spans = [Span(analysis.source, tree.span.start, len(analysis.source.text.rstrip()))]
    for node in nodes:
        spans.append(Span(analysis.source, node.span.start, node.span.start + len(node.span.text.rstrip())))
    return [span for span in spans if "\n" in span.text]
