"""The embedded models are the measured ones: their bytes, their sizes, and their scores."""

from __future__ import annotations

import hashlib
import re

import pytest
import transformers

import dsldec
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained
from dsldec.resources import EMBEDDED_MODELS, embedded_model_folder
from dsldec.tools.evaluate import LENGTHS, Measured, Setting, held_out, measure

FOLDERS = {name: embedded_model_folder(name) for name in EMBEDDED_MODELS}
WEIGHTS_SHA256 = {
    "word_problems": "4315768887e2d9cb13df9cd5306da68a9a7d4f92f9d3245fb62d6cf4f490d298",
    "equations": "1d242785447d021aebd104098424d82f5ee23740dee64cf5c664654edf5cc2c6",
}
MOST_BYTES = 6 * 10**6  # of all models


@pytest.fixture(scope="module")
def denoiser() -> HuggingFaceDenoiser:
    return from_pretrained()


@pytest.fixture(scope="module")
def of_equations() -> HuggingFaceDenoiser:
    return from_pretrained("dsldec:equations")


def measured(
    denoiser: HuggingFaceDenoiser, task: str, tokens: int, count: int, block: int | None = None
) -> Measured:
    """Whole canvas at once, or in blocks to the end of the text, where no filler is among what a step writes."""
    length = LENGTHS[task]
    setting = Setting(
        "static", {"tokens": tokens, "block": block or length}, length, stop_at_eos=block is not None
    )
    return measure(denoiser, held_out(task, count), setting)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_weights_are_the_pinned_ones(name: str) -> None:
    weights = (FOLDERS[name] / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == WEIGHTS_SHA256[name]


def test_all_models_together_are_small() -> None:
    assert sum(file.stat().st_size for folder in FOLDERS.values() for file in folder.iterdir()) <= MOST_BYTES


@pytest.mark.parametrize("name", FOLDERS)
def test_it_is_an_ordinary_hugging_face_folder(name: str) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(FOLDERS[name])
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDERS[name])
    assert type(model).__name__ == "EuroBertForMaskedLM"
    assert model.config.mask_token_id == tokenizer.mask_token_id
    assert tokenizer.chat_template
    assert len(tokenizer) == model.config.vocab_size


@pytest.mark.parametrize("name", FOLDERS)
def test_numbers_up_to_60_are_one_token_and_a_sudoku_row_is_four(name: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDERS[name])
    assert {len(tokenizer(str(number))["input_ids"]) for number in range(61)} == {1}
    assert len(tokenizer("1234")["input_ids"]) == len(tokenizer("1030")["input_ids"]) == 4


def test_one_token_a_step_is_right_and_many_are_not(denoiser: HuggingFaceDenoiser) -> None:
    """Bands wide enough for another machine's last bits, on a part of the held-out prompts."""
    one, four = (measured(denoiser, "word_problems", tokens, 50, block=8) for tokens in (1, 4))
    assert one.answer >= 0.9
    assert four.answer <= one.answer - 0.06
    assert four.every_step <= one.every_step - 0.25
    in_order, at_once = (measured(denoiser, "sudoku", tokens, 50) for tokens in (1, 24))
    assert in_order.answer >= 0.96
    assert at_once.answer <= in_order.answer - 0.1


def test_the_second_model_solves_chains_from_their_end(of_equations: HuggingFaceDenoiser) -> None:
    prompts = ["6+>,34->,30", "5,<+2", "17"]
    decoded = dsldec.decode(of_equations, prompts, dsldec.load("threshold", block=64), gen_length=64)
    assert decoded.text == ["10=6+4,4=34-30,30 #### 10", "5,7=5+2 #### 5", "17 #### 17"]


def test_the_order_of_writing_decides_on_equations(of_equations: HuggingFaceDenoiser) -> None:
    """`threshold` writes in the order in which the equations can be solved, many tokens in one step."""
    adaptive, at_once = (
        measure(
            of_equations, held_out("equations", 60), Setting(policy, {**values, "block": 64}, 64), batch=60
        )
        for policy, values in (("threshold", {}), ("static", {"tokens": 64}))
    )
    assert adaptive.answer >= 0.95
    assert adaptive.forwards <= 5
    assert at_once.answer <= adaptive.answer - 0.2


@pytest.mark.slow
def test_all_held_out_prompts(denoiser: HuggingFaceDenoiser) -> None:
    assert measured(denoiser, "word_problems", 1, 200).answer >= 0.97
    one, four = (measured(denoiser, "word_problems", tokens, 200, block=8) for tokens in (1, 4))
    assert four.answer <= one.answer - 0.12
    assert four.every_step <= one.every_step - 0.12
    in_order, at_once = (measured(denoiser, "sudoku", tokens, 200) for tokens in (1, 24))
    assert in_order.answer >= 0.99
    assert at_once.answer <= in_order.answer - 0.15


@pytest.mark.parametrize("name", FOLDERS)
def test_the_card_says_what_the_model_is(name: str) -> None:
    card = (FOLDERS[name] / "README.md").read_text(encoding="utf-8")
    assert WEIGHTS_SHA256[name] in card
    assert "knows its templates and nothing else" in card
    assert re.search(r"python -m dsldec\.models\.train .*--steps", card)
