"""All forms of prompts give the same result; an empty prompt is decoded, alone and in a batch; other values
get a message.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from transformers import BatchEncoding

import dsldec
from dsldec.models.huggingface import HuggingFaceDenoiser
from dsldec.runtime.decode import stream

from ..models import tiny
from ..toy import ToyDenoiser

LENGTH = 6
# To a model with relative positions every place of a canvas of masks looks alike, and rounding would say
# which is the surest.
LEFTMOST = "policy leftmost():\n  window blocks(4)\n  commit top(masked, 1, by=-pos)\n"
PROMPTS = [[3, 1, 4], [1, 5, 9]]


def decode(prompts: Any, **how: Any) -> list[list[int]]:
    return [
        ids.tolist()
        for ids in dsldec.decode(ToyDenoiser(0, 4.0), prompts, "static", gen_length=LENGTH, **how).ids
    ]


FORMS: dict[str, Callable[[list[list[int]]], Any]] = {
    "tuples": lambda prompts: tuple(tuple(prompt) for prompt in prompts),
    "a generator": lambda prompts: (prompt for prompt in prompts),
    "a tensor": torch.tensor,
    "an int32 tensor": lambda prompts: torch.tensor(prompts, dtype=torch.int32),
    "an array": numpy.array,
    "tensors": lambda prompts: [torch.tensor(prompt) for prompt in prompts],
    "rows of one tensor": lambda prompts: [torch.tensor([prompt]) for prompt in prompts],
    "arrays": lambda prompts: [numpy.array(prompt) for prompt in prompts],
    "numpy ints": lambda prompts: [[numpy.int64(one) for one in prompt] for prompt in prompts],
    "tensors of one": lambda prompts: [[torch.tensor(one) for one in prompt] for prompt in prompts],
    "an encoding": lambda prompts: BatchEncoding({"input_ids": prompts}),
    "a dict of tensors": lambda prompts: {
        "input_ids": torch.tensor(prompts),
        "attention_mask": torch.ones(2, 3),
    },
    "encodings": lambda prompts: [
        {"input_ids": prompt, "attention_mask": [1] * len(prompt)} for prompt in prompts
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_prompts_is_as_good_as_lists_of_ids(form: str) -> None:
    assert decode(FORMS[form](PROMPTS)) == decode(PROMPTS)
    rows = {
        row.index: row.ids.tolist()
        for row in stream(ToyDenoiser(0, 4.0), FORMS[form](PROMPTS), "static", gen_length=LENGTH)
    }
    assert [rows[index] for index in range(2)] == decode(PROMPTS)


@pytest.mark.parametrize(
    "alone", [[3, 1, 4], torch.tensor([3, 1, 4]), numpy.array([3, 1, 4]), {"input_ids": [3, 1, 4]}], ids=repr
)
def test_one_prompt_alone_is_a_list_of_one(alone: Any) -> None:
    assert decode(alone) == decode([[3, 1, 4]])


@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_what_a_tokenizer_padded_is_left_out(side: str) -> None:
    before, after = {"left": (2, 0), "right": (0, 2), "both": (1, 1)}[side]
    padded = torch.tensor([[7] * before + [3] + [7] * after, [1, 5, 9], [7, 7, 7]])
    mask = torch.tensor([[0] * before + [1] + [0] * after, [1, 1, 1], [0, 0, 0]])
    assert decode({"input_ids": padded, "attention_mask": mask}) == decode([[3], [1, 5, 9], []])


def test_padding_that_nothing_tells_apart_is_led_to_what_does() -> None:
    class Tokenizer:
        pad_token_id = 7

    denoiser: Any = ToyDenoiser(0, 4.0)
    denoiser.tokenizer = Tokenizer()
    with pytest.raises(dsldec.UsageError, match="it is unclear whether it belongs to the prompt") as error:
        dsldec.decode(denoiser, torch.tensor([[7, 3], [1, 5]]), "static", gen_length=LENGTH)
    assert "`ids.tolist()`" in str(error.value)
    for whole in (
        [[7, 3], [1, 5]],
        torch.tensor([[7, 3], [7, 5]]),
    ):  # as it is, and where no row is the longest
        assert len(dsldec.decode(denoiser, whole, "static", gen_length=LENGTH).ids) == 2


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        (None, "the prompts are a list, and this is `None`"),
        (3, "the prompts are a list, and this is `3`"),
        (b"hi", "the prompts are a list, and this is `b'hi'`"),
        ([None], "a prompt is a text or a flat list of ids, and this is `None`"),
        ([b"hi"], "a prompt is a text or a flat list of ids"),
        ([[1.5]], "ids are whole numbers"),
        ([[True]], "a prompt is a text or a flat list of ids"),
        ([[[1]]], "a prompt is a text or a flat list of ids"),
        (torch.rand(2, 2), "ids are whole numbers"),
        (torch.tensor(3), "has the shape []"),
        (torch.zeros(1, 2, 3), "has the shape [1, 2, 3]"),
        ([torch.zeros(2, 3, dtype=torch.int64)], "a prompt is a text or a flat list of ids"),
        ({"role": "user", "content": "hi"}, "`decode(denoiser, [message], policy)`"),
        ([{"role": "user", "content": "hi"}], "this denoiser has no chat template"),
        ([[{"role": "user", "content": "hi"}]], "`encode_messages`"),
        ({"prompt": "hi"}, "`decode(denoiser, [text], policy)`"),
        ({}, "it has nothing"),
        ({"input_ids": PROMPTS, "attention_mask": [[1, 1, 1]]}, "other shapes"),
        ({"input_ids": PROMPTS, "attention_mask": [[1, 0, 1], [1, 1, 1]]}, "hides something within a prompt"),
        ("hi", "this denoiser has no tokenizer"),
    ],
)
def test_what_is_no_prompt_is_told(prompts: Any, says: str) -> None:
    with pytest.raises(dsldec.UsageError) as error:
        decode(prompts)
    assert says in str(error.value)
    assert "= help: " in str(error.value)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceDenoiser:
    folder = tiny.saved_in_blocks(tmp_path_factory.mktemp("blocks"), "qwen3")
    return dsldec.from_pretrained(folder, block_length=4, device="cpu")


@pytest.fixture(scope="module")
def canvas(tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceDenoiser:
    return dsldec.from_pretrained(tiny.saved(tmp_path_factory.mktemp("canvas"), "llama"), device="cpu")


@pytest.mark.parametrize("lookahead", [None, 3])
@pytest.mark.parametrize(
    ("kind", "cache"),
    [("blocks", "none"), ("blocks", "exact"), ("canvas", "none"), ("canvas", "prefix"), ("canvas", "dual")],
)
def test_an_empty_prompt_is_decoded_alone_as_in_a_batch(
    kind: str, cache: str, lookahead: int | None, request: pytest.FixtureRequest
) -> None:
    denoiser, policy = request.getfixturevalue(kind), dsldec.load(LEFTMOST)
    how: dict[str, Any] = {"gen_length": 10, "cache": cache, "lookahead": lookahead, "backend": "eager"}
    prompts: list[list[int]] = [[], [5, 6, 7, 8, 9], [], [4]]
    together = dsldec.decode(denoiser, prompts, policy, batch=2, **how)
    assert [len(ids) for ids in together.ids] == [10, 15, 10, 11]
    for index, prompt in enumerate(prompts):
        alone = dsldec.decode(denoiser, [prompt], policy, **how)
        assert alone.ids[0].tolist() == together.ids[index].tolist()
        assert alone.forwards[0] == together.forwards[index]


def test_an_empty_text_is_an_empty_prompt(canvas: HuggingFaceDenoiser) -> None:
    (text,), (alone,) = (dsldec.decode(canvas, prompts, "static", gen_length=4).ids for prompts in ([""], ""))
    assert text.tolist() == alone.tolist()
    assert len(text) == len(canvas.encode("")) + 4


def test_a_plain_denoiser_is_called_with_what_is_generated_alone() -> None:
    denoiser = ToyDenoiser(0, 4.0)
    decoded = dsldec.decode(denoiser, [[], [1], []], "threshold", gen_length=LENGTH)
    assert {shape[1] for shape in denoiser.calls} == {LENGTH, LENGTH + 1}
    assert decoded.ids[0].tolist() == decoded.ids[2].tolist()


def test_an_empty_text_has_nothing_to_fill_in(canvas: HuggingFaceDenoiser) -> None:
    for text in ("", "  \n"):
        with pytest.raises(dsldec.UsageError, match="E0429"):
            dsldec.decode(canvas, [text], "static", infill=True)


def test_the_embedded_model_is_asked_with_a_text_alone(tmp_path: Path) -> None:
    denoiser = dsldec.from_pretrained(device="cpu")
    question = "What is 14+18?"
    (alone,), (listed,) = (
        dsldec.decode(denoiser, prompts, "threshold", gen_length=32).text
        for prompts in (question, [question])
    )
    assert alone == listed
    assert alone
