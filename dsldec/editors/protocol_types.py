"""Results about a text as objects of the Language Server Protocol.

Not here: the results (`hover`, `completion` ...), requests and documents (`language_server`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lsprotocol import types

from ..diagnostics import Diagnostic, Fix, Severity
from ..source import Span
from .completion import Suggestion, SuggestionKind
from .declared_names import NameKind
from .hover import HoverText
from .inlays import InlayNote
from .outline import OutlineEntry
from .places import EditorText
from .signatures import CallSignature

SOURCE = "dsldec"
_COMPLETION_KINDS = {
    SuggestionKind.STATEMENT: types.CompletionItemKind.Keyword,
    SuggestionKind.CLAUSE: types.CompletionItemKind.Keyword,
    SuggestionKind.WORD: types.CompletionItemKind.Constant,
    SuggestionKind.FUNCTION: types.CompletionItemKind.Function,
    SuggestionKind.ARGUMENT: types.CompletionItemKind.Property,
    SuggestionKind.KIND: types.CompletionItemKind.TypeParameter,
    SuggestionKind.NAME: types.CompletionItemKind.Variable,
    SuggestionKind.PHASE: types.CompletionItemKind.Module,
}
_SYMBOL_KINDS = {
    None: types.SymbolKind.Class,
    NameKind.PARAMETER: types.SymbolKind.Property,
    NameKind.STATE: types.SymbolKind.Field,
    NameKind.VALUE: types.SymbolKind.Variable,
    NameKind.FUNCTION: types.SymbolKind.Function,
    NameKind.ARGUMENT: types.SymbolKind.Variable,
    NameKind.PHASE: types.SymbolKind.Namespace,
    NameKind.CANDIDATE: types.SymbolKind.Variable,
}
_UNUSED = frozenset({"W0201"})


@dataclass(frozen=True, slots=True)
class ProtocolText:
    """A document of the editor. Its methods translate results about its text."""

    uri: str
    version: int | None
    editor: EditorText

    @property
    def text(self) -> str:
        return self.editor.policy

    def offset(self, position: types.Position) -> int:
        return self.editor.offset(position.line, position.character)

    def position(self, offset: int) -> types.Position:
        line, character = self.editor.place(offset)
        return types.Position(line, character)

    def range(self, span: Span) -> types.Range:
        return types.Range(self.position(span.start), self.position(span.end))

    def location(self, span: Span) -> types.Location:
        return types.Location(self.uri, self.range(span))

    # --- diagnostics and fixes

    def diagnostics(self, found: Iterable[Diagnostic]) -> list[types.Diagnostic]:
        return [self.diagnostic(one) for one in found]

    def diagnostic(self, one: Diagnostic) -> types.Diagnostic:
        start = types.Position(0, 0)
        help_ = f"\nhelp: {one.help}" if one.help else ""
        label = f" ({one.label})" if one.label else ""
        is_error = one.severity is Severity.ERROR
        return types.Diagnostic(
            range=self.range(one.span) if one.span is not None else types.Range(start, start),
            message=f"{one.message}{label}{help_}",
            severity=types.DiagnosticSeverity.Error if is_error else types.DiagnosticSeverity.Warning,
            code=one.code,
            source=SOURCE,
            tags=[types.DiagnosticTag.Unnecessary] if one.code in _UNUSED else None,
        )

    def actions(
        self, found: Iterable[Diagnostic], within: types.Range, *, versioned: bool
    ) -> list[types.CodeAction]:
        """The fixes of the diagnostics that touch a range."""
        first, last = self.offset(within.start), self.offset(within.end)
        return [
            types.CodeAction(
                title=one.fix.title,
                kind=types.CodeActionKind.QuickFix,
                diagnostics=[self.diagnostic(one)],
                is_preferred=True,
                edit=self.edit([one.fix], versioned=versioned),
            )
            for one in found
            if one.fix is not None
            and one.span is not None
            and one.span.start <= last
            and first <= max(one.span.end, one.span.start)
        ]

    def edit(self, changes: Sequence[Fix], *, versioned: bool) -> types.WorkspaceEdit:
        """Some changes. `versioned`: with the version of the text, so that a newer one stays as it is."""
        edits = [types.TextEdit(self.range(change.span), change.text) for change in changes]
        if not versioned:
            return types.WorkspaceEdit(changes={self.uri: edits})
        document = types.OptionalVersionedTextDocumentIdentifier(self.uri, self.version)
        return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(document, edits)])

    def whole(self, text: str) -> list[types.TextEdit]:
        """The change that replaces the whole text, without its byte order mark."""
        last = self.position(len(self.text))
        return [types.TextEdit(types.Range(self.position(0), last), text)]

    # --- texts to show

    def hover(self, found: HoverText) -> types.Hover:
        markdown = types.MarkupContent(types.MarkupKind.Markdown, found.markdown)
        return types.Hover(markdown, self.range(found.span))

    def completion(self, found: Sequence[Suggestion]) -> types.CompletionList:
        items = [
            types.CompletionItem(
                label=one.label,
                kind=_COMPLETION_KINDS[one.kind],
                detail=one.detail or None,
                documentation=types.MarkupContent(types.MarkupKind.Markdown, one.markdown)
                if one.markdown
                else None,
                sort_text=f"{at:04}",
                filter_text=one.label,
                text_edit=types.TextEdit(self.range(one.span), one.insert),
            )
            for at, one in enumerate(found)
        ]
        return types.CompletionList(is_incomplete=False, items=items)

    def signature(self, found: CallSignature) -> types.SignatureHelp:
        meaning = types.MarkupContent(types.MarkupKind.Markdown, found.meaning)
        parameters = [types.ParameterInformation(one) for one in found.arguments]
        active = types.SignatureInformation(found.label, meaning, parameters, found.active)
        return types.SignatureHelp([active], 0, found.active)

    def symbol(self, entry: OutlineEntry) -> types.DocumentSymbol:
        return types.DocumentSymbol(
            name=entry.name,
            kind=_SYMBOL_KINDS[entry.kind],
            range=self.range(entry.span),
            selection_range=self.range(entry.name_span),
            detail=entry.detail,
            children=[self.symbol(one) for one in entry.inside],
        )

    def fold(self, span: Span) -> types.FoldingRange:
        return types.FoldingRange(self.position(span.start).line, self.position(span.end).line)

    def inlay(self, note: InlayNote) -> types.InlayHint:
        is_kind = note.label.startswith(":")
        return types.InlayHint(
            position=self.position(note.offset),
            label=note.label,
            kind=types.InlayHintKind.Type if is_kind else None,
            tooltip=note.about,
            padding_left=not is_kind,
        )
