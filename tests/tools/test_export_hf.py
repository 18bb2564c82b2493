"""`dsldec export-hf`: what it writes, what it leaves alone, what it says. That transformers decodes so is tested in `tests/engines`."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.cli import main
from dsldec.models.huggingface import from_pretrained
from dsldec.resources import embedded_model_folder, policy_file
from dsldec.tools.export_hf import ExportOptions, _literal

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
    assert asked == [ExportOptions("DIR", "dico", ("a=1", "b=2"), 9, 3, 4, 5, True, True, True)]


def test_what_is_written(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((embedded / "config.json").read_text())
    assert main(["export-hf", str(embedded), "static", "--set", "tokens=2", "--gen-length", "48", "--lookahead", "4"]) == 0
    text = (embedded / "custom_generate" / "generate.py").read_text()
    assert len(text.splitlines()) < 25
    assert {line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import", "from"))} == {"dsldec"}
    made = run_alone(text)
    assert made["POLICY"] == policy_file("static").read_text()
    assert made["decode"].policy.parameters == dsldec.load("static", tokens=2).parameters
    assert (made["decode"].options.gen_length, made["decode"].options.lookahead) == (48, 4)
    assert (embedded / "custom_generate" / "requirements.txt").read_text().startswith("dsldec")
    after = json.loads((embedded / "config.json").read_text())
    assert set(after.pop("auto_map").values()) == {"modeling_dsldec.EuroBertForMaskedLM"}
    assert after == before
    assert not list(embedded.rglob(".*"))
    out = capsys.readouterr().out
    assert f"transformers.AutoModelForMaskedLM.from_pretrained({str(embedded)!r}, trust_remote_code=True).generate(...)" in out
    assert f"transformers serve '{embedded}' --trust-remote-code" in out


def test_the_folder_is_still_the_same_denoiser(embedded: Path) -> None:
    """The class beside the weights is nothing to `dsldec`, which runs no code of the folder for it."""
    assert main(["export-hf", str(embedded), "static"]) == 0
    (embedded / "modeling_dsldec.py").write_text("raise AssertionError('this code is not trusted')")
    for trusted in (False, True):
        denoiser = from_pretrained(embedded, device="cpu", trust_remote_code=trusted)
        assert type(denoiser.model).__module__.startswith("transformers.models.")


def test_a_causal_class_needs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.saved(tmp_path, "qwen3", mask=False)
    before = (folder / "config.json").read_bytes()
    assert main(["export-hf", str(folder), "threshold"]) == 2
    assert "`--mask-id N`" in capsys.readouterr().err
    assert not (folder / "custom_generate").exists()
    assert main(["export-hf", str(folder), "threshold", "--mask-id", "2", "--no-shift-logits"]) == 0
    assert (folder / "config.json").read_bytes() == before
    assert not (folder / "modeling_dsldec.py").exists()
    made = run_alone((folder / "custom_generate" / "generate.py").read_text())
    assert (made["decode"].options.mask_id, made["decode"].options.shift_logits) == (2, False)
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
    assert "transformers.AutoModelForDecision.from_pretrained(" in capsys.readouterr().out


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
    assert main(["export-hf", str(embedded), "static"]) == 0  # what would be written is there: nothing is lost
    assert main(["export-hf", str(embedded), "threshold"]) == 2


def test_links_into_a_cache_are_replaced_and_not_written_through(embedded: Path, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    (embedded / "config.json").rename(blob)
    (embedded / "config.json").symlink_to(blob)
    before = blob.read_bytes()
    assert main(["export-hf", str(embedded), "static"]) == 0
    assert blob.read_bytes() == before
    assert "auto_map" in json.loads((embedded / "config.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["export-hf", "nowhere", "static"], "E0405", "there is no folder `nowhere`"),
        (["export-hf", "empty", "static"], "E0405", "it has no `config.json`"),
        (["export-hf", "empty", "statc"], "E0401", "did you mean `static`?"),
        (["export-hf", "empty", "static", "--set", "tokns=2"], "E0403", "did you mean `tokens`?"),
        (["export-hf", "empty", "freedave", "--lookahead", "3"], "E0411", "says itself how far it looks ahead"),
        (["export-hf", "empty"], "E0420", "lacks"),
        (["export-hff"], "E0421", "did you mean `dsldec export-hf`?"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str], code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(arguments) in (1, 2)
    err = capsys.readouterr().err
    assert err.startswith(f"error[{code}]: ")
    assert says in err


def test_a_table_is_not_written_out(embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy, numbers = tmp_path / "t.policy", tmp_path / "n.json"
    policy.write_text("policy t(frequency: table = 0.5):\n  window blocks(8)\n  commit top(masked, 1, by=conf * of(frequency, token))\n")
    numbers.write_text(json.dumps([0.5] * 818))
    status = main(["export-hf", str(embedded), str(policy), "--set", f"frequency=@{numbers}"])
    assert (status, capsys.readouterr().err.partition(":")[0]) == (2, "error[E0423]")


@pytest.mark.parametrize("text", ["a\nb", 'a """ b\n', "a \\n 'b'\n", 'ends in "quotes"', "é ü\n"])
def test_any_text_is_read_back(text: str) -> None:
    assert ast.literal_eval(_literal(text)).rstrip("\n") == text.rstrip("\n")
