"""A tokenizer that does not fit its model gives a message, and an id without a token is written only on
request.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import dsldec
from dsldec.cli import main
from dsldec.engines.transformers import custom_generate
from dsldec.models.huggingface import HuggingFaceDenoiser, denoiser_of, from_pretrained

from ..shipped import CORE
from . import tiny
from .tiny import EOS, MASK, SIZE

TOKENS = 12
NEVER = range(TOKENS, SIZE)
PROMPTS = [[5, 6, 7], [8, 9], [10, 11, 5, 6], [7]]


def folder_of(
    folder: Path, *, family: str = "llama", sizes: dict[str, Any] | None = None, **tokens: Any
) -> Path:
    class_name, settings = tiny.NATIVE[family]
    tiny.model(class_name, settings | (sizes or {})).save_pretrained(folder)
    tiny.tokenizer(folder, **({"size": TOKENS} | tokens))
    return folder


def loaded(folder: Path, **given: Any) -> HuggingFaceDenoiser:
    denoiser: HuggingFaceDenoiser = from_pretrained(folder, device="cpu", **given)
    return denoiser


def written(denoiser: HuggingFaceDenoiser, policy: str = "static", **how: Any) -> set[int]:
    decoded = dsldec.decode(
        denoiser,
        PROMPTS,
        policy,
        gen_length=12,
        backend=how.pop("backend", "eager"),
        stop_at_eos=False,
        **how,
    )
    assert decoded.errors == [None] * len(PROMPTS)
    return {
        id_ for ids, prompt in zip(decoded.ids, PROMPTS, strict=True) for id_ in ids[len(prompt) :].tolist()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 50 ids with a tokenizer of 12."""
    return folder_of(tmp_path_factory.mktemp("small"))


GUIDED = "policy guided():\n  window blocks(4)\n  logits cfg(1.5)\n  commit top(masked, 1, by=conf)\n"
DRAWS = "policy draws():\n  window blocks(4)\n  draw gumbel(2.0)\n  commit top(masked, 1, by=conf)\n"


@pytest.mark.parametrize(
    ("policy", "how"),
    [
        ("static", {}),
        ("static", {"backend": "reference"}),
        ("static", {"cache": "prefix"}),
        ("static", {"cache": "dual"}),
        ("threshold", {"lookahead": 3}),
        (GUIDED, {}),
        (GUIDED, {"cache": "dual"}),
        (DRAWS, {}),
    ],
)
def test_ids_without_a_token_are_written_only_where_asked_for(
    policy: str, how: dict[str, Any], small: Path
) -> None:
    assert not written(loaded(small), policy, **how) & set(NEVER)
    assert written(loaded(small, all_ids=True), policy, **how) & set(NEVER)


@pytest.mark.parametrize("policy", CORE)
@pytest.mark.parametrize("backend", ["eager", "reference"])
def test_no_shipped_policy_writes_one(policy: str, backend: str, small: Path) -> None:
    assert not written(loaded(small), policy, backend=backend) & set(NEVER)


@pytest.mark.parametrize("family", ["llama", "eurobert", "bert"])
def test_their_logits_are_minus_infinity_and_all_others_as_they_were(family: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, family=family)
    ids = torch.tensor([[5, 6, 7, MASK, MASK, MASK]])
    at = torch.tensor([[4, 2]])
    denoiser = loaded(folder)
    never = denoiser.never
    for given in ({}, {"at": at}):
        denoiser.never = never
        logits = denoiser(ids, **given)
        denoiser.never = None
        known = denoiser(ids, **given)
        assert torch.equal(logits[..., :TOKENS], known[..., :TOKENS])
        assert bool((logits[..., TOKENS:] == -torch.inf).all())
        assert bool(known.isfinite().all())


def test_shifted_logits_keep_none_of_them(small: Path) -> None:
    logits = loaded(small, shift_logits=True)(torch.tensor([[5, 6, MASK]]))
    assert bool((logits[..., TOKENS:] == -torch.inf).all())


@pytest.mark.slow
def test_compiled_steps_write_none_of_them(small: Path) -> None:
    assert not written(loaded(small), "threshold", backend="inductor") & set(NEVER)


def test_blocks_with_their_cache_write_none_of_them(tmp_path: Path) -> None:
    folder = tiny.saved_in_blocks(tmp_path, "qwen3", size=TOKENS)
    assert not written(loaded(folder), "static", cache="exact") & set(NEVER)


def test_gaps_are_filled_with_tokens(small: Path) -> None:
    text = "w3 [MASK*4] w5 [MASK*3]"
    for all_ids in (False, True):
        decoded = dsldec.decode(loaded(small, all_ids=all_ids), [text], "static", infill=True)
        words = str(decoded.text[0]).replace("<m>", "").split()
        assert (len(words) == 9) != all_ids


def test_a_model_that_was_loaded_before_writes_none_of_them(small: Path) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(small).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(small)
    assert not written(denoiser_of(model, tokenizer)) & set(NEVER)
    # Without a tokenizer there is nothing to compare with.
    assert written(denoiser_of(model, None, mask_id=MASK)) & set(NEVER)
    assert not written(custom_generate("static")._denoisers.of(model, [])) & set(NEVER)
    assert written(custom_generate("static", all_ids=True)._denoisers.of(model, [])) & set(NEVER)


def test_what_fits_costs_nothing_and_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dsldec"):
        assert loaded(tiny.saved(tmp_path, "llama")).never is None
        assert from_pretrained().never is None
    assert not caplog.records


def test_holes_in_the_vocabulary_are_passed_over(tmp_path: Path) -> None:
    denoiser = loaded(folder_of(tmp_path, size=SIZE, holes=(7, 20, 21)))
    assert denoiser.never is not None
    assert denoiser.never.tolist() == [7, 20, 21]


def test_added_tokens_are_tokens(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, size=SIZE - 4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<a>", "<b>"])
    tokenizer.save_pretrained(folder)
    denoiser = loaded(folder)
    assert denoiser.never is not None
    assert denoiser.never.tolist() == [SIZE - 2, SIZE - 1]


def test_the_mask_and_the_end_need_no_token(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, sizes={"mask_token_id": 40, "eos_token_id": 41}, mask=False)
    config = json.loads((folder / "config.json").read_text())
    assert config["mask_token_id"] == 40
    denoiser = loaded(folder, eos_id=41)
    assert (denoiser.mask_id, denoiser.eos_id) == (40, 41)
    assert denoiser.never is not None
    assert not {40, 41} & set(denoiser.never.tolist())
    decoded = dsldec.decode(denoiser, ["w3 [MASK*2] w4"], "static", infill=True)
    assert 40 not in decoded.ids[0].tolist()
    assert str(decoded.text[0]).startswith("w3 ")


def warned(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> tuple[list[str], list[str]]:
    """The warnings of `dsldec run` and those of `dsldec model`."""
    found = []
    run = [
        "run",
        "--gen-length",
        "2",
        "--policy",
        "static",
        "--raw",
        "--no-live",
        "--device",
        "cpu",
        "--model",
        str(folder),
        *more,
        "w1",
    ]
    for command, status in ((run, 0), (["model", str(folder), "--device", "cpu", *more], 0)):
        assert main(command) == status
        found.append([line for line in capsys.readouterr().err.splitlines() if "W0402" in line])
    return found[0], found[1]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (folder_of, "the model has 50 ids and the tokenizer 12: 38 ids have no token, they are never written"),
        (lambda folder: folder_of(folder, size=60), "the tokenizer has an id 59 and the model 50 ids: 10 tokens are unknown"),
        (lambda folder: folder_of(folder, size=SIZE, holes=(7,)), "the tokenizer 49: 1 id has no token"),
        (lambda folder: folder_of(folder, size=SIZE, sizes={"mask_token_id": 9}), "`mask_token_id` is 2 in the tokenizer and 9 in "),
        (lambda folder: folder_of(folder, size=SIZE, sizes={"eos_token_id": 9}), "`eos_token_id` is 1 in the tokenizer and 9 in "),
        (lambda folder: folder_of(folder, size=SIZE, sizes={"pad_token_id": 9}), "`pad_token_id` is 0 in the tokenizer and 9 in "),
        (lambda folder: folder_of(folder, size=SIZE, sizes={"bos_token_id": 900}), "`bos_token_id` is 900 in config.json, and"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(
    made: Callable[[Path], Path],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran, shown = warned(capsys, made(tmp_path))
    assert len(ran) == 1
    assert says in ran[0]
    assert ran == shown
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dsldec"):
        loaded(tmp_path)
    assert [record.message.splitlines()[0] for record in caplog.records] == ran


def test_with_the_flag_the_warning_says_what_is_lost(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran, shown = warned(capsys, small, "--all-ids")
    assert ran == shown
    assert "they are missing from the text" in ran[0]


def test_ends_that_one_file_joins_do_not_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As Qwen's: the tokenizer ends turns, the configuration ends texts, and what generates ends at both."""
    folder = folder_of(tmp_path, size=SIZE, sizes={"eos_token_id": 9})
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(generation | {"eos_token_id": [EOS, 9]}))
    assert warned(capsys, folder) == ([], [])


def test_a_vocabulary_that_is_padded_is_shown_and_not_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, sizes={"vocab_size": 640}, size=635)
    assert warned(capsys, folder) == ([], [])
    assert main(["model", str(folder), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "640 ids, 5 of them without a token" in out
    assert "635 tokens" in out
    denoiser = loaded(folder)
    assert denoiser.never is not None
    assert denoiser.never.tolist() == [635, 636, 637, 638, 639]


def test_json_holds_the_warnings(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", str(small), "--device", "cpu", "--format", "json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["vocab_size"], about["tokens"], about["ids_without_token"]) == (50, 12, 38)
    assert [one["code"] for one in about["warnings"]] == ["W0402"]


def test_a_prompt_with_a_token_that_the_model_does_not_have_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, size=60)
    assert main(["run", "--model", str(folder), "--device", "cpu", "--no-live", "w55"]) == 1
    assert "error[E0409]: the prompt holds the id 58, and the vocabulary has 50" in capsys.readouterr().err


def test_a_tokenizer_made_of_special_tokens_alone_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """transformers makes one, and says nothing, where no vocabulary stands beside `tokenizer_config.json`."""
    folder = tiny.saved(tmp_path, "albert")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text("{}")
    assert main(["model", str(folder), "--device", "cpu"]) == 2
    assert "has no tokenizer: its files hold no vocabulary" in capsys.readouterr().err


def test_a_mask_that_the_model_has_no_id_for_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, size=60, mask=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    tokenizer.save_pretrained(folder)
    capsys.readouterr()
    assert main(["model", str(folder), "--device", "cpu"]) == 1
    out, err = capsys.readouterr()
    assert "mask         none found" in out
    assert "`mask_token_id` is 60 in the tokenizer, and the model has 50 ids" in err
    assert main(["run", "--model", str(folder), "--device", "cpu", "w1"]) == 2
    assert "error[E0405]: " in capsys.readouterr().err


def test_an_exported_folder_keeps_the_flag(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "model")
    assert main(["export-hf", str(folder), "static", "--all-ids"]) == 0
    assert "all_ids=True" in (folder / "custom_generate" / "generate.py").read_text()
