"""Which words and names may stand at a place of a half-written text?

The pieces before the place decide, so a line need not be complete. Not here: the order and the filter of the
list on the screen (the editor).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ..checks.arguments import signature
from ..checks.kinds import of_state
from ..language import syntax
from ..language.scan import PieceKind, pieces
from ..language.words import (
    PARAMETER_KINDS,
    SHAPES,
    STATE_KINDS,
    STATEMENTS,
    WORDS,
    Extent,
    Kind,
    Type,
)
from ..source import Span
from .analysis import Analysis, analysed
from .declared_names import DeclaredName, NameKind
from .expected_kinds import LAST, order_of
from .hover import called
from .line_context import LineContext, line_context
from .name_texts import of_name
from .word_texts import of_clause, of_kind, of_shape, of_slot, of_statement, of_word, type_text

SCOPES = ("block", "sequence")
OPERATORS = ("and", "or", "not", "orelse", "if", "else")
# The clauses of each statement, in the order of its form.
CLAUSES_OF = {
    "commit": ("as", "at least", "at most"),
    "revoke": ("at most",),
    "edit": ("as", "at most"),
    "fill": ("when",),
    "stay": ("at most", "when"),
    "refresh": ("when",),
    "next": ("when",),
    "finish": ("when",),
    "branch": ("as",),
    "pick": ("by",),
    "state": ("per block", "per sequence"),
    "lookahead": ("accept",),
    "phase": ("at most", "visits", "when", "else"),
}
# The statements in which a clause follows the first word.
WITHOUT_VALUE = frozenset({"fill", "stay", "refresh", "finish", "pick"})
IN_A_PHASE = frozenset({"next"})
OF_THE_HEAD = frozenset({"window", "noise", "draw", "logits", "lookahead", "state", "def"})


class SuggestionKind(StrEnum):
    """The kind of a suggestion, for its icon."""

    STATEMENT = "statement"
    CLAUSE = "clause"
    WORD = "word"
    FUNCTION = "function"
    ARGUMENT = "argument"
    KIND = "kind"
    NAME = "name"
    PHASE = "phase"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text that may stand in place of `span`. `detail` is one line about it, `markdown` its documentation.
    `order`: suggestions with a lower one come first.
    """

    label: str
    kind: SuggestionKind
    span: Span
    insert: str
    detail: str = ""
    markdown: str = ""
    order: int = 1


_Item = tuple[str, SuggestionKind, str, str, str, int]


def completion(text: str, offset: int) -> list[Suggestion]:
    """The suggestions at an offset, likely ones first. Empty in a comment or a quoted text."""
    if not 0 <= offset <= len(text) or _in_comment_or_quote(text, offset):
        return []
    start = offset
    while start > 0 and (text[start - 1].isascii() and (text[start - 1].isalnum() or text[start - 1] == "_")):
        start -= 1
    if text[start:offset][:1].isdigit() or text[max(0, start - 1) : start] == ".":
        return []
    analysis = analysed(text)
    context = line_context(analysis, start)
    end = offset
    while end < len(text) and text[end].isascii() and (text[end].isalnum() or text[end] == "_"):
        end += 1
    span = Span(analysis.source, start, end)
    found: dict[str, Suggestion] = {}
    for label, kind, insert, detail, markdown, order in _items(analysis, context, start):
        found.setdefault(label, Suggestion(label, kind, span, insert, detail, markdown, order))
    return sorted(found.values(), key=lambda one: one.order)


def _in_comment_or_quote(text: str, offset: int) -> bool:
    closed = (PieceKind.COMMENT, PieceKind.QUOTED)
    for piece in pieces(text):
        if piece.start >= offset:
            return False
        is_inside = offset < piece.end or (offset == piece.end and piece.kind is PieceKind.COMMENT)
        if is_inside and piece.kind in closed:
            return True
        if piece.kind is PieceKind.OPEN_QUOTE and offset <= piece.end:
            return True
    return False


def _items(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item]:
    if not context.pieces:
        yield from _starts(analysis, at)
        return
    place = PLACES.get(context.head)
    if place is not None and (items := place(analysis, context, at)) is not None:
        yield from items
        return
    yield from _in_a_statement(analysis, context, at)


# --- the start of a line ------------------------------------------------------------------------------------


def _starts(analysis: Analysis, at: int) -> Iterator[_Item]:
    if analysis.tree is None and not any(piece.text == "policy" for piece in analysis.pieces):
        yield _clause("policy", "policy ")
        return
    if not any(piece.text == "policy" and piece.start < at for piece in analysis.pieces):
        return
    in_phase = analysis.tree is not None and any(
        phase.identifier.span.start < at for phase in analysis.tree.phases
    )
    for name, (form, _) in STATEMENTS.items():
        order = 2 if in_phase == (name in OF_THE_HEAD) or (name in IN_A_PHASE and not in_phase) else 1
        inserted = name if name in ("fill", "refresh", "finish") else f"{name} "
        yield name, SuggestionKind.STATEMENT, inserted, form, of_statement(name), order


# --- places with another meaning than a value ---------------------------------------------------------------


def _policy_header(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item] | None:
    if context.is_kind:
        return (_kind(str(kind)) for kind in Kind if kind in PARAMETER_KINDS - {Kind.CHOICE})
    if context.open and len(context.pieces) > 1 and context.last == "=":
        kinds = [piece.text for piece in context.pieces[context.argument_start :]]
        truths = ("true", "false") if "bool" in kinds else ()
        chosen = [one for one in kinds[2:-1] if one != "|"] if "|" in kinds else []
        choices: list[_Item] = [(one, SuggestionKind.NAME, one, "a choice", "", 0) for one in chosen]
        return iter([*(_clause(one) for one in truths), *choices])
    if context.open and context.last == "by":
        return iter([_by_step("step")])
    if context.open and context.after_operand:
        texts = [piece.text for piece in context.pieces[context.argument_start :]]
        table = [_by_step("by step")] if texts[-2:] == [":", "table"] else []
        return iter([*table, _clause("in", "in ")])
    return iter(())


def _state(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item] | None:
    texts = context.texts
    if context.is_kind:
        return (_kind(str(kind)) for kind in Kind if kind in STATE_KINDS)
    if context.last == "per":
        scopes = (_clause(one) for one in SCOPES)
        return iter([*scopes, *_names(analysis, at, {NameKind.PHASE})])
    if len(texts) < 3:
        return iter(())
    if len(texts) == 4 and texts[2] == ":":
        return iter([_clause("each")])
    return None


def _shape(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item] | None:
    if len(context.pieces) > 1:
        return None
    return (
        (name, SuggestionKind.WORD, name, signature(word), of_shape(context.head, word), 1)
        for name, word in SHAPES[context.head].items()
    )


def _next(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item] | None:
    return _names(analysis, at, {NameKind.PHASE}) if len(context.pieces) == 1 else None


def _set(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item] | None:
    return _names(analysis, at, {NameKind.STATE}) if len(context.pieces) == 1 else None


def _phase(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item] | None:
    if len(context.pieces) == 1:
        return iter(())
    if context.last == "else":
        return _names(analysis, at, {NameKind.PHASE})
    return iter(_clause(one) for one in CLAUSES_OF["phase"]) if len(context.pieces) == 2 else None


def _definition(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item] | None:
    return None if "=" in context.texts else iter(())


def _lookahead(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item] | None:
    if context.last != "accept":
        return None
    return iter([_clause("exact"), *_values(analysis, context, at)])


_PlaceItems = Callable[[Analysis, LineContext, int], Iterator[_Item] | None]
PLACES: dict[str, _PlaceItems] = {
    "policy": _policy_header,
    "state": _state,
    "window": _shape,
    "noise": _shape,
    "draw": _shape,
    "logits": _shape,
    "next": _next,
    "set": _set,
    "phase": _phase,
    "def": _definition,
    "lookahead": _lookahead,
}


# --- inside a statement -------------------------------------------------------------------------------------


def _in_a_statement(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item]:
    if context.last == "at":
        yield _clause("least", "least ", 0)
        yield _clause("most", "most ", 0)
        return
    if context.after_operand or (len(context.pieces) == 1 and context.head in WITHOUT_VALUE):
        if not context.open:
            for clause in CLAUSES_OF.get(context.head, ()):
                yield _clause(clause, f"{clause} ", 0)
            if context.head in ("commit", "revoke", "edit") and "at" in context.texts:
                yield _clause("by", "by ", 0)
        for operator in OPERATORS if context.after_operand else ():
            if operator != "not":
                yield _clause(operator, f"{operator} ")
        return
    yield from _arguments(context)
    yield from _values(analysis, context, at)


def _arguments(context: LineContext) -> Iterator[_Item]:
    """The named arguments that the call at the place does not have yet."""
    word = called(context)
    if word is None or context.argument_start != len(context.pieces):
        return
    for slot in word.slots:
        if slot.named and slot.name not in context.named:
            label = f"{slot.name}="
            order = 1 if slot.optional else 0
            yield label, SuggestionKind.ARGUMENT, label, slot.default, of_slot(word, slot), order


def _values(analysis: Analysis, context: LineContext, at: int) -> Iterator[_Item]:
    """Names and words of an expression: the ones that the place wants first."""
    kinds = {NameKind.PARAMETER, NameKind.STATE, NameKind.VALUE, NameKind.ARGUMENT, NameKind.CANDIDATE}
    yield from _choices(analysis, context)
    yield from _arguments_of_the_line(context)
    yield from _names(analysis, at, kinds | {NameKind.FUNCTION}, context)
    around = {one.call for one in context.open}
    for name, word in WORDS.items():
        if word.within is not None and word.within not in around | {"accept"} & set(context.texts):
            continue
        order = order_of(word.gives, context)
        takes = bool(word.slots) and not all(slot.optional for slot in word.slots)
        kind = SuggestionKind.FUNCTION if takes else SuggestionKind.WORD
        detail = type_text(word.gives) if word.gives is not None else signature(word)
        yield name, kind, name, detail, of_word(word), order
    for name in ("not", "true", "false"):
        yield _clause(name, f"{name} " if name == "not" else name, LAST)


def _choices(analysis: Analysis, context: LineContext) -> Iterator[_Item]:
    """The names that the parameter before `==` may be."""
    if context.last in ("==", "!=") and len(context.pieces) > 1:
        for parameter in analysis.tree.parameters if analysis.tree is not None else ():
            if parameter.identifier.text == context.texts[-2]:
                for one in parameter.choices:
                    yield one.text, SuggestionKind.NAME, one.text, "a choice", "", 0


def _arguments_of_the_line(context: LineContext) -> Iterator[_Item]:
    """The arguments of the function that the line defines: no tree has them before the line is right."""
    texts = context.texts
    if context.head == "def" and ")" in texts:
        for name in texts[3 : texts.index(")") : 2]:
            yield name, SuggestionKind.NAME, name, str(NameKind.ARGUMENT), "", 0


def _names(
    analysis: Analysis, at: int, kinds: set[NameKind], context: LineContext | None = None
) -> Iterator[_Item]:
    """The names that can be used at a place. In an expression, those of a wanted kind come first."""
    for name in analysis.names:
        if name.kind in kinds and _is_visible(analysis, name, at):
            kind = SuggestionKind.PHASE if name.kind is NameKind.PHASE else SuggestionKind.NAME
            if isinstance(name.node, syntax.FunctionDeclaration) and name.kind is NameKind.FUNCTION:
                kind = SuggestionKind.FUNCTION
            order = 0 if context is None else order_of(_type_of(analysis, name), context, declared=True)
            yield name.name, kind, name.name, str(name.kind), of_name(analysis, name), order


def _type_of(analysis: Analysis, name: DeclaredName) -> Type | None:
    """The type of a name's value, as far as it is known."""
    node = name.node
    if name.kind is NameKind.PARAMETER and isinstance(node, syntax.Parameter):
        return Type(Kind(node.kind.text), Extent.RUN) if node.kind.text in PARAMETER_KINDS else None
    if isinstance(node, syntax.StateDeclaration):
        return of_state(node)
    return analysis.types.get((name.span.start, name.span.end))


def _is_visible(analysis: Analysis, name: DeclaredName, at: int) -> bool:
    """Whether a name can be used at a place. The line may be below the last one of its phase."""
    if name.within is None:
        return True
    first, last = name.within
    if name.kind is NameKind.ARGUMENT:
        return first <= at <= last + 1
    return first <= at and not any(
        last <= piece.start < at and piece.text == "phase" for piece in analysis.pieces
    )


def _clause(name: str, insert: str | None = None, order: int = 1) -> _Item:
    first = name.split()[0]
    return (
        name,
        SuggestionKind.CLAUSE,
        insert or name,
        "",
        of_clause(name.split()[-1] if " " in name else first),
        order,
    )


def _kind(name: str) -> _Item:
    return name, SuggestionKind.KIND, name, "", of_kind(name), 1


def _by_step(name: str) -> _Item:
    return name, SuggestionKind.KIND, name, "", of_kind(str(Kind.TABLE)), 1
