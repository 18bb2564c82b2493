"""Do the texts of ids join to the text that a tokenizer decodes? For each kind of tokenizer."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import dsldec
from dsldec.models.token_texts import TokenTexts, token_texts
from dsldec.patterns.byte_automaton import as_shown, byte_automaton
from dsldec.patterns.over_ids import over_ids

from ..patterns.slow import accepts_ids, matches

TEXTS = [
    "The answer is 42.",
    "naïve café 語 🙂 done",
    "Price: 7 + 35 = 42",
    "yes no yes",
    'a "quoted" one',
    "it's fine, isn't it?",
] * 3
SPECIAL = ["<pad>", "<eos>", "<mask>", "<unk>"]
REGEX = "[a-z0-9 語é🙂]*"


def trained(model: Any, trainer: Any, pre: Any, decoder: Any, normalizer: Any = None) -> Tokenizer:
    made = Tokenizer(model)
    if pre is not None:
        made.pre_tokenizer = pre
    if normalizer is not None:
        made.normalizer = normalizer
    made.train_from_iterator(TEXTS, trainer)
    if decoder is not None:
        made.decoder = decoder
    return made


def byte_level() -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made = trained(
        models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    )
    made.add_tokens([AddedToken("<think>", special=False), AddedToken("two words", special=False)])
    return made


def metaspace() -> Tokenizer:
    """Unigram pieces with ▁ for a space, as SentencePiece."""
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    return trained(models.Unigram(), trainer, pre_tokenizers.Metaspace(), decoders.Metaspace())


def byte_fallback() -> Tokenizer:
    """Pieces with ▁, and bytes for all other letters, as the tokenizer of Llama 2."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = ["▁", "a", "b", "c", "7", "4", "▁a", "ab", "▁the", "é"]
    vocab = {piece: at for at, piece in enumerate([*SPECIAL, *bytes_, *pieces])}
    made = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens([AddedToken(one, special=True) for one in SPECIAL])
    return made


def word_pieces() -> Tokenizer:
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=SPECIAL, show_progress=False)
    return trained(
        models.WordPiece(unk_token="<unk>"), trainer, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    )


def whole_words() -> Tokenizer:
    """Words joined by spaces: no decoder."""
    trainer = trainers.WordLevelTrainer(vocab_size=60, special_tokens=SPECIAL, show_progress=False)
    return trained(models.WordLevel(unk_token="<unk>"), trainer, pre_tokenizers.Whitespace(), None)


def suffixes() -> Tokenizer:
    """Pieces of which the last one of a word has a mark."""
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False
    )
    return trained(
        models.BPE(end_of_word_suffix="</w>"),
        trainer,
        pre_tokenizers.Whitespace(),
        decoders.BPEDecoder("</w>"),
    )


KINDS = [byte_level, metaspace, byte_fallback, word_pieces, whole_words, suffixes]


def wrapped(made: Tokenizer) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<eos>", mask_token="<mask>", pad_token="<pad>", unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def joined(texts: TokenTexts, ids: list[int]) -> bytes:
    return b"".join(texts.texts[id_] or b"" for id_ in ids)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_texts_join_to_the_decoded_text(kind: Any) -> None:
    tokenizer = wrapped(kind())
    size = len(tokenizer) + 7  # logits are padded to a round size
    texts = token_texts(tokenizer, size)
    assert len(texts.texts) == size
    assert set(texts.texts[-7:]) == {None}
    assert all(texts.texts[id_] is None for id_ in tokenizer.all_special_ids)
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if tokenizer.unk_token_id not in ids:
            assert joined(texts, ids).decode().strip() == tokenizer.decode(ids).strip()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_random_ids_of_a_pattern_decode_to_a_match(kind: Any) -> None:
    """In both directions: accepted ids decode to a match, and ids that decode to one are accepted."""
    tokenizer = wrapped(kind())
    texts = token_texts(tokenizer, len(tokenizer))
    shown = as_shown(byte_automaton(REGEX), space_first=texts.space_first)
    automaton = over_ids(shown, texts.texts, tokenizer.eos_token_id)
    assert automaton is not None
    draw, accepted = random.Random(1), 0
    letters = [
        id_
        for id_, text in enumerate(texts.texts)
        if text and matches("[ a-z0-9]+", text.decode("utf-8", "replace"))
    ]
    every = [id_ for id_ in range(len(tokenizer)) if id_ != tokenizer.eos_token_id]
    for _ in range(600):
        ids = draw.choices(letters if draw.random() < 0.6 else every, k=draw.randint(0, 4))
        text = tokenizer.decode(ids, skip_special_tokens=True)
        ordinary = all(texts.texts[id_] for id_ in ids)
        raw = joined(texts, ids).decode("utf-8", "replace") if ordinary else ""
        # One space in front at most, and none at the end.
        plain = raw in (text.strip(), f" {text.strip()}") and "\ufffd" not in raw
        if texts.space_first and ids and not raw.startswith(" "):
            plain = False
        accepted += accepts_ids(automaton, ids)
        assert accepts_ids(automaton, ids) == (ordinary and plain and matches(REGEX, text.strip())), (
            ids,
            raw,
            text,
        )
        assert accepts_ids(automaton, [*ids, tokenizer.eos_token_id]) == accepts_ids(automaton, ids)
    assert accepted > 50


def test_letters_that_are_split_over_ids_match() -> None:
    tokenizer = wrapped(byte_fallback())
    texts = token_texts(tokenizer, len(tokenizer))
    automaton = over_ids(as_shown(byte_automaton("語|🙂|é")), texts.texts, tokenizer.eos_token_id)
    assert automaton is not None
    byte = tokenizer.convert_tokens_to_ids("<0x00>")
    for text in ("語", "🙂", "é"):
        ids = [byte + one for one in text.encode()]
        assert accepts_ids(automaton, ids)
        assert not accepts_ids(automaton, ids[:-1])
        assert tokenizer.decode(ids) == text
    assert accepts_ids(automaton, [tokenizer.convert_tokens_to_ids("é")])  # another spelling


def test_a_tokenizer_without_such_texts_is_refused() -> None:
    class Slow:
        def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
            return "x"

    with pytest.raises(dsldec.UsageError, match=r"E0495.*no fast tokenizer"):
        token_texts(Slow(), 10)
    made = byte_level()
    made.decoder = decoders.CTC()  # drops repeated tokens
    with pytest.raises(dsldec.UsageError, match=r"E0495.*do not join"):
        token_texts(wrapped(made), 400)


def test_the_embedded_tokenizer_has_texts() -> None:
    denoiser = dsldec.from_pretrained()
    texts = token_texts(denoiser.reader, denoiser.vocab_size)
    assert texts == token_texts(denoiser.tokenizer, denoiser.vocab_size)  # that of transformers
    assert sum(text is None for text in texts.texts) == 5
