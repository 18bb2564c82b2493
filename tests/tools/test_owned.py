"""Does a results file have one owner, and does it contain the written results after any action of others?"""

# ruff: noqa: PT012 (a file is damaged between two of its lines)

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from dsldec.diagnostics import Diagnostic, UsageError
from dsldec.tools import owned
from dsldec.tools.owned import OwnedFile
from dsldec.tools.results import Result
from dsldec.tools.results_file import ResultsFile

from .test_results import PROMPTS, answered, lines, mistake, write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks, pipes and signals as POSIX has them")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r.jsonl"


def refused(code: str, path: Path, damage, *, resume: bool = False) -> Diagnostic:
    """What is said where a file is damaged after its first line, when the second is written; and, the same,
    at the end.
    """
    said = []
    for when in ("next line", "end"):
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        with pytest.raises(UsageError) as caught, ResultsFile(str(path), PROMPTS, resume=resume) as file:
            file.append(*answered(PROMPTS[0]))
            damage(path)
            if when == "next line":
                file.append(*answered(PROMPTS[1]))
        said.append(caught.value.diagnostic)
    assert [one.code for one in said] == [code, code]
    assert said[0].message == said[1].message
    return said[0]


# --- one owner


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_is_told_and_changes_nothing(path, resume):
    write(path, *answered(PROMPTS[0]))
    first = ResultsFile(str(path), PROMPTS, resume=True)
    for name in (path, f"{path.parent}/../{path.parent.name}/{path.name}"):
        diagnostic = mistake(name, resume=resume)
        assert diagnostic.code == "E0438"
        assert "another run writes the results file" in diagnostic.message
        assert "--resume" in diagnostic.help
    first.close()
    first.close()
    assert mistake(path).code == "E0433"
    assert len(lines(path)) == 1


def test_a_new_file_is_owned_before_its_first_line(path):
    first = ResultsFile(str(path), PROMPTS)
    assert mistake(path).code == "E0438"
    first.close()
    assert not path.exists()


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_is_the_same_file(path, link):
    path.touch()
    link(path, path.with_name("link"))
    with ResultsFile(str(path.with_name("link")), PROMPTS) as file:
        assert mistake(path).code == "E0438"
        file.append(*answered(PROMPTS[0]))
    assert len(lines(path)) == 1
    assert path.with_name("link").is_symlink() == (link is os.symlink)


def test_a_link_to_nothing_yet_is_filled_where_it_leads(path):
    os.symlink("there.jsonl", path)
    write(path, *answered(*PROMPTS))
    assert path.is_symlink()
    assert len(lines(path.with_name("there.jsonl"))) == 3
    write(path, resume=True)


def test_a_file_written_anew_stays_owned(path):
    write(path, Result(PROMPTS[0], error=Diagnostic("E0410", "x")))
    with ResultsFile(str(path), PROMPTS, resume=True) as file:
        assert file.retried == 1
        assert path.read_bytes() == b""
        assert mistake(path, resume=True).code == "E0438"
        file.append(*answered(PROMPTS[0]))
    assert len(lines(path)) == 1


def test_who_waited_at_a_file_that_is_replaced_gets_the_new_one(path, monkeypatch):
    """Between opening and locking: the lock would be on a file that nobody can name."""
    write(path, *answered(PROMPTS[0]))
    true_lock, calls = owned._lock, []

    def slow_lock(raw):
        if not calls:
            calls.append(1)
            path.with_name("new").write_bytes(path.read_bytes() * 2)
            os.replace(path.with_name("new"), path)
        return true_lock(raw)

    monkeypatch.setattr(owned, "_lock", slow_lock)
    file = OwnedFile(str(path))
    assert file.size == path.stat().st_size
    assert file.read() == path.read_bytes()
    file.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told_and_checked(path, monkeypatch, number):
    def unknown(*given):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owned.fcntl, "flock", unknown)
    file = ResultsFile(str(path), PROMPTS)
    assert file.unlocked is not None
    assert file.unlocked.code == "W0403"
    with pytest.raises(UsageError, match="E0439"), file:
        file.append(*answered(PROMPTS[0]))
        write(path, *answered(PROMPTS[1]), resume=True)


# --- what others do to it


def test_a_file_that_is_deleted_is_told_and_its_lines_are_saved(path):
    diagnostic = refused("E0439", path, Path.unlink)
    assert diagnostic.message.endswith("was deleted during the run")
    (saved,) = path.parent.iterdir()
    assert [line["id"] for line in lines(saved)] == [0]
    require_saved(path, Path.unlink)


def require_saved(path: Path, damage) -> None:
    """The help says where the lines are, and the one that was to be written is among them."""
    file = ResultsFile(str(path), PROMPTS)
    with pytest.raises(UsageError) as caught, file:
        file.append(*answered(PROMPTS[0]))
        for other in path.parent.iterdir():
            if other != path:
                other.unlink()
        damage(path)
        file.append(*answered(PROMPTS[1]))
    (saved,) = [other for other in path.parent.iterdir() if other != path]
    assert [line["id"] for line in lines(saved)] == [0, "b"]
    assert str(saved) in caught.value.diagnostic.help


def test_a_file_that_is_replaced_is_told_and_its_lines_are_saved(path):
    def replaced(path):
        path.with_name("other").write_text("mine\n")
        os.replace(path.with_name("other"), path)

    assert refused("E0439", path, replaced).message.endswith("was replaced by another file during the run")
    path.unlink()
    require_saved(path, replaced)
    assert path.read_text() == "mine\n"


def test_a_file_that_is_moved_is_told_and_whole_where_it_is(path):
    def moved(path):
        path.rename(path.with_name("elsewhere.jsonl"))

    assert refused("E0439", path, moved).message.endswith("was moved during the run")
    with pytest.raises(UsageError) as caught, ResultsFile(str(path), PROMPTS) as file:
        file.append(*answered(PROMPTS[0]))
        moved(path)
        file.append(*answered(PROMPTS[1]))
    assert [line["id"] for line in lines(path.with_name("elsewhere.jsonl"))] == [0, "b"]
    if sys.platform == "linux":
        assert "elsewhere.jsonl" in caught.value.diagnostic.help


def test_a_folder_that_is_deleted_is_told_and_the_lines_are_saved(tmp_path, monkeypatch):
    path, temporary = tmp_path / "folder" / "r.jsonl", tmp_path / "tmp"
    temporary.mkdir()
    path.parent.mkdir()
    monkeypatch.setattr(owned.tempfile, "gettempdir", lambda: str(temporary))
    with pytest.raises(UsageError, match="was deleted"), ResultsFile(str(path), PROMPTS) as file:
        file.append(*answered(PROMPTS[0]))
        shutil.rmtree(path.parent)
    (saved,) = temporary.iterdir()
    assert len(lines(saved)) == 1


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 5),
        lambda path: path.write_text(""),
        lambda path: path.open("a").write("x"),
    ],
)
def test_a_file_that_is_cut_or_grows_is_told(path, damage):
    assert "changed by another program" in refused("E0439", path, damage).message


def test_a_byte_that_is_flipped_is_told_at_the_end(path):
    with pytest.raises(UsageError, match="E0439"), ResultsFile(str(path), PROMPTS) as file:
        file.append(*answered(PROMPTS[0]))
        flipped(path)
        file.append(*answered(PROMPTS[1]))


def test_who_interrupts_is_told_of_a_lost_file_too(path):
    with pytest.raises(UsageError, match="E0439"), ResultsFile(str(path), PROMPTS) as file:
        file.append(*answered(PROMPTS[0]))
        path.unlink()
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [0, 7, None])
def test_an_interrupt_within_a_line_leaves_whole_lines(path, monkeypatch, after):
    def interrupted(self, line):
        self._raw.write(line[:after])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ResultsFile(str(path), PROMPTS) as file:
        file.append(*answered(PROMPTS[0]))
        monkeypatch.setattr(OwnedFile, "_write", interrupted)
        file.append(*answered(PROMPTS[1]))
    assert [line["id"] for line in lines(path)] == ([0, "b"] if after is None else [0])


def test_no_room_leaves_whole_lines(path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(UsageError) as caught, ResultsFile(str(path), PROMPTS) as file:
            file.append(*answered(PROMPTS[0]))
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
            file.append(*answered(PROMPTS[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.diagnostic.code, "too large" in caught.value.diagnostic.message) == ("E0432", True)
    assert [line["id"] for line in lines(path)] == [0]
    assert path.read_bytes().endswith(b"\n")


def test_a_disk_that_refuses_at_the_end_is_told(path, monkeypatch):
    def failing(handle):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(owned.os, "fsync", failing)
    with (
        pytest.raises(UsageError, match=r"E0432.*input/output error"),
        ResultsFile(str(path), PROMPTS) as file,
    ):
        file.append(*answered(PROMPTS[0]))


def test_a_file_of_any_size_is_answered_at_once(path):
    with path.open("w") as file:
        file.truncate(1 << 40)
    assert mistake(path).code == "E0433"
    assert mistake(path, resume=True).code == "E0434"


# --- what is no plain file


def test_a_pipe_gets_its_lines_however_slowly_it_is_read(path):
    os.mkfifo(path)
    heard: list[bytes] = []

    def read_slowly(handle):
        time.sleep(0.3)
        while part := os.read(handle, 65536):
            heard.append(part)

    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    reader = threading.Thread(target=read_slowly, args=(handle,))
    reader.start()
    with ResultsFile(str(path), PROMPTS) as file:
        for prompt in PROMPTS:
            file.append(Result(prompt, "x" * 100_000))
    reader.join(10)
    os.close(handle)
    assert [json.loads(line)["id"] for line in b"".join(heard).splitlines()] == [0, "b", 2]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert mistake(path, resume=True).code == "E0432"


def test_a_pipe_that_nobody_reads_is_told(path):
    os.mkfifo(path)
    diagnostic = mistake(path)
    assert (diagnostic.code, "a named pipe without a reader" in diagnostic.message) == ("E0432", True)


def test_a_reader_of_a_pipe_that_leaves_ends_it(path):
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(BrokenPipeError), ResultsFile(str(path), PROMPTS) as file:
        os.close(reader)
        file.append(*answered(PROMPTS[0]))


@pytest.mark.parametrize(
    ("name", "says"),
    [("x" * 300, "too long"), ("a\0b", "null"), ("loop", "symbolic links"), ("r.jsonl/x", "folder")],
)
def test_a_name_that_no_file_can_have_is_told(tmp_path, name, says):
    os.symlink("loop", tmp_path / "loop")
    (tmp_path / "r.jsonl").touch()
    diagnostic = mistake(tmp_path / name)
    assert diagnostic.code == "E0432"
    assert says in diagnostic.message


# --- true processes

RUN = textwrap.dedent("""\
    import sys, time, torch
    import dsldec.models.huggingface
    from dsldec.cli import main

    class Slow:
        mask_id, eos_id, vocab_size, tokenizer, max_length, gen_length = 128, 0, 129, None, 64, 4

        def encode(self, text):
            return list(text.encode())

        def decode_text(self, ids):
            return bytes(ids).decode()

        def __call__(self, ids):
            time.sleep(float(sys.argv[1]))
            logits = torch.zeros(*ids.shape, 129)
            logits[..., 33:36] = torch.rand(3) + 1
            return logits

    dsldec.models.huggingface.from_pretrained = lambda *a, **k: Slow()
    print("ready", flush=True)
    sys.exit(main(["run", "--no-live", "--backend", "eager", "--batch", "2", "--policy", "static", *sys.argv[2:]]))
    """)


def started(*arguments: str, seconds: float = 0.02, **how) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, str(seconds), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def grows(path: Path, size: int = 1) -> None:
    until = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def many(tmp_path: Path) -> list[str]:
    (tmp_path / "p.txt").write_text("".join(f"{number}\n" for number in range(12)))
    return ["--prompts", str(tmp_path / "p.txt"), "--out", str(tmp_path / "r.jsonl")]


def test_of_two_runs_at_once_one_writes(path, many):
    runs = [started(*many), started(*many)]
    said = [run.communicate(timeout=120) for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2]
    (told,) = [err for run, (_, err) in zip(runs, said, strict=True) if run.returncode == 2]
    assert "error[E0438]" in told or "error[E0433]" in told
    assert sorted(line["id"] for line in lines(path)) == list(range(12))


def test_kills_lose_nothing_and_leave_no_lock(path, many):
    for kill in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        run = started(*many, "--resume")
        size = path.stat().st_size if path.exists() else 0
        grows(path, size + 1)
        run.send_signal(kill)
        _, err = run.communicate(timeout=60)
        assert run.returncode == (130 if kill == signal.SIGTERM else -signal.SIGKILL)
        assert "Traceback" not in err
    before = path.read_bytes()
    run = started(*many, "--resume", seconds=0)
    run.communicate(timeout=60)
    assert run.returncode == 0
    assert path.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    assert sorted(line["id"] for line in lines(path)) == list(range(12))
    assert sorted(other.name for other in path.parent.iterdir()) == ["p.txt", "r.jsonl"]


def test_a_file_that_is_deleted_under_a_run_is_no_success(path, many):
    run = started(*many)
    grows(path)
    path.unlink()
    _, err = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "error[E0439]" in err
    (saved,) = path.parent.glob("*.rescued.jsonl")
    assert lines(saved)


def test_a_closed_standard_error_does_not_get_into_the_file(path, many):
    (path.parent / "p.jsonl").write_text('{"prompt": "a", "text": "theirs"}\n')
    shell = 'exec "$0" "$@" 2>&-'
    made = [
        "sh",
        "-c",
        shell,
        sys.executable,
        "-c",
        RUN,
        "0",
        "--prompts",
        str(path.parent / "p.jsonl"),
        "--out",
        str(path),
    ]
    run = subprocess.run(made, stdout=subprocess.PIPE, timeout=60, check=False)
    assert run.returncode == 0
    assert run.stdout == b"ready\n"
    assert lines(path)[0]["input"] == {"text": "theirs"}
