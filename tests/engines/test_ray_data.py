"""Does `Decode` answer a batch of Ray Data as `dsldec.decode` does?

Ray calls the class with batches as dicts of columns; here the test does. Not here: actors
(`tests/tools/test_batch.py`).
"""

from __future__ import annotations

import numpy as np
import pytest

import dsldec
from dsldec import UsageError
from dsldec.engines.ray_data import Decode
from dsldec.models.embedded_denoiser import EmbeddedDenoiser

SAMPLED = "policy sampled():\n  window blocks(16)\n  draw gumbel(temperature=0.9)\n  commit top(masked, 2, by=conf)\n"
PROMPTS = ["What is 14+18?", "Compute 3*6.", "What is 5+5?"]


def test_the_answers_are_those_of_decode():
    decode = Decode("threshold", parameters={"confidence": 0.8}, gen_length=32, batch=2)
    found = decode({"prompt": np.array(PROMPTS), "number": np.array([4, 5, 6])})
    expected = dsldec.decode(
        dsldec.from_pretrained(), PROMPTS, dsldec.load("threshold", confidence=0.8), gen_length=32
    )
    assert found["text"] == list(expected.text)
    assert found["ids"] == [ids.tolist()[-32:] for ids in expected.ids]
    assert found["error"] == [None] * 3
    assert found["number"].tolist() == [4, 5, 6]
    assert all(forwards > 0 for forwards in found["forwards"])


def test_random_numbers_belong_to_the_row_and_not_to_its_batch():
    decode = Decode(SAMPLED, prompt="question", request_id="number", gen_length=16, seed=5)
    whole = decode({"question": PROMPTS, "number": [7, 8, 9]})
    parts = [
        decode({"question": [text], "number": [number]})
        for text, number in zip(PROMPTS, [7, 8, 9], strict=True)
    ]
    assert whole["ids"] == [part["ids"][0] for part in parts]
    expected = dsldec.decode(
        dsldec.from_pretrained(), PROMPTS, SAMPLED, gen_length=16, seed=5, request_ids=[7, 8, 9]
    )
    assert whole["ids"] == [ids.tolist()[-16:] for ids in expected.ids]


def test_samples_are_rows_beside_each_other():
    decode = Decode(SAMPLED, request_id="number", gen_length=16, seed=5, n=2)
    found = decode({"prompt": PROMPTS[:2], "number": [7, 8]})
    expected = dsldec.decode(
        dsldec.from_pretrained(), PROMPTS[:2], SAMPLED, gen_length=16, seed=5, request_ids=[7, 8], n=2
    )
    assert found["sample"] == [0, 1, 0, 1]
    assert found["number"] == [7, 7, 8, 8]
    assert found["text"] == list(expected.text)


def test_a_chat_and_a_stop_string_are_those_of_decode():
    chat = [{"role": "user", "content": PROMPTS[0]}]
    found = Decode(gen_length=32, stop="####")({"prompt": [np.array(chat)]})
    assert "####" not in found["text"][0]
    expected = dsldec.decode(dsldec.from_pretrained(), [chat], "threshold", gen_length=32, stop="####")
    assert (found["text"], found["finish_reason"]) == (list(expected.text), ["stop"])


def test_one_failed_prompt_leaves_the_others():
    decode = Decode(gen_length=16)
    found = decode({"prompt": [PROMPTS[0], "1 " * 1100]})
    assert found["error"][0] is None
    assert found["error"][1].startswith("E0407: ")
    assert found["text"][1] == ""


def test_gaps_are_filled():
    decode = Decode(infill=True)
    text = "<|user|>What is 14+18?<|assistant|>14+[MASK]=32. The answer is [MASK]. #### [MASK]"
    found = decode({"prompt": [text, "no gap"]})
    assert "[MASK]" not in found["text"][0]
    assert found["error"][1].startswith("E04")


def test_a_denoiser_that_fails_has_its_reason_in_each_row(monkeypatch):
    decode = Decode(gen_length=8)

    def fails(self: object, ids: object, **_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(EmbeddedDenoiser, "__call__", fails)
    found = decode({"prompt": PROMPTS})
    assert (
        found["error"]
        == ["E0410: decoding failed before this prompt was finished: RuntimeError: no memory"] * 3
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ({"polciy": "static"}, "E0447", "no option `'polciy'`"),
        ({"request_ids": [1]}, "E0447", "request_ids"),
        ({"gen_length": 0}, "E0409", "gen_length"),
        ({"model": "no/such"}, "E0405", "no/such"),
        ({"policy": SAMPLED}, "E0409", "draws"),
    ],
)
def test_a_mistake_is_refused_when_the_actor_starts(arguments, code, says):
    with pytest.raises(UsageError, match=code) as raised:
        Decode(**arguments)
    assert says in str(raised.value)


def test_a_missing_column_is_named():
    with pytest.raises(UsageError, match=r"E0409.*no column `'prompt'`: its columns are `question`"):
        Decode(gen_length=8)({"question": PROMPTS})
