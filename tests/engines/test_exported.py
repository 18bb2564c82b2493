"""A folder from `dsldec export-hf` decodes under its policy with `from_pretrained`. Not here: the server
(`test_served`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

import dsldec

from ..models import tiny
from .exported import ANSWER, QUESTION, WORDS, expected

# Of the classes that a folder of its own code is loaded by, the one that the server asks (transformers 5.23).
OWN_CODE_AUTO = getattr(transformers, "AutoModelForDecision", transformers.AutoModelForCausalLM)


def test_a_decoder_that_sees_both_sides(folders: dict[str, Path]) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folders["qwen3"], trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["qwen3"], padding_side="left")
    ids, _ = expected(folders["qwen3"], WORDS, "static", 8, tokens=2)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": WORDS}], return_dict=True, return_tensors="pt"
    )
    assert model.generate(**asked, max_new_tokens=8).tolist() == [ids]
    assert model.generate(asked["input_ids"], max_new_tokens=20).tolist() == [ids]  # `--gen-length 8`
    plain = transformers.AutoModelForCausalLM.from_pretrained(folders["qwen3"])
    assert plain.generate.__func__ is type(plain).generate  # not trusted, not run


@pytest.mark.parametrize("auto", ["AutoModelForMaskedLM", "AutoModelForCausalLM"])
def test_the_embedded_model_answers(auto: str, folders: dict[str, Path]) -> None:
    model = getattr(transformers, auto).from_pretrained(
        folders["embedded"], trust_remote_code=True, dtype=torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["embedded"])
    said = [{"role": "user", "content": QUESTION}]
    asked = tokenizer.apply_chat_template(
        said, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    ids, text = expected(folders["embedded"], QUESTION, "threshold", 48, block=48)
    generated = model.generate(**asked)
    assert generated.tolist() == [ids]
    assert text.endswith(ANSWER)
    with pytest.raises(dsldec.UsageError, match="`num_beams`"):
        model.generate(**asked, num_beams=2)
    with pytest.raises(dsldec.UsageError, match="`cache_implementation`"):
        model.generate(**asked, cache_implementation="paged")  # a loop from left to right, of transformers


def test_a_model_of_its_own_code(folders: dict[str, Path]) -> None:
    model = OWN_CODE_AUTO.from_pretrained(folders["dream"], trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["dream"], padding_side="left")
    want = [expected(folders["dream"], words, "static", 8, tokens=2)[0] for words in (WORDS, "w11")]
    assert type(model).__name__ == "DreamModel"
    said = [[{"role": "user", "content": words}] for words in (WORDS, "w11")]
    asked = tokenizer.apply_chat_template(said, return_dict=True, return_tensors="pt", padding=True)
    generated = model.generate(**asked, max_new_tokens=8, return_dict_in_generate=True).sequences.tolist()
    for row, mask, ids in zip(generated, asked["attention_mask"].tolist(), want, strict=True):
        assert row[mask.count(0) :][: len(ids)] == ids
    for wrong, says in (
        ({"num_beams": 3, "max_new_tokens": 4}, "`num_beams`"),
        ({}, "the number of tokens"),
        ({"max_new": 4}, "the number of tokens"),
    ):
        with pytest.raises(dsldec.UsageError, match=says):
            model.generate(asked["input_ids"], **wrong)


@pytest.mark.parametrize("name", ["drawn", "drawn dream"])
def test_a_policy_that_draws_draws_anew(name: str, folders: dict[str, Path]) -> None:
    auto = OWN_CODE_AUTO if name == "drawn dream" else transformers.AutoModelForCausalLM
    model, ids = auto.from_pretrained(folders[name], trust_remote_code=True), torch.tensor([[5, 6]])
    torch.manual_seed(3)
    first, second = (model.generate(ids, max_new_tokens=8, do_sample=True).tolist() for _ in range(2))
    assert first != second
    torch.manual_seed(3)
    assert model.generate(ids, max_new_tokens=8).tolist() == first
    assert model.generate(ids, max_new_tokens=8, generator=torch.Generator().manual_seed(3)).tolist() == first
    assert (
        model.generate(ids, max_new_tokens=8, seed=4).tolist()
        == model.generate(ids, max_new_tokens=8, seed=4).tolist()
    )
    rows = model.generate(ids, max_new_tokens=8, num_return_sequences=4, do_sample=True).tolist()
    assert len({tuple(row) for row in rows}) == 4


def test_a_saved_copy_loads_without_the_class(folders: dict[str, Path], tmp_path: Path) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(folders["embedded"], trust_remote_code=True)
    model.save_pretrained(tmp_path)
    assert transformers.PreTrainedConfig.get_config_dict(tmp_path)[0]["architectures"] == [
        "EuroBertForMaskedLM"
    ]


EARLIER = {
    "custom_generate/generate.py": '''\
"""How this model decodes: under the policy `static`, by dsldec. Written by `dsldec export-hf`."""

from dsldec import load
from dsldec.engines.transformers import custom_generate

POLICY = """\\
policy static(block: int = 4 in 1..8, tokens: int = 1 in 1..4):
  window blocks(block)
  commit top(masked, tokens, by=conf)
"""

decode = custom_generate(load(POLICY, tokens=2), gen_length=8)


def generate(*inputs, model, **arguments):
    return decode.generate(*inputs, model=model, **arguments)
''',
    "modeling_dsldec.py": '''\
"""transformers' own EuroBertForMaskedLM, with the `generate` that it gives to causal models only. Written by `dsldec export-hf`."""

import transformers


class EuroBertForMaskedLM(transformers.EuroBertForMaskedLM, transformers.GenerationMixin):
    @classmethod
    def is_remote_code(cls):
        return False  # its layers are transformers' own: 5.3 would leave weights that are tied unloaded
''',
}


@pytest.mark.parametrize("family", ["qwen3", "eurobert"])
def test_a_folder_of_an_earlier_version(family: str, installed: Path, tmp_path: Path) -> None:
    """Folders of causal models had no class, and no class hid continuous batching."""
    folder = tiny.saved(tmp_path / "model", family)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(EARLIER["custom_generate/generate.py"])
    (folder / "custom_generate" / "requirements.txt").write_text("dsldec\n")
    auto = "AutoModelForCausalLM"
    if family == "eurobert":
        auto = "AutoModelForMaskedLM"
        (folder / "modeling_dsldec.py").write_text(EARLIER["modeling_dsldec.py"])
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {auto: "modeling_dsldec.EuroBertForMaskedLM"}
        (folder / "config.json").write_text(json.dumps(config))
    model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True)
    ids, _ = expected(
        folder, WORDS, "policy static():\n  window blocks(4)\n  commit top(masked, 2, by=conf)\n", 8
    )
    assert model.generate(torch.tensor([ids[:3]]), max_new_tokens=8).tolist() == [ids]
