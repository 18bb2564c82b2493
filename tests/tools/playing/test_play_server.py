"""Does the server of `dsldec play` answer its own page alone, and with sentences?

Not here: the page in a browser (`tests/browser/test_play.py`).
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from dsldec.cli import main
from dsldec.tools.playing import play_server
from dsldec.tools.playing.opened_playground import opened
from dsldec.tools.playing.play_assets import ASSETS
from dsldec.tools.playing.play_requests import LARGEST_REQUEST, LONGEST_POLICY

from .conftest import PROMPT, TEXT, Client


def test_the_page_and_its_assets_are_served_with_a_strict_policy(client: Client) -> None:
    token = client.server.token
    for path in ("", *ASSETS):
        status, body, headers = client.send("GET", f"/{token}/{path}")
        assert status == 200
        assert body
        rules = headers["Content-Security-Policy"]
        assert "default-src 'none'" in rules
        assert "unsafe" not in rules
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_each_page_has_a_nonce_of_its_own(client: Client) -> None:
    nonces = set()
    for _ in range(2):
        _, body, headers = client.send("GET", f"/{client.server.token}/")
        (nonce,) = re.findall(r"'nonce-([\w-]+)'", headers["Content-Security-Policy"])
        assert f'content="{nonce}"'.encode() in body
        nonces.add(nonce)
    assert len(nonces) == 2


@pytest.mark.parametrize("path", ["/", "/editor.js", "/x/editor.js", "/x/", "x", "/%00/"])
def test_an_address_without_the_token_is_refused(client: Client, path: str) -> None:
    status, body, _ = client.send("GET", path)
    assert status == 403
    assert b"The address lacks the token" in body
    assert client.server.token.encode() not in body


@pytest.mark.parametrize(
    "path",
    ["editor.js/", "play_server.py", "../play_server.py", "..%2fplay_server.py", "/etc/passwd", "assets/editor.js", "api/check"],
)  # fmt: skip
def test_nothing_else_is_served(client: Client, path: str) -> None:
    status, body, _ = client.send("GET", f"/{client.server.token}/{path}")
    assert status == 404
    assert b"nothing at this address" in body


@pytest.mark.parametrize(
    "host", [None, "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""]
)
def test_another_host_is_refused(client: Client, host: str | None) -> None:
    """A name of another site may lead to 127.0.0.1 (DNS rebinding)."""
    named = None if host is None else host.format(port=client.server.server_port)
    status, body, _ = client.send("GET", f"/{client.server.token}/", Host=named)
    assert status == 403
    assert b"another host" in body


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1"])
def test_another_origin_is_refused(client: Client, origin: str) -> None:
    status, answer = client.post("check", {"text": TEXT}, Origin=origin)
    assert status == 403
    assert answer["diagnostics"][0]["code"] == "E0577"


def test_another_site_is_refused(client: Client) -> None:
    assert client.post("check", {"text": TEXT}, Sec_Fetch_Site="cross-site")[0] == 403
    assert client.post("check", {"text": TEXT}, Sec_Fetch_Site="same-origin")[0] == 200


def test_a_link_opens_the_page_and_no_frame(client: Client) -> None:
    """In a terminal inside a browser, the address is a link of another site."""
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    page = f"/{client.server.token}/"
    assert client.send("GET", page, **link)[0] == 200
    for other in ({"Sec_Fetch_Dest": "iframe"}, {"Sec_Fetch_Mode": "no-cors"}, {"Sec_Fetch_Dest": "script"}):
        assert client.send("GET", page, **{**link, **other})[0] == 403
    assert client.post("check", {"text": TEXT}, **link)[0] == 403


def test_the_port_80_has_no_number_in_a_browser(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play_server, "HTTP_PORT", client.server.server_port)
    assert client.send("GET", f"/{client.server.token}/", Host="127.0.0.1")[0] == 200
    assert client.send("GET", f"/{client.server.token}/", Host="evil.example")[0] == 403


def test_slow_senders_without_the_token_keep_nobody_out(client: Client) -> None:
    with ExitStack() as open_ones:
        for _ in range(play_server.MOST_REQUESTS + 6):
            slow = open_ones.enter_context(socket.create_connection(("127.0.0.1", client.server.server_port)))
            slow.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(3):
            assert client.post("check", {"text": TEXT})[0] == 200


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_both_names_of_this_machine_are_accepted(client: Client, name: str) -> None:
    host = f"{name}:{client.server.server_port}"
    status, answer = client.post("check", {"text": TEXT}, Host=host, Origin=f"http://{host}")
    assert (status, answer["diagnostics"]) == (200, [])


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_only_json_is_read(client: Client, kind: str | None) -> None:
    """A form of another page can send the other types without asking first."""
    status, answer = client.post("check", {"text": TEXT}, Content_Type=kind)
    assert status == 415
    assert answer["diagnostics"][0]["message"] == "the request is not JSON"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request is not JSON"),
        (b"{", "the request is not JSON"),
        (b"[]", "the request is JSON, and no object"),
        (b"\xff{}", "the request is not UTF-8"),
        (b'{"text": 3}', "the request lacks the text `text`"),
        (b'{"text": "a", "text": "b"}', "the request"),
        (b'{"text": NaN}', "the request"),
        (b'{"text": "\\ud800"}', "lone surrogate"),
        (b"[" * 5000, "the request is not JSON as dsldec reads it"),
    ],
)
def test_wrong_json_gets_a_sentence(client: Client, body: bytes, message: str) -> None:
    path = f"/{client.server.token}/api/check"
    status, answer, _ = client.send("POST", path, body, Content_Type="application/json")
    assert status == 400
    assert message in answer.decode()
    assert b"Traceback" not in answer


def test_a_large_request_is_refused_before_it_is_read(client: Client) -> None:
    path, length = f"/{client.server.token}/api/check", str(LARGEST_REQUEST + 1)
    status, answer, _ = client.send(
        "POST", path, b"{}", Content_Type="application/json", Content_Length=length
    )
    assert status == 413
    assert b"a request has at most" in answer


@pytest.mark.parametrize("length", ["-1", "x", "", "1e3", "9" * 20])
def test_a_wrong_length_is_refused(client: Client, length: str) -> None:
    path = f"/{client.server.token}/api/check"
    status, _, _ = client.send("POST", path, b"{}", Content_Type="application/json", Content_Length=length)
    assert status == 411


def test_a_long_policy_gets_a_sentence(client: Client) -> None:
    status, answer = client.post("check", {"text": "x" * (LONGEST_POLICY + 1)})
    assert status == 400
    assert "the playground takes" in answer["diagnostics"][0]["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "BREW"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    status, body, headers = client.send(method, f"/{client.server.token}/")
    assert status == 501
    assert "html" not in headers["Content-Type"]
    assert method.encode() not in body


def test_an_unknown_question_is_refused(client: Client) -> None:
    assert client.post("__init__", {})[0] == 404


@pytest.mark.parametrize("name", ["../README.md", "/etc/passwd", "mine.policy", ""])
def test_a_name_of_a_shipped_policy_is_no_path(client: Client, name: str) -> None:
    status, answer = client.post("shipped", {"name": name})
    assert status == 200
    assert "text" not in answer
    assert "policy threshold" in client.post("shipped", {"name": "threshold"})[1]["text"]


def test_a_mistake_has_its_place_in_code_units(client: Client) -> None:
    text = "policy p():\n  # \U0001f600\n  window all\n  comit top(masked, 1, by=conf)\n"
    _, answer = client.post("check", {"text": text})
    (found,) = answer["diagnostics"]
    units = text.encode("utf-16-le")
    assert units[2 * found["start"] : 2 * found["end"]].decode("utf-16-le") == "comit"
    assert found["line"] == 4
    assert answer["policy"] is None


def test_format_hover_and_completion(client: Client) -> None:
    text = "policy p():\n  window all\n  commit   top(masked,1,by=conf)\n"
    assert client.post("format", {"text": text})[1]["text"].endswith("  commit top(masked, 1, by=conf)\n")
    assert client.post("format", {"text": "policy"})[1]["text"] is None
    at = text.index("commit")
    assert "write the token" in client.post("hover", {"text": text, "offset": at + 1})[1]["hover"]["markdown"]
    assert client.post("hover", {"text": text, "offset": 0, "more": 1})[0] == 200
    suggestions = client.post("complete", {"text": text[: at + 2], "offset": at + 2})[1]["suggestions"]
    assert "commit" in [one["label"] for one in suggestions]
    assert client.post("hover", {"text": text, "offset": 10**6})[0] == 400


def test_a_decode_gives_the_text_and_the_steps(client: Client) -> None:
    status, answer = client.post("decode", {"tab": "a", "text": TEXT, "prompt": PROMPT})
    assert status == 200
    assert answer["status"] == "done"
    assert answer["text"].endswith("#### 9")
    assert answer["forwards"] <= answer["max_forwards"] == 48
    assert answer["page"]["runs"][0]["length"] == 48


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "policy p("}, "E0"),
        ({"values": {"confidence": 3}}, "E0402"),
        ({"values": {"confidence": [1]}}, "E0577"),
        ({"values": {"confidence": "x"}}, "E0402"),
        ({"values": 3}, "E0577"),
        ({"prompt": " "}, "E0577"),
        ({"prompt": "x" * 3000}, "E0577"),
        ({"gen_length": 10**6}, "E0577"),
        ({"gen_length": 4.5}, "E0577"),
        ({"seed": -1}, "E0577"),
        ({"tab": "x" * 100}, "E0577"),
    ],
)
def test_a_wrong_decode_gets_a_diagnostic(client: Client, fields: dict[str, object], code: str) -> None:
    _, answer = client.post("decode", {"tab": "b", "text": TEXT, "prompt": PROMPT, **fields})
    assert answer["diagnostics"][0]["code"].startswith(code)
    assert "page" not in answer


def _play(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dsldec", "play", *arguments]
    environment = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    # A shell starts a job in the background with SIGINT ignored, and its children inherit that.
    heeded = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heeded,
    )


def test_the_command_prints_one_line_and_ends_with_one(tmp_path: Path) -> None:
    (tmp_path / "wrong.policy").write_text("policy p():\n")  # opens: the page shows its mistakes
    process = _play("wrong.policy", "--port", "0", folder=tmp_path)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert re.fullmatch(r"playground: http://127\.0\.0\.1:\d+/[\w-]{32}/ \(Ctrl-C ends it\)\n", line)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "\nthe playground has ended\n")


def test_the_browser_gets_the_token_in_a_file_of_this_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All users see the arguments of a browser."""
    seen = []
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("webbrowser.open", seen.append)
    with opened("http://127.0.0.1:1/TOKEN/#policy=1.a"):
        assert "TOKEN" not in seen[0]
        file = Path(seen[0].removeprefix("file://"))
        assert "url=http://127.0.0.1:1/TOKEN/#policy=1.a" in file.read_text()
        assert file.parent.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_the_address_has_the_policy_of_a_link(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminated(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(play_server.PlayServer, "serve_forever", terminated)
    assert main(["play", "--no-open", "--port", "0", "http://127.0.0.1:8738/#policy=1.abc"]) == 0
    said = capsys.readouterr()
    assert "/#policy=1.abc (Ctrl-C ends it)\n" in said.out
    assert said.err == "\nthe playground has ended\n"


def test_a_port_in_use_is_a_diagnostic(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["play", "--no-open", "--port", str(taken.getsockname()[1])]) == 2
    message = capsys.readouterr().err
    assert "error[E0575]" in message
    assert "another program uses it" in message
    assert errno.errorcode[errno.EADDRINUSE] not in message


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["nosuch"], "E0401", 1),
        (["nosuch.policy"], "E0401", 1),
        (["http://127.0.0.1:8738/"], "E0577", 2),
        (["#policy="], "E0577", 2),
        (["--port", "70000"], "E0422", 2),
        (["--port", "x"], "E0422", 2),
        (["threshold", "factor"], "E0420", 2),
    ],
)
def test_wrong_arguments(
    arguments: list[str], code: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", "--no-open", *arguments]) == status
    assert f"error[{code}]" in capsys.readouterr().err
