"""The message names the obstacle to compiling: a folder, the disk, the compiler, Python's headers."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest
import torch

import dsldec
from dsldec import backends
from dsldec.backends import aot, tensorrt, toolchain
from dsldec.backends.exported import Sizes
from dsldec.backends.manifest import described
from dsldec.cli import main
from dsldec.diagnostics import Diagnostic
from dsldec.resources import embedded_model_folder

posix = pytest.mark.skipif(os.name != "posix", reason="compilers made of shell scripts")
WHAT = "the step could not be compiled"


@pytest.fixture
def a_file(tmp_path: Path) -> str:
    """A name under which there can be no folder, whoever asks: tests may run as root."""
    (tmp_path / "file").touch()
    return str(tmp_path / "file" / "folder")


def said(trouble: Diagnostic | None, code: str) -> str:
    assert trouble is not None
    assert trouble.code == code
    assert "\n" not in trouble.message
    assert "eager" in (trouble.help or "")
    return trouble.message


def test_a_folder_that_cannot_be_used_is_named(a_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert toolchain.folder_trouble() is None
    monkeypatch.setenv(toolchain.INDUCTOR_CACHE, a_file)
    assert f"`{a_file}` (`{toolchain.INDUCTOR_CACHE}`)" in said(toolchain.folder_trouble(), "E0417")
    policy = dsldec.load("static")
    step = policy.compile("inductor", mask_id=6)
    for needs in (
        lambda: step(
            torch.zeros(1, 4, 7), torch.full((1, 4), 6), torch.ones(1, 4, dtype=torch.bool), step.start(1, 4)
        ),
        lambda: aot.build(
            policy.program, policy.parameters, Sizes(1, 4, 8), Path(a_file).with_suffix(".pt2")
        ),
        lambda: described(policy.program, policy.parameters, Sizes(1, 4, 8)),
    ):
        with pytest.raises(dsldec.UsageError) as caught:
            needs()
        assert a_file in said(caught.value.diagnostic, "E0417")
    backend, why = backends.choose(10**15)
    assert backend == "eager"
    assert a_file in why


def test_tritons_folder_is_named_where_it_is_used(a_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(toolchain.TRITON_CACHE, a_file)
    for used in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda used=used: used)
        trouble = toolchain.folder_trouble()
        assert (trouble is not None) == used
    assert f"`{a_file}` (`{toolchain.TRITON_CACHE}`)" in said(trouble, "E0417")


def test_a_full_disk_is_found_before_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert "no space left" in said(toolchain.folder_trouble(), "E0417")
    assert toolchain.folder_trouble(writing=False) is None


def test_no_folder_for_temporary_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.delenv(toolchain.INDUCTOR_CACHE, raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert "torch finds no folder for compiled code: No usable temporary" in said(
        toolchain.folder_trouble(), "E0417"
    )

    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    for what in (
        lambda: toolchain.temporary_folder("this"),
        lambda: tensorrt.Engines(torch.nn.Identity(), None, ()),
    ):
        with pytest.raises(dsldec.UsageError, match="needs a folder for temporary files") as caught:
            what()
        assert caught.value.diagnostic.code == "E0417"


def test_a_user_without_a_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.delenv(toolchain.INDUCTOR_CACHE, raising=False)
    monkeypatch.setattr(toolchain.getpass, "getuser", none)
    assert "uid not found: 4711" in said(toolchain.folder_trouble(), "E0417")


def test_torch_and_we_mean_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    monkeypatch.delenv(toolchain.INDUCTOR_CACHE, raising=False)
    assert str(toolchain.cache_folder()) == cache_dir()
    monkeypatch.setenv(toolchain.INDUCTOR_CACHE, str(tmp_path / "other"))
    assert str(toolchain.cache_folder()) == cache_dir() == str(tmp_path / "other")


SCRIPTS = {
    "exit 3": "it ends with status 3: it prints nothing",
    "echo no licence >&2; exit 1": "it ends with status 1: no licence",
    "exit 0": "it ends without an error and writes nothing",
    "kill -9 $$": "it was stopped by signal 9",
}


@posix
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_compiler_that_does_not_work_is_named(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "c++"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    message = said(toolchain.failure(RuntimeError("of torch's"), WHAT), "E0404")
    assert message == f"{WHAT}: the C++ compiler `{broken}` does not work: {SCRIPTS[script]}"


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DSLDEC_STEPS", str(tmp_path))  # no package is there
    monkeypatch.setenv("CXX", "no-such-compiler")
    policy = dsldec.load("static")
    for needs in (
        lambda: policy.compile("inductor", mask_id=6),
        lambda: aot.build(policy.program, policy.parameters, Sizes(1, 4, 8), Path("step.pt2")),
    ):
        with pytest.raises(
            dsldec.UsageError, match="`CXX` names `no-such-compiler`, which is no program here"
        ) as caught:
            needs()
        assert caught.value.diagnostic.code == "E0404"
    assert backends.choose(10**15) == (
        "eager",
        "eager (`CXX` names `no-such-compiler`, which is no program here)",
    )


@pytest.mark.parametrize(("more", "wanted"), [(-1, "eager"), (0, "inductor"), (1, "inductor")])
def test_auto_compiles_for_a_gpu_from_the_number_of_logits_that_repays_it(
    more: int, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # any program
    logits = backends.LOGITS_THAT_REPAY_COMPILING + more
    assert backends.choose(logits, "cuda")[0] == wanted
    assert backends.choose(logits)[0] == backends.choose(1)[0] == "auto"  # on a CPU it measures


def test_auto_may_compile_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    assert dsldec.load("static").compile("auto", mask_id=6).backend == "auto"


@posix
def test_a_compiler_that_is_no_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "c++"
    broken.write_bytes(b"\x7fELF and nothing more")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert "does not work: exec format error" in said(
        toolchain.failure(RuntimeError("of torch's"), WHAT), "E0404"
    )


@pytest.mark.skipif(toolchain.compiler() is None, reason="there is no C++ compiler")
def test_missing_headers_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    message = said(toolchain.failure(RuntimeError("of torch's"), WHAT), "E0404")
    assert message == f"{WHAT}: Python's headers are missing, `{tmp_path}/Python.h`"


@pytest.mark.skipif(toolchain.compiler() is None, reason="there is no C++ compiler")
def test_what_is_kept_and_damaged_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(toolchain.INDUCTOR_CACHE, str(tmp_path))
    try:
        try:
            raise ImportError("invalid ELF header\nmore")
        except ImportError as inner:
            raise RuntimeError("of torch's") from inner
    except RuntimeError as error:
        message = said(toolchain.failure(error, WHAT), "E0417")
    assert message == f"{WHAT}, and torch's cache `{tmp_path}` may be damaged: of torch's"
    full = RuntimeError("InductorError: OSError: [Errno 28] No space left on device")
    assert "no space left on the disk of" in said(toolchain.failure(full, WHAT), "E0417")


@pytest.mark.skipif(toolchain.compiler() is None, reason="there is no C++ compiler")
def test_what_a_backend_of_torch_raises_is_seen_through() -> None:
    """As where a library in the folder is none: it came of an `ImportError`."""
    from torch._dynamo.exc import BackendCompilerFailed

    message = said(
        toolchain.failure(BackendCompilerFailed(print, ImportError("x.so: file too short"), None), WHAT),
        "E0417",
    )
    assert message.endswith("may be damaged: ImportError: x.so: file too short")


def test_the_models_loading_does_not_take_the_blame(
    a_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(toolchain.INDUCTOR_CACHE, a_file)
    folder = str(embedded_model_folder())  # loaded by transformers, which imports torch's compiler
    assert main(["run", "--model", folder, "--gen-length", "4", "What is 1+1?"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error[E0417]: the folder `{a_file}` (`{toolchain.INDUCTOR_CACHE}`)")


# With a denoiser of one's own, eager needs no folder of torch's: nothing of its compiler is imported.
EAGER = """
import sys
import torch, dsldec
step = dsldec.load("static").compile("eager", mask_id=6)
step(torch.zeros(1, 4, 7), torch.full((1, 4), 6), torch.ones(1, 4, dtype=torch.bool), step.start(1, 4))
print("torch._dynamo" in sys.modules)
"""


def test_an_eager_step_needs_no_folder(a_file: str) -> None:
    environment = os.environ | {toolchain.INDUCTOR_CACHE: a_file}
    ran = subprocess.run([sys.executable, "-c", EAGER], capture_output=True, text=True, env=environment)
    assert ran.stdout == "False\n", ran.stderr[-2000:]
