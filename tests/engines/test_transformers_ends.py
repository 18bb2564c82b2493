"""Ends, lengths and samples of `generate` under a policy: the same as those of `decode`."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.generation import GenerateDecoderOnlyOutput

import dsldec
from dsldec.engines.transformers import CustomGenerate, custom_generate
from dsldec.engines.transformers.answer_ends import AnswerEnds
from dsldec.engines.transformers.generate_output import PolicyOutput
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained

from ..models import tiny
from .test_transformers import GUMBEL, PROMPTS, REVISING, Recorded, answers, batch

POLICIES = ["static", "threshold", "freedave", REVISING]


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceDenoiser:
    """A decoder with a tokenizer whose tokens are words."""
    return from_pretrained(tiny.saved(tmp_path_factory.mktemp("words"), "qwen3"), device="cpu")


@functools.cache
def function(policy: str) -> CustomGenerate:
    return custom_generate(policy)


def text_of(denoiser: HuggingFaceDenoiser, ids: Sequence[int]) -> str:
    return denoiser.decode_text(list(ids))


@functools.cache
def words_of(denoiser: HuggingFaceDenoiser, policy: str, gen_length: int = 12) -> list[str]:
    """The answer to the first prompt without stop strings. Not to be changed."""
    (text,) = dsldec.decode(denoiser, PROMPTS[:1], policy, gen_length=gen_length).text
    assert text is not None
    return text.split()


def in_words(denoiser: HuggingFaceDenoiser, text: str) -> str:
    """The text that ids can have: without a last word that is not in the vocabulary."""
    words = text.split()
    known = denoiser.tokenizer.get_vocab()
    return " ".join(words if not words or words[-1] in known else words[:-1])


def in_folder(denoiser: HuggingFaceDenoiser, policy: str, **given: Any) -> list[list[int]]:
    """As the function of a model's folder is called."""
    sequences = function(policy).generate(
        **batch(PROMPTS), model=denoiser.model, tokenizer=denoiser.tokenizer, max_new_tokens=12, **given
    )
    assert isinstance(sequences, Tensor)
    return answers(sequences, PROMPTS)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "part", ["a word", "words", "a part of a word", "an end of a word", "nothing", "several"]
)
def test_stop_strings_end_a_text_as_in_decode(policy: str, part: str, denoiser: HuggingFaceDenoiser) -> None:
    words = words_of(denoiser, policy)
    stop: Any = {
        "a word": words[4],
        "words": f"{words[3]} {words[4]}",
        "a part of a word": words[5][1:],  # `w` is no word of the vocabulary
        "an end of a word": words[5][2:] or words[5][1:],
        "nothing": "no such word",
        "several": [words[6], "no such word", words[2]],
    }[part]
    texts = dsldec.decode(denoiser, PROMPTS, policy, gen_length=12, stop=stop).text
    want = [in_words(denoiser, text or "") for text in texts]
    given = batch(PROMPTS) | {"custom_generate": function(policy), "max_new_tokens": 12}
    rows = answers(denoiser.model.generate(**given, stop=stop), PROMPTS)
    assert [text_of(denoiser, row) for row in rows] == want
    assert in_folder(denoiser, policy, stop_strings=stop) == rows


def test_stop_strings_may_be_an_option(denoiser: HuggingFaceDenoiser) -> None:
    words = words_of(denoiser, "static")
    option = custom_generate("static", stop=words[6])
    sequences = denoiser.model.generate(
        **batch(PROMPTS), custom_generate=option, max_new_tokens=12, stop=[words[4]]
    )
    assert answers(sequences, PROMPTS) == in_folder(denoiser, "static", stop_strings=[words[4], words[6]])


def test_a_configuration_has_stop_strings(denoiser: HuggingFaceDenoiser) -> None:
    stop = words_of(denoiser, "static")[4]
    want = in_folder(denoiser, "static", stop_strings=[stop])
    config = transformers.GenerationConfig(stop_strings=stop)
    assert in_folder(denoiser, "static", generation_config=config) == want
    assert config.stop_strings == stop
    own = denoiser.model.generation_config
    own.stop_strings = [stop]
    try:
        assert in_folder(denoiser, "static") == want
        assert denoiser.model.generation_config is own
        assert own.stop_strings == [stop]
    finally:
        own.stop_strings = None


def test_stop_strings_need_a_tokenizer() -> None:
    model, fn = tiny.model(*tiny.NATIVE["qwen3"]), custom_generate("static", mask_id=tiny.MASK)
    with pytest.raises(
        dsldec.UsageError, match=r"E0409.*`stop` takes texts, and this denoiser has no tokenizer"
    ):
        model.generate(**batch(PROMPTS), custom_generate=fn, max_new_tokens=8, stop="w5")


@pytest.mark.parametrize("wrong", [3, ["w5", 3], "", [""]])
def test_a_stop_string_is_a_text(wrong: Any, denoiser: HuggingFaceDenoiser) -> None:
    given = batch(PROMPTS) | {"max_new_tokens": 8}
    with pytest.raises(dsldec.UsageError, match=r"E0409.*`stop` takes texts"):
        denoiser.model.generate(**given, custom_generate=function("static"), stop=wrong)
    for name in ("stop", "stop_strings"):
        with pytest.raises(dsldec.UsageError, match=r"E0409.*`stop` takes texts"):
            function("static").generate(**given, model=denoiser.model, **{name: wrong})
    with pytest.raises(dsldec.UsageError, match="E0409"):
        custom_generate("static", stop=wrong)


def test_the_tokenizer_of_a_call(denoiser: HuggingFaceDenoiser) -> None:
    model = tiny.model(*tiny.NATIVE["qwen3"])
    model.load_state_dict(denoiser.model.state_dict())
    fn, stop = custom_generate("static", mask_id=tiny.MASK), words_of(denoiser, "static")[4]
    want = in_folder(denoiser, "static", stop_strings=stop)
    given = {"tokenizer": denoiser.tokenizer, "max_new_tokens": 12}
    assert answers(model.generate(**batch(PROMPTS), custom_generate=fn, stop=stop, **given), PROMPTS) == want
    sequences = fn.generate(**batch(PROMPTS), model=model, stop_strings=stop, **given)
    assert answers(sequences, PROMPTS) == want


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("part", [0, 1])
def test_a_stream_holds_back_the_start_of_a_stop_string(
    policy: str, part: int, denoiser: HuggingFaceDenoiser
) -> None:
    words = words_of(denoiser, policy)
    stop = [f"{words[4]} {words[5]}", f"{words[7]} no such word"][part]
    recorded = Recorded()
    generated = denoiser.model.generate(
        **batch(PROMPTS[:1]),
        custom_generate=function(policy),
        max_new_tokens=12,
        stop=stop,
        streamer=recorded,
    )
    _, *columns = recorded.put_in
    assert [one for column in columns for one in column] == answers(generated, PROMPTS[:1])[0]
    assert recorded.ended
    assert stop not in text_of(denoiser, [one for column in columns for one in column])


LETTERS = "abcde"


def toy(stop: Sequence[str], tokens: Sequence[str]) -> AnswerEnds:
    """Ends in a vocabulary of texts. Id 0 is the stop id; a text is written letter by letter."""

    def read(ids: Sequence[int]) -> str:
        return "".join(tokens[one] for one in ids)

    return AnswerEnds(frozenset([0]), tuple(stop), read, lambda text: [tokens.index(one) for one in text])


def test_every_token_put_early_is_in_the_answer() -> None:
    drawn = random.Random(3)
    tokens = ["", *LETTERS, "ab", "bc", "cab", "aab", "eabc"]
    seen = 0
    for _ in range(3000):
        stop = ["".join(drawn.choices("abc", k=drawn.randint(1, 4))) for _ in range(drawn.randint(1, 2))]
        ends, ids = toy(stop, tokens), drawn.choices(range(len(tokens)), k=9)
        content = ids[: ids.index(0)] if 0 in ids else ids
        text = ends.read(content)
        first = min((at for at in map(text.find, stop) if at >= 0), default=None)
        answer, own = ends.answer(ids)
        assert answer[:own] == ids[:own]
        assert ends.read(answer) == (text if first is None else text[:first])
        assert (0 in answer) == (first is None and 0 in ids)
        for count in range(len(ids) + 1):
            certain = ends.certain(ids[:count])
            assert answer[: len(certain)] == certain
        if first is None and not any(text.endswith(s[:n]) for s in stop for n in range(1, len(s))):
            assert ends.certain(ids) == answer == ids[:own]  # nothing is held back without a reason
            seen += 1
    assert seen > 100


def test_a_character_of_several_tokens_is_put_whole() -> None:
    """Until its last byte, the text of the ids ends in the mark of an incomplete character."""
    pieces = {1: b"a", 2: "ü".encode()[:1], 3: "ü".encode()[1:], 4: b"b"}

    def read(ids: Sequence[int]) -> str:
        return b"".join(pieces[one] for one in ids).decode(errors="replace")

    ends = AnswerEnds(frozenset(), ("üb",), read, None)
    assert ends.certain([1, 2]) == [1]
    assert ends.certain([1, 2, 3]) == [1]
    assert ends.certain([1, 2, 3, 1]) == [1, 2, 3, 1]
    assert ends.answer([1, 2, 3, 4]) == ([1], 1)


@pytest.mark.parametrize("n", [2, 3])
def test_samples_are_those_of_decode(n: int, denoiser: HuggingFaceDenoiser) -> None:
    fn = custom_generate(GUMBEL)
    given = {"custom_generate": fn, "max_new_tokens": 8, "seed": 7, "do_sample": True}
    several = denoiser.model.generate(**batch(PROMPTS), num_return_sequences=n, **given)
    want = dsldec.decode(denoiser, PROMPTS, GUMBEL, gen_length=8, seed=7, n=n)
    rows = answers(several, PROMPTS)
    assert [text_of(denoiser, row) for row in rows] == want.text
    assert len(rows) == n * len(PROMPTS)
    alone = denoiser.model.generate(**batch(PROMPTS), **given)
    assert [text_of(denoiser, row) for row in rows[::n]] == [
        text_of(denoiser, row) for row in answers(alone, PROMPTS)
    ]
    recorded = Recorded()
    streamed = denoiser.model.generate(**batch(PROMPTS), num_return_sequences=n, streamer=recorded, **given)
    assert torch.equal(streamed, several)
    assert recorded.put_in[1:] == several[:, 5:].T.tolist()


def test_several_end_ids_end_a_row(denoiser: HuggingFaceDenoiser) -> None:
    ids = dsldec.decode(denoiser, PROMPTS[:1], "static", gen_length=12, stop_at_eos=False).ids[0][5:].tolist()
    ends = [ids[3], ids[6]]
    forwards = 0

    def count(*_: Any) -> None:
        nonlocal forwards
        forwards += 1

    fn = custom_generate("static", block=2)
    denoiser.model.generate(**batch(PROMPTS[:1]), custom_generate=fn, max_new_tokens=2)  # runs the probes
    hook = denoiser.model.register_forward_hook(count)
    try:
        generated = denoiser.model.generate(
            **batch(PROMPTS[:1]), custom_generate=fn, max_new_tokens=12, eos_token_id=[49, *ends]
        )
    finally:
        hook.remove()
    (row,) = answers(generated, PROMPTS[:1])
    assert row[-1] in ends
    assert not {49, *ends} & set(row[:-1])
    assert forwards < 12  # the row has ended there, and is not cut afterwards
    option = custom_generate("static", block=2, stop_ids=ends)
    same = denoiser.model.generate(**batch(PROMPTS[:1]), custom_generate=option, max_new_tokens=12)
    assert answers(same, PROMPTS[:1]) == [row]


ENDING = "policy ending():\n  window blocks(4)\n  commit top(masked, 1, by=conf)\n"


@pytest.mark.parametrize("least", [1, 5, 8])
def test_no_end_before_the_least_length(least: int, denoiser: HuggingFaceDenoiser) -> None:
    every = list(range(3, 25))  # half the vocabulary ends a text
    fn = custom_generate(ENDING)
    given = {"custom_generate": fn, "eos_token_id": every, "max_new_tokens": 12}
    plain = answers(denoiser.model.generate(**batch(PROMPTS), **given), PROMPTS)
    for names in ({"min_new_tokens": least}, {"min_length": 5 + least}):
        rows = answers(denoiser.model.generate(**batch(PROMPTS), **given, **names), PROMPTS)
        for row in rows:
            assert not set(row[:least]) & set(every)
    assert any(set(row[:least]) & set(every) for row in plain)
    option = custom_generate(ENDING, min_length=least)
    same = denoiser.model.generate(**batch(PROMPTS), **given | {"custom_generate": option})
    assert answers(same, PROMPTS) == rows


def test_a_least_length_beyond_the_length_is_refused(denoiser: HuggingFaceDenoiser) -> None:
    fn = custom_generate("static", gen_length=6)
    with pytest.raises(dsldec.UsageError, match=r"E0409.*`min_new_tokens=7` is more than the 6 tokens"):
        denoiser.model.generate(**batch(PROMPTS), custom_generate=fn, max_new_tokens=8, min_new_tokens=7)
    short = custom_generate("static", min_length=6)
    rows = denoiser.model.generate(**batch(PROMPTS), custom_generate=short, max_new_tokens=4)
    assert rows.shape[1] == 9  # a call with fewer tokens is no mistake


def test_a_call_names_another_policy(denoiser: HuggingFaceDenoiser, tmp_path: Path) -> None:
    fn, given = custom_generate("static"), batch(PROMPTS) | {"max_new_tokens": 8}

    def rows(**more: Any) -> list[list[int]]:
        return answers(denoiser.model.generate(**given, custom_generate=fn, **more), PROMPTS)

    def want(policy: Any) -> list[list[int]]:
        made = custom_generate(policy)
        return answers(denoiser.model.generate(**given, custom_generate=made), PROMPTS)

    quick = dsldec.load("threshold", confidence=0.1)
    (tmp_path / "own.policy").write_text(REVISING)
    assert rows(policy="threshold", parameters={"confidence": 0.1}) == want(quick)
    assert rows(policy=quick) == want(quick)
    assert rows(policy=REVISING) == rows(policy=tmp_path / "own.policy") == want(REVISING)
    assert rows(parameters={"tokens": 4}) == want(dsldec.load("static", tokens=4))
    assert rows() == want("static")
    config = transformers.GenerationConfig(policy="threshold", parameters={"confidence": 0.1})
    assert rows(generation_config=config) == want(quick)
    for wrong in ("own.policy", str(tmp_path / "own.policy"), REVISING, 3):
        with pytest.raises(dsldec.UsageError, match="E0401"):
            rows(generation_config=transformers.GenerationConfig(policy=wrong))
    with pytest.raises(dsldec.PolicyError, match="E0403"):
        rows(parameters={"confidence": 0.1})


@pytest.mark.parametrize("policy", ["threshold", REVISING])
def test_confidences_and_steps_are_those_of_decode(policy: str, denoiser: HuggingFaceDenoiser) -> None:
    given = batch(PROMPTS) | {"custom_generate": function(policy), "max_new_tokens": 12}
    plain = denoiser.model.generate(**given)
    result = denoiser.model.generate(**given, return_dict_in_generate=True, output_scores=True)
    assert isinstance(result, PolicyOutput)
    assert isinstance(result, GenerateDecoderOnlyOutput)
    assert torch.equal(result.sequences, plain)
    assert result.scores is None
    decoded = dsldec.decode(denoiser, PROMPTS, policy, gen_length=12, logprobs=True)
    for row, confidence, step, known in zip(
        answers(plain, PROMPTS), result.confidence, result.step, decoded.logprobs, strict=True
    ):
        assert known is not None
        length = row.index(tiny.EOS) + 1 if tiny.EOS in row else len(row)
        assert step.tolist() == known.step[:length] + [-1] * (len(row) - length)
        assert torch.equal(confidence.isnan(), step < 0)
        assert confidence[:length].tolist() == pytest.approx(known.confidence[:length])
    assert set(result) == {"sequences", "confidence", "step"}
    assert denoiser.model.generate(**given, return_dict_in_generate=True).confidence is None
    assert torch.equal(denoiser.model.generate(**given, output_scores=True), plain)


def test_an_id_that_replaces_a_part_of_another_has_no_confidence(denoiser: HuggingFaceDenoiser) -> None:
    words = words_of(denoiser, "static")
    stop = next(word[2:] for word in words if len(word) == 3)
    result = function("static").generate(
        **batch(PROMPTS[:1]),
        model=denoiser.model,
        max_new_tokens=12,
        stop=stop,
        return_dict_in_generate=True,
        output_scores=True,
    )
    (row,) = answers(result.sequences, PROMPTS[:1])
    assert isinstance(result, PolicyOutput)
    assert result.confidence is not None
    assert result.confidence[0].isnan().tolist() == [False] * (len(row) - 1) + [True]
