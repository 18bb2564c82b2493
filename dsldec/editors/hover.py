"""The text that an editor shows about the word at a place.

Not here: the texts (`word_texts`, `name_texts`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..language import syntax
from ..language.scan import Piece, PieceKind
from ..language.words import SHAPES, STATEMENTS, WORDS, Kind, Word
from ..source import Span
from .analysis import Analysis, analysed
from .line_context import LineContext, line_context
from .markdown import block, code
from .name_texts import of_name, of_policy
from .word_texts import (
    CLAUSES,
    KINDS,
    of_clause,
    of_kind,
    of_shape,
    of_slot,
    of_statement,
    of_word,
    type_text,
)


@dataclass(frozen=True, slots=True)
class HoverText:
    """Markdown about the text at `span`."""

    span: Span
    markdown: str


def hover(text: str, offset: int) -> HoverText | None:
    """Markdown about the word at an offset; None where there is nothing to say."""
    analysis = analysed(text)
    piece = analysis.piece_at(offset)
    if piece is None or piece.kind is not PieceKind.WORD:
        return None
    markdown = _said(analysis, piece)
    return HoverText(Span(analysis.source, piece.start, piece.end), markdown) if markdown else None


def _said(analysis: Analysis, piece: Piece) -> str:
    tree = analysis.tree
    if tree is not None and tree.identifier.span.start == piece.start:
        return of_policy(analysis)
    name = analysis.name_at(piece.start)
    if name is not None and any(place.start == piece.start for place in name.places):
        return of_name(analysis, name)
    return _of_language(line_context(analysis, piece.start), analysis, piece)


def _of_language(context: LineContext, analysis: Analysis, piece: Piece) -> str:
    """The meaning of a word of the language at its place."""
    name, before = piece.text, context.texts
    if not before and name in (*STATEMENTS, "policy"):
        return of_statement(name) if name in STATEMENTS else of_clause(name)
    if len(before) == 1 and name in SHAPES.get(before[0], {}):
        return of_shape(before[0], SHAPES[before[0]][name])
    if context.is_kind and name in {str(kind) for kind in KINDS}:
        return of_kind(Kind(name).value)
    word = called(context)
    slot = next((one for one in word.slots if one.named and one.name == name), None) if word else None
    if word is not None and slot is not None and context.following == "=":
        return of_slot(word, slot)
    if name in WORDS:
        type_ = analysis.types.get((piece.start, piece.end))
        here = (
            f"\n\nhere: {type_text(type_)}"
            if type_ and type_ != WORDS[name].gives and type_.kind is not Kind.UNKNOWN
            else ""
        )
        return of_word(WORDS[name]) + here
    if owners := _with_choice(analysis, name):
        return "\n\n".join(
            f"a choice of {code(owner.identifier.text)}\n\n{block(owner.span.text)}" for owner in owners
        )
    return of_clause(name) if name in CLAUSES else ""


def _with_choice(analysis: Analysis, name: str) -> list[syntax.Parameter]:
    """The parameters that may be a name."""
    parameters = analysis.tree.parameters if analysis.tree is not None else ()
    return [one for one in parameters if name in {choice.text for choice in one.choices}]


def called(context: LineContext) -> Word | None:
    """The word of the language in whose brackets a place is."""
    name = context.call
    if name is None:
        return None
    shapes = SHAPES.get(context.head, {})
    return shapes.get(name) if name in shapes and len(context.open) == 1 else WORDS.get(name)
