"""Does `dsldec lsp` serve an editor over standard input and output? A client library asks, as an editor does.

Skipped without `pytest-lsp` (extra `dev`). The results themselves: `test_answers`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("pygls")
pytest_lsp = pytest.importorskip("pytest_lsp")

from lsprotocol import types  # noqa: E402
from pygls.exceptions import JsonRpcException  # noqa: E402

GOOD = """policy good(level: prob = 0.9):
  window blocks(32)
  sure = masked and conf >= level
  commit sure at least 1 by conf
"""
BAD = GOOD.replace("conf >=", "cnf >=")
URI = "file:///folder/good.policy"
COMMAND = (sys.executable, "-m", "dsldec", "lsp")
SECONDS = 30


class Editor:
    """An editor with one document."""

    def __init__(self, client: object) -> None:
        self.client = client
        self.version = 0
        self.published: list[types.PublishDiagnosticsParams] = []
        self.arrived = asyncio.Event()

    def note(self, params: types.PublishDiagnosticsParams) -> None:
        self.published.append(params)
        self.arrived.set()

    async def diagnostics(self, version: int | None) -> list[types.Diagnostic]:
        """The diagnostics of a version, once they arrive."""
        while not any(one.version == version for one in self.published):
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), SECONDS)
        return list(next(one for one in self.published if one.version == version).diagnostics)

    async def open(self, text: str, uri: str = URI, language: str = "dsldec") -> list[types.Diagnostic]:
        self.version += 1
        document = types.TextDocumentItem(uri, language, self.version, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))
        return await self.diagnostics(self.version)

    def type(self, text: str) -> int:
        self.version += 1
        whole = types.TextDocumentContentChangeWholeDocument(text)
        document = types.VersionedTextDocumentIdentifier(self.version, URI)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [whole]))
        return self.version


def place(text: str, part: str, inside: int = 0) -> types.Position:
    """The position of a part of a text, in UTF-16 code units."""
    before = text[: text.index(part) + inside]
    last = before.rsplit("\n", 1)[-1]
    return types.Position(before.count("\n"), len(last.encode("utf-16-le")) // 2)


HERE = types.TextDocumentIdentifier(URI)


@asynccontextmanager
async def an_editor(
    command: tuple[str, ...] = COMMAND, encodings: list[str] | None = None
) -> AsyncIterator[Editor]:
    client = pytest_lsp.make_test_lsp_client()
    await client.start_io(*command)
    capabilities = pytest_lsp.client_capabilities("visual-studio-code")
    if encodings:
        capabilities.general = types.GeneralClientCapabilities(position_encodings=encodings)
    await asyncio.wait_for(
        client.initialize_session(types.InitializeParams(capabilities=capabilities)), SECONDS
    )
    editor = Editor(client)
    client.protocol.fm.features[types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS] = editor.note
    try:
        yield editor
    finally:
        await asyncio.wait_for(client.shutdown_session(), SECONDS)
        await client.stop()


def session(work: Callable[[Editor], Awaitable[None]], *arguments: object, **options: object) -> None:
    """Run some work in a session of its own."""

    async def run() -> None:
        async with an_editor(*arguments, **options) as editor:
            await asyncio.wait_for(work(editor), SECONDS)

    in_a_thread(run())


def in_a_thread(work: Coroutine[Any, Any, None]) -> None:
    """Runs it. Playwright, which other tests use, has a running loop in the main thread."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, work).result()


def test_diagnostics_while_typing() -> None:
    async def work(editor: Editor) -> None:
        (one,) = await editor.open(BAD)
        assert (one.code, one.severity, one.source) == ("E0201", types.DiagnosticSeverity.Error, "dsldec")
        assert one.message == "nothing is called `cnf`\nhelp: did you mean `conf`?"
        assert (one.range.start, one.range.end) == (place(BAD, "cnf"), place(BAD, "cnf", 3))
        for text in ("", "pol", "policy p(", BAD + "  commit ", "\x00", "x" * 300_000, GOOD):
            editor.type(text)
        assert await editor.diagnostics(editor.version) == []
        versions = [one.version for one in editor.published]
        assert versions == sorted(versions)  # a late result of an old version is never shown
        editor.client.text_document_did_close(types.DidCloseTextDocumentParams(HERE))
        assert await editor.diagnostics(None) == []

    session(work)


async def answers_about_a_text(editor: Editor) -> None:
    client = editor.client
    await editor.open(GOOD)
    at = place(GOOD, "level", 1)
    hover = await client.text_document_hover_async(types.HoverParams(HERE, at))
    assert "level: prob = 0.9" in hover.contents.value
    found = await client.text_document_definition_async(types.DefinitionParams(HERE, place(GOOD, "level\n")))
    assert found.range.start == place(GOOD, "level")
    context = types.ReferenceContext(include_declaration=True)
    places = await client.text_document_references_async(
        types.ReferenceParams(text_document=HERE, position=at, context=context)
    )
    assert [one.range.start for one in places] == [place(GOOD, "level"), place(GOOD, "level\n")]
    lights = await client.text_document_document_highlight_async(types.DocumentHighlightParams(HERE, at))
    assert len(lights) == 2
    symbols = await client.text_document_document_symbol_async(types.DocumentSymbolParams(HERE))
    assert [one.name for one in symbols[0].children] == ["level", "sure"]
    folds = await client.text_document_folding_range_async(types.FoldingRangeParams(HERE))
    assert (folds[0].start_line, folds[0].end_line) == (0, 3)
    whole = types.Range(types.Position(0, 0), types.Position(9, 0))
    hints = await client.text_document_inlay_hint_async(types.InlayHintParams(HERE, whole))
    assert [one.label for one in hints] == ["≤ 256 forwards for 256 tokens", ": mask", "≥ 1 a step"]
    editor.type(GOOD + "  commit top(masked, 1, by=")
    end = types.Position(4, len("  commit top(masked, 1, by="))
    listed = await client.text_document_completion_async(types.CompletionParams(HERE, end))
    assert [one.label for one in listed.items][:2] == ["conf", "margin"]
    shown = await client.text_document_signature_help_async(types.SignatureHelpParams(HERE, end))
    assert shown.signatures[0].label.startswith("top(mask, k, by=")
    assert shown.active_parameter == 2


async def rename_and_its_refusals(editor: Editor) -> None:
    await editor.open(GOOD)
    at = place(GOOD, "level", 2)
    ready = await editor.client.text_document_prepare_rename_async(types.PrepareRenameParams(HERE, at))
    assert ready.start == place(GOOD, "level")
    edit = await editor.client.text_document_rename_async(types.RenameParams(HERE, at, "bound"))
    (change,) = edit.document_changes
    assert change.text_document.version == editor.version
    assert [one.new_text for one in change.edits] == ["bound", "bound"]
    for new, why in (
        ("conf", "a word of the language"),
        ("sure", "line 3 has the name"),
        ("a-b", "made of"),
    ):
        with pytest.raises(JsonRpcException, match=why):
            await editor.client.text_document_rename_async(types.RenameParams(HERE, at, new))
    assert editor.client.log_messages == []  # a refusal is no mistake of the server


async def quick_fixes_and_formatting(editor: Editor) -> None:
    client = editor.client
    found = await editor.open(BAD)
    context = types.CodeActionContext(found)
    actions = await client.text_document_code_action_async(
        types.CodeActionParams(HERE, found[0].range, context)
    )
    assert [one.title for one in actions] == ["replace `cnf` with `conf`"]
    (edit,) = actions[0].edit.document_changes[0].edits
    assert (edit.new_text, edit.range) == ("conf", found[0].range)
    other = types.Range(types.Position(0, 0), types.Position(0, 5))
    assert not await client.text_document_code_action_async(types.CodeActionParams(HERE, other, context))
    options = types.FormattingOptions(2, True)
    editor.type(GOOD.replace(" at least", "   at  least").replace("\n", "\r\n"))
    (edit,) = await client.text_document_formatting_async(types.DocumentFormattingParams(HERE, options))
    assert edit.new_text == GOOD.replace("\n", "\r\n")
    assert edit.range == types.Range(types.Position(0, 0), types.Position(4, 0))
    editor.type("policy p(:")
    assert not await client.text_document_formatting_async(types.DocumentFormattingParams(HERE, options))
    assert [one.message.partition(":")[0] for one in client.messages] == ["the text is not formatted"]


def test_requests_about_a_text() -> None:
    """One session for all: its start takes longer than its requests."""

    async def work(editor: Editor) -> None:
        for one in (answers_about_a_text, rename_and_its_refusals, quick_fixes_and_formatting):
            await one(editor)

    session(work)


@pytest.mark.parametrize(
    ("encodings", "column"),
    [(None, 19), (["utf-8", "utf-16"], 21), (["utf-32"], 18)],
)
def test_places_in_the_units_of_the_editor(encodings: list[str] | None, column: int) -> None:
    text = 'policy p(\r\n  a: pattern = "😀"; b\r\n):\r\n  window all\r\n  commit masked\r\n'

    async def work(editor: Editor) -> None:
        one = next(one for one in await editor.open(text) if "`;`" in one.message)
        assert (one.range.start.line, one.range.start.character) == (1, column)

    session(work, encodings=encodings)


def test_documents_that_are_no_policies() -> None:
    async def work(editor: Editor) -> None:
        await editor.open("case a\n  cnof .9 .8\n", "file:///a.cases", "dsldec-cases")
        (one,) = editor.published[-1].diagnostics
        assert (one.code, one.range.start) == ("E0441", types.Position(1, 2))
        # On Windows, VS Code writes the colon of the drive so; a blank is in many names.
        spaced = "file:///c%3A/my%20folder/%C3%A9.policy"
        (one,) = await editor.open(BAD, spaced)
        assert one.code == "E0201"
        at = types.HoverParams(types.TextDocumentIdentifier(spaced), place(BAD, "level"))
        assert await editor.client.text_document_hover_async(at) is not None
        other = types.TextDocumentItem("file:///a.py", "python", 1, "import os\n")
        editor.client.text_document_did_open(types.DidOpenTextDocumentParams(other))
        here = types.TextDocumentIdentifier("file:///a.py")
        at = types.Position(0, 1)
        assert await editor.client.text_document_hover_async(types.HoverParams(here, at)) is None
        elsewhere = types.TextDocumentIdentifier("file:///etc/passwd")
        assert await editor.client.text_document_hover_async(types.HoverParams(elsewhere, at)) is None
        assert {one.uri for one in editor.published} == {"file:///a.cases", spaced}

    session(work)


SLOW = """
from dsldec.editors import language_server as server
server.QUICK, server.PAUSE = -1.0, 0.2
server.serve(lambda text: [])
"""


def test_a_slow_text_is_checked_when_typing_pauses() -> None:
    async def work(editor: Editor) -> None:
        await editor.open(BAD)
        for at in range(6):
            editor.type(BAD + f"# {at}\n")
        editor.type(GOOD)
        assert await editor.diagnostics(editor.version) == []
        assert [one.version for one in editor.published] == [1, editor.version]
        editor.type(BAD)
        editor.client.text_document_did_close(types.DidCloseTextDocumentParams(HERE))
        assert await editor.diagnostics(None) == []
        await asyncio.sleep(0.4)
        assert editor.published[-1].version is None  # the check of a closed document does not come late

    session(work, (sys.executable, "-c", SLOW))


BROKEN = """
import os, warnings
from dsldec.editors import language_server as server
def broken(text, offset):
    print("printed"); os.write(1, b"written"); warnings.warn("warned")
    raise RuntimeError("boom")
server.hover = broken
server.serve(lambda text: 1 // 0)
"""


def test_a_mistake_of_the_server_is_logged_and_the_session_goes_on() -> None:
    async def work(editor: Editor) -> None:
        await editor.open(GOOD)
        at = types.HoverParams(HERE, place(GOOD, "conf"))
        assert await editor.client.text_document_hover_async(at) is None
        logged = [one.message for one in editor.client.log_messages]
        assert logged == ["textDocument/hover: RuntimeError: boom; this is a mistake of dsldec's"]
        item = types.TextDocumentItem("file:///a.cases", "dsldec-cases", 7, "case\n")
        editor.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        assert await editor.client.text_document_definition_async(
            types.DefinitionParams(HERE, place(GOOD, "level\n"))
        )
        assert "ZeroDivisionError" in editor.client.log_messages[-1].message

    session(work, (sys.executable, "-c", BROKEN))


# --- messages without a client library ----------------------------------------------------------------------


def sent(*messages: bytes | dict[str, object]) -> bytes:
    bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    return b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies)


def received(output: bytes) -> list[dict[str, object]]:
    """The messages of an output that holds nothing else."""
    messages = []
    while output:
        header, _, rest = output.partition(b"\r\n\r\n")
        length = int(header.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        messages.append(json.loads(rest[:length]))
        output = rest[length:]
    return messages


def request(number: int, method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


INITIALIZE = request(1, "initialize", processId=None, rootUri=None, capabilities={})


def test_malformed_messages_do_not_end_the_session() -> None:
    opened = {"uri": URI, "languageId": "dsldec", "version": 1, "text": BAD}
    messages = sent(
        INITIALIZE,
        b"{no json",
        b"[]",
        request(2, "textDocument/hover", nothing=1),
        request(3, "no/such/method"),
        {"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": opened}},
        request(4, "shutdown"),
        {"jsonrpc": "2.0", "method": "exit"},
    )
    ran = subprocess.run(COMMAND, input=messages, capture_output=True, timeout=SECONDS)
    answers = received(ran.stdout)
    assert ran.returncode == 0
    assert [one["id"] for one in answers if "id" in one] == [1, 2, 3, 4]
    assert [one["error"]["code"] for one in answers if "error" in one] == [-32602, -32601]
    assert any(one.get("method") == "textDocument/publishDiagnostics" for one in answers)
    assert ran.stderr == b""


def test_the_status_says_whether_shutdown_came_before_exit() -> None:
    messages = sent(INITIALIZE, {"jsonrpc": "2.0", "method": "exit"})
    assert subprocess.run(COMMAND, input=messages, capture_output=True, timeout=SECONDS).returncode == 1


def test_the_server_ends_when_standard_input_is_closed() -> None:
    ran = subprocess.run(COMMAND, input=sent(INITIALIZE), capture_output=True, timeout=SECONDS)
    assert ran.returncode == 0
    assert [one["id"] for one in received(ran.stdout)] == [1]
    assert ran.stderr == b""


def test_the_server_ends_when_its_editor_is_killed() -> None:
    editor = (
        "import subprocess, sys, time\n"
        f"server = subprocess.Popen({list(COMMAND)!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        f"server.stdin.write({sent(INITIALIZE)!r}); server.stdin.flush(); server.stdout.readline()\n"
        "print(server.pid, flush=True); time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", editor], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        process.kill()
    deadline = 100
    while deadline and is_running(server):
        deadline -= 1
        time.sleep(0.1)
    assert not is_running(server)


def is_running(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
