"""`dsldec export-hf`: the files that it writes, the files that it does not change, and its messages. Not
here: decoding with transformers (`tests/engines`).
"""

from __future__ import annotations

import ast
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

import dsldec
from dsldec.cli import main
from dsldec.models.huggingface import from_pretrained
from dsldec.options import LoadOptions
from dsldec.resources import embedded_model_folder, policy_file
from dsldec.tools.export_hf import ExportOptions, _literal
from dsldec.tools.inside import write_inside

from ..models import tiny


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded_model_folder(), tmp_path / "my model"))


def run_alone(text: str) -> dict[str, Any]:
    """A `generate.py` as Python reads it."""
    names: dict[str, Any] = {}
    exec(compile(text, "generate.py", "exec"), names)
    return names


def test_options_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ExportOptions] = []
    monkeypatch.setattr("dsldec.tools.export_hf.export_hf", lambda options: asked.append(options) or 0)
    words = "export-hf --set a=1 DIR --set b=2 dico --gen-length 9 --lookahead 3 --mask-id 4 --eos-id 5 --shift-logits"
    assert main([*words.split(), "--trust-remote-code", "--force"]) == 0
    load = LoadOptions(mask_id=4, eos_id=5, shift_logits=True, trust_remote_code=True)
    decode = {"gen_length": 9, "lookahead": 3}
    assert asked == [ExportOptions("DIR", "dico", ("a=1", "b=2"), load, decode, force=True)]


def test_the_policy_before_the_folder_is_reported(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-hf", "threshold", str(embedded)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E0405]: ")
    assert f"the folder comes first: `dsldec export-hf '{embedded}' threshold`" in err


def test_what_is_written(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((embedded / "config.json").read_text())
    assert (
        main(
            [
                "export-hf",
                str(embedded),
                "static",
                "--set",
                "tokens=2",
                "--gen-length",
                "48",
                "--lookahead",
                "4",
            ]
        )
        == 0
    )
    text = (embedded / "custom_generate" / "generate.py").read_text()
    assert len(text.splitlines()) < 25
    assert {
        line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import", "from"))
    } == {"dsldec"}
    made = run_alone(text)
    assert made["POLICY"] == policy_file("static").read_text()
    assert made["decode"].policy.parameters == dsldec.load("static", tokens=2).parameters
    assert made["decode"].options.decode == {"gen_length": 48, "lookahead": 4}
    assert (embedded / "custom_generate" / "requirements.txt").read_text().startswith("dsldec")
    after = json.loads((embedded / "config.json").read_text())
    assert set(after.pop("auto_map").values()) == {"modeling_dsldec.EuroBertForMaskedLM"}
    assert after == before
    assert not list(embedded.rglob(".*"))
    out = capsys.readouterr().out
    assert (
        f"transformers.AutoModelForMaskedLM.from_pretrained({str(embedded)!r}, trust_remote_code=True).generate(...)"
        in out
    )
    assert f"transformers serve '{embedded}' --trust-remote-code" in out


def test_the_folder_is_still_the_same_denoiser(embedded: Path) -> None:
    """The class beside the weights is nothing to `dsldec`, which runs no code of the folder for it."""
    assert main(["export-hf", str(embedded), "static"]) == 0
    (embedded / "modeling_dsldec.py").write_text("raise AssertionError('this code is not trusted')")
    for trusted in (False, True):
        denoiser = from_pretrained(embedded, device="cpu", trust_remote_code=trusted)
        assert type(denoiser.model).__module__.startswith("transformers.models.")


def test_a_causal_class_needs_code_for_the_server_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.saved(tmp_path, "qwen3", mask=False)
    before = json.loads((folder / "config.json").read_bytes())
    assert main(["export-hf", str(folder), "threshold"]) == 2
    assert "`--mask-id N`" in capsys.readouterr().err
    assert not (folder / "custom_generate").exists()
    assert main(["export-hf", str(folder), "threshold", "--mask-id", "2", "--no-shift-logits"]) == 0
    after = json.loads((folder / "config.json").read_bytes())
    assert after.pop("auto_map") == {"AutoModelForDecision": "modeling_dsldec.Qwen3ForCausalLM"}
    assert after == before
    made = run_alone((folder / "custom_generate" / "generate.py").read_text())
    assert made["decode"].options.load == LoadOptions(mask_id=2, shift_logits=False)
    out = capsys.readouterr().out
    assert "AutoModelForCausalLM" in out
    assert "the server answers `/v1/completions` only" in out


def test_code_of_a_models_own_stays_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tiny.code_copied_to(tmp_path / "modules"):
        folder = tiny.saved(tmp_path / "model", "llada")
        theirs = json.loads((folder / "config.json").read_text())["auto_map"]
        assert main(["export-hf", str(folder), "threshold"]) == 2
        assert "--trust-remote-code" in capsys.readouterr().err
        assert main(["export-hf", str(folder), "threshold", "--trust-remote-code"]) == 0
    after = json.loads((folder / "config.json").read_text())["auto_map"]
    assert {name: after[name] for name in theirs} == theirs
    assert after["AutoModelForDecision"] == "modeling_dsldec.Model"
    auto = "AutoModelForDecision" if hasattr(transformers, "AutoModelForDecision") else "AutoModelForCausalLM"
    assert f"transformers.{auto}.from_pretrained(" in capsys.readouterr().out


def test_nobodys_file_is_lost(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = embedded / "custom_generate" / "generate.py"
    theirs.parent.mkdir()
    theirs.write_text("# mine\n")
    before = {file: file.read_bytes() for file in embedded.rglob("*") if file.is_file()}
    assert main(["export-hf", str(embedded), "static"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E0436]: ")
    assert "--force" in err
    assert {file: file.read_bytes() for file in embedded.rglob("*") if file.is_file()} == before
    assert main(["export-hf", str(embedded), "static", "--force"]) == 0
    assert "POLICY" in theirs.read_text()
    assert (
        main(["export-hf", str(embedded), "static"]) == 0
    )  # what would be written is there: nothing is lost
    assert main(["export-hf", str(embedded), "threshold"]) == 2


def test_links_into_a_cache_are_replaced_and_not_written_through(embedded: Path, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    (embedded / "config.json").rename(blob)
    (embedded / "config.json").symlink_to(blob)
    before = blob.read_bytes()
    assert main(["export-hf", str(embedded), "static"]) == 0
    assert blob.read_bytes() == before
    assert "auto_map" in json.loads((embedded / "config.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_no_link_leads_out_of_the_folder(
    embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "generate.py").write_text("theirs\n")
    (embedded / "custom_generate").symlink_to(elsewhere)
    before = contents(embedded), contents(elsewhere)
    for words in ([], ["--force"]):
        assert main(["export-hf", str(embedded), "static", *words]) == 2
        err = capsys.readouterr().err
        assert err.startswith(
            f"error[E0419]: `{embedded / 'custom_generate'}` is a link, and dsldec writes only inside the model's folder"
        )
        assert (contents(embedded), contents(elsewhere)) == before
    for target in (
        tmp_path / "nothing",
        embedded / "custom_generate",
        embedded,
    ):  # dangling, a loop, its own folder
        (embedded / "custom_generate").unlink()
        (embedded / "custom_generate").symlink_to(target)
        assert main(["export-hf", str(embedded), "static", "--force"]) == 2
        assert capsys.readouterr().err.startswith("error[E0419]: ")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "name", ["custom_generate/generate.py", "custom_generate/requirements.txt", "modeling_dsldec.py"]
)
@pytest.mark.parametrize("target", ["theirs.py", "nothing.py", "/dev/zero", "loop"])
def test_a_link_in_a_files_place_is_asked_about_and_replaced(
    name: str, target: str, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, link = tmp_path / "theirs.py", embedded / name
    theirs.write_text("theirs\n")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(link if target == "loop" else tmp_path / target)
    assert main(["export-hf", str(embedded), "static"]) == 2
    assert capsys.readouterr().err.startswith(f"error[E0436]: `{link}` exists already")
    assert link.is_symlink()
    assert main(["export-hf", str(embedded), "static", "--force"]) == 0
    assert link.is_file()
    assert not link.is_symlink()
    assert theirs.read_text() == "theirs\n"
    assert not (tmp_path / "nothing.py").exists()


def test_a_pipe_or_a_folder_in_a_files_place(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = embedded / "modeling_dsldec.py"
    os.mkfifo(place)
    assert main(["export-hf", str(embedded), "static"]) == 2
    assert capsys.readouterr().err.startswith("error[E0436]: ")
    place.unlink()
    place.mkdir()
    before = contents(embedded)
    assert main(["export-hf", str(embedded), "static", "--force"]) == 2
    assert capsys.readouterr().err.startswith(f"error[E0432]: `{place}` cannot be written to: is a directory")
    assert contents(embedded) == before
    assert not (embedded / "custom_generate").exists()
    assert not [*embedded.rglob(".*")]
    place.rmdir()
    (embedded / "custom_generate").write_text("a file\n")
    assert main(["export-hf", str(embedded), "static", "--force"]) == 2
    assert capsys.readouterr().err.startswith(
        f"error[E0432]: `{embedded / 'custom_generate'}` cannot be written to: not a directory"
    )


def test_a_link_put_there_meanwhile_leads_nothing_astray(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def swapped(folder: Path, files: Any) -> None:
        (embedded / "custom_generate").symlink_to(elsewhere)
        write_inside(folder, files)

    monkeypatch.setattr("dsldec.tools.export_hf.write_inside", swapped)
    assert main(["export-hf", str(embedded), "static"]) == 2
    assert capsys.readouterr().err.startswith("error[E0419]: ")
    assert not contents(elsewhere)
    (embedded / "custom_generate").unlink()

    def gone(folder: Path, files: Any) -> None:
        shutil.rmtree(folder)
        write_inside(folder, files)

    monkeypatch.setattr("dsldec.tools.export_hf.write_inside", gone)
    assert main(["export-hf", str(embedded), "static"]) == 2
    assert capsys.readouterr().err.startswith(
        f"error[E0432]: `{embedded}` cannot be written to: no such file or directory"
    )


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o664, 0o755])
def test_files_keep_their_mode(mode: int, embedded: Path) -> None:
    (embedded / "config.json").chmod(mode)
    assert main(["export-hf", str(embedded), "static"]) == 0
    assert (embedded / "config.json").stat().st_mode & 0o7777 == mode
    written = embedded / "custom_generate" / "generate.py"
    umask = os.umask(0)
    os.umask(umask)
    assert written.stat().st_mode & 0o7777 == 0o666 & ~umask
    written.chmod(mode)
    assert main(["export-hf", str(embedded), "threshold", "--force"]) == 0
    assert written.stat().st_mode & 0o7777 == mode
    assert "threshold" in written.read_text()


def test_a_failure_replaces_nothing(
    embedded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, calls = contents(embedded), []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main(["export-hf", str(embedded), "static"]) == 2
    assert capsys.readouterr().err.startswith(
        f"error[E0432]: `{embedded / 'config.json'}` cannot be written to: no space left on device"
    )
    assert contents(embedded) == before
    assert not (embedded / "custom_generate").exists()


def test_a_folder_that_is_a_link_is_the_folder(embedded: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(embedded)
    assert main(["export-hf", str(tmp_path / "link"), "static"]) == 0
    assert (embedded / "custom_generate" / "generate.py").is_file()


@pytest.mark.parametrize("linked", [False, True])
def test_a_snapshot_in_a_hubs_cache_is_left_alone(
    linked: bool, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "hub" / "models--somebody--model"
    snapshot, blobs = model / "snapshots" / "0123abcd", model / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in embedded.iterdir():
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    before, folder = contents(model), snapshot
    if linked:
        folder = tmp_path / "mine"
        folder.symlink_to(snapshot)
    assert main(["export-hf", str(folder), "static", "--force"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error[E0419]: `{folder}` is a snapshot in the cache of Hugging Face")
    assert contents(model) == before
    shutil.copytree(snapshot, tmp_path / "copy")  # `cp -rL`
    assert f"`cp -rL {folder}/ my-model`" in err
    assert main(["export-hf", str(tmp_path / "copy"), "static"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["export-hf", "x" * 5000, "static"], "E0405", "there is no folder"),
        (["export-hf", "nowhere", "static"], "E0405", "there is no folder `nowhere`"),
        (["export-hf", "empty", "static"], "E0405", "it has no `config.json`"),
        (["export-hf", "empty", "statc"], "E0401", "did you mean `static`?"),
        (["export-hf", "empty", "static", "--set", "tokns=2"], "E0403", "did you mean `tokens`?"),
        (
            ["export-hf", "empty", "freedave", "--lookahead", "3"],
            "E0411",
            "sets its own number of drafts",
        ),
        (["export-hf", "empty"], "E0420", "lacks"),
        (["export-hff"], "E0421", "did you mean `dsldec export-hf`?"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str],
    code: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(arguments) in (1, 2)
    err = capsys.readouterr().err
    assert err.startswith(f"error[{code}]: ")
    assert says in err


def test_a_table_is_not_written_out(
    embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, numbers = tmp_path / "t.policy", tmp_path / "n.json"
    policy.write_text(
        "policy t(frequency: table = 0.5):\n  window blocks(8)\n  commit top(masked, 1, by=conf * of(frequency, token))\n"
    )
    numbers.write_text(json.dumps([0.5] * 818))
    status = main(["export-hf", str(embedded), str(policy), "--set", f"frequency=@{numbers}"])
    assert (status, capsys.readouterr().err.partition(":")[0]) == (2, "error[E0423]")


@pytest.mark.parametrize("text", ["a\nb", 'a """ b\n', "a \\n 'b'\n", 'ends in "quotes"', "é ü\n"])
def test_any_text_is_read_back(text: str) -> None:
    assert ast.literal_eval(_literal(text)).rstrip("\n") == text.rstrip("\n")


def test_ends_are_written(embedded: Path) -> None:
    words = ["--stop", "####", "--stop", 'a "quoted"\n', "--stop-id", "7", "--min-length", "3"]
    assert main(["export-hf", str(embedded), "static", *words]) == 0
    made = run_alone((embedded / "custom_generate" / "generate.py").read_text())
    assert made["decode"].options.decode == {
        "stop": ["####", 'a "quoted"\n'],
        "stop_ids": [7],
        "min_length": 3,
    }


def test_ends_that_are_none_are_refused(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--stop", ""], ["--stop-id", "-1"], ["--stop-id", "seven"], ["--min-length", "-2"]):
        assert main(["export-hf", str(embedded), "static", *words]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error[E04")
        assert words[0] in err
    assert not (embedded / "custom_generate").exists()
