"""Block-causal models: they are recognised, loaded without remote code if transformers has the same code, and
attend to the right positions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import dsldec
from dsldec.models.blocks import BlockMask, as_scores, as_truth, as_weights
from dsldec.models.families import family_of
from dsldec.models.huggingface import HuggingFaceDenoiser, denoiser_of, from_pretrained

from . import tiny
from .tiny import BLOCK_CAUSAL, EOS, MASK, SIZE

OWN_CODE = {
    "AutoConfig": "modeling_gone.Config",
    "AutoModel": "modeling_gone.Model",
    "AutoModelForCausalLM": "modeling_gone.Head",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("blocks")
    return {family: tiny.saved_in_blocks(root / family.replace(" ", "_"), family) for family in BLOCK_CAUSAL}


def declined(folder: Path, code: str = "E0405", **given: Any) -> str:
    with pytest.raises(dsldec.UsageError) as error:
        from_pretrained(folder, **({"device": "cpu"} | given))
    assert error.value.diagnostic.code == code
    assert error.value.diagnostic.help
    return str(error.value)


def seen(length: int, block: int) -> Tensor:
    """Who sees whom, said in a plain loop: `[1, 1, L, L]`."""
    rows = [[other // block <= at // block for other in range(length)] for at in range(length)]
    return torch.tensor(rows)[None, None]


@pytest.mark.parametrize("family", BLOCK_CAUSAL)
def test_a_configuration_that_says_its_blocks_is_block_causal(family: str, folders: dict[str, Path]) -> None:
    denoiser = from_pretrained(folders[family], device="cpu")
    assert (denoiser.block_length, denoiser.mask_id, denoiser.eos_id, denoiser.shift_logits) == (
        4,
        MASK,
        EOS,
        False,
    )
    assert denoiser.pads
    decoded = dsldec.decode(
        denoiser, [[5, 6, 7], [8, 9]], "static", gen_length=8, backend="eager", stop_at_eos=False
    )
    assert [len(ids) for ids in decoded.ids] == [11, 10]
    assert all(MASK not in ids.tolist() for ids in decoded.ids)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", BLOCK_CAUSAL)
def test_logits_are_those_under_an_explicit_mask(
    family: str, attention: str, folders: dict[str, Path]
) -> None:
    denoiser = with_attention(folders[family], attention)
    ids = torch.randint(3, SIZE, (2, 22), generator=torch.Generator().manual_seed(0))
    original = tiny.model(*BLOCK_CAUSAL[family])
    scores = torch.where(seen(22, 4), 0.0, -1e30).expand(2, -1, -1, -1)
    with torch.inference_mode():
        torch.testing.assert_close(
            denoiser(ids), original(input_ids=ids, attention_mask=scores).logits, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", BLOCK_CAUSAL)
def test_a_padded_row_equals_the_row_alone(family: str, attention: str, folders: dict[str, Path]) -> None:
    denoiser = with_attention(folders[family], attention)
    rows = [[5 + at % 40 for at in range(length)] + [MASK] * 4 for length in (21, 3, 11)]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [MASK] * (longest - len(row)) for row in rows])
    together = denoiser(ids, lengths=[len(row) for row in rows])
    for index, row in enumerate(rows):
        torch.testing.assert_close(
            together[index, : len(row)], denoiser(torch.tensor([row]))[0], rtol=1e-5, atol=1e-5
        )
    assert (
        denoiser(ids)[1, 4:7] - together[1, 4:7]
    ).abs().max() > 1e-3  # what is hidden stands in the same block


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", BLOCK_CAUSAL)
def test_a_position_hears_of_its_block_and_of_earlier_ones(
    family: str, attention: str, folders: dict[str, Path]
) -> None:
    """Exactly: a change changes no bit before its block, every position of its block, and some after it."""
    denoiser = with_attention(folders[family], attention)
    ids = torch.tensor([[5 + at % 40 for at in range(18)]])
    before = denoiser(ids)
    for at in (0, 3, 4, 9, 17):
        other = ids.clone()
        other[0, at] = 49
        moved = (denoiser(other) != before).any(-1)[0].tolist()
        begin = at // 4 * 4
        # A mixture of experts computes positions together that go to one expert, so only rounding can tell.
        if family != "qwen3 moe":
            assert not any(moved[:begin])
        torch.testing.assert_close(denoiser(other)[:, :begin], before[:, :begin], rtol=1e-5, atol=1e-6)
        assert all(moved[begin : begin + 4])
        assert moved[17]


def with_attention(folder: Path, attention: str) -> HuggingFaceDenoiser:
    # Given, since transformers 5.3 does not read what `config.json` says of it.
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention).eval()
    denoiser = denoiser_of(model, transformers.AutoTokenizer.from_pretrained(folder))
    assert denoiser.model.config._attn_implementation == attention
    assert isinstance(denoiser.mask, BlockMask)
    assert denoiser.mask.form is (as_truth if attention == "sdpa" else as_scores)
    return denoiser


MAKERS = {
    "sdar": ("qwen3", {"model_type": "sdar", "architectures": ["SDARForCausalLM"]}, 4, False),
    "trado": (
        "qwen3",
        {"model_type": "sdar", "architectures": ["TraDoForCausalLM"], "block_size": 8},
        8,
        False,
    ),
    "sdar moe": ("qwen3 moe", {"model_type": "sdar_moe", "architectures": ["SDARMoeForCausalLM"]}, 4, False),
    "fast-dllm v2": (
        "qwen2",
        {"model_type": "Fast_dLLM_Qwen", "architectures": ["Fast_dLLM_QwenForCausalLM"], "bd_size": 16},
        16,
        True,
    ),
}


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("maker", MAKERS)
def test_makers_that_changed_only_the_mask_need_no_code_of_theirs(
    maker: str, trust: bool, tmp_path: Path
) -> None:
    """Such a folder names code that is not even there, and older names for what rotates positions, as
    published ones do.
    """
    family, named, block, shift = MAKERS[maker]
    old = {
        "rope_parameters": None,
        "rope_theta": 1000.0,
        "attn_implementation": "flex_attention",
        "mask_token_id": MASK,
    }
    folder = tiny.saved_in_blocks(tmp_path, family, named | old | {"auto_map": OWN_CODE}, mask=False)
    tokens = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(tokens | {"auto_map": {"AutoTokenizer": ["modeling_gone.Tokenizer", None]}})
    )
    denoiser = from_pretrained(folder, device="cpu", trust_remote_code=trust)
    assert (denoiser.block_length, denoiser.shift_logits, denoiser.mask_id) == (block, shift, MASK)
    name, sizes = BLOCK_CAUSAL[family]
    original = tiny.model(name, sizes | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}})
    assert type(denoiser.model) is type(original)
    ids = torch.tensor([[5 + at % 40 for at in range(37)]])
    with torch.inference_mode():
        expected = original(input_ids=ids, attention_mask=seen(37, block)).logits
    given = denoiser(ids)
    torch.testing.assert_close(
        given[:, 1:], expected[:, :-1] if shift else expected[:, 1:], rtol=1e-5, atol=1e-5
    )


def test_weights_that_transformers_has_no_place_for_are_told(tmp_path: Path) -> None:
    folder = tiny.saved_in_blocks(tmp_path, "qwen3", {"model_type": "sdar"})
    weights = transformers.modeling_utils.load_state_dict(str(folder / "model.safetensors"))
    weights = {name: tensor.clone() for name, tensor in weights.items()} | {
        "model.layers.0.gate": torch.zeros(3)
    }
    tiny.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "its files hold `model.layers.0.gate`, which `Qwen3ForCausalLM` does not have" in declined(
        folder, "E0418"
    )


@pytest.mark.parametrize(
    ("config", "family", "block"),
    [
        ({"model_type": "sdar"}, "SDAR", 4),
        ({"model_type": "qwen3", "architectures": ["SDARForCausalLM"]}, "SDAR", 4),
        ({"model_type": "sdar_moe", "auto_map": OWN_CODE}, "SDAR-MoE", 4),
        ({"model_type": "Fast_dLLM_Qwen", "auto_map": OWN_CODE}, "Fast-dLLM v2", 32),
        (
            {"model_type": "llada2_moe", "architectures": ["LLaDA2MoeModelLM"], "auto_map": OWN_CODE},
            "LLaDA2",
            32,
        ),
        ({"model_type": "llama", "is_causal": False, "block_size": 8}, "block-causal decoder", None),
        ({"model_type": "llama", "is_causal": False}, "decoder that sees both sides", None),
        (
            {"model_type": "big_bird", "architectures": ["BigBirdForMaskedLM"], "block_size": 64},
            "masked language model",
            None,
        ),
        ({"model_type": "other", "auto_map": OWN_CODE, "block_length": 32}, "own code", None),
    ],
)
def test_a_family_and_its_blocks_are_told_by_the_configuration(
    config: dict[str, Any], family: str, block: int | None
) -> None:
    found = family_of(config, "x")
    assert (found.name, found.block_length) == (family, block)


@pytest.mark.parametrize(("vocab_size", "mask_id"), [(151936, 151669)])
def test_the_mask_of_sdar_is_known_by_its_vocabulary(vocab_size: int, mask_id: int, tmp_path: Path) -> None:
    sizes = BLOCK_CAUSAL["qwen3"][1] | {"vocab_size": vocab_size, "hidden_size": 4}
    tiny.model("Qwen3ForCausalLM", sizes).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "sdar"}))
    tiny.tokenizer(tmp_path, mask=False)
    assert from_pretrained(tmp_path, device="cpu").mask_id == mask_id


@pytest.mark.parametrize(
    ("heeds", "form"),
    [("square", as_truth), ("scores", as_scores), ("weights", as_weights), ("its own", None)],
)
def test_the_form_of_mask_that_own_code_takes_is_found(heeds: str, form: Any, tmp_path: Path) -> None:
    denoiser = from_pretrained(
        tiny.saved(tmp_path, "llada2", vary={"heeds": heeds}),
        trust_remote_code=True,
        device="cpu",
        block_length=4,
    )
    assert denoiser.pads == (form is not None)
    assert form is None or (isinstance(denoiser.mask, BlockMask) and denoiser.mask.form is form)
    ids = torch.tensor([[5 + at % 40 for at in range(18)]])
    other = ids.clone()
    other[0, 9] = 49
    moved = (denoiser(other) != denoiser(ids)).any(-1)[0].tolist()
    assert moved == [False] * 8 + [True] * 10
    prompts = [[5, 6, 7], [8, 9]]
    together = dsldec.decode(denoiser, prompts, "static", gen_length=6, backend="eager", stop_at_eos=False)
    alone = [
        dsldec.decode(denoiser, [prompt], "static", gen_length=6, backend="eager", stop_at_eos=False)
        for prompt in prompts
    ]
    assert [ids.tolist() for ids in together.ids] == [one.ids[0].tolist() for one in alone]


@pytest.mark.parametrize("heeds", ["nothing", "keys"])
def test_own_code_that_heeds_no_such_mask_is_declined(heeds: str, tmp_path: Path) -> None:
    said = declined(tiny.saved(tmp_path, "llada2", vary={"heeds": heeds}), trust_remote_code=True)
    assert "(Llada2MoeModel) ignores masks that show its own block of 32 and hide later blocks" in said


def test_code_that_is_causal_between_blocks_names_the_flag(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path, "own code", vary={"heeds": "its own"})
    assert "`block_length=N`" in declined(folder, trust_remote_code=True)
    assert from_pretrained(folder, trust_remote_code=True, device="cpu", block_length=4).block_length == 4
    assert "ignores masks that show its own block of 8" in declined(
        folder, trust_remote_code=True, block_length=8
    )


def test_what_is_given_goes_before_what_is_found(folders: dict[str, Path]) -> None:
    denoiser = from_pretrained(folders["qwen3"], device="cpu", block_length=5)
    ids = torch.tensor([[5 + at % 40 for at in range(12)]])
    original = tiny.model(*BLOCK_CAUSAL["qwen3"])
    with torch.inference_mode():
        torch.testing.assert_close(
            denoiser(ids), original(input_ids=ids, attention_mask=seen(12, 5)).logits, rtol=1e-5, atol=1e-5
        )
    assert "a block has 1 token or more, not 0" in declined(folders["qwen3"], block_length=0)
    denoiser.block_length = 0
    with pytest.raises(dsldec.UsageError, match="its `block_length` is 0") as error:
        dsldec.decode(denoiser, [[5]], "static", gen_length=4)
    assert error.value.diagnostic.code == "E0408"


def test_blocks_of_unknown_length_name_the_flag(tmp_path: Path) -> None:
    folder = tiny.saved_in_blocks(tmp_path, "llama", {"is_causal": False, "block_length": True})
    assert "has no block length" in (said := declined(folder))
    assert "block_length=N" in said
    assert from_pretrained(folder, device="cpu", block_length=3).block_length == 3


def test_a_context_of_one_block_is_enough(tmp_path: Path) -> None:
    folder = tiny.saved_in_blocks(tmp_path, "llama", {"is_causal": False, "block_length": 64})
    assert from_pretrained(folder, device="cpu").block_length == 64


def test_weights_that_are_not_numbers_load_and_are_told_when_they_show(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tiny.saved_in_blocks(tmp_path, "qwen3")
    weights = transformers.modeling_utils.load_state_dict(str(folder / "model.safetensors"))
    broken = {
        name: torch.full_like(tensor, torch.nan) if "mlp" in name else tensor.clone()
        for name, tensor in weights.items()
    }
    tiny.save_file(broken, folder / "model.safetensors", metadata={"format": "pt"})
    decoded = dsldec.decode(
        from_pretrained(folder, device="cpu"), [[5, 6]], "static", gen_length=4, backend="eager"
    )
    assert [error.code if error else None for error in decoded.errors] == ["E0406"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["qwen3", "qwen3 moe"])
def test_half_precision_sees_the_same(family: str, dtype: str, folders: dict[str, Path]) -> None:
    exact, near = (
        from_pretrained(folders[family], device="cpu"),
        from_pretrained(folders[family], device="cpu", dtype=dtype),
    )
    ids = torch.tensor([[5, 6, 7, MASK, MASK, 8]])
    torch.testing.assert_close(near(ids).float(), exact(ids), rtol=0.1, atol=0.1)
