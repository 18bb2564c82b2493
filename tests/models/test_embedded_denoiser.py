"""Is the embedded model without transformers the same denoiser as with it, in every bit?"""

from __future__ import annotations

import copy
import json
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import dsldec
from dsldec.diagnostics import UsageError
from dsldec.models import embedded_denoiser, plain_tokenizer
from dsldec.models.embedded_denoiser import EmbeddedDenoiser, embedded
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained
from dsldec.models.network import ONLY, OTHER, SIZES, computes
from dsldec.resources import embedded_model_folder
from dsldec.tools.evaluate import SPLITS

FOLDER = embedded_model_folder()
CONFIG = json.loads((FOLDER / "config.json").read_text())
CPU = torch.device("cpu")
SHAPES = ((1, 2), (1, 7), (2, 48), (3, 65), (8, 30), (1, 300))
ATTRIBUTES = (
    "mask_id", "eos_id", "gen_length", "shift_logits", "vocab_size", "max_length", "stop_ids", "pads", "mask", "raw",
    "block_length", "device", "selects_columns", "never",
)  # fmt: skip
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"mask_id": 7, "eos_id": 9},
    {"shift_logits": True},
    {"shift_logits": False, "raw": True},
    {"all_ids": True},
    {"trust_remote_code": True, "device": "cpu"},
)
TEXTS = (
    "Eva has 14 candles. Rob has 5 more candles than Eva.", "", " ", "\n\t x  ", "7123 70000 4.5", "naïve — 漢字 🙂‍↔️ \u200b\x00",
    "<|mask|> <|endoftext|><|user|>a <|pad|>", "<|mas k|>", "a" * 3000,
)  # fmt: skip
CHATS: tuple[list[Any], ...] = (
    [{"role": "user", "content": "a"}],
    [{"role": "system", "content": "s\n"}, {"role": "user", "content": "{{ 1 + 1 }} <|user|>"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": " b "},
        {"role": "user", "content": ""},
    ],
    [{"role": "user", "content": 3}],
    [{"role": "user", "content": None, "more": [1]}],
    [{"role": "tool"}],
    [],
)


@pytest.fixture(scope="module")
def by_transformers() -> HuggingFaceDenoiser:
    return from_pretrained(FOLDER)


def ids_of(b: int, L: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 818, (b, L), generator=torch.Generator().manual_seed(seed))


def without_transformers(**how: Any) -> EmbeddedDenoiser:
    denoiser = from_pretrained(**how)
    assert isinstance(denoiser, EmbeddedDenoiser)
    return denoiser


@pytest.mark.parametrize("shift_logits", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_logits_are_equal_in_every_bit(dtype: str, shift_logits: bool) -> None:
    how: dict[str, Any] = {"dtype": dtype, "shift_logits": shift_logits}
    ours, theirs = without_transformers(**how), from_pretrained(FOLDER, **how)
    assert type(theirs) is HuggingFaceDenoiser
    for b, L in SHAPES if dtype == "float32" else SHAPES[:3]:
        ids, lengths = ids_of(b, L), [max(1, L - 3 * row) for row in range(b)]
        columns = torch.randint(0, L, (b, 5), generator=torch.Generator().manual_seed(1))
        for how in ({}, {"lengths": lengths}, {"columns": columns}, {"lengths": lengths, "columns": columns}):
            assert torch.equal(ours(ids, **how), theirs(ids, **how)), (b, L, how)
    assert ours(ids).dtype == getattr(torch, dtype)
    assert "model" not in vars(ours)


def test_other_numbers_of_rows_are_equal_too(by_transformers) -> None:
    ours = without_transformers()
    for seed in range(8):
        rng = random.Random(seed)
        ids = ids_of(rng.randint(1, 9), rng.randint(2, 120), seed)
        lengths = [rng.randint(1, ids.shape[1]) for _ in ids]
        assert torch.equal(ours(ids, lengths), by_transformers(ids, lengths))


@pytest.mark.parametrize("how", OPTIONS, ids=str)
def test_attributes_are_equal(how: dict[str, Any]) -> None:
    ours, theirs = without_transformers(**how), from_pretrained(FOLDER, **how)
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize("how", [{"mask_id": 818}, {"eos_id": 2}, {"mask_id": 1}, {"mask_id": "7"}], ids=str)
def test_mistakes_are_equal(how: dict[str, Any]) -> None:
    said = []
    for where in (None, FOLDER):
        with pytest.raises(UsageError) as wrong:
            from_pretrained(where, **how)
        said.append(str(wrong.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("raw", [False, True])
def test_ids_and_texts_are_equal(raw: bool, by_transformers) -> None:
    ours, theirs = without_transformers(raw=raw), from_pretrained(FOLDER, raw=raw)
    rng = random.Random(0)
    noise = ["".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(0xD000)))) for _ in range(40)) for _ in range(20)]  # fmt: skip
    for text in (*TEXTS, *noise):
        assert ours.encode(text) == theirs.encode(text)
        gaps = f"{text} [MASK*3] and [MASK]"
        ids = ours.encode_gaps(gaps)
        assert ids == theirs.encode_gaps(gaps)
        written = [rng.randrange(5, 818) if one == ours.mask_id else one for one in ids]
        assert ours.filled(gaps, written) == theirs.filled(gaps, written)
    for _ in range(20):
        ids = [rng.randrange(818) for _ in range(30)]
        assert ours.decode_text(ids) == theirs.decode_text(ids)
        assert ours.unstripped_text(ids) == theirs.unstripped_text(ids)
    for text in ("<|mask|>", "<|user|>", "a", ""):
        assert ours.special_id(text) == theirs.special_id(text)
    assert "tokenizer" not in vars(ours)


@pytest.mark.parametrize("chat", CHATS, ids=str)
def test_chats_are_equal(chat: list[Any], by_transformers) -> None:
    def said(denoiser: HuggingFaceDenoiser) -> Any:
        try:
            return denoiser.encode_messages(chat)
        except UsageError as wrong:
            return str(wrong)

    assert said(without_transformers()) == said(by_transformers)


def test_the_template_is_that_of_the_folder() -> None:
    assert (FOLDER / "chat_template.jinja").read_text() == plain_tokenizer.TEMPLATE
    assert plain_tokenizer.in_chat([{"role": "user", "content": "a" * 2_000_000}]) is None


def test_the_model_of_transformers_takes_over(by_transformers) -> None:
    denoiser, ids = without_transformers(), ids_of(2, 20)
    before = denoiser(ids, [20, 11])
    assert type(denoiser.model).__name__ == "EuroBertForMaskedLM"
    assert denoiser.tokenizer.get_vocab() == by_transformers.tokenizer.get_vocab()
    assert torch.equal(denoiser(ids, [20, 11]), before)
    with torch.no_grad():
        denoiser.model.model.norm.weight.mul_(2)
    assert not torch.equal(denoiser(ids, [20, 11]), before)


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_a_cache_gives_the_same_ids(cache: str, by_transformers) -> None:
    ours, prompts = without_transformers(), [*TEXTS[:1], TEXTS[4]]
    how: dict[str, Any] = {"gen_length": 16, "cache": cache, "backend": "eager", "batch": 2}
    found = [dsldec.decode(denoiser, prompts, "threshold", **how).ids for denoiser in (ours, by_transformers)]
    assert [ids.tolist() for ids in found[0]] == [ids.tolist() for ids in found[1]]


def test_copies_give_the_same_logits(by_transformers) -> None:
    denoiser, ids = without_transformers(), ids_of(1, 9)
    expected = by_transformers(ids)
    for made in (copy.copy(denoiser), copy.deepcopy(denoiser), pickle.loads(pickle.dumps(denoiser))):
        assert torch.equal(made(ids), expected)
        assert made.encode(TEXTS[0]) == denoiser.encode(TEXTS[0])
    assert torch.equal(denoiser.without_model().with_model(by_transformers.model)(ids), expected)


def test_every_field_of_the_configuration_is_known() -> None:
    assert computes(CONFIG)
    assert CONFIG.keys() == {*ONLY, *SIZES, *OTHER}


CHANGES: tuple[dict[str, Any], ...] = (
    {"model_type": "llama"}, {"hidden_act": "gelu"}, {"mlp_bias": True}, {"num_key_value_heads": 2}, {"head_dim": 64},
    {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear"}}, {"rope_parameters": None}, {"auto_map": {}}, {"is_causal": True},
    {"num_hidden_layers": "6"}, {"num_hidden_layers": 7}, {"vocab_size": 817}, {"hidden_size": None},
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the embedded model's folder, taken for it."""
    copied = tmp_path / "embedded"
    shutil.copytree(FOLDER, copied)
    monkeypatch.setattr(embedded_denoiser, "embedded_model_folder", lambda name: copied)
    assert embedded(torch.float32, CPU) is not None
    return copied


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_another_configuration_is_left_to_transformers(change: dict[str, Any], folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | change))
    assert embedded(torch.float32, CPU) is None


@pytest.mark.parametrize("name", sorted(embedded_denoiser.FILES - {"README.md", *SPLITS.values()}))
def test_other_files_are_left_to_transformers(name: str, folder: Path) -> None:
    whole = (folder / name).read_bytes()
    for content in (b"", b"{}", whole[: len(whole) // 2], None):
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        if content != b"{}" or name != "generation_config.json":  # an empty one is one
            assert embedded(torch.float32, CPU) is None, content


def test_more_files_are_left_to_transformers(folder: Path) -> None:
    (folder / "special_tokens_map.json").write_text("{}")
    assert embedded(torch.float32, CPU) is None


def test_another_template_is_left_to_transformers(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("<|user|>", "<|assistant|>"))
    assert embedded(torch.float32, CPU) is None
