"""Damaged weight files, and weight files of another configuration, get a message that names the fault."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dsldec.cli import main
from dsldec.models.huggingface import from_pretrained

from . import tiny

Weights = dict[str, torch.Tensor]
TWO = {"num_hidden_layers": 2}


def bert(folder: Path, **sizes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    class_name, settings = tiny.NATIVE["bert"]
    tiny.model(class_name, settings | sizes).save_pretrained(folder)
    tiny.tokenizer(folder)
    return folder


def changed(folder: Path, change: Callable[[Weights], Weights]) -> Path:
    file = folder / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(file).items()}
    tiny.save_file(change(weights), file, metadata={"format": "pt"})
    return folder


def without(part: str) -> Callable[[Path], Path]:
    return lambda folder: changed(
        bert(folder, **TWO), lambda weights: {name: one for name, one in weights.items() if part not in name}
    )


def other_config(**vary: Any) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        file = bert(folder, **TWO) / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | vary))
        return folder

    return made


def bytes_changed(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        file = bert(folder) / "model.safetensors"
        file.write_bytes(change(file.read_bytes()))
        return folder

    return made


def header(of: Any) -> Callable[[bytes], bytes]:
    written = json.dumps(of).encode()
    return lambda _: len(written).to_bytes(8, "little") + written


def in_shards(name: str, gone: bool = False) -> Callable[[Path], Path]:
    """All tensors in one shard of this name, from the folder on."""

    def made(folder: Path) -> Path:
        whole = bert(folder) / "model.safetensors"
        names = list(load_file(whole))
        whole.rename(Path(os.path.normpath(folder / name)))
        if gone:
            (folder / name).unlink()
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, name)})
        )
        return folder

    return made


def index(text: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        (bert(folder) / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(text)
        return folder

    return made


class Code:
    """A pickle that would run code, as a file of weights may hold one."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("ran",))


def pickled(folder: Path) -> Path:
    (bert(folder) / "model.safetensors").unlink()
    torch.save({"weight": Code()}, folder / "pytorch_model.bin")
    return folder


def none(folder: Path) -> Path:
    (bert(folder) / "model.safetensors").unlink()
    return folder


def own(change: Callable[[Weights], Weights]) -> Callable[[Path], Path]:
    return lambda folder: changed(tiny.saved(folder, "llada"), change)


FAULTS: list[tuple[Callable[[Path], Path], str]] = [
    (
        without(".layer.1."),
        "its files hold no weights for `bert.encoder.layer.1.attention.output.LayerNorm.bias` and 15 more (of layer 1)",
    ),
    (without(".layer."), "and 31 more (of layers 0-1)"),
    (without("word_embeddings"), "its files hold no weights for `bert.embeddings.word_embeddings.weight`"),
    (without("cls."), "and 5 more: it was saved without its language-model head"),
    (other_config(num_hidden_layers=4), "and 31 more (of layers 2-3)"),
    (other_config(num_hidden_layers=1), "and 15 more (of layer 1), which `BertForMaskedLM` does not have"),
    (other_config(vocab_size=60), "as [50, 16], and `config.json` requires [60, 16], and 1 more"),
    (
        bytes_changed(lambda data: data[: len(data) // 2]),
        "model.safetensors` cannot be read: it is cut off: ",
    ),
    (bytes_changed(lambda data: b""), "model.safetensors` cannot be read: it is cut off"),
    (
        bytes_changed(lambda data: b"\xff" * 8 + data[8:]),
        "model.safetensors` cannot be read: it is cut off, or not a `.safetensors` file",
    ),
    (
        bytes_changed(lambda data: data[:8] + b"\xff" * len(data[8:])),
        "cannot be read: its header is not JSON",
    ),
    (bytes_changed(header([1])), "cannot be read: its header is not JSON"),
    (
        bytes_changed(header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}})),
        "its header does not say where its tensors are",
    ),
    (bytes_changed(header({"a": 1})), "its header does not say where its tensors are"),
    (
        in_shards("../outside.safetensors"),
        "names `../outside.safetensors`, which is not a file of this folder",
    ),
    (in_shards("model-1.safetensors", gone=True), "lacks `model-1.safetensors` of its 1 files of weights"),
    (index('{"weight_map": ["a"]}'), "is not an index of weights"),
    (index('{"weight_map": {"a": 1}}'), "is not an index of weights"),
    (pickled, "a weight file is a pickle with more than tensors, and could run code"),
    (none, "it has no weights, no `model.safetensors`"),
    (own(lambda weights: dict(list(weights.items())[1:])), "its files hold no weights for `"),
    (
        own(lambda weights: {name: one[:1].clone() for name, one in weights.items()}),
        "and `config.json` requires [",
    ),
]


@pytest.mark.parametrize(("made", "says"), FAULTS, ids=[says for _, says in FAULTS])
def test_weights_that_do_not_fit_are_told(
    made: Callable[[Path], Path],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = made(tmp_path / "model")
    capsys.readouterr()  # what was said while it was saved
    assert (
        main(["run", "--model", str(folder), "--device", "cpu", "--no-live", "--trust-remote-code", "w1"])
        == 2
    )
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0][:14]) == ("", "error[E0418]: ")
    assert says in err
    assert len(err.splitlines()) == 2, err  # nothing of transformers' own
    assert not (tmp_path / "ran").exists()
    assert ("language-model head" in err) == ("language-model head" in says)
    # What a model is can be shown without its weights, whatever they are.
    assert main(["model", str(folder), "--device", "cpu", "--trust-remote-code"]) == 0


@pytest.mark.parametrize(
    "key", ["bert.pooler.dense.weight", "cls.seq_relationship.weight", "bert.embeddings.position_ids"]
)
def test_what_other_heads_left_behind_is_passed_over_in_silence(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(bert(tmp_path), lambda weights: weights | {key: torch.zeros(2, 16)})
    capsys.readouterr()
    from_pretrained(folder, device="cpu")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("vary", [{"hidden_size": "many"}, {"num_attention_heads": 0}, {"hidden_size": 7}])
def test_a_configuration_that_no_model_can_be_made_of_is_told(
    vary: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = other_config(**vary)(tmp_path)
    for verb in (["run", "--model", str(folder), "w1"], ["model", str(folder)]):
        assert main([*verb, "--device", "cpu"]) == 2
        assert capsys.readouterr().err.startswith("error[E04")
