"""The cache of compiled steps: which files are used, which are not, what is deleted, and what happens when it
cannot be used.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import dsldec
from dsldec.backends import aot, sealed, step_cache, toolchain, user_folder
from dsldec.backends.step_form import StepForm, form_key, program_key, sizes_of
from dsldec.backends.user_folder import Unusable
from dsldec.cli import main

from ..conftest import Built
from ..networks import network

posix = pytest.mark.skipif(os.name != "posix", reason="modes of files")


def form(name: str = "static", any_rows: bool = False, window: int = 4, **changed: Any) -> StepForm:
    policy = dsldec.load(name)
    static = {one: policy.parameters[one] for one in policy.facts.static}
    sizes = sizes_of(any_rows, window, 7, "float32", frozenset())
    return replace(StepForm(policy.program, static, sizes, {}, 1), **changed)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv(step_cache.VARIABLE, str(tmp_path / "steps"))
    return step_cache.folder()


@pytest.fixture
def compilations(built: Built, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A compiler that copies a real package of another step: files are real, compiling takes no time."""
    made: list[Path] = []

    def package(graph: object, metadata: dict[str, str], file: Path, *_: object) -> None:
        made.append(file)
        shutil.copy(built.file, file)

    def metadata(file: Path) -> dict[str, Any]:
        user_folder.require_private(file)
        sealed.require_whole(file)
        return {"policy": "p", "form": "f", "compiler": step_cache._compiler()}

    monkeypatch.setattr(aot, "package", package)
    monkeypatch.setattr(step_cache, "_metadata", metadata)
    return made


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pt2"))


def test_the_second_is_the_file_of_the_first(folder: Path, compilations: list[Path]) -> None:
    assert step_cache.load(form()) is None
    step_cache.compiled(form())
    assert step_cache.load(form()) is not None
    step_cache.compiled(form())
    assert (len(compilations), len(stored(folder))) == (1, 1)
    assert stored(folder)[0].stat().st_mode & 0o022 == 0
    assert not [path for path in folder.iterdir() if path.name.startswith(user_folder.NEW)]
    assert step_cache.expected_seconds(form().program) > 0


def test_a_name_depends_on_all_that_the_code_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    static = dsldec.load("threshold", block=8)
    forms = [
        form(), form(any_rows=True), form(window=5), form("factor"), form("threshold"), form(threads=2),
        form("threshold", static=dict(static.parameters) | {"block": 8}), form(lengths={"table": 4}),
        form(sizes=sizes_of(False, 4, 8, "float32", frozenset())), form(sizes=sizes_of(False, 4, 7, "bfloat16", frozenset())),
        form(sizes=sizes_of(False, 4, 7, "float32", frozenset({"rate"}))),
    ]  # fmt: skip
    names = {step_cache._name(one) for one in forms}
    assert len(names) == len(forms)
    for change in (
        lambda: monkeypatch.setattr(torch, "__version__", "99.0"),
        lambda: monkeypatch.setattr(step_cache, "_processor", lambda: "flags: fewer"),
        lambda: monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NONE"),
    ):
        change()
        step_cache._here.cache_clear()
        names.add(step_cache._name(form()))
    assert len(names) == len(forms) + 3
    monkeypatch.undo()
    step_cache._here.cache_clear()
    assert step_cache._name(form()) in names


def test_a_name_does_not_depend_on_texts_around_the_operations() -> None:
    text = "policy {}(rate: int = {} in 1..9):\n  {}window all\n  commit top(masked, rate, by=conf)\n"
    keys = {
        program_key(policy.program, {})
        for policy in (
            dsldec.load(text.format("one", 1, "")),
            dsldec.load(text.format("two", 3, "# a comment\n  ")),
        )
    }
    assert len(keys) == 1


def test_a_form_is_the_same_in_another_process() -> None:
    one = form("klass", any_rows=True, lengths={"table": 3})
    again = StepForm.from_text(one.text())
    assert form_key(again) == form_key(one)
    assert step_cache._name(again) == step_cache._name(one)


@pytest.mark.parametrize("damage", ["shorter", "changed", "empty", "a folder", "another's compiler"])
def test_what_is_damaged_is_compiled_again(
    damage: str, folder: Path, compilations: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    step_cache.compiled(form())
    (file,) = stored(folder)
    data = file.read_bytes()
    if damage == "shorter":
        file.write_bytes(data[:-100])
    if damage == "changed":
        file.write_bytes(data[:1000] + b"x" + data[1001:])
    if damage == "empty":
        file.write_bytes(b"")
    if damage == "a folder":
        file.unlink()
        file.mkdir()
    if damage == "another's compiler":
        monkeypatch.setattr(step_cache, "_compiler", lambda: "/usr/bin/other 1 1")
        monkeypatch.setattr(step_cache, "_metadata", lambda file: {"compiler": "/usr/bin/g++ 1 1"})
    assert step_cache.load(form()) is None
    step_cache.compiled(form())
    assert len(compilations) == 2


def test_without_a_compiler_the_code_of_the_last_one_runs(
    folder: Path, compilations: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    step_cache.compiled(form())
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    assert step_cache.load(form()) is not None
    assert step_cache.has_any(form().program, form().static)
    assert dsldec.load("static").compile("inductor", mask_id=6).backend == "inductor"
    with pytest.raises(dsldec.UsageError, match="needs a C\\+\\+ compiler"):
        dsldec.load("factor").compile("inductor", mask_id=6)


@posix
@pytest.mark.parametrize("which", ["the folder", "the file"])
def test_what_another_user_can_write_is_not_used(which: str, folder: Path, compilations: list[Path]) -> None:
    step_cache.compiled(form())
    (file,) = stored(folder)
    (folder if which == "the folder" else file).chmod(0o777)
    assert step_cache.load(form()) is None
    step_cache.compiled(form())
    assert len(compilations) == 2
    if which == "the folder":
        with pytest.raises(Unusable, match="other users can write"):
            step_cache.folder()


@posix
def test_what_belongs_to_another_user_is_not_used(
    folder: Path, compilations: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    step_cache.compiled(form())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    if os.getuid() == 0:  # root's files are trusted: an image is built by root
        assert step_cache.load(form()) is not None
        os.chown(stored(folder)[0], 4711, 4711)
    assert step_cache.load(form()) is None


def test_a_folder_that_cannot_be_used_costs_a_compilation(
    tmp_path: Path, compilations: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(step_cache.VARIABLE, str(tmp_path / "file" / "steps"))
    for _ in range(2):
        step_cache.compiled(form())
    assert len(compilations) == 2
    assert not step_cache.has_any(form().program, form().static)
    with pytest.raises(Unusable, match="cannot be used"):
        step_cache.packages()


def test_a_full_disk_costs_the_place_in_the_cache(
    folder: Path, compilations: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(user_folder.os, "fsync", full)
    step_cache.compiled(form())
    assert len(compilations) == 1
    assert [path.name for path in folder.iterdir() if path.suffix != ".lock"] == []


def test_a_folder_without_locks_costs_a_second_compilation_at_most(
    folder: Path, compilations: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: object) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(user_folder.FileLock, "acquire", refused)
    step_cache.compiled(form())
    assert len(compilations) == len(stored(folder)) == 1


def test_two_at_once_compile_once(folder: Path, compilations: list[Path]) -> None:
    threads = [threading.Thread(target=step_cache.compiled, args=(form(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compilations) == 1


@posix
def test_a_killed_process_leaves_no_lock(folder: Path, compilations: list[Path]) -> None:
    file = folder / step_cache._name(form())
    code = (
        "import sys, time, pathlib; from dsldec.backends import user_folder\n"
        "with user_folder.locked(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        other.kill()
    step_cache.compiled(form())
    assert len(compilations) == 1


def test_the_least_recently_used_are_deleted(folder: Path) -> None:
    a, b, c, d, e, f = (f"{name * 49}.pt2" for name in "abcdef")
    paths = [folder / name for name in (a, b, c, d)]
    own = folder / "theirs.pt2"  # a file that dsldec did not store
    own.write_bytes(bytes(1000))
    os.utime(own, (0, 0))
    for number, path in enumerate(paths):
        user_folder.stored(bytes(100), path, 10**6)
        os.utime(path, (number, number))
    user_folder.used(paths[0])
    (folder / f"{user_folder.NEW}old").touch()
    os.utime(folder / f"{user_folder.NEW}old", (1, 1))
    (folder / f"{user_folder.NEW}now").touch()
    user_folder.stored(bytes(100), folder / e, 300)
    left = {path.name for path in folder.iterdir()}
    assert left == {a, d, e, own.name, f"{user_folder.NEW}now"}
    user_folder.stored(bytes(1000), folder / f, 300)  # the new one stays, however large
    assert {path.name for path in stored(folder)} == {f, own.name}


def test_a_folder_that_is_named_can_be_read_by_other_users(folder: Path, compilations: list[Path]) -> None:
    """Root fills it for the user of a container. Nobody else can write it."""
    step_cache.compiled(form())
    (file,) = stored(folder)
    assert [path.stat().st_mode & 0o777 for path in (folder, file)] == [0o755, 0o644]


def test_the_default_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(step_cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    where = step_cache.folder()
    user_folder.stored(bytes(100), where / ("a" * 49 + ".pt2"), 10**6)
    assert [path.stat().st_mode & 0o777 for path in (where, *stored(where))] == [0o700, 0o600]


# --- the command


def run(*arguments: str) -> int:
    return main(["precompile", *arguments])


def test_precompile_fills_lists_and_empties(
    folder: Path, compilations: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("static", "threshold", "--vocab", "7", "--positions", "5", "--threads", "3") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[1] for line in out[:2]] == [
        "static: 1 row of 8 positions, 7 ids, float32, 3 threads",
        "static: 2 rows or more of 8 positions, 7 ids, float32, 3 threads",
    ]
    assert out[4].startswith(f"{folder}: 4 packages, ")
    assert len(compilations) == len(stored(folder)) == 4
    assert run("static", "--vocab", "7", "--positions", "5", "--threads", "3", "--batch", "6") == 0
    assert capsys.readouterr().out.startswith("in the cache: static: 2 rows or more of 8")
    assert run("--list") == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert run("--clear") == 0
    assert capsys.readouterr().out.startswith("deleted 4 packages with ")
    assert stored(folder) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], "E0420", "needs a policy"),
        (["static"], "E0420", "lacks `--vocab`"),
        (["static", "--vocab", "7", "--dtype", "int8"], "E0422", "unknown value `int8`"),
        (["nothing", "--vocab", "7"], "E0401", "no policy is called"),
        (["--policy", "static"], "E0420", "has no option `--policy`"),
    ],
)
def test_mistakes(
    arguments: list[str], code: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) in (1, 2)
    err = capsys.readouterr().err
    assert f"error[{code}]" in err
    assert said in err


def test_a_cache_that_cannot_be_filled_is_said(
    folder: Path,
    compilations: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(step_cache, "_stored", lambda *_: None)
    assert run("static", "--vocab", "7") == 2
    assert f"nothing can be stored in `{folder}`" in capsys.readouterr().err
    (tmp_path / "file").touch()
    monkeypatch.setenv(step_cache.VARIABLE, str(tmp_path / "file"))
    for arguments in (["static", "--vocab", "7"], ["--list"], ["--clear"]):
        assert run(*arguments) == 2
        err = capsys.readouterr().err
        assert "error[E0417]" in err
        assert "DSLDEC_STEPS" in err


def test_a_choice_is_no_network_to_a_form() -> None:
    """Both are texts among the static values."""
    text = (
        "policy p(way: conf | margin = conf, net: network):\n  window blocks(4)\n"
        "  commit masked and learned(net, conf, entropy) > 0 at least 1 by conf if way == conf else margin\n"
    )
    policy = dsldec.load(text, way="margin", net=network())
    static = {"way": "margin", "net": network().sizes}
    of = StepForm(policy.program, static, sizes_of(False, 4, 7, "float32", frozenset()), {}, 1)
    assert (of.values["way"], getattr(of.values["net"], "sizes", None)) == ("margin", network().sizes)
    again = StepForm.from_text(of.text())
    assert program_key(again.program, again.static) == program_key(of.program, of.static)
