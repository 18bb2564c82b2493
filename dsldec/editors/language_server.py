"""The language server: requests of an editor over standard input and output, and the answers.

Every answer is about the newest version of a document. A mistake of the server itself becomes a log message
of the editor, and the session goes on. Not here: the answers (`hover`, `completion` ...), their translation
(`protocol_types`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import unquote

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol

from ..diagnostics import Diagnostic
from ..language.fmt import formatted
from ..language.parse import SMALLEST
from ..resources import version
from ..source import Source
from .analysis import analysed, diagnostics
from .completion import completion
from .hover import hover
from .inlays import inlays
from .navigation import RenameRefused, definition, references, rename, renamed_span
from .outline import folds, symbols
from .places import EditorText, Units
from .protocol_types import ProtocolText
from .signatures import call_signature

# The language ids of the extension for VS Code. Other editors may send others: then the file's ending counts.
POLICY, CASES = "dsldec", "dsldec-cases"
# A text whose checks take longer is checked again only when typing pauses.
QUICK, PAUSE = 0.05, 0.3  # seconds of the processor; seconds
REQUEST_FAILED = -32803  # of the protocol: the request is right, and cannot be done

Checker = Callable[[str], Sequence[Diagnostic]]
_AnswerOf = Callable[[ProtocolText, Any], Any]


class AnsweringProtocol(LanguageServerProtocol):
    """The protocol of pygls, with an answer to requests that cannot be read: an editor waits for one."""

    def structure_message(self, data: dict[str, Any]) -> Any:
        try:
            return super().structure_message(data)
        except JsonRpcException as unreadable:
            if "method" in data and isinstance(data.get("id"), int | str):
                self._send_response(data["id"], error=unreadable.to_response_error())
            raise


class PolicyServer(LanguageServer):
    """The documents that are open in an editor, and when each one is checked.

    `check_cases`: the diagnostics of a file of cases.
    """

    def __init__(self, check_cases: Checker) -> None:
        # The whole text comes with every change: a policy is short, and no place is counted twice.
        super().__init__(
            "dsldec",
            version(),
            text_document_sync_kind=types.TextDocumentSyncKind.Full,
            max_workers=1,
            protocol_cls=AnsweringProtocol,
        )
        self.checkers: dict[str, Checker] = {
            POLICY: diagnostics,
            CASES: check_cases,
        }
        self.seconds: dict[str, float] = {}  # of the processor, in the last check of each document
        self.waiting: dict[str, asyncio.TimerHandle] = {}
        self.said: set[str] = set()  # `shutdown` and `exit`, as they came

    def document(self, uri: str, language: str = POLICY) -> ProtocolText | None:
        """An open document of a language; None for any other one."""
        open_ = self.workspace.text_documents
        found = open_.get(unquote(uri), open_.get(uri))  # pygls has them by their addresses without %20
        if found is None or language_of(uri, found.language_id) != language:
            return None
        units = self.workspace.position_encoding or Units.UTF16
        name = units.value if hasattr(units, "value") else str(units)
        return ProtocolText(uri, found.version, EditorText(found.source, Units(name)))

    def changed(self, uri: str) -> None:
        """Check a document now, or after a pause if that takes long."""
        if (timer := self.waiting.pop(uri, None)) is not None:
            timer.cancel()
        if self.seconds.get(uri, 0.0) <= QUICK:
            self.check(uri)
        else:
            self.waiting[uri] = asyncio.get_running_loop().call_later(PAUSE, self.check, uri)

    def check(self, uri: str) -> None:
        """Send the diagnostics of a document's newest version."""
        self.waiting.pop(uri, None)
        for language, checker in self.checkers.items():
            if (document := self.document(uri, language)) is not None:
                began = time.process_time()  # not of the clock: other programs may be busy
                with self.reported("diagnostics"):
                    self._publish(uri, document.version, document.diagnostics(checker(document.text)))
                self.seconds[uri] = time.process_time() - began

    def closed(self, uri: str) -> None:
        """Forget a document, and remove its diagnostics from the editor."""
        if (timer := self.waiting.pop(uri, None)) is not None:
            timer.cancel()
        self.seconds.pop(uri, None)
        self._publish(uri, None, [])

    def _publish(self, uri: str, number: int | None, found: list[types.Diagnostic]) -> None:
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found, number))

    @contextmanager
    def reported(self, what: str) -> Iterator[None]:
        """Inside, a mistake of the server becomes a log message of the editor."""
        try:
            yield
        except Exception as mistake:
            if isinstance(mistake, JsonRpcException):
                raise
            self.log(f"{what}: {type(mistake).__name__}: {mistake}; this is a mistake of dsldec's")

    def log(self, message: str) -> None:
        """Write a message to the log that the editor shows for its servers."""
        self.window_log_message(types.LogMessageParams(types.MessageType.Error, message[:1000]))

    def report_server_error(self, error: Exception, source: Any) -> None:
        """A message of the editor cannot be read, or has no handler. Refusals are answers."""
        if isinstance(error, JsonRpcException) and error.code == REQUEST_FAILED:
            return
        self.log(f"a message cannot be handled: {type(error).__name__}: {error}")

    @property
    def versioned(self) -> bool:
        """Whether the editor takes changes with the version of their text."""
        workspace = self.client_capabilities.workspace
        edits = workspace.workspace_edit if workspace is not None else None
        return edits is not None and bool(edits.document_changes)


def language_of(uri: str, language_id: str | None) -> str | None:
    """The language of a document: a policy, a file of cases, or None."""
    if language_id in (POLICY, CASES):
        return language_id
    ending = uri.rpartition(".")[2]
    return {"policy": POLICY, "cases": CASES}.get(ending)


def made(check_cases: Checker) -> PolicyServer:
    """A server with all its answers."""
    server = PolicyServer(check_cases)
    _synchronise(server)
    answers: dict[str, tuple[_AnswerOf, Any]] = {
        types.TEXT_DOCUMENT_HOVER: (_hover, None),
        types.TEXT_DOCUMENT_COMPLETION: (
            _completion,
            types.CompletionOptions(trigger_characters=[" ", "(", ",", "="]),
        ),
        types.TEXT_DOCUMENT_SIGNATURE_HELP: (
            _signature,
            types.SignatureHelpOptions(trigger_characters=["(", ","]),
        ),
        types.TEXT_DOCUMENT_DEFINITION: (_definition, None),
        types.TEXT_DOCUMENT_REFERENCES: (_references, None),
        types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT: (_highlight, None),
        types.TEXT_DOCUMENT_DOCUMENT_SYMBOL: (_symbols, None),
        types.TEXT_DOCUMENT_FOLDING_RANGE: (_folds, None),
        types.TEXT_DOCUMENT_INLAY_HINT: (_inlays, None),
        types.TEXT_DOCUMENT_PREPARE_RENAME: (_prepare_rename, None),
    }
    for method, (answer, options) in answers.items():
        _answer(server, method, answer, options)
    _answer(server, types.TEXT_DOCUMENT_RENAME, _rename(server), types.RenameOptions(prepare_provider=True))
    kinds = types.CodeActionOptions([types.CodeActionKind.QuickFix])
    _answer(server, types.TEXT_DOCUMENT_CODE_ACTION, _actions(server), kinds)
    _answer(server, types.TEXT_DOCUMENT_FORMATTING, _formatting(server), None)
    return server


def _synchronise(server: PolicyServer) -> None:
    """Check documents when they are opened and changed."""
    changed: dict[str, Callable[[str], None]] = {
        types.TEXT_DOCUMENT_DID_OPEN: server.changed,
        types.TEXT_DOCUMENT_DID_CHANGE: server.changed,
        types.TEXT_DOCUMENT_DID_CLOSE: server.closed,
    }
    server.feature(types.INITIALIZED)(lambda params: _warm_up())
    for end in (types.SHUTDOWN, types.EXIT):
        server.feature(end)(lambda *params, end=end: server.said.add(end))
    for method, work in changed.items():

        def handler(params: Any, work: Callable[[str], None] = work) -> None:
            work(params.text_document.uri)

        server.feature(method)(handler)


def _warm_up() -> None:
    """Read the parser's tables before the first document comes. Everything loaded by then stays in use: a
    search for garbage in it took 40 ms between two characters.
    """
    analysed(SMALLEST)
    gc.collect()
    gc.freeze()


def _answer(server: PolicyServer, method: str, answer: _AnswerOf, options: Any) -> None:
    """Answer a request about an open policy; nothing for other documents, and after a mistake of ours."""

    def handler(params: Any) -> Any:
        result = None
        with server.reported(method):
            if (document := server.document(params.text_document.uri)) is not None:
                result = answer(document, params)
        return result

    server.feature(method, options)(handler)


def _hover(document: ProtocolText, params: types.HoverParams) -> types.Hover | None:
    found = hover(document.text, document.offset(params.position))
    return None if found is None else document.hover(found)


def _completion(document: ProtocolText, params: types.CompletionParams) -> types.CompletionList:
    return document.completion(completion(document.text, document.offset(params.position)))


def _signature(document: ProtocolText, params: types.SignatureHelpParams) -> types.SignatureHelp | None:
    found = call_signature(document.text, document.offset(params.position))
    return None if found is None else document.signature(found)


def _definition(document: ProtocolText, params: types.DefinitionParams) -> types.Location | None:
    span = definition(document.text, document.offset(params.position))
    return None if span is None else document.location(span)


def _references(document: ProtocolText, params: types.ReferenceParams) -> list[types.Location]:
    at, declaration = document.offset(params.position), params.context.include_declaration
    return [document.location(span) for span in references(document.text, at, declaration=declaration)]


def _highlight(
    document: ProtocolText, params: types.DocumentHighlightParams
) -> list[types.DocumentHighlight]:
    spans = references(document.text, document.offset(params.position))
    return [types.DocumentHighlight(document.range(span)) for span in spans]


def _symbols(document: ProtocolText, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
    return [document.symbol(entry) for entry in symbols(document.text)]


def _folds(document: ProtocolText, params: types.FoldingRangeParams) -> list[types.FoldingRange]:
    return [document.fold(span) for span in folds(document.text)]


def _inlays(document: ProtocolText, params: types.InlayHintParams) -> list[types.InlayHint]:
    first, last = document.offset(params.range.start), document.offset(params.range.end)
    return [document.inlay(note) for note in inlays(document.text) if first <= note.offset <= last]


def _prepare_rename(document: ProtocolText, params: types.PrepareRenameParams) -> types.Range:
    with _refusals():
        return document.range(renamed_span(document.text, document.offset(params.position)))


def _rename(server: PolicyServer) -> _AnswerOf:
    def answer(document: ProtocolText, params: types.RenameParams) -> types.WorkspaceEdit:
        with _refusals():
            changes = rename(document.text, document.offset(params.position), params.new_name)
            return document.edit(changes, versioned=server.versioned)

    return answer


@contextmanager
def _refusals() -> Iterator[None]:
    """Inside, a refusal is the answer to the request, which the editor shows."""
    try:
        yield
    except RenameRefused as refused:
        raise JsonRpcException(str(refused), REQUEST_FAILED) from None


def _actions(server: PolicyServer) -> _AnswerOf:
    def answer(document: ProtocolText, params: types.CodeActionParams) -> list[types.CodeAction]:
        wanted = params.context.only
        if wanted and not any(
            str(types.CodeActionKind.QuickFix.value).startswith(str(one)) for one in wanted
        ):
            return []
        found = diagnostics(document.text)
        return document.actions(found, params.range, versioned=server.versioned)

    return answer


def _formatting(server: PolicyServer) -> _AnswerOf:
    def answer(document: ProtocolText, params: types.DocumentFormattingParams) -> list[types.TextEdit] | None:
        after, wrong = formatted(Source(document.text, "this text"))
        if after is None:
            why = f"the text is not formatted: line {_line(wrong)}: {wrong[0].message}"
            server.window_show_message(types.ShowMessageParams(types.MessageType.Info, why))
            return None
        return [] if after == document.text else document.whole(after)

    return answer


def _line(wrong: Sequence[Diagnostic]) -> int:
    span = wrong[0].span
    return 1 if span is None else span.line


def serve(check_cases: Checker) -> int:
    """Answer one editor over standard input and output, until it says `exit` or closes them. Returns the exit
    status of the protocol: 1 if `exit` came without `shutdown`.
    """
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)
    server = made(check_cases)
    with _protocol_alone() as output:
        server.start_io(sys.stdin.buffer, output)
    return int(server.said == {types.EXIT})


@contextmanager
def _protocol_alone() -> Iterator[BinaryIO]:
    """Standard output for the protocol alone: everything else that is printed goes to standard error."""
    printed = sys.stdout
    sys.stdout.flush()
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else None
        os.dup2(2 if nowhere is None else nowhere, 1)
        sys.stdout = sys.stderr or os.fdopen(1, "w", closefd=False)
        yield output
    finally:
        sys.stdout = printed
