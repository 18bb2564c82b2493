"""Which proved facts does an editor show inside the text? Floors, bounds on forwards, kinds of values.

Only facts of a policy without errors are shown: they are proved. Not here: the proofs (`checks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..checks import CheckedPolicy
from ..checks.floor_values import ALL, Floor
from ..language import syntax
from ..language.walk import bodies
from ..language.words import Extent, Kind
from .analysis import Analysis, analysed
from .declared_names import NameKind
from .name_texts import GEN_LENGTH, forwards
from .word_texts import type_text


@dataclass(frozen=True, slots=True)
class InlayNote:
    """A short text that is shown behind the character before `offset`, and a longer one about it."""

    offset: int
    label: str
    about: str


def inlays(text: str) -> list[InlayNote]:
    """The notes of a text, in its order; empty after an error."""
    analysis = analysed(text)
    if analysis.checked is None:
        return []
    notes = [*_header(analysis, analysis.checked), *_floors(analysis.checked), *_kinds(analysis)]
    return sorted(notes, key=lambda note: note.offset)


def _header(analysis: Analysis, checked: CheckedPolicy) -> Iterator[InlayNote]:
    tree, facts = checked.facts.policy, checked.facts
    bound = forwards(facts)
    about = f"proved: at most {facts.forwards_formula} forwards; with these defaults {bound} for {GEN_LENGTH} tokens"
    yield InlayNote(_header_end(analysis, tree), f"≤ {bound} forwards for {GEN_LENGTH} tokens", about)


def _header_end(analysis: Analysis, tree: syntax.PolicyDefinition) -> int:
    """The end of the header: the last `:` before the first part below it."""
    below = [one.span.start for one in (tree.doc, *tree.statements, *tree.phases) if one is not None]
    colons = [one.end for one in analysis.pieces if one.text == ":" and one.end <= min(below)]
    return max(colons, default=tree.identifier.span.end)


def _floors(checked: CheckedPolicy) -> Iterator[InlayNote]:
    """The floor of a step of each phase, behind its last `commit`; of a policy without phases, too."""
    progress = checked.facts.bound.progress
    for body, phase in zip(bodies(checked.facts.policy), progress.phases, strict=True):
        commits = [one for one in body.statements if isinstance(one, syntax.Commit | syntax.Fill)]
        floor = _floor_text(phase.floor)
        if commits and floor:
            about = (
                "proved: every step of it writes at least this number of positions, while so many are masked"
            )
            span = commits[-1].span
            yield InlayNote(span.start + len(span.text.rstrip()), f"≥ {floor} a step", about)


def _floor_text(floor: Floor) -> str:
    if floor == ALL:
        return "all"
    if isinstance(floor, syntax.Parameter):
        return floor.identifier.text
    return "" if floor == 0 else str(floor)


def _kinds(analysis: Analysis) -> Iterator[InlayNote]:
    """The kind of each value, behind its name."""
    for name in analysis.names:
        type_ = analysis.types.get((name.span.start, name.span.end))
        if name.kind is NameKind.VALUE and type_ is not None and type_.kind is not Kind.UNKNOWN:
            each = " each" if type_.extent is Extent.POSITION and type_.kind is not Kind.MASK else ""
            yield InlayNote(name.span.end, f": {type_.kind}{each}", type_text(type_))
