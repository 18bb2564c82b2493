"""`model.generate(custom_generate=custom_generate(...))`: the same ids as `dsldec.decode`, and a message for
arguments without a meaning.
"""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    EuroBertForMaskedLM,
    GenerationMixin,
    LlamaForCausalLM,
    TextIteratorStreamer,
    TextStreamer,
)
from transformers.generation import GenerateDecoderOnlyOutput, LogitsProcessorList, MinLengthLogitsProcessor

import dsldec
from dsldec.engines.transformers import CustomGenerate, custom_generate
from dsldec.models.huggingface import HuggingFaceDenoiser, denoiser_of, from_pretrained
from dsldec.models.kv_cache import attention_hook_of
from dsldec.resources import embedded_model_folder

from ..models import tiny
from ..models.tiny import EOS, MASK, PAD

PROMPTS = [[5, 6, 7, 8, 9], [11, 12], [20, 21, 22]]
GUMBEL = """\
policy drawn(tokens: int = 1 in 1..8):
  window blocks(4)
  draw gumbel(2.0)
  commit top(masked, tokens, by=conf)
"""
REVISING = """\
policy revising():
  window all
  revoke committed and p(canvas) < 0.5 at most committed_before - 1 by doubt
  commit top(masked, 2, by=conf)
"""


class EmbeddedWithGenerate(EuroBertForMaskedLM, GenerationMixin):
    pass


@pytest.fixture(scope="module")
def decoder() -> Any:
    return tiny.model(*tiny.NATIVE["qwen3"])


@pytest.fixture(scope="module")
def embedded() -> Any:
    # Saved in 16 bits: as torch computes those, two tokens are as likely as each other in one version and not
    # in another.
    return EmbeddedWithGenerate.from_pretrained(embedded_model_folder(), dtype=torch.float32)


def batch(prompts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """As a tokenizer gives it: padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    return {
        "input_ids": ids,
        "attention_mask": torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts]),
    }


def answers(sequences: Tensor, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    return [row[max(map(len, prompts)) :].tolist() for row in sequences]


def expected(
    denoiser: HuggingFaceDenoiser, prompts: Sequence[Sequence[int]], policy: Any, **given: Any
) -> list[list[int]]:
    """What `decode` writes, in the form that `generate` has: nothing after the end but padding, no longer
    than the longest.
    """
    decoded = dsldec.decode(denoiser, prompts, policy, **given)
    rows = [ids[len(prompt) :].tolist() for ids, prompt in zip(decoded.ids, prompts, strict=True)]
    rows = [row[: row.index(denoiser.eos_id) + 1] if denoiser.eos_id in row else row for row in rows]
    return [row + [PAD] * (max(map(len, rows)) - len(row)) for row in rows]


@pytest.mark.parametrize("policy", ["static", "threshold", "dico", "freedave", REVISING])
@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS, [PROMPTS[1]] * 2])
def test_ids_are_those_of_decode(policy: str, prompts: list[list[int]], decoder: Any) -> None:
    denoiser = denoiser_of(decoder, mask_id=MASK)
    generated = decoder.generate(
        **batch(prompts), custom_generate=custom_generate(policy, mask_id=MASK), max_new_tokens=6
    )
    longest = max(map(len, prompts))
    assert torch.equal(generated[:, :longest], batch(prompts)["input_ids"])
    assert answers(generated, prompts) == expected(denoiser, prompts, policy, gen_length=6)


def test_parameters_and_options_go_where_they_belong(decoder: Any) -> None:
    denoiser = denoiser_of(decoder, mask_id=3, eos_id=4)
    fn = custom_generate(
        "static", tokens=2, block=4, mask_id=3, eos_id=4, backend="reference", lookahead=2, batch=2
    )
    want = expected(denoiser, PROMPTS, dsldec.load("static", tokens=2, block=4), gen_length=8, lookahead=2)
    assert answers(decoder.generate(**batch(PROMPTS), custom_generate=fn, max_new_tokens=8), PROMPTS) == want
    with pytest.raises(dsldec.PolicyError, match="no parameter `tokns`"):
        custom_generate("static", tokns=2)
    own = "policy own(seed: int = 3 in 1..8):\n  window blocks(4)\n  commit top(masked, seed, by=conf)\n"
    with pytest.raises(
        dsldec.UsageError,
        match="`seed` is an option of `custom_generate`, and a parameter of the policy `own` too",
    ):
        custom_generate(own, seed=2)
    assert custom_generate(dsldec.load(own, seed=2)).policy.parameters == {"seed": 2}


def test_a_cache_that_there_is_not_is_refused_at_once() -> None:
    with pytest.raises(dsldec.UsageError, match=r"(?s)E0414.*did you mean `prefix`") as refused:
        custom_generate("static", cache="prefx")
    assert refused.value.diagnostic.code == "E0414"


def test_sizes_of_nothing_are_refused_at_once() -> None:
    for sizes in ({"batch": 0}, {"gen_length": 0}, {"gen_length": "3"}):
        with pytest.raises(dsldec.UsageError, match="must be a whole number of 1 or more"):
            custom_generate("static", **sizes)


def test_a_length_can_be_a_whole_one_or_bounded(decoder: Any) -> None:
    def length(fn: CustomGenerate, **asked: int) -> int:
        return int(
            decoder.generate(torch.tensor([[5, 6, 7]]), custom_generate=fn, eos_token_id=-1, **asked).shape[1]
        )

    fn, bounded = (
        custom_generate("static", mask_id=MASK),
        custom_generate("static", mask_id=MASK, gen_length=4),
    )
    assert [length(fn, max_length=9), length(fn, max_new_tokens=5), length(bounded, max_new_tokens=5), length(bounded, max_length=5)] == [
        9, 8, 7, 5
    ]  # fmt: skip
    with pytest.raises(
        dsldec.UsageError, match=r"more than the model's limit of 66(.|\n)*`max_new_tokens=63`"
    ):
        length(fn, max_new_tokens=64)


def test_an_answer_ends_where_the_caller_says(decoder: Any) -> None:
    fn, ids = custom_generate("static", mask_id=MASK), batch(PROMPTS)
    whole = answers(decoder.generate(**ids, custom_generate=fn, max_new_tokens=8, eos_token_id=-1), PROMPTS)
    end = whole[0][3]
    assert whole[0].index(end) == 3
    ended = decoder.generate(
        **ids, custom_generate=fn, max_new_tokens=8, eos_token_id=[49, end], pad_token_id=33
    )
    # The first of several is what decoding knows; at the others the answer is cut.
    for row, before in zip(answers(ended, PROMPTS), whole, strict=True):
        cut = next((at for at, one in enumerate(before) if one in (49, end)), len(before) - 1)
        assert row[: cut + 1] == before[: cut + 1]
        assert set(row[cut + 1 :]) <= {33}
    known = expected(denoiser_of(decoder, mask_id=MASK, eos_id=end), PROMPTS, "static", gen_length=8)
    assert (
        answers(decoder.generate(**ids, custom_generate=fn, max_new_tokens=8, eos_token_id=end), PROMPTS)
        == known
    )


def test_a_dict_is_returned_where_it_is_asked_for(decoder: Any) -> None:
    fn = custom_generate("static", mask_id=MASK)
    plain = decoder.generate(**batch(PROMPTS), custom_generate=fn, max_new_tokens=4)
    result = decoder.generate(
        **batch(PROMPTS), custom_generate=fn, max_new_tokens=4, return_dict_in_generate=True
    )
    assert isinstance(result, GenerateDecoderOnlyOutput)
    assert torch.equal(result.sequences, plain)


def test_seeds(decoder: Any) -> None:
    fn, ids = custom_generate(GUMBEL, mask_id=MASK), batch(PROMPTS)

    def drawn(**asked: Any) -> list[list[int]]:
        return answers(decoder.generate(**ids, custom_generate=fn, max_new_tokens=8, **asked), PROMPTS)

    denoiser = denoiser_of(decoder, mask_id=MASK)
    assert drawn(seed=7) == expected(denoiser, PROMPTS, GUMBEL, gen_length=8, seed=7)
    assert drawn(seed=7) != drawn(seed=8)
    fixed = custom_generate(GUMBEL, mask_id=MASK, seed=7)
    assert answers(decoder.generate(**ids, custom_generate=fixed, max_new_tokens=8), PROMPTS) == drawn(seed=7)
    several = decoder.generate(
        torch.tensor([PROMPTS[0]]),
        custom_generate=fn,
        max_new_tokens=8,
        num_return_sequences=3,
        do_sample=True,
        seed=7,
    )
    assert len({tuple(row) for row in several.tolist()}) == 3


def test_sampling_twice_samples_twice(decoder: Any) -> None:
    """As `do_sample=True` does without a policy: a seed comes from torch's generator, and only where there is
    something to draw.
    """
    fn, ids = custom_generate(GUMBEL, mask_id=MASK), batch(PROMPTS)

    def drawn(fn: CustomGenerate = fn, **asked: Any) -> list[list[int]]:
        return answers(
            decoder.generate(**ids, custom_generate=fn, max_new_tokens=8, do_sample=True, **asked), PROMPTS
        )

    torch.manual_seed(8)
    first, second, third = drawn(), drawn(), drawn()
    assert len({str(first), str(second), str(third)}) == 3
    torch.manual_seed(8)
    assert [drawn(), drawn()] == [first, second]
    torch.manual_seed(9)
    assert drawn() != first
    own = torch.Generator().manual_seed(8)
    before = torch.get_rng_state()
    assert [drawn(generator=own), drawn(generator=own)] == [first, second]
    (
        drawn(seed=7),
        drawn(custom_generate(GUMBEL, mask_id=MASK, seed=7)),
        drawn(custom_generate("static", mask_id=MASK)),
    )
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(dsldec.UsageError, match=r"`generator` takes a `torch\.Generator`, not `int`"):
        drawn(generator=7)


class Recorded:
    """A streamer that keeps what it is given."""

    def __init__(self) -> None:
        self.put_in: list[list[int]] = []
        self.ended = False

    def put(self, value: Tensor) -> None:
        self.put_in.append(value.reshape(-1).tolist())

    def end(self) -> None:
        self.ended = True


@pytest.mark.parametrize("policy", ["static", "freedave", REVISING])
def test_a_streamer_gets_columns_from_left_to_right(policy: str, decoder: Any) -> None:
    fn, recorded = custom_generate(policy, mask_id=MASK), Recorded()
    generated = decoder.generate(**batch(PROMPTS), custom_generate=fn, max_new_tokens=8, streamer=recorded)
    prompt, *columns = recorded.put_in
    assert prompt == batch(PROMPTS)["input_ids"].reshape(-1).tolist()
    assert columns == generated[:, 5:].T.tolist()
    assert recorded.ended


@pytest.mark.parametrize(("policy", "early"), [("static", True), (REVISING, False)])
def test_text_streams_as_soon_as_it_is_final(policy: str, early: bool, decoder: Any) -> None:
    """`static` writes a block after the other, so that the first is there long before the last; what may be
    revised waits.
    """
    forwards, put_after = 0, []

    class Watched(Recorded):
        def put(self, value: Tensor) -> None:
            put_after.append(forwards)

    def count(*_: Any) -> None:
        nonlocal forwards
        forwards += 1

    parameters = {"block": 2} if policy == "static" else {}
    fn = custom_generate(policy, mask_id=MASK, **parameters)
    decoder.generate(
        torch.tensor([[5, 6]]), custom_generate=fn, max_new_tokens=2, eos_token_id=-1
    )  # the model is found out
    hook = decoder.register_forward_hook(count)
    decoder.generate(
        torch.tensor([[5, 6]]), custom_generate=fn, max_new_tokens=8, eos_token_id=-1, streamer=Watched()
    )
    hook.remove()
    assert len(put_after) == 9
    assert (put_after[2] <= 2) == early
    assert put_after[-1] <= forwards


def test_transformers_streamers_give_the_answer(embedded: Any, capsys: pytest.CaptureFixture[str]) -> None:
    denoiser = from_pretrained(device="cpu")
    ids = torch.tensor([denoiser.encode("What is 14+18?")])
    fn = custom_generate("threshold", block=48)
    (text,) = dsldec.decode(
        denoiser, ["What is 14+18?"], dsldec.load("threshold", block=48), gen_length=48
    ).text
    streamer = TextStreamer(denoiser.tokenizer, skip_prompt=True, skip_special_tokens=True)
    embedded.generate(ids, custom_generate=fn, max_new_tokens=48, streamer=streamer)
    assert capsys.readouterr().out.strip() == text
    pieces = TextIteratorStreamer(denoiser.tokenizer, skip_prompt=True, timeout=60, skip_special_tokens=True)
    thread = Thread(
        target=embedded.generate,
        args=(ids,),
        kwargs={"custom_generate": fn, "max_new_tokens": 48, "streamer": pieces},
        daemon=True,
    )
    thread.start()
    assert "".join(pieces).strip() == text
    thread.join()
    assert text is not None
    assert text.endswith("#### 32")


def test_the_embedded_model_needs_nothing_said(embedded: Any) -> None:
    denoiser = from_pretrained(device="cpu")
    prompts = [
        denoiser.encode(text)
        for text in ("What is 14+18?", "Tom has 14 apples. Tom buys 6. How many apples does Tom have now?")
    ]
    generated = embedded.generate(
        **batch(prompts), custom_generate=custom_generate("dico"), max_new_tokens=48
    )
    assert answers(generated, prompts) == expected(denoiser, prompts, "dico", gen_length=48)


def test_the_model_stays_as_it_was(decoder: Any) -> None:
    decoder.train()
    decoder.model.layers[0].eval()
    before = {name: module.training for name, module in decoder.named_modules()}
    config, generation = decoder.config.to_dict(), decoder.generation_config.to_dict()
    try:
        decoder.generate(
            torch.tensor([[5, 6]]), custom_generate=custom_generate("static", mask_id=MASK), max_new_tokens=4
        )
        assert {name: module.training for name, module in decoder.named_modules()} == before
        assert (decoder.config.to_dict(), decoder.generation_config.to_dict()) == (config, generation)
        assert decoder.config.use_cache
    finally:
        decoder.eval()


def test_a_model_is_found_out_once_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    fn, model, calls = custom_generate("static", mask_id=MASK), tiny.model(*tiny.NATIVE["qwen3"]), []
    monkeypatch.setattr(
        "dsldec.engines.transformers.call_denoiser.denoiser_of",
        lambda *a, **k: (calls.append(1), denoiser_of(*a, **k))[1],
    )
    for _ in range(3):
        model.generate(torch.tensor([[5, 6]]), custom_generate=fn, max_new_tokens=4)
    assert len(calls) == 1
    assert len(fn.policy._functions) == 1  # compiled once
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_whether_keys_and_values_can_be_kept_is_found_out_once_and_the_model_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        "dsldec.models.huggingface_denoiser.attention_hook_of",
        lambda denoiser: (calls.append(1), attention_hook_of(denoiser))[1],
    )
    fn, model = custom_generate("static", mask_id=MASK, block_length=4), tiny.model(*tiny.NATIVE["qwen3"])
    for _ in range(3):
        model.generate(torch.tensor([[5, 6]]), custom_generate=fn, max_new_tokens=4)
    assert len(calls) == 1
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"num_beams": 4}, "`num_beams`"),
        (
            {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3},
            "`repetition_penalty`, `no_repeat_ngram_size` of `generate` have no meaning",
        ),
        ({"bad_words_ids": [[7]]}, "`bad_words_ids`"),
        ({"return_dict_in_generate": True, "output_logits": True}, "`output_logits`"),
        ({"logits_processor": LogitsProcessorList([MinLengthLogitsProcessor(9, EOS)])}, "`logits_processor`"),
        ({"stopping_criteria": [lambda ids, scores: True]}, "`stopping_criteria`"),
        ({"prefix_allowed_tokens_fn": lambda row, ids: [5]}, "`prefix_allowed_tokens_fn`"),
        ({"max_time": 3.0}, "`max_time`"),
        ({"num_return_sequences": 2, "do_sample": True}, "`num_return_sequences` requests several answers"),
        ({"position_ids": torch.arange(5).repeat(3, 1)}, "`position_ids`"),
        ({"attention_mask": torch.tensor([[1, 1, 1, 1, 0]] * 3)}, 'tokenizer.padding_side = "left"'),
        ({"attention_mask": torch.tensor([[1, 0, 1, 1, 1]] * 3)}, "within it"),
    ],
)
def test_what_has_no_meaning_is_refused(asked: dict[str, Any], says: str, decoder: Any) -> None:
    with pytest.raises(dsldec.UsageError) as error:
        decoder.generate(
            **batch(PROMPTS) | {"max_new_tokens": 4} | asked,
            custom_generate=custom_generate("static", mask_id=MASK),
        )
    assert error.value.diagnostic.code == "E0409"
    assert says in str(error.value)


def test_what_says_the_same_as_nothing_is_not(decoder: Any) -> None:
    fn, plain = custom_generate("static", mask_id=MASK), batch(PROMPTS)
    same = {
        "num_beams": 1,
        "do_sample": False,
        "repetition_penalty": 1.0,
        "num_return_sequences": 1,
        "use_cache": False,
        "top_p": 1.0,
    }
    asked = decoder.generate(**plain, custom_generate=fn, max_new_tokens=4, **same)
    assert torch.equal(asked, decoder.generate(**plain, custom_generate=fn, max_new_tokens=4))


def test_chance_that_has_no_effect_is_told_once(decoder: Any, caplog: pytest.LogCaptureFixture) -> None:
    fn, drawn = custom_generate("static", mask_id=MASK), custom_generate(GUMBEL, mask_id=MASK)
    with caplog.at_level(logging.WARNING, logger="dsldec"):
        for _ in range(2):
            decoder.generate(
                **batch(PROMPTS), custom_generate=fn, max_new_tokens=4, do_sample=True, temperature=0.7
            )
        decoder.generate(**batch(PROMPTS), custom_generate=drawn, max_new_tokens=4, do_sample=True)
        decoder.generate(**batch(PROMPTS), custom_generate=drawn, max_new_tokens=4, do_sample=False)
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith(
        "warning[W0401]: `do_sample`, `temperature` of `generate` has no effect: the policy `static` takes the likeliest token"
    )
    assert second.startswith(
        "warning[W0401]: `do_sample=False` of `generate` has no effect: the policy `drawn` draws by its own `draw` statement"
    )


def test_a_model_without_a_known_mask_says_what_to_pass(decoder: Any) -> None:
    with pytest.raises(dsldec.UsageError, match="has no mask token") as error:
        decoder.generate(torch.tensor([[5, 6]]), custom_generate=custom_generate("static"), max_new_tokens=4)
    assert "`mask_id=N`" in error.value.diagnostic.help


def test_a_tokenizer_beside_the_files_tells_the_mask(tmp_path: Path) -> None:
    denoiser = from_pretrained(tiny.saved(tmp_path, "qwen3"), device="cpu")
    generated = denoiser.model.generate(
        **batch(PROMPTS), custom_generate=custom_generate("static"), max_new_tokens=4
    )
    assert answers(generated, PROMPTS) == expected(denoiser, PROMPTS, "static", gen_length=4)


def test_code_of_a_tokenizer_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "y")
    file = tiny.saved(tmp_path, "llama") / "tokenizer_config.json"
    own = {"auto_map": {"AutoTokenizer": ["tokenization.Own", None]}, "tokenizer_class": "Own"}
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    (tmp_path / "tokenization.py").write_text("from transformers import PreTrainedTokenizerFast as Own\n")
    model = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    with pytest.raises(dsldec.UsageError, match="has no mask token"):
        model.generate(torch.tensor([[3, 4]]), custom_generate=custom_generate("static"), max_new_tokens=4)
    assert not asked


def test_logits_of_the_next_position(decoder: Any) -> None:
    fn = custom_generate("static", mask_id=MASK, shift_logits=True)
    want = expected(denoiser_of(decoder, mask_id=MASK, shift_logits=True), PROMPTS, "static", gen_length=4)
    assert answers(decoder.generate(**batch(PROMPTS), custom_generate=fn, max_new_tokens=4), PROMPTS) == want


def test_what_a_model_raises_comes_through(decoder: Any) -> None:
    fn = custom_generate("static", mask_id=MASK)
    decoder.generate(torch.tensor([[5, 6]]), custom_generate=fn, max_new_tokens=4)

    def fail(*_: Any) -> None:
        raise MemoryError("full")

    hook = decoder.register_forward_hook(fail)
    try:
        with pytest.raises(MemoryError, match="full"):
            decoder.generate(torch.tensor([[5, 6]]), custom_generate=fn, max_new_tokens=4)
    finally:
        hook.remove()
