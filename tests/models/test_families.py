"""Every model family from its folder: recognised, loaded, padded, decoded; and the messages for models that
cannot denoise.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import processors

import dsldec
from dsldec.models.families import family_of
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained
from dsldec.models.remote_code import plain_frequencies

from . import tiny
from .tiny import EOS, MASK, NATIVE, OWN_CODE, PAD, SIZE

FAMILIES = (*NATIVE, *OWN_CODE)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: tiny.saved(root / family.replace(" ", "_"), family) for family in FAMILIES}


def trusted(folder: Path, **given: Any) -> HuggingFaceDenoiser:
    return from_pretrained(folder, trust_remote_code=True, device="cpu", **given)


def declined(folder: Path, code: str = "E0405", **given: Any) -> str:
    with pytest.raises(dsldec.UsageError) as error:
        from_pretrained(folder, **({"trust_remote_code": True, "device": "cpu"} | given))
    assert error.value.diagnostic.code == code
    assert error.value.diagnostic.help
    return str(error.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_becomes_a_denoiser(family: str, folders: dict[str, Path]) -> None:
    denoiser = trusted(folders[family])
    assert (denoiser.mask_id, denoiser.eos_id, denoiser.vocab_size, denoiser.max_length) == (
        MASK, EOS, SIZE, {"roberta": 65}.get(family, 66 if family in NATIVE else 64)
    )  # fmt: skip
    assert denoiser.shift_logits == (family == "dream")
    decoded = dsldec.decode(
        denoiser, [[5, 6, 7], [8, 9]], "static", gen_length=4, backend="eager", stop_at_eos=False
    )
    assert [len(ids) for ids in decoded.ids] == [7, 6]
    assert all(MASK not in ids.tolist() for ids in decoded.ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_model_that_was_saved(family: str, folders: dict[str, Path]) -> None:
    original = tiny.model(*NATIVE[family]) if family in NATIVE else tiny.own_code_model(*OWN_CODE[family])
    ids = torch.tensor([[5, 6, 7, MASK, MASK, 8]])
    with torch.inference_mode():
        expected = original(input_ids=ids).logits
    given = trusted(folders[family])(ids)
    torch.testing.assert_close(
        given[:, 1:], expected[:, :-1] if family == "dream" else expected[:, 1:], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_row_equals_the_row_alone(family: str, folders: dict[str, Path]) -> None:
    denoiser = trusted(folders[family])
    assert denoiser.pads
    rows = [[5 + at % 40 for at in range(length)] + [MASK] * 4 for length in (20, 3, 11)]
    ids = torch.tensor([row + [MASK] * (24 - len(row)) for row in rows])
    together = denoiser(ids, lengths=[len(row) for row in rows])
    for index, row in enumerate(rows):
        alone = denoiser(torch.tensor([row]))[0]
        torch.testing.assert_close(together[index, : len(row)], alone, rtol=1e-5, atol=1e-5)
    assert (denoiser(ids)[1, :7] - together[1, :7]).abs().max() > 1e-3  # what is hidden would have been heard


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_of_padding_among_what_was_written_hide_nothing(family: str, folders: dict[str, Path]) -> None:
    denoiser = trusted(folders[family])
    ids = torch.tensor([[5, PAD, 6, PAD, 7, 8], [5, PAD, 6, PAD, 7, 9]])
    for lengths in (None, [6, 6]):
        one, other = denoiser(ids, lengths)
        assert (one[0] - other[0]).abs().max() > 1e-3
    torch.testing.assert_close(
        denoiser(ids[:1], [6])[0],
        denoiser(torch.nn.functional.pad(ids, (0, 1)), [6, 7])[0, :6],
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_model_that_heeds_no_mask_gets_rows_of_one_length(tmp_path: Path) -> None:
    denoiser = trusted(tiny.saved(tmp_path, "llada", vary={"heeds": "nothing"}))
    assert not denoiser.pads
    prompts = [[5, 6, 7], [8, 9]]
    together = dsldec.decode(denoiser, prompts, "static", gen_length=4, backend="eager", stop_at_eos=False)
    alone = [
        dsldec.decode(denoiser, [prompt], "static", gen_length=4, backend="eager", stop_at_eos=False)
        for prompt in prompts
    ]
    assert [ids.tolist() for ids in together.ids] == [one.ids[0].tolist() for one in alone]


def test_own_code_may_tie_its_head_and_come_in_shards(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path, "own code", vary={"tie_word_embeddings": True})
    weights = transformers.modeling_utils.load_state_dict(str(folder / "model.safetensors"))
    shards = {name: f"part-{at % 2}.safetensors" for at, name in enumerate(sorted(weights))}
    for shard in set(shards.values()):
        tiny.save_file(
            {name: weights[name].clone() for name in weights if shards[name] == shard}, folder / shard
        )
    os.remove(folder / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    model = trusted(folder).model
    assert model.model.head.weight is model.model.embedding.weight
    assert torch.equal(model.model.mix.weight, weights["model.mix.weight"])


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"architectures": ["FlaubertWithLMHeadModel"]}, "masked language model"),
        ({"architectures": ["BertForPreTraining"]}, "masked language model"),
        ({"model_type": "modernbert"}, "masked language model"),
        ({"model_type": "qwen2", "is_causal": False}, "decoder that sees both sides"),
        ({"architectures": ["GPT2LMHeadModel"], "is_causal": False}, "decoder that sees both sides"),
        ({"model_type": "llada", "auto_map": {"AutoModel": "a.B"}}, "LLaDA"),
        ({"model_type": "Dream", "auto_map": {"AutoModel": "a.B"}}, "Dream"),
        ({"model_type": "other", "auto_map": {"AutoModelForMaskedLM": "a.B"}}, "own code"),
    ],
)
def test_a_family_is_told_by_its_configuration(config: dict[str, Any], family: str) -> None:
    assert family_of(config, "x").name == family


def test_own_code_runs_only_when_trusted(folders: dict[str, Path]) -> None:
    assert "trust_remote_code=True" in declined(folders["llada"], trust_remote_code=False)


@pytest.mark.parametrize(("vocab_size", "mask_id"), [(126464, 126336), (157184, 156895)])
def test_the_mask_of_llada_is_known_by_its_vocabulary(vocab_size: int, mask_id: int, tmp_path: Path) -> None:
    denoiser = trusted(
        tiny.saved(tmp_path, "llada", vary={"vocab_size": vocab_size, "d_model": 4}, mask=False)
    )
    assert (denoiser.mask_id, denoiser.vocab_size) == (mask_id, vocab_size)


def test_a_mask_is_found_in_every_place_and_what_is_given_goes_before(tmp_path: Path) -> None:
    named = tiny.saved(tmp_path / "named", "llama", mask=False, extra=("<|mask|>", "<|im_end|>"))
    denoiser = trusted(named)
    assert (denoiser.mask_id, denoiser.eos_id, denoiser.stop_ids) == (3, EOS, {EOS, 4})
    assert denoiser.decode_text([7, 4, 8]) == "w2"
    assert (
        trusted(tiny.saved(tmp_path / "config", "llama", mask=False, vary={"mask_token_id": 9})).mask_id == 9
    )
    (named / "generation_config.json").write_text(json.dumps({"mask_token_id": 8, "max_new_tokens": 7}))
    assert (trusted(named).mask_id, trusted(named).gen_length) == (8, 7)
    given = trusted(named, mask_id=11, eos_id=12, shift_logits=True)
    assert (given.mask_id, given.eos_id, given.stop_ids, given.shift_logits) == (11, 12, {12}, True)
    assert "its `mask_id` is 50 and its `vocab_size` 50" in declined(named, "E0408", mask_id=50)


def test_no_mask_says_which_flag_to_pass(tmp_path: Path) -> None:
    said = declined(tiny.saved(tmp_path, "llama", mask=False))
    assert "has no mask token" in said
    assert "mask_id=N" in said


def test_a_shift_can_be_taken_back(folders: dict[str, Path]) -> None:
    ids = torch.tensor([[5, 6, 7, MASK]])
    moved, plain = trusted(folders["dream"])(ids), trusted(folders["dream"], shift_logits=False)(ids)
    assert torch.equal(moved[:, 1:], plain[:, :-1])


@pytest.mark.parametrize(
    ("family", "vary", "says"),
    [
        (
            "llama",
            {"is_causal": True},
            "(LlamaForCausalLM) is causal: a position sees only positions to its left",
        ),
        ("bert", {"is_decoder": True}, "is causal"),
        (
            "own code",
            {"causal": True},
            "is causal or block-causal: its last position does not affect the first",
        ),
        ("own code", {"gives": "hidden_states"}, "cannot be called as a denoiser"),
        ("bert", {"architectures": ["BertModel"]}, "(BertModel) has no language-model head"),
        ("bert", {"architectures": ["BertForSequenceClassification"]}, "has no language-model head"),
        (
            "bert",
            {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
            "is sequence-to-sequence",
        ),
        (
            "own code",
            {"model_type": "sdar", "architectures": ["SDARForCausalLM"]},
            "does not load: it lacks `hidden_size`",
        ),
        ("bert", {"model_type": "no_such_type"}, "the configuration of"),
    ],
)
def test_what_cannot_denoise_is_declined_in_words(
    family: str, vary: dict[str, Any], says: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders[family], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | vary))
    assert says in declined(folder)


def test_weights_without_a_head_are_not_filled_up_at_random(folders: dict[str, Path], tmp_path: Path) -> None:
    for family, part in (("bert", "cls."), ("own code", "model.head")):
        folder = tmp_path / family.replace(" ", "_")
        shutil.copytree(folders[family], folder)
        weights = transformers.modeling_utils.load_state_dict(str(folder / "model.safetensors"))
        kept = {name: tensor.clone() for name, tensor in weights.items() if not name.startswith(part)}
        tiny.save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        assert "its files hold no weights for `" in declined(folder, "E0418")


def test_a_missing_tokenizer_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder, ignore=shutil.ignore_patterns("tokenizer*"))
    assert "has no tokenizer" in declined(folder)


@pytest.mark.parametrize("family", ["bert", "qwen3", "llada", "dream"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_half_precision_give_logits_near_those_of_float32(
    family: str, dtype: torch.dtype, folders: dict[str, Path]
) -> None:
    exact, near = trusted(folders[family]), trusted(folders[family], dtype=str(dtype).removeprefix("torch."))
    ids = torch.tensor([[5, 6, 7, MASK, MASK, 8]])
    assert near(ids).dtype == dtype
    assert {parameter.dtype for parameter in near.model.parameters()} == {dtype}
    torch.testing.assert_close(near(ids).float(), exact(ids), rtol=0.1, atol=0.1)
    assert near.pads


class InFloat32:
    """Another denoiser's logits, widened before anything is done with them."""

    pads = True

    def __init__(self, denoiser: HuggingFaceDenoiser) -> None:
        self.denoiser, self.mask_id, self.vocab_size = denoiser, denoiser.mask_id, denoiser.vocab_size

    def __call__(self, ids: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        return self.denoiser(ids, lengths).float()


@pytest.mark.parametrize("backend", ["eager", "reference"])
def test_scores_of_half_precision_logits_are_taken_in_float32(backend: str, folders: dict[str, Path]) -> None:
    near = trusted(folders["qwen3"], dtype="bfloat16")
    given, widened = (
        dsldec.decode(
            one, [[5, 6, 7], [8, 9]], "factor", gen_length=12, backend=backend, stop_at_eos=False, trace=True
        )
        for one in (near, InFloat32(near))
    )
    assert given.trace == widened.trace
    assert [ids.tolist() for ids in given.ids] == [ids.tolist() for ids in widened.ids]


@pytest.mark.parametrize("family", ["llada", "dream"])
def test_what_own_code_computes_when_built_is_there_and_keeps_its_precision(
    family: str, folders: dict[str, Path]
) -> None:
    body = trusted(folders[family], dtype="bfloat16").model.model
    torch.testing.assert_close(
        body.frequencies, 100.0 ** (-torch.arange(8, dtype=torch.float32) / 8), rtol=1e-6, atol=0
    )


def test_plain_frequencies_are_those_of_transformers_own_models() -> None:
    config = transformers.LlamaConfig(**tiny.SIZES)
    expected = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config).inv_freq
    given, factor = plain_frequencies(config)
    assert torch.equal(given, expected)
    assert factor == 1.0


def test_a_template_is_used_unless_raw_and_its_lack_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="dsldec")
    chat, plain = tiny.saved(tmp_path / "chat", "bert", chat=True), tiny.saved(tmp_path / "plain", "bert")
    assert trusted(chat).encode("w1 w2") == [12, 4, 5, 11]
    assert trusted(chat, raw=True).encode("w1 w2") == [4, 5]
    assert not caplog.messages
    assert trusted(plain).encode("w1 w2") == [4, 5]
    assert caplog.messages == [
        "the tokenizer has no chat template: prompts are used unchanged (`from_pretrained(..., raw=True)` hides this line)"
    ]


def test_what_a_tokenizer_closes_a_text_with_is_left_out(tmp_path: Path) -> None:
    denoiser = trusted(tiny.saved(tmp_path, "bert"))
    closing = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", EOS)])
    denoiser.tokenizer.backend_tokenizer.post_processor = closing
    assert denoiser.tokenizer("w1 w2")["input_ids"] == [4, 5, EOS]
    assert denoiser.encode("w1 w2") == [4, 5]


def test_a_device_that_is_not_there_is_said(folders: dict[str, Path]) -> None:
    for device in (f"cuda:{torch.cuda.device_count()}", "nonsense", "xla"):
        assert f"there is no device `{device}`" in declined(folders["bert"], device=device)
    assert "cannot be loaded as `int8`" in declined(folders["bert"], dtype="int8")


def test_memory_that_does_not_suffice_for_weights_names_the_flag(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **given: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(transformers.PreTrainedModel, "to", full)
    said = declined(folders["bert"])
    assert "does not fit into the memory of `cpu`" in said
    assert 'dtype="bfloat16"' in said


def test_the_context_of_llada_bounds_what_fits(folders: dict[str, Path]) -> None:
    denoiser = trusted(folders["llada"])
    assert denoiser.gen_length == 32  # half of the 64 there are: the usual 256 would leave no prompt any room
    with pytest.raises(
        dsldec.UsageError, match="60 tokens and 5 to generate are more than the model's limit of 64"
    ) as error:
        dsldec.decode(denoiser, [[5] * 60], "static", gen_length=5)
    assert error.value.diagnostic.code == "E0407"


def test_weights_that_are_not_numbers_load_and_are_told_when_they_show(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path, "bert")
    weights = transformers.modeling_utils.load_state_dict(str(folder / "model.safetensors"))
    broken = {
        name: torch.full_like(tensor, torch.nan) if "intermediate" in name else tensor.clone()
        for name, tensor in weights.items()
    }
    tiny.save_file(broken, folder / "model.safetensors", metadata={"format": "pt"})
    decoded = dsldec.decode(trusted(folder), [[5, 6], [7]], "static", gen_length=4, backend="eager")
    assert [error.code if error else None for error in decoded.errors] == ["E0406", "E0406"]
