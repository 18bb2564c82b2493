"""`dsldec model`: its description of a model, the source of each fact, and the suggested command; all without
the weights.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsldec.cli import main

from ..models import tiny


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with tiny.code_copied_to(tmp_path_factory.mktemp("modules")):
        yield


def told(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main(["model", *arguments, "--format", "json", "--device", "cpu"]) == status
    about: dict[str, Any] = json.loads(capsys.readouterr().out)
    return about


def test_the_embedded_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "--device", "cpu"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.endswith("embedded: masked language model")
    assert [line.split(maxsplit=1) for line in lines if line.startswith("  class") or line.startswith("  parameters")] == [
        ["class", "EuroBertForMaskedLM"], ["parameters", "1,384,320"]
    ]  # fmt: skip
    assert "  mask         2, from the tokenizer" in lines
    assert "  context      1,024 tokens, from `max_position_embeddings` of config.json" in lines
    assert "  chat         a template" in lines
    assert lines[-1] == '  dsldec run --device cpu "..."'


@pytest.mark.parametrize("family", ["bert", "qwen3", "roberta", "llada", "dream"])
def test_no_weight_is_read(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.saved(tmp_path, family)
    original = (
        tiny.model(*tiny.NATIVE[family])
        if family in tiny.NATIVE
        else tiny.own_code_model(*tiny.OWN_CODE[family])
    )
    file = folder / "model.safetensors"
    header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    file.write_bytes(file.read_bytes()[:header])
    about = told(capsys, str(folder), "--trust-remote-code")
    assert about["parameters"] == sum(parameter.numel() for parameter in original.parameters())
    assert about["saved_as"] == "float32"
    assert about["class"] == type(original).__name__
    file.write_bytes(b"no such file\xff")
    assert told(capsys, str(folder), "--trust-remote-code")["saved_as"] in ("float32", None)


def test_what_it_says_is_what_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dsldec.models.huggingface import from_pretrained

    folder = tiny.saved(
        tmp_path,
        "dream",
        mask=False,
        vary={"vocab_size": 152064, "d_model": 4, "pad_token_id": 7},
        extra=("<|im_end|>",),
    )
    about, denoiser = (
        told(capsys, str(folder), "--trust-remote-code"),
        from_pretrained(folder, trust_remote_code=True, device="cpu"),
    )
    assert about["mask_id"] == {"value": 151666, "from": "dsldec's table for Dream"}
    assert about["shift_logits"] == {"value": True, "from": "the family, Dream"}
    assert about["eos_id"] == {"value": 1, "from": "the tokenizer"}
    assert about["ends"] == [1, 3]
    assert about["pad_id"] == {"value": 0, "from": "the tokenizer"}
    assert about["context"] == {"value": 64, "from": "`max_sequence_length` of config.json"}
    assert about["gen_length"] == {"value": 32, "from": "dsldec's default"}
    assert (denoiser.mask_id, denoiser.eos_id, denoiser.stop_ids, denoiser.shift_logits) == (
        151666,
        1,
        {1, 3},
        True,
    )
    assert (denoiser.max_length, denoiser.gen_length, denoiser.vocab_size) == (64, 32, about["vocab_size"])


def test_the_command_it_gives_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.saved(tmp_path / "a folder", "llada", mask=False)
    assert main(["model", str(folder), "--trust-remote-code"]) == 1
    out = capsys.readouterr().out
    assert "  mask         none found: give it with `--mask-id N`" in out
    about = told(
        capsys, str(folder), "--trust-remote-code", "--mask-id", "2", "--eos-id", "3", "--no-shift-logits"
    )
    assert about["mask_id"] == {"value": 2, "from": "--mask-id"}
    words = shlex.split(about["run"])
    assert words[:2] == ["dsldec", "run"]
    assert words[2:-1] == [
        "--model", str(folder), "--trust-remote-code", "--mask-id", "2", "--eos-id", "3", "--no-shift-logits", "--device", "cpu"
    ]  # fmt: skip
    assert main([*words[1:-1], "w1 w2", "--gen-length", "4", "--backend", "eager", "--no-live"]) == 0
    ran = capsys.readouterr()
    assert "the tokenizer has no chat template: prompts are used unchanged" in ran.err
    assert ran.err.splitlines()[-1].startswith("1 prompt, ")


def test_blocks_and_where_their_length_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of SDAR, say: transformers' own Qwen3 stands in for the code it brings, so nothing has to be
    trusted.
    """
    sdar = {
        "model_type": "sdar",
        "architectures": ["SDARForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "gone.Model"},
    }
    folder = tiny.saved_in_blocks(tmp_path / "sdar", "qwen3", sdar | {"block_size": 8})
    assert main(["model", str(folder), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith(": SDAR")
    assert "  class        SDARForCausalLM" in shown
    assert (
        "  sees         its own block and those before it; blocks of 8 tokens, from `block_size` of config.json"
        in shown
    )
    about = told(capsys, str(folder), "--block-length", "4")
    assert (about["block_causal"], about["block_length"], about["own_code"]) == (
        True,
        {"value": 4, "from": "--block-length"},
        False,
    )
    words = shlex.split(about["run"])
    assert words[:-1] == ["dsldec", "run", "--model", str(folder), "--block-length", "4", "--device", "cpu"]
    arguments = [
        "w1 w2 w3",
        "--policy",
        "static",
        "--set",
        "block=4",
        "--gen-length",
        "8",
        "--backend",
        "eager",
        "--no-live",
    ]
    assert main([*words[1:-1], *arguments]) == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("1 prompt, ")
    whole = told(capsys)
    assert (whole["block_causal"], whole["block_length"]) == (False, None)


def test_blocks_of_unknown_length_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.saved_in_blocks(tmp_path, "llama", {"is_causal": False, "block_length": 0})
    assert main(["model", str(folder)]) == 1
    shown = capsys.readouterr().out
    assert "blocks of an unknown length: give it with `--block-length N`" in shown
    assert "--block-length N" in shown.splitlines()[-1]
    assert told(capsys, str(folder), "--block-length", "4")["block_length"] == {
        "value": 4,
        "from": "--block-length",
    }
    assert main(["run", "w1", "--model", str(folder), "--device", "cpu"]) == 2
    assert "has no block length" in capsys.readouterr().err


def test_weights_saved_in_half_are_run_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    folder = tmp_path / "half"
    tiny.model(*tiny.NATIVE["bert"]).to(torch.bfloat16).save_pretrained(folder)
    tiny.tokenizer(folder)
    about = told(capsys, str(folder))
    assert about["saved_as"] == "bfloat16"
    assert "--dtype bfloat16" in about["run"]


def test_what_cannot_be_decoded_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    causal = tiny.saved(tmp_path / "causal", "llama", vary={"is_causal": True})
    own_code = tiny.saved(tmp_path / "own", "own code")
    for path, says in (
        (causal, "is causal"),
        (own_code, "--trust-remote-code"),
        (tmp_path / "none", "there is no"),
    ):
        assert main(["model", str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error[E0405]: ")
        assert says in err
