"""Which embedded model does a name mean, in Python and on the command line?"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import dsldec
from dsldec.cli import main
from dsldec.diagnostics import UsageError
from dsldec.models.embedded_denoiser import EmbeddedDenoiser
from dsldec.models.embedded_names import embedded_name
from dsldec.resources import EMBEDDED_MODELS, embedded_model_folder


def test_names_and_folders() -> None:
    assert embedded_name(None) == "word_problems"
    assert [embedded_name(f"dsldec:{name}") for name in EMBEDDED_MODELS] == [*EMBEDDED_MODELS]
    assert embedded_name(Path("dsldec:equations")) == "equations"
    for other in ("equations", "./dsldec:equations", "owner/model", "", "Dsldec:equations"):
        assert embedded_name(other) is None
    with pytest.raises(LookupError, match="word_problems, equations"):
        embedded_model_folder("nothing")


@pytest.mark.parametrize("name", EMBEDDED_MODELS)
def test_a_name_loads_the_model_without_transformers(name: str) -> None:
    denoiser = dsldec.from_pretrained(f"dsldec:{name}", device="cpu")
    assert type(denoiser) is EmbeddedDenoiser
    copied = pickle.loads(pickle.dumps(denoiser))
    # The model of transformers that takes over is the same one.
    assert copied.model.name_or_path == str(embedded_model_folder(name))
    for one in (denoiser, copied):
        assert one.tokenizer.encode("6+>,30") == denoiser.encode("6+>,30")[1:-1]


def test_both_are_different_models() -> None:
    first, second = (dsldec.from_pretrained(f"dsldec:{name}", device="cpu") for name in EMBEDDED_MODELS)
    assert (first.gen_length, second.gen_length) == (48, 64)
    assert first.vocab_size == second.vocab_size


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dsldec:equation", "did you mean `dsldec:equations`?"),
        ("dsldec:sudoku", "one of `dsldec:word_problems`, `dsldec:equations`"),
        ("dsldec:", "one of `dsldec:word_problems`, `dsldec:equations`"),
        ("dsldec:../embedded", "one of `dsldec:word_problems`, `dsldec:equations`"),
        ("equations", "the model inside dsldec is `dsldec:equations`"),
    ],
)
def test_another_name_is_a_diagnostic_with_help(
    name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as wrong:
        dsldec.from_pretrained(name)
    assert wrong.value.diagnostic.code == "E0405"
    assert says in str(wrong.value)
    verbs = (["run", "--model", name, "a"], ["model", name], ["evaluate", "--task", "sudoku", "--model", name],
             ["evaluate", "--limit", "1", "--model", name])  # fmt: skip
    for words in verbs:
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert says in err
        assert err.startswith("error[E0405]: ")
    assert not [*tmp_path.iterdir()]


def test_export_hf_copies_the_model_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = {file.name: file.read_bytes() for file in embedded_model_folder("equations").iterdir()}
    assert main(["export-hf", "dsldec:equations", "none"]) == 1  # no policy: no copy stays
    assert not [*tmp_path.iterdir()]
    assert main(["export-hf", "dsldec:equations", "threshold"]) == 0
    copied = tmp_path / "dsldec-equations"
    assert (copied / "custom_generate" / "generate.py").is_file()
    assert not [*copied.glob("held_out*")]
    assert (copied / "model.safetensors").read_bytes() == inside["model.safetensors"]
    assert inside == {file.name: file.read_bytes() for file in embedded_model_folder("equations").iterdir()}
    capsys.readouterr()
    assert main(["export-hf", "dsldec:equations", "threshold"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E0436]: ")
    assert "`dsldec export-hf dsldec-equations threshold`" in err
    assert main(["export-hf", "dsldec-equations", "threshold"]) == 0


def test_an_engine_of_sglang_does_not_serve_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dsldec.options import LoadOptions
    from dsldec.tools.batch_sglang import require_for_engine
    from dsldec.tools.run import RunOptions

    for model in (None, "dsldec:equations"):
        with pytest.raises(UsageError, match="does not serve the embedded models"):
            require_for_engine(RunOptions(model=model, load=LoadOptions()), None)
