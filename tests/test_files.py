"""Does every file or number from a user give a result or a message, in bounded time and memory: devices,
pipes, endless and deep files, huge numbers?
"""

from __future__ import annotations

import io
import os
import re
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dsldec import files
from dsldec.cli import main
from dsldec.files import (
    NotJSON,
    Unreadable,
    json_of,
    lines,
    opened,
    policies_below,
    read_bytes,
    whole_number,
    why_not_written,
)

GB = 10**9
TABLE = "policy t(f: table = 0.5):\n  window blocks(8)\n  commit top(masked, 1, by=conf - of(f, token))\n"


def socket_at(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may be no longer than about a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 100 * GB)


MADE = {"fifo": os.mkfifo, "folder": Path.mkdir, "socket": socket_at, "sparse": sparse}
THERE = ("/dev/zero", "/dev/urandom", "/proc/self/mem", "/proc/self/pagemap", "/proc/kmsg")
NAMES = (*MADE, *(name for name in THERE if os.path.exists(name)), "x" * 300, "a\0b", "\ud800")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, make in MADE.items():
        for suffix in (".policy", ".cases", ".txt", ".jsonl", ".json", ""):
            make(tmp_path / f"{name}{suffix}")
    (tmp_path / "table.policy").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(name: str, suffix: str) -> str:
    return name if name.startswith("/") else f"./{name}{suffix}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("verb", "suffix"),
    [
        (["check"], ".policy"),
        (["fmt", "--check"], ".policy"),
        (["explain"], ".policy"),
        (["show", "--stage", "tree"], ".policy"),
        (["test"], ".policy"),
        (["test"], ".cases"),
        (["build", "--vocab", "9", "-o", "x.pt2"], ".policy"),
        (["run", "--prompts"], ".txt"),
        (["run", "--prompts"], ".jsonl"),
        (["explain", "table.policy", "--set"], ".json"),
    ],
    ids=" ".join,
)
def test_what_is_no_file_of_a_fair_size_gets_a_sentence(verb, suffix, name, hostile, capsys):
    argument = named(name, suffix)
    status = main([*verb, f"f=@{argument}" if "--set" in verb else argument])
    said = "".join(capsys.readouterr())
    assert status in (1, 2)
    assert "error[E0" in said
    assert "= help: " in said


@pytest.mark.parametrize("name", ["/dev/zero", "sparse", "yes"])
@pytest.mark.parametrize("verb", [["run"], ["run", "-"], ["fmt", "-"]], ids=" ".join)
def test_endless_standard_input_ends_in_a_sentence(verb, name, hostile):
    feeding = subprocess.Popen(["yes"], stdout=subprocess.PIPE) if name == "yes" else None
    stdin = feeding.stdout if feeding else open(name, "rb")  # noqa: SIM115
    try:
        ran = bounded([*verb], memory=GB, stdin=stdin)
    finally:
        stdin.close()
        if feeding:
            feeding.kill()
            feeding.wait()
    assert ran.returncode in (1, 2)
    assert ran.stderr.startswith("error[E0")
    assert "Traceback" not in ran.stderr


def bounded(arguments: list[str], memory: int, **how) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own with so much memory and a minute of time."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    command = [sys.executable, "-m", "dsldec", *arguments]
    return subprocess.run(
        command,
        preexec_fn=limit,
        timeout=60,
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE} | how,
    )


@pytest.mark.parametrize(
    "arguments",
    [["check"], ["explain"], ["test"], ["run", "--prompts"], ["explain", "table.policy", "--set"]],
    ids=" ".join,
)
def test_an_endless_file_takes_little_memory(arguments, hostile):
    file = "sparse" + {"test": ".cases", "run": ".jsonl"}.get(arguments[0], ".policy")
    ran = bounded([*arguments, "f=@sparse" if "--set" in arguments else f"./{file}"], memory=GB)
    assert ran.returncode in (1, 2)
    assert "error[E0" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="no such file here")
@pytest.mark.parametrize("verb", ["fmt -", "run", "run -"])
@pytest.mark.parametrize("given", ["< /proc/self/mem", "0> written"])
def test_standard_input_that_cannot_be_read(verb, given, hostile):
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m dsldec {verb} {given}"], capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error[E04")
    assert " cannot be read: " in ran.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams(closed):
    for verb in ("fmt -", "check threshold", "run"):
        ran = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m dsldec {verb} {closed}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in ran.stderr
        assert ran.returncode in (0, 1, 2)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
@pytest.mark.parametrize(
    "arguments",
    [["explain", "threshold"], ["check", "threshold"], ["--help"], ["show", "threshold", "--stage", "tree"]],
)
def test_output_that_nothing_can_be_written_to(arguments):
    with open("/dev/full", "wb") as full:
        ran = bounded(arguments, memory=4 * GB, stdout=full)
    assert ran.stderr.startswith("error[E0432]: standard output cannot be written: no space left on device\n")
    assert ran.stderr.count("\n") == 2
    assert ran.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_encoding_that_cannot_show_it_all(encoding, tmp_path):
    file = tmp_path / "π\u202e.policy"
    file.write_text('policy p():\n  "π ∈ ℝ"\n  window blocks(8)\n  commit maskd\n', encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    for verb in ("check", "explain", "fmt", "show --stage tree"):
        ran = bounded([*verb.split(), str(file)], memory=4 * GB, env=environment)
        assert "Traceback" not in ran.stderr
        assert ran.returncode in (0, 1)


def test_a_pipe_from_the_shell_is_read():
    if not os.path.exists("/dev/fd"):
        pytest.skip("no such folder here")
    reading, writing = os.pipe()
    os.write(writing, b"policy p():\n")
    os.close(writing)
    assert read_bytes(f"/dev/fd/{reading}", 100) == b"policy p():\n"
    os.close(reading)


def test_a_named_pipe_is_no_file_even_with_a_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    both = os.open(tmp_path / "fifo", os.O_RDWR)
    with pytest.raises(Unreadable, match="named pipe"), opened(tmp_path / "fifo"):
        pass
    os.close(both)


def test_a_file_may_be_as_large_as_is_said_and_no_larger(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(Unreadable, match="larger than 4 bytes") as caught:
        read_bytes(tmp_path / "file", 4)
    assert caught.value.too_large


def test_lines_are_bounded_each_and_together():
    assert list(lines(io.BytesIO(b"a\n\nb"))) == [b"a", b"", b"b"]
    for limits, says in (
        ((3, 99, 9), "line 2 is longer"),
        ((9, 7, 9), "larger than 7 bytes"),
        ((9, 99, 2), "more than 2 lines"),
    ):
        with pytest.raises(Unreadable, match=says):
            list(lines(io.BytesIO(b"ab\nabcd\nab\n"), *limits))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested more than 100 deep"),
        ('{"a":' * 100_000, "nested more than 100 deep"),
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
        ("9" * 400, "a number of 400 digits"),
        ("-" + "9" * 5000, "a number of 5001 digits"),
        ("{", "is not JSON"),
        ('"', "is not JSON"),
        ('{"a": NaN}', "`NaN`"),
        ("[-Infinity]", "`-Infinity`"),
        ("1e999", "too large"),
        ('{"a": 1, "b": 2, "a": 3}', "the key `a` twice"),
    ],
)
def test_json_that_is_not_read(text, says):
    with pytest.raises(NotJSON, match=says):
        json_of(text, strict=True)


def test_json_that_is_read():
    assert json_of('["[[[", "\\"[", "\\\\", {"a": [1.5, 10, true]}]') == [
        "[[[",
        '"[',
        "\\",
        {"a": [1.5, 10, True]},
    ]
    assert json_of("[" * 100 + "]" * 100) is not None
    assert json_of('{"a": 1, "a": Infinity}') == {
        "a": float("inf")
    }  # as some published configurations have it
    assert json_of("1000000000000000019884624838656") == 1000000000000000019884624838656


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4),
        (" -4 ", -4),
        ("+4", 4),
        ("1_0", 10),
        ("", None),
        ("four", None),
        ("--4", None),
        ("4.5", None),
        ("0" * 5000 + "7", 7),
    ],
)
def test_whole_numbers(text, number):
    assert whole_number(text) == number


def test_whole_numbers_of_any_length():
    assert whole_number("9" * 5000) > 10**60
    assert whole_number("-" + "9" * 5000) < -(10**60)


@pytest.mark.parametrize(
    "option", ["--gen-length", "--seed", "--batch", "--lookahead", "--mask-id", "--eos-id", "--block-length"]
)
@pytest.mark.parametrize("digits", [400, 5000, 50_000])
def test_numbers_of_many_digits_are_too_large(option, digits, capsys):
    assert main(["run", f"{option}={'9' * digits}", "hi"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error[E0422]: `{option}` is a whole number of at most ")
    assert len(said) < 300


@pytest.mark.parametrize("value", ["9" * 400, "9" * 5000, "-" + "9" * 5000])
@pytest.mark.parametrize("name", ["block", "confidence"])
def test_parameters_of_many_digits_are_too_large(name, value, capsys):
    assert main(["explain", "threshold", "--set", f"{name}={value}"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error[E0402]: `{name}` is of kind")
    assert len(said) < 300


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000 + "x", "a\0b", "\ud800", "fifo", "socket"])
def test_where_nothing_can_be_written(name, hostile, capsys):
    assert why_not_written(name)
    assert main(["build", "threshold", "--vocab", "9", "-o", f"{name}.pt2" if "x" in name else name]) == 2
    assert capsys.readouterr().err.startswith("error[E04")


def test_a_folder_is_looked_through_to_a_limit(tmp_path, monkeypatch):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "x.policy").touch()
    (below / "y.txt").touch()
    os.mkfifo(below / "fifo.policy")
    (below / "around").symlink_to(tmp_path)
    (below / "itself.policy").symlink_to(below / "itself.policy")
    assert policies_below(str(tmp_path)) == [str(below / "x.policy")]
    with pytest.raises(Unreadable, match="more than 3 files"):
        policies_below(str(tmp_path), most=3)


def test_a_deep_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    try:
        bottom = os.open(".", os.O_RDONLY)
        os.chdir(tmp_path)
        assert main(["fmt", "--check", "."]) == 2
        assert capsys.readouterr().err.startswith("error[E0401]: the folder `.` holds no policy")
    finally:  # pytest removes what tests leave by calling itself, and would end in a traceback
        os.fchdir(bottom)
        os.close(bottom)
        for _ in range(1500):
            os.chdir("..")
            os.rmdir("d")
    assert not (tmp_path / "d").exists()


def test_every_limit_is_larger_than_what_is_shipped():
    largest = max(
        path.stat().st_size for path in (Path(files.__file__).parent / "models" / "embedded").glob("*.json")
    )
    assert largest < files.LARGEST_CONFIG < files.LARGEST_TOKENIZER


def test_the_limits_are_those_of_the_page():
    """In the order of the file."""
    page = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text(encoding="utf-8")
    section = page.split("## Limits of files\n")[1].split("\n## ")[0]
    told = [
        int(number.replace(",", "")) * (files.MIB if unit else 1)
        for row in re.findall(r"\| (\d.*) \|$", section, re.MULTILINE)
        for number, unit in re.findall(r"([\d,]*\d)( MiB)?", row)
    ]
    limits = {name: value for name, value in vars(files).items() if re.match("(LARG|LONG|MOST|DEEP)", name)}
    assert told == [*limits.values()]
