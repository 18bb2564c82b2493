"""Where is a name declared, where is it used, and what changes when it gets another name?

Not here: the names (`declared_names`).
"""

from __future__ import annotations

import re

from ..checks import examine
from ..checks.names import SCOPES, TAKEN
from ..diagnostics import Fix, Severity
from ..language.fmt import skeleton
from ..language.parse import parse
from ..language.words import READ_AT_THEIR_PLACE, SOFT_KEYWORDS
from ..source import Source, Span
from .analysis import Analysis, analysed
from .declared_names import DeclaredName, NameKind

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


class RenameRefused(Exception):
    """A name cannot be changed. The message is a sentence for the user."""


def definition(text: str, offset: int) -> Span | None:
    """The declaration of the name at an offset; None for anything else."""
    name = analysed(text).name_at(offset)
    return None if name is None else name.span


def references(text: str, offset: int, *, declaration: bool = True) -> list[Span]:
    """The uses of the name at an offset, with its declaration if wanted."""
    name = analysed(text).name_at(offset)
    if name is None:
        return []
    return list(name.places if declaration else name.uses)


def renamed_span(text: str, offset: int) -> Span:
    """The text that a new name replaces. Raises `RenameRefused` where no name can be changed."""
    return _place(analysed(text), offset)


def rename(text: str, offset: int, new: str) -> list[Fix]:
    """The changes that give the name at an offset another name, everywhere. Raises `RenameRefused` unless the
    result means the same.
    """
    analysis = analysed(text)
    place = _place(analysis, offset)
    old = place.text
    if new == old:
        return []
    tree = analysis.tree
    if tree is not None and tree.identifier.span == place:
        _require_name(new, TAKEN)
        return [Fix(place, new)]
    name = analysis.name_at(offset)
    assert name is not None
    _require_free(analysis, name, new)
    changes = [Fix(span, new) for span in name.places]
    _require_same_meaning(analysis, changes, old, new)
    return changes


def changed(text: str, changes: list[Fix]) -> str:
    """The text after some changes that do not overlap."""
    for change in sorted(changes, key=lambda one: one.span.start, reverse=True):
        text = text[: change.span.start] + change.text + text[change.span.end :]
    return text


def _place(analysis: Analysis, offset: int) -> Span:
    if not analysis.whole:
        raise RenameRefused("mend the mistakes of the text first: without a tree, uses could be missed")
    tree = analysis.tree
    if tree is not None and tree.identifier.span.start <= offset <= tree.identifier.span.end:
        return tree.identifier.span
    name = analysis.name_at(offset)
    if name is None:
        raise RenameRefused("only names that the policy declares can be changed")
    return next(span for span in name.places if span.start <= offset <= span.end)


def _require_name(new: str, taken: frozenset[str]) -> None:
    if not _NAME.fullmatch(new):
        raise RenameRefused("a name is made of a to z, A to Z, 0 to 9 and _, and begins with no digit")
    if new in taken:
        raise RenameRefused(f"`{new}` is a word of the language")


def _require_free(analysis: Analysis, name: DeclaredName, new: str) -> None:
    is_value = name.kind not in (NameKind.FUNCTION, NameKind.PHASE)
    taken = TAKEN - SOFT_KEYWORDS - READ_AT_THEIR_PLACE if is_value else TAKEN
    _require_name(new, taken | frozenset(SCOPES) if name.kind is NameKind.PHASE else taken)
    for other in analysis.names:
        if other.name == new and other is not name:
            raise RenameRefused(f"line {other.span.line} has the name `{new}` already")


def _require_same_meaning(analysis: Analysis, changes: list[Fix], old: str, new: str) -> None:
    """The new text has the same tree with another name, and no other diagnostics."""
    text = changed(analysis.source.text, changes)
    tree, _ = parse(Source(text))
    before, _ = parse(analysis.source)
    if tree is None or before is None or _with_name(tree, new, old) != _with_name(before, new, old):
        raise RenameRefused(f"with the name `{new}`, the policy would mean something else")
    codes = [one.code for one in analysis.diagnostics if one.severity is Severity.ERROR]
    if [d.code for d in examine(Source(text)).diagnostics if d.severity is Severity.ERROR] != codes:
        raise RenameRefused(f"with the name `{new}`, the policy would have other mistakes")


def _with_name(node: object, new: str, old: str) -> object:
    """The tree without its spans, where `new` counts as `old`."""

    def same(part: object) -> object:
        if isinstance(part, tuple):
            return tuple(same(one) for one in part)
        return old if part == new else part

    return same(skeleton(node))
