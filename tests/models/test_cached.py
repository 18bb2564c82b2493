"""Real models decode under a cache: the exact cache changes nothing, and the other caches equal a slow loop
with whole forwards.

In float64, so that rounding does not decide the order of scores. Not here: one call with a KV cache
(`test_kv_cache`), the input of each forward (`tests/runtime/test_cache`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.models.blocks import BlockMask, as_truth
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained
from dsldec.models.kv_cache import attention_hook_of
from dsldec.models.shifted import shifted
from dsldec.models.tasks import TASKS
from dsldec.runtime.decode import Decoded
from dsldec.tools.evaluate import LENGTHS, held_out

from ..published.freedave_loop import Static
from ..published.rules import Canvas
from ..runtime.cached_loop import Rule, Threshold, Views, Whole, slow, slow_ahead
from .tiny import EOS, denoiser_of

PROMPTS = [[5, 6, 7, 8, 9], [11, 12], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30], [40, 41, 42, 43]]
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 3, "num_key_value_heads": 1},
    "qwen3": {"num_hidden_layers": 2},
    "gemma3": {
        "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "eurobert": {"num_hidden_layers": 2},
}


IN_BLOCKS: dict[str, Any] = {"block_length": 4, "mask": BlockMask(4, as_truth, torch.float64)}


def deep(family: str, **given: Any) -> Any:
    denoiser = denoiser_of(family, FAMILIES[family], **given)
    denoiser.model.double()
    denoiser.kv_cache(1, 1)  # the first time it asks whether it can
    return denoiser


@contextmanager
def plain_calls(denoiser: Any) -> Iterator[list[int]]:
    """How many rows each whole call is given."""
    calls: list[int] = []
    kind = type(denoiser)

    class Counted(kind):  # type: ignore[misc, valid-type]
        def __call__(self, ids: Tensor, *given: Any, **how: Any) -> Tensor:
            calls.append(len(ids))
            logits: Tensor = kind.__call__(self, ids, *given, **how)
            return logits

    denoiser.__class__ = Counted
    try:
        yield calls
    finally:
        denoiser.__class__ = kind


def decode(denoiser: Any, prompts: Any, policy: dsldec.Policy, cache: str, **how: Any) -> Decoded:
    return dsldec.decode(
        denoiser, prompts, policy, cache=cache, **{"gen_length": 12, "backend": "eager", "trace": True} | how
    )


def steps(decoded: Decoded) -> list[list[Any]]:
    """What was written in which step, without what was observed: that may differ in the last bit."""
    return [[replace(step, forward=0, observations={}) for step in row] for row in decoded.trace]


def told(decoded: Decoded) -> list[Any]:
    numbers = [getattr(decoded, name).tolist() for name in ("forwards", "rows", "tokens")]
    return [
        [ids.tolist() for ids in decoded.ids],
        numbers,
        decoded.proposed,
        decoded.accepted,
        steps(decoded),
    ]


# --- models that are causal between blocks


@pytest.mark.parametrize(("family", "shift"), [("llama", False), ("qwen3", True)])
def test_a_model_that_is_causal_between_blocks_decodes_as_without_a_cache(family: str, shift: bool) -> None:
    denoiser = deep(family, **IN_BLOCKS, shift_logits=shift)
    for name, parameters, drafts in [
        ("static", {"block": 4}, 1),
        ("threshold", {"block": 6, "confidence": 0.2}, 4),
        ("dico", {"block": 8}, 2),
    ]:
        policy = dsldec.load(name, **parameters)
        with plain_calls(denoiser) as calls:
            cached = decode(denoiser, PROMPTS, policy, "auto", lookahead=drafts, batch=2)
        assert not calls
        assert told(cached) == told(decode(denoiser, PROMPTS, policy, "none", lookahead=drafts, batch=2))


def test_observations_are_those_without_a_cache_to_many_digits() -> None:
    denoiser, policy = deep("qwen3", **IN_BLOCKS), dsldec.load("static", block=4)
    one, other = (decode(denoiser, PROMPTS, policy, cache) for cache in ("exact", "none"))
    for a, b in zip(one.trace, other.trace, strict=True):
        for step, same in zip(a, b, strict=True):
            assert step.observations["conf"] == pytest.approx(same.observations["conf"], abs=1e-6)


# --- models that see the whole canvas


class WholeModel(Whole):
    """The slow loop's forward of a model whose layers have a `k_proj` and a `v_proj`."""

    def logits(self, canvas: Canvas, fed: Views, old: Any) -> tuple[Tensor, Any]:
        ids, new = self.ids(canvas), []
        stale = torch.tensor([not fed[0] <= column < fed[1] for column in range(len(ids))])

        def replaced(said: Tensor) -> Tensor:
            value = torch.where(stale.unsqueeze(-1), old[len(new)], said) if stale.any() else said
            new.append(value)
            return value

        with ExitStack() as hooks:
            for name, module in self.denoiser.model.named_modules():
                if name.endswith(("k_proj", "v_proj")):
                    hooks.enter_context(module.register_forward_hook(lambda _, given, said: replaced(said)))
            with torch.inference_mode():
                logits = replaced(self.denoiser.model(input_ids=torch.tensor([ids])).logits)
        return (shifted(logits) if self.denoiser.shift_logits else logits)[0], new


@pytest.mark.parametrize(("family", "shift"), [*((family, False) for family in FAMILIES), ("qwen3", True)])
@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_a_model_decodes_as_a_loop_of_whole_forwards_with_older_keys_and_values(
    family: str, cache: str, shift: bool
) -> None:
    denoiser = deep(family, shift_logits=shift)
    rules: list[Rule] = [Static(1, 4, EOS), Threshold(0.15, 6, EOS)]
    for rule, prompt in zip(rules, PROMPTS, strict=False):
        name, parameters = (
            ("static", {"tokens": 1})
            if isinstance(rule, Static)
            else ("threshold", {"confidence": rule.confidence})
        )
        policy = dsldec.load(name, block=rule.block, **parameters)
        loop = WholeModel(denoiser, prompt, cache)
        wanted, ahead = slow(loop, 12, rule), slow_ahead(loop, 12, rule, 3)
        assert ahead.canvas == wanted.canvas
        ids = [*prompt, *(EOS if id_ is None else id_ for id_ in wanted.canvas)]
        with plain_calls(denoiser) as calls:
            decoded, drafted = (
                decode(denoiser, [prompt], policy, cache, lookahead=drafts) for drafts in (1, 3)
            )
        assert not calls
        assert decoded.ids[0].tolist() == drafted.ids[0].tolist() == ids
        assert decoded.forwards.tolist() == [len(wanted.fed)]
        assert (drafted.forwards.tolist(), drafted.rows.tolist()) == (
            [len(ahead.fed)],
            [sum(len(fed) for fed in ahead.fed)],
        )


@pytest.mark.parametrize("cache", ["prefix", "dual"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_drafts_of_ragged_rows_change_nothing_under_a_cache(family: str, cache: str) -> None:
    denoiser = deep(family)
    for name, parameters in [("static", {"block": 4}), ("klass", {"block": 6, "steps": 4})]:
        policy = dsldec.load(name, **parameters)
        undrafted, drafted = (
            decode(denoiser, PROMPTS, policy, cache, lookahead=drafts, batch=3) for drafts in (1, 3)
        )
        assert steps(drafted) == steps(undrafted)
        assert (drafted.forwards <= undrafted.forwards).all()
        assert steps(decode(denoiser, PROMPTS[2:3], policy, cache))[0] == steps(undrafted)[2]


def test_a_model_that_cannot_keep_is_refused_before_it_decodes_and_auto_goes_on_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    denoiser, asked = denoiser_of("own code"), []
    monkeypatch.setattr(
        "dsldec.models.huggingface_denoiser.attention_hook_of",
        lambda denoiser: (asked.append(1), attention_hook_of(denoiser))[1],
    )
    for cache in ("prefix", "dual"):
        with pytest.raises(dsldec.UsageError, match="takes no position ids") as error:
            decode(denoiser, PROMPTS, dsldec.load("static"), cache)
        assert error.value.diagnostic.code == "E0414"
    assert len(asked) == 1
    assert decode(denoiser, PROMPTS, dsldec.load("static"), "auto", gen_length=4).errors == [None] * len(
        PROMPTS
    )


# --- the embedded model


@pytest.fixture(scope="module")
def embedded() -> HuggingFaceDenoiser:
    return from_pretrained()


def right(denoiser: HuggingFaceDenoiser, task: str, cache: str, count: int) -> float:
    """The share of held-out prompts that are answered right, printed."""
    examples = held_out(task, count)
    policy, length = dsldec.load("static", block=8), LENGTHS[task]
    decoded = decode(
        denoiser,
        [example.prompt for example in examples],
        policy,
        cache,
        gen_length=length,
        batch=30,
        trace=False,
    )
    scores = [
        TASKS[task].score(example, text or "") for example, text in zip(examples, decoded.text, strict=True)
    ]
    share = sum(score.answer for score in scores) / len(scores)
    print(f"{task} under {cache}: {share:.3f} of {count} answers right")
    return share


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_the_embedded_model_answers_under_a_cache(embedded: HuggingFaceDenoiser, cache: str) -> None:
    assert right(embedded, "word_problems", cache, 30) >= 0.85


@pytest.mark.slow
def test_all_held_out_prompts_under_a_cache(embedded: HuggingFaceDenoiser) -> None:
    exactly = right(embedded, "word_problems", "none", 200)
    for cache in ("prefix", "dual"):
        assert right(embedded, "word_problems", cache, 200) >= exactly - 0.06


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_drafts_of_the_embedded_model_change_nothing_under_a_cache(cache: str) -> None:
    denoiser = from_pretrained()
    denoiser.model.double()
    prompts = [example.prompt for example in held_out("word_problems", 2)]
    one, other = (
        decode(denoiser, prompts, dsldec.load("static", block=8), cache, gen_length=32, lookahead=drafts)
        for drafts in (1, 4)
    )
    assert steps(one) == steps(other)
    assert other.forwards.sum() < one.forwards.sum()


def test_blocks_larger_than_the_model_sees_are_told_with_what_suits_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    denoiser = deep("qwen3", **IN_BLOCKS)
    with caplog.at_level("INFO", "dsldec"):
        dsldec.decode(denoiser, PROMPTS[:1], "static", gen_length=8)
        dsldec.decode(denoiser, PROMPTS[:1], dsldec.load("static", block=4), gen_length=8)
    (told,) = [record.message for record in caplog.records if "the model's blocks" in record.message]
    assert "blocks have 4 positions, and the policy's blocks have 32: `block=4` fits the model" in told
