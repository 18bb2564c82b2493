"""Are control sequences from users, models and libraries escaped on the terminal, and is data written byte
for byte?
"""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsldec import terminal
from dsldec.cli import main
from dsldec.resources import embedded_model_folder
from dsldec.terminal import Output, printable

# A title, a cleared screen, colours, a link, a return, a backspace, C1, a turned direction, marks without
# width.
EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x1b]8;;http://x\x1b\\\r\x08\x9b5m\x7f\u202e\u2066\u200b\ufeff\u2028[red]end"
STEERS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069\ufeff]|\r(?!\n)"
)
OURS = re.compile(r"\x1b\[[0-9;]*m")  # colours and weights
OF_A_DISPLAY = re.compile(
    r"\x1b\[\?25[hl]|\r?\x1b\[[0-9]*A|\r?\x1b\[2K"
)  # how the live view draws over itself

POLICY = f'policy p():\n  "what {EVIL} it does"\n  window blocks(8)\n  commit top(masked, 1, by=conf)\n'
WRONG = f'policy p():\n  "what it does" {EVIL}\n  window blocks(8)\n  commit maskd{EVIL}\n'


def on_terminal(arguments: list[str], stdin: str | None = None, **environment: str) -> str:
    """What a terminal gets of the command: standard output and standard error."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dsldec", *arguments]
    given = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    said = os.environ | {"COLUMNS": "80", "LINES": "24"} | environment
    process = subprocess.Popen(
        command,
        stdin=given,
        stdout=theirs,
        stderr=theirs,
        env={k: v for k, v in said.items() if v is not None},
    )
    os.close(theirs)
    if stdin is not None:
        process.stdin.write(stdin.encode())
        process.stdin.close()
    found, until = b"", time.monotonic() + 240
    while time.monotonic() < until and select.select([ours], [], [], 240)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's end of a terminal
            break
        if not part:
            break
        found += part
    os.close(ours)
    process.wait(timeout=60)
    return found.decode().replace("\r\n", "\n")


def steering(text: str) -> set[str]:
    """What steers a terminal but for what is ours."""
    return set(STEERS.findall(OURS.sub("", OF_A_DISPLAY.sub("", text))))


LOOKS = {
    "plain": {"NO_COLOR": "1", "TERM": "dumb"},
    "coloured": {"TERM": "xterm-256color", "FORCE_COLOR": "1"},
}


@pytest.fixture(params=LOOKS)
def look(request) -> dict[str, str]:
    return LOOKS[request.param]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    name = EVIL.replace("/", "")
    (tmp_path / "p.policy").write_text(POLICY, encoding="utf-8")
    (tmp_path / f"{name}.policy").write_text(POLICY.replace("  commit", "  commit  "), encoding="utf-8")
    (tmp_path / "wrong.policy").write_text(WRONG, encoding="utf-8")
    (tmp_path / f"{name}.cases").write_text(
        f"case {EVIL}\nconf .9 .5\ncommit 1\n{EVIL} 4\n", encoding="utf-8"
    )
    (tmp_path / "p.cases").write_text(f"case one {EVIL}\nconf .9 .5\ncommit 1\n", encoding="utf-8")
    return tmp_path


HOSTILE = EVIL.replace("/", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [EVIL],
        [f"--{EVIL}"],
        ["explain", "p.policy"],
        ["explain", f"./{HOSTILE}.policy"],
        ["explain", f"./{HOSTILE}"],
        ["explain", EVIL],
        ["explain", "threshold", "--set", f"confidence={EVIL}"],
        ["explain", "threshold", "--set", f"{EVIL}=1"],
        ["check", "wrong.policy", f"./{HOSTILE}.policy"],
        ["check", "--format", "json", "wrong.policy"],
        ["fmt", "--check", "p.policy", f"./{HOSTILE}.policy"],
        ["fmt", "--diff", "."],
        ["fmt", "-"],
        ["show", "p.policy", "--stage", "tree"],
        ["show", "p.policy", "--stage", "facts"],
        ["show", "p.policy", "--stage", EVIL],
        ["test", "p.policy", f"./{HOSTILE}.cases"],
        ["test", "--format", "json", f"./{HOSTILE}.cases"],
        ["run", "--prompts", f"{HOSTILE}.txt"],
        ["run", "--seed", EVIL, "hi"],
        ["run", "--backend", EVIL, "hi"],
        ["run", "--out", f"none{HOSTILE}/x", "hi"],
        ["build", "threshold", "--vocab", "9", "-o", HOSTILE],
        ["bench", EVIL],
        ["model", HOSTILE],
        ["export-hf", HOSTILE, "threshold"],
    ],
    ids=lambda arguments: printable(" ".join(arguments))[:40].replace("\\", ""),
)
def test_hostile_names_and_texts(arguments, folder, look):
    shown = on_terminal(arguments, stdin=POLICY if "-" in arguments else None, **look)
    assert shown
    assert steering(shown) == set()
    assert not OURS.search(shown)  # nothing here has a colour of ours


@pytest.fixture(scope="module")
def hostile_model(tmp_path_factory) -> Path:
    """The embedded model under a hostile name, whose every word is hostile."""
    model = tmp_path_factory.mktemp("model") / HOSTILE
    shutil.copytree(embedded_model_folder(), model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    evil = [{"type": "Replace", "pattern": {"Regex": "[a-z0-9]+"}, "content": EVIL}]
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [tokenizer["decoder"], *evil]}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(
        json.dumps(config | {"dtype": None, "torch_dtype": None, "name": EVIL})
    )
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--gen-length", "8", EVIL],
        ["run", "--gen-length", "8", EVIL, "b"],
        ["run", "--out", "-", "--gen-length", "4", EVIL],
        ["model"],
    ],
)
def test_a_hostile_model_and_prompt(arguments, hostile_model, look):
    model = [str(hostile_model)] if arguments == ["model"] else ["--model", str(hostile_model)]
    shown = on_terminal([*arguments, *model], **look)
    assert "error[" not in shown
    assert shown.count("[red]end") > (1 if arguments == ["model"] else 2)
    assert steering(shown) == set()
    if "NO_COLOR" in look:
        assert not OURS.search(shown)


@pytest.mark.slow
def test_a_template_and_a_configuration_that_are_hostile(hostile_model, tmp_path, look):
    shutil.copytree(hostile_model, tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").write_text("{{ raise_exception(" + json.dumps(EVIL) + ") }}")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    shown = on_terminal(["run", "--model", str(tmp_path / "m"), "--gen-length", "4", "hi"], **look)
    assert "E0409" in shown
    assert steering(shown) == set()
    for field in ("model_type", "architectures"):
        wild = config | {field: [EVIL] if field == "architectures" else EVIL}
        (tmp_path / "m" / "config.json").write_text(json.dumps(wild))
        shown = on_terminal(["model", str(tmp_path / "m")], **look)
        assert "E0405" in shown
        assert steering(shown) == set()


# --- what is escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\\x0db"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u202eevil\u2069", "\\u202eevil\\u2069"),
        ("a\u200bb\u200db\ufeff\u00ad", "a\\u200bb\\u200db\\ufeff\\xad"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\u2028\u2029\x85\x0b\x0c\x1c", "\\u2028\\u2029\\x85\\x0b\\x0c\\x1c"),
        ("\ufe0f\ufe0fa\ufe0f", "\\ufe0f\\ufe0fa\\ufe0f"),
        # Writing of people's, which has joiners and forms
        ("👩‍👩‍👧 ❤️ ❤️‍🔥 🏳️‍🌈 1️⃣ 👍🏽", "👩‍👩‍👧 ❤️ ❤️‍🔥 🏳️‍🌈 1️⃣ 👍🏽"),
        ("می‌خواهم", "می‌خواهم"),
        ("क्‍ष é ñ 漢字 한국어 שלום ∈ π", "क्‍ष é ñ 漢字 한국어 שלום ∈ π"),
    ],
)
def test_what_is_made_visible(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_every_character_that_steers_is_made_visible():
    left = [chr(code) for code in range(0x110000) if STEERS.match(printable(chr(code)))]
    assert left == []


# --- where the line is


def test_data_leaves_as_it_is_and_words_do_not(folder):
    text = '"\x1b[2J\u202e π"'
    policy = f"policy p():\n  {text}\n\n  window blocks(8)\n  commit top(masked, 1, by=conf)\n"
    (folder / "q.policy").write_text(policy, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "dsldec", "fmt", "-"], input=policy.encode(), capture_output=True
    )
    assert ran.stdout == policy.encode()
    (folder / "q.policy").write_text(policy.replace("policy p()", "policy  p()"), encoding="utf-8")
    ran = subprocess.run([sys.executable, "-m", "dsldec", "fmt", "--diff", "q.policy"], capture_output=True)
    assert text.encode() in ran.stdout
    ran = subprocess.run([sys.executable, "-m", "dsldec", "explain", "q.policy"], capture_output=True)
    assert b"\\x1b[2J\\u202e \xcf\x80" in ran.stdout


def test_json_is_json_whatever_it_holds(folder, capsys):
    main(["check", "--format", "json", f"./{HOSTILE}.policy", "wrong.policy"])
    assert json.loads(capsys.readouterr().out)["diagnostics"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bytes_of_data_are_escaped_for_a_terminal_alone(is_terminal, monkeypatch):
    below = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(below, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stdout", Output(below))
    out = terminal.data().buffer
    for byte in "é\x1b\u202e\xff".encode():  # a character may come in parts
        out.write(bytes([byte]))
    out.flush()
    assert below.buffer.getvalue().decode() == ("é\\x1b\\u202e\xff" if is_terminal else "é\x1b\u202e\xff")


def test_a_bar_of_progress_may_draw_and_nothing_else():
    below = io.StringIO()
    stream = Output(below, bars=True)
    for text in ("\r 10% |##  |", "\x1b[A", "\r", "\x1b[A\x1b[2J", "x\r\x1b[A"):
        stream.write(text)
    assert below.getvalue() == "\r 10% |##  |\x1b[A\r\\x1b[A\\x1b[2Jx\\x0d\\x1b[A"


def test_what_libraries_say_is_escaped_too(capfd):
    with terminal.escaped():
        handler = logging.StreamHandler()
        logging.getLogger("other").addHandler(handler)
        logging.getLogger("other").warning("from %s", EVIL)
        logging.getLogger("other").removeHandler(handler)
        sys.stderr.writelines([EVIL])
    said = capfd.readouterr().err
    assert said.count("end") == 2
    assert steering(said) == set()


def test_the_trace_of_a_fault_of_ours_is_escaped(folder):
    program = f"import dsldec.tools.explain as tool\ndef explain(*given): raise RuntimeError({EVIL!r})\ntool.explain = explain\n"
    program += "import sys; sys.argv = ['dsldec', 'explain', 'threshold']\nfrom dsldec.cli import main\nraise SystemExit(main())"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "[red]end" in ran.stderr
    assert steering(ran.stderr) == set()


def test_without_standard_error_nothing_goes_to_standard_output(folder):
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m dsldec explain nothing.policy 2>&-"],
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (1, "")


def test_the_streams_are_put_back():
    before = sys.stdout, sys.stderr
    main(["--version"])
    assert (sys.stdout, sys.stderr) == before
