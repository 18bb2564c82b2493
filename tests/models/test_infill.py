"""Texts with gaps: the encoded ids, the result, and the unchanged rest of the text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import dsldec
from dsldec.diagnostics import UsageError
from dsldec.models.infill import encoded, filled

QUESTION = (
    "<|user|>Tom has 14 apples. Tom buys 3 bags of 6 apples. How many apples does Tom have now?<|assistant|>"
)
ANSWER = "3*6=[MASK]. 14+[MASK]=32. The answer is [MASK]. #### [MASK]"
WORDS = ["[PAD]", "[UNK]", "[MASK]", "[CLS]", "[SEP]", "a", "cat", "sat", "##ting", "on", "mat"]


def word_pieces(mask: str = "[MASK]") -> PreTrainedTokenizerFast:
    """As BERT's: words and their ends, a token before the text and one after it."""
    words = {word.replace("[MASK]", mask): at for at, word in enumerate(WORDS)}
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, mask_token=mask, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a [MASK] sat", [3, 5, 2, 7, 4]),
        ("[MASK*3]", [3, 2, 2, 2, 4]),
        ("a [MASK*2] [MASK] mat", [3, 5, 2, 2, 2, 10, 4]),
        ("[MASK] cat [MASK*1]", [3, 2, 6, 2, 4]),
    ],
)
@pytest.mark.parametrize("mask", ["[MASK]", "<m>"])
def test_a_gap_is_as_many_masks_as_it_says(text: str, ids: list[int], mask: str) -> None:
    assert encoded(word_pieces(mask), 2, text) == ids


def test_what_the_tokenizer_writes_for_its_mask_is_a_gap_too() -> None:
    assert encoded(word_pieces("<m>"), 2, "a <m><m> [MASK]") == [3, 5, 2, 2, 2, 4]


def test_a_mask_that_the_tokenizer_cannot_read_is_put_between_pieces() -> None:
    tokenizer = word_pieces()
    tokenizer.convert_ids_to_tokens = lambda id_: "<no such token>"
    assert encoded(tokenizer, 2, "a [MASK*2] mat") == [5, 2, 2, 10]
    tokenizer.convert_ids_to_tokens = lambda id_: None
    assert encoded(tokenizer, 2, "[MASK]mat") == [2, 10]


@pytest.mark.parametrize("text", ["a cat", "a [masked] cat", "mat[mask_id]", "a [mat] MASK", "[MASK"])
def test_a_text_without_a_gap_is_no_infilling(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        encoded(word_pieces("<m>"), 2, text)
    assert raised.value.diagnostic.code == "E0409"
    assert "no gap" in raised.value.diagnostic.message
    assert "[MASK*8]" in (raised.value.diagnostic.help or "")


@pytest.mark.parametrize(
    "marker",
    [
        "[mask]",
        "[MASK*0]",
        "[MASK *3]",
        "[MASK*-1]",
        "[MASK*123456]",
        "[MASK*x]",
        "[ MASK ]",
        "[MASK 3]",
        "[Mask*2]",
    ],
)
def test_a_gap_that_is_written_wrongly_is_told_and_does_not_stay_in_the_text(marker: str) -> None:
    with pytest.raises(UsageError) as raised:
        encoded(word_pieces("<m>"), 2, f"a {marker} cat [MASK]")
    assert raised.value.diagnostic.code == "E0409"
    assert f"`{marker}`" in raised.value.diagnostic.message
    assert "[MASK*8]" in (raised.value.diagnostic.help or "")


def test_a_mask_of_the_tokenizers_own_in_small_letters_is_a_gap() -> None:
    assert encoded(word_pieces("[mask]"), 2, "a [mask] [MASK*2]") == [3, 5, 2, 2, 2, 4]


@pytest.mark.parametrize(
    ("text", "written", "whole"),
    [
        ("a [MASK] sat", [6], "a cat sat"),
        ("[MASK*2]", [5, 6], "a cat"),
        (
            "a  cat, sat[MASK] on a\n[MASK] !",
            [8, 10],
            "a  cat, satting on a\nmat !",
        ),  # what the tokenizer would not give back
        ("[MASK][MASK*2]x", [5, 6, 7], "a cat satx"),
    ],
)
def test_only_the_gaps_of_a_text_change(text: str, written: list[int], whole: str) -> None:
    tokenizer = word_pieces("<m>")
    rest = iter(written)
    ids = [next(rest) if id_ == 2 else id_ for id_ in encoded(tokenizer, 2, text)]
    assert filled(tokenizer, 2, text, ids) == whole


def test_the_embedded_model_fills_in_what_was_left_out() -> None:
    denoiser = dsldec.from_pretrained()
    decoded = dsldec.decode(
        denoiser, [QUESTION + ANSWER, QUESTION + "3*[MASK*3]. 14+18=32. #### 32"], "threshold", infill=True
    )
    assert decoded.text == [
        QUESTION + "3*6=18. 14+18=32. The answer is 32. #### 32",
        QUESTION + "3*6=18. 14+18=32. #### 32",
    ]
    assert decoded.tokens.tolist() == [4, 3]


def test_ids_with_masks_need_no_tokenizer() -> None:
    denoiser: Any = dsldec.from_pretrained()
    ids = denoiser.encode_gaps(QUESTION + ANSWER)
    calls: list[torch.Size] = []

    def plain(canvas: torch.Tensor) -> torch.Tensor:
        calls.append(canvas.shape)
        return denoiser(canvas)

    plain.mask_id, plain.vocab_size = denoiser.mask_id, denoiser.vocab_size  # type: ignore[attr-defined]
    decoded = dsldec.decode(plain, [ids], "static", infill=True)  # type: ignore[arg-type]
    assert [
        at for at, (old, new) in enumerate(zip(ids, decoded.ids[0].tolist(), strict=True)) if old != new
    ] == [at for at, id_ in enumerate(ids) if id_ == denoiser.mask_id]
    assert calls == [(1, len(ids))] * 4
    assert decoded.text == [None]
    with pytest.raises(UsageError, match="no tokenizer"):
        dsldec.decode(plain, [QUESTION + ANSWER], "static", infill=True)  # type: ignore[arg-type]


def test_what_is_finished_half_way_is_whole_texts_too() -> None:
    """Of prompts that come one after the other, too; and a text needs a tokenizer."""
    denoiser = dsldec.from_pretrained()
    texts, calls = [QUESTION + ANSWER, QUESTION + "3*[MASK*3]. 14+18=32. #### 32"], []
    forward = denoiser.model.forward

    def once(*args: Any, **given: Any) -> Any:
        calls.append(1)
        if len(calls) > 4:
            raise RuntimeError("no more")
        return forward(*args, **given)

    dsldec.decode(denoiser, texts[:1], "static", infill=True)  # what is found out once
    denoiser.model.forward = once
    with pytest.raises(dsldec.DecodingStopped) as stopped:
        dsldec.decode(denoiser, iter(texts), "static", infill=True, batch=1)  # type: ignore[arg-type]
    assert stopped.value.decoded.text == [QUESTION + "3*6=18. 14+18=32. The answer is 32. #### 32", None]
    denoiser.tokenizer = None
    with pytest.raises(UsageError, match="no tokenizer"):
        dsldec.decode(denoiser, texts, "static", infill=True)
