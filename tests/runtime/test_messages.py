"""Does a chat become the ids that the model's own template gives, and is every wrong form refused in words?"""

from __future__ import annotations

import copy
from typing import Any

import pytest

import dsldec
from dsldec.models.huggingface import HuggingFaceDenoiser
from dsldec.runtime.messages import is_chat, turns_of
from dsldec.runtime.prompts import ids_of, listed

QUESTION = {"role": "user", "content": "What is 14+18?"}
CHAT = [QUESTION, {"role": "assistant", "content": "32"}, {"role": "user", "content": "Compute 3*6."}]


@pytest.fixture(scope="module")
def denoiser() -> HuggingFaceDenoiser:
    return dsldec.from_pretrained()


def wanted(denoiser: HuggingFaceDenoiser, messages: list[dict[str, str]]) -> list[int]:
    ids: list[int] = denoiser.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    return ids


def test_a_chat_is_put_into_the_template(denoiser: HuggingFaceDenoiser) -> None:
    assert ids_of(denoiser, CHAT, False) == wanted(denoiser, CHAT)
    assert ids_of(denoiser, [QUESTION], False) == denoiser.encode("What is 14+18?")
    system = [{"role": "system", "content": "Be brief."}]
    assert ids_of(denoiser, CHAT, False, "Be brief.") == wanted(denoiser, system + CHAT)
    assert ids_of(denoiser, "What is 14+18?", False, "Be brief.") == wanted(denoiser, [*system, QUESTION])


def test_a_chat_alone_is_one_prompt_and_a_list_of_chats_is_several(denoiser: HuggingFaceDenoiser) -> None:
    assert listed(denoiser, CHAT) == [CHAT]
    assert listed(denoiser, [CHAT, "a", [QUESTION]]) == [CHAT, "a", [QUESTION]]
    encoding = {"input_ids": [[1, 2]]}
    assert listed(denoiser, [encoding, encoding]) == [encoding, encoding]
    one, text, system = (
        dsldec.decode(denoiser, prompt, "threshold", gen_length=32, **how).text
        for prompt, how in (
            (QUESTION["content"], {}),
            ([QUESTION], {}),
            ([QUESTION], {"system": "Be brief."}),
        )
    )
    assert one == text
    assert "#### 32" in (one[0] or "")
    assert len(system) == 1


def test_the_parts_of_a_content_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c"]
    (turn,) = turns_of([{"role": "user", "content": parts, "name": "Tom"}])
    assert turn == {"role": "user", "content": "a\nb\nc", "name": "Tom"}
    assert not is_chat([[1, 2]])
    assert not is_chat([])


@pytest.mark.parametrize(
    ("prompt", "how", "says"),
    [
        ([{"content": "hi"}], {}, "message 0 has no `role`"),
        ([QUESTION, {"role": "user"}], {}, "message 1 has no `content`"),
        ([{"role": "user", "content": 3}], {}, "the `content` of message 0 is a text"),
        ([{"role": "user", "content": [{"type": "image"}]}], {}, "a part of message 0 is no text"),
        ([{"role": "system", "content": "x"}, QUESTION], {"system": "y"}, "have a system turn, and another"),
        ([[1, 2]], {"system": "y"}, "this prompt is ids"),
        ([[QUESTION, "hi"]], {}, "message 1 is an object with `role` and `content`"),
        ([QUESTION], {"infill": True}, "needs the chat template, and `infill=True` uses none"),
        ("[MASK]", {"infill": True, "system": "y"}, "an infilling uses no chat template"),
    ],
)
def test_a_wrong_chat_is_refused(
    prompt: Any, how: dict[str, Any], says: str, denoiser: HuggingFaceDenoiser
) -> None:
    with pytest.raises(dsldec.UsageError) as error:
        dsldec.decode(denoiser, prompt, "threshold", gen_length=4, **how)
    assert says in str(error.value)
    assert "= help: " in str(error.value)


def test_a_model_without_a_template_refuses_a_chat(denoiser: HuggingFaceDenoiser) -> None:
    raw, plain = copy.copy(denoiser), copy.copy(denoiser)
    raw.raw = True
    plain.tokenizer = copy.deepcopy(denoiser.tokenizer)
    plain.tokenizer.chat_template = None
    for model, says in ((raw, "uses none"), (plain, "has no chat template, which messages need")):
        for how in ({}, {"system": "Be brief."}):
            prompt: Any = "What is 14+18?" if how else [QUESTION]
            with pytest.raises(dsldec.UsageError, match="E0409") as error:
                dsldec.decode(model, prompt, "threshold", gen_length=4, **how)
            assert says in str(error.value)
