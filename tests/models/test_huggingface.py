"""Hugging Face models as denoisers: the embedded one, other families, and the messages if there is no such
model.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, ModernBertConfig, ModernBertForMaskedLM

import dsldec
from dsldec.models.huggingface import HuggingFaceDenoiser, denoiser_of, from_pretrained
from dsldec.resources import embedded_model_folder

from . import tiny

PROMPT = "Tom has 14 apples. Tom buys 3 bags of 6 apples. How many apples does Tom have now?"


@pytest.fixture(scope="module")
def denoiser() -> HuggingFaceDenoiser:
    return from_pretrained()


def test_padding_changes_nothing_but_the_last_bits(denoiser: HuggingFaceDenoiser) -> None:
    rows = [denoiser.encode(PROMPT)[:length] + [denoiser.mask_id] * 12 for length in (30, 9, 17)]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [denoiser.mask_id] * (longest - len(row)) for row in rows])
    together = denoiser(ids, lengths=[len(row) for row in rows])
    for index, row in enumerate(rows):
        alone = denoiser(torch.tensor([row]))
        torch.testing.assert_close(together[index, : len(row)], alone[0], rtol=1e-4, atol=1e-4)


def test_a_prompt_is_put_into_the_chat_template(denoiser: HuggingFaceDenoiser) -> None:
    ids = denoiser.encode("What is 3+4?")
    assert denoiser.tokenizer.decode(ids) == "<|user|>What is 3+4?<|assistant|>"
    assert denoiser.decode_text([*denoiser.tokenizer("3+4=7")["input_ids"], denoiser.eos_id, 5, 6]) == "3+4=7"


def test_texts_in_texts_out(denoiser: HuggingFaceDenoiser) -> None:
    decoded = dsldec.decode(
        denoiser,
        [PROMPT, "Solve this sudoku: 1030 0004 4000 0201"],
        "threshold",
        gen_length=denoiser.gen_length,
    )
    assert all(decoded.text)
    assert (decoded.tokens <= denoiser.gen_length).all()


def test_a_batch_of_texts_gives_each_what_it_gets_alone() -> None:
    """In float64, so that no two scores are ordered by how many rows were multiplied at once."""
    denoiser = from_pretrained()
    denoiser.model.double()
    prompts = [PROMPT, "What is 3+4?", "Solve this sudoku: 1030 0004 4000 0201"]
    together = dsldec.decode(denoiser, prompts, "static", gen_length=32)
    alone = [dsldec.decode(denoiser, [prompt], "static", gen_length=32) for prompt in prompts]
    assert [ids.tolist() for ids in together.ids] == [one.ids[0].tolist() for one in alone]


@pytest.mark.parametrize("family", ["modernbert", "llama without a causal mask"])
def test_other_families_decode(family: str, denoiser: HuggingFaceDenoiser) -> None:
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    torch.manual_seed(0)
    if family == "modernbert":
        model = ModernBertForMaskedLM(
            ModernBertConfig(
                **sizes, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
            )
        )
    else:
        model = LlamaForCausalLM(
            LlamaConfig(**sizes, is_causal=False, pad_token_id=0, bos_token_id=1, eos_token_id=2)
        )
    other = HuggingFaceDenoiser(
        model.eval(), tokenizer=denoiser.tokenizer, mask_id=49, eos_id=None, gen_length=16
    )
    decoded = dsldec.decode(other, [[3, 4, 5], [6, 7]], "static", gen_length=8)
    assert all(49 not in ids.tolist() for ids in decoded.ids)
    assert decoded.forwards.tolist() == [8, 8]


def copied_config(folder: Path, **changes: object) -> Path:
    config = json.loads((embedded_model_folder() / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for name in ("code", "bare"):
        (tmp_path / name).mkdir()
    copied_config(tmp_path / "code", auto_map={"AutoModel": "modeling.Model"})
    copied_config(tmp_path / "bare")
    says = {
        "nothing": "there is no",
        "file": "is a file",
        "empty": "it has no `config.json`",
        "broken": "is not JSON",
        "code": "trust_remote_code=True",
        "bare": "has no tokenizer",
    }
    for name, part in says.items():
        with pytest.raises(dsldec.UsageError) as error:
            from_pretrained(tmp_path / name)
        assert error.value.diagnostic.code == "E0405"
        assert part in str(error.value)


def test_a_mistyped_folder_is_not_looked_for_on_a_hub() -> None:
    with pytest.raises(dsldec.UsageError, match="there is no `modle`"):
        from_pretrained("modle")


def facts(denoiser: HuggingFaceDenoiser) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(denoiser).items()
        if name not in ("model", "head", "tokenizer", "decode_text", "_lengths")
    }


@pytest.mark.parametrize("family", ["eurobert", "qwen3", "bert", "roberta"])
def test_a_loaded_model_is_found_out_as_its_folder_is(family: str, tmp_path: Path) -> None:
    from_folder = from_pretrained(tiny.saved(tmp_path, family), device="cpu")
    assert facts(denoiser_of(from_folder.model, from_folder.tokenizer)) == facts(from_folder)


def test_a_loaded_model_needs_no_tokenizer_where_its_mask_is_known(tmp_path: Path) -> None:
    loaded = tiny.model(*tiny.NATIVE["qwen3"])
    with pytest.raises(dsldec.UsageError, match="`Qwen3ForCausalLM` has no mask token") as error:
        denoiser_of(loaded)
    assert "mask_id=N" in error.value.diagnostic.help
    denoiser = denoiser_of(loaded, mask_id=tiny.MASK)
    decoded = dsldec.decode(denoiser, [[5, 6], [7, 8, 9]], "static", gen_length=4, stop_at_eos=False)
    assert decoded.text == [None, None]
    assert [len(ids) for ids in decoded.ids] == [6, 7]
    with pytest.raises(dsldec.UsageError, match="no tokenizer"):
        dsldec.decode(denoiser, ["w5 w6"], "static", gen_length=4)


def test_a_loaded_model_that_is_causal_is_declined() -> None:
    loaded = tiny.model("Qwen3ForCausalLM", tiny.NATIVE["qwen3"][1] | {"is_causal": True})
    with pytest.raises(dsldec.UsageError, match="is causal"):
        denoiser_of(loaded, mask_id=tiny.MASK)


def test_a_policy_may_name_the_ids_of_the_model(denoiser: HuggingFaceDenoiser) -> None:
    """`pad` is the id that `dsldec model` shows; `bos`, which this model does not have, is equal to none."""
    assert (denoiser.pad_id, denoiser.bos_id) == (denoiser.tokenizer.pad_token_id, None)
    lines = (
        "window all\n  commit top(masked, 2, by=conf) as pad\n  commit masked as bos\n  fill when step >= 1"
    )
    decoded = dsldec.decode(denoiser, [[3, 4]], dsldec.load(f"policy p():\n  {lines}\n"), gen_length=4)
    assert decoded.ids[0].tolist().count(denoiser.pad_id) >= 2
    assert decoded.forwards.tolist() == [2]
