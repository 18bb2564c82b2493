"""Transforms of the logits on real models: bans, guidance and draws write the same tokens as a simple loop.

The loop gives one prompt at a time to the model of transformers, without padding, and computes with Python's
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

import dsldec
from dsldec.backends.noise import key, mixed_int
from dsldec.backends.vocabulary import FOR_DRAWS
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained

from . import tiny
from .tiny import EOS, MASK

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], [15], [20, 21, 22, 23]]
GENERATED, BLOCK, SEED = 8, 4, 3


def plain(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model(input_ids=ids).logits


def shifted(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The first position has nothing before it and keeps its own."""
    logits = model(input_ids=ids).logits
    return torch.stack([logits[:, max(0, at - 1)] for at in range(ids.shape[1])], dim=1)


def in_blocks(model: Any, ids: torch.Tensor) -> torch.Tensor:
    length = ids.shape[1]
    seen = torch.tensor([[other // 4 <= at // 4 for other in range(length)] for at in range(length)])
    return model(input_ids=ids, attention_mask=seen[None, None]).logits


FAMILIES: dict[str, Callable[..., torch.Tensor]] = {
    "bert": plain,
    "llama": plain,
    "dream": shifted,
    "block-causal": in_blocks,
}


@pytest.fixture(scope="module")
def denoisers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HuggingFaceDenoiser]:
    root = tmp_path_factory.mktemp("transforms")
    folders = {family: tiny.saved(root / family, family) for family in ("bert", "llama", "dream")}
    folders["block-causal"] = tiny.saved_in_blocks(root / "blocks", "qwen3")
    return {
        family: from_pretrained(folder, trust_remote_code=True, device="cpu")
        for family, folder in folders.items()
    }


@dataclass(frozen=True)
class Rule:
    """A policy as text, and as numbers for the plain loop."""

    ban: tuple[int, ...] = ()
    louder: float = 0.0  # added to the logit of the end of text
    scale: float | None = None
    temperature: float = 0.0

    @property
    def text(self) -> str:
        lines = [f"window blocks({BLOCK})"]
        lines += [f"logits bias({EOS}, {self.louder})"] * bool(self.louder)
        lines += [f"logits ban({', '.join(map(str, self.ban))})"] * bool(self.ban)
        lines += [f"logits cfg({self.scale})"] * (self.scale is not None)
        lines += [f"draw gumbel({self.temperature})"] * bool(self.temperature)
        return "\n  ".join(["policy rule():", *lines, "commit top(masked, 1, by=conf)"]) + "\n"


BANNED = Rule(ban=(6, 17, 23, 28, 30, 31, 39, 43, 44, 49))
GUIDED = Rule(scale=1.5)
DRAWN = Rule(temperature=0.7)
ALL = Rule(ban=(EOS, 30), louder=2.0, scale=0.5, temperature=1.3)
RULES = {"ban": BANNED, "cfg": GUIDED, "gumbel": DRAWN, "all": ALL}


def oracle(
    denoiser: HuggingFaceDenoiser,
    feed: Callable[..., torch.Tensor],
    rule: Rule,
    prompt: Sequence[int],
    request: int,
) -> list[int]:
    canvas = [*prompt, *[MASK] * GENERATED]
    for step in range(GENERATED):
        with torch.inference_mode():
            logits = feed(denoiser.model, torch.tensor([canvas]))[0].tolist()
            if rule.scale is not None:
                blind = feed(denoiser.model, torch.tensor([[MASK] * len(prompt) + canvas[len(prompt) :]]))[
                    0
                ].tolist()
                logits = [
                    [no + (rule.scale + 1) * (yes - no) for yes, no in zip(*both, strict=True)]
                    for both in zip(logits, blind, strict=True)
                ]
        # The windows of a model that sees blocks begin where its blocks do.
        begin = canvas.index(MASK, len(prompt))
        begin -= (begin - (len(prompt) if denoiser.block_length is None else 0)) % BLOCK
        here = range(max(begin, len(prompt)), min(begin + BLOCK, len(canvas)))
        choices = [
            (sureness(rule, logits[at], request, step, at - len(prompt)), -at)
            for at in here
            if canvas[at] == MASK
        ]
        (_, token), minus_at = max(choices, key=lambda choice: (choice[0][0], choice[1]))
        canvas[-minus_at] = token
    return canvas


def sureness(rule: Rule, logits: list[float], request: int, step: int, position: int) -> tuple[float, int]:
    """The probability of the token that would be written at a position, and that token."""
    scores = [score + rule.louder * (id_ == EOS) for id_, score in enumerate(logits)]
    scores = [-math.inf if id_ in rule.ban else score for id_, score in enumerate(scores)]
    ranked = scores
    if rule.temperature:
        place = mixed_int(key(SEED, request), step, position, FOR_DRAWS)
        ranked = [
            score / rule.temperature + gumbel(mixed_int(place, id_)) for id_, score in enumerate(scores)
        ]
    token = max((id_ for id_ in range(len(scores)) if id_ != MASK), key=lambda id_: (ranked[id_], -id_))
    most = max(scores)
    return math.exp(scores[token] - most) / math.fsum(math.exp(score - most) for score in scores), token


def gumbel(hashed: int) -> float:
    """Gumbel noise of 52 bits: `-log(-log(u))`."""
    return -math.log(-math.log(((hashed % 2**64 >> 12) + 0.5) / 2**52))


def decoded(
    denoiser: HuggingFaceDenoiser, rule: Rule, prompts: Sequence[list[int]], requests: list[int], backend: str
) -> list[list[int]]:
    found = dsldec.decode(
        denoiser,
        prompts,
        dsldec.load(rule.text),
        gen_length=GENERATED,
        backend=backend,
        seed=SEED,
        request_ids=requests,
        stop_at_eos=False,
    )
    assert found.errors == [None] * len(prompts)
    return [ids.tolist() for ids in found.ids]


@pytest.mark.parametrize("backend", ["eager", "reference"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_real_model_decodes_as_the_plain_loop_does(
    family: str, rule: str, backend: str, denoisers: dict[str, HuggingFaceDenoiser]
) -> None:
    """Alone, side by side with other lengths, and side by side in another order."""
    denoiser, requests = denoisers[family], list(range(len(PROMPTS)))
    wanted = [
        oracle(denoiser, FAMILIES[family], RULES[rule], prompt, request)
        for request, prompt in enumerate(PROMPTS)
    ]
    alone = [
        decoded(denoiser, RULES[rule], [prompt], [request], backend)[0]
        for request, prompt in enumerate(PROMPTS)
    ]
    assert alone == wanted
    assert decoded(denoiser, RULES[rule], PROMPTS, requests, backend) == wanted
    assert decoded(denoiser, RULES[rule], PROMPTS[::-1], requests[::-1], backend) == wanted[::-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_transform_changes_what_is_written(
    family: str, denoisers: dict[str, HuggingFaceDenoiser]
) -> None:
    """Else the loop and the model could agree by doing nothing."""
    denoiser, requests = denoisers[family], list(range(len(PROMPTS)))
    nothing = decoded(denoiser, Rule(), PROMPTS, requests, "eager")
    often = sorted({id_ for ids, prompt in zip(nothing, PROMPTS, strict=True) for id_ in ids[len(prompt) :]})
    for rule in (*RULES.values(), Rule(ban=tuple(often))):
        assert decoded(denoiser, rule, PROMPTS, requests, "eager") != nothing
    without = decoded(denoiser, Rule(ban=tuple(often)), PROMPTS, requests, "eager")
    assert not {
        id_ for ids, prompt in zip(without, PROMPTS, strict=True) for id_ in ids[len(prompt) :]
    } & set(often)


@pytest.mark.parametrize("backend", ["eager", "reference"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_end_of_text_that_is_banned_is_never_written(
    family: str, backend: str, denoisers: dict[str, HuggingFaceDenoiser]
) -> None:
    """A model that ends every answer at once, and the same one that may not."""
    denoiser = denoisers[family]
    for rule, ends in ((Rule(louder=40.0), True), (Rule(louder=40.0, ban=(EOS,)), False)):
        found = dsldec.decode(
            denoiser, PROMPTS, dsldec.load(rule.text), gen_length=GENERATED, backend=backend
        )
        for request, (ids, prompt) in enumerate(zip(found.ids, PROMPTS, strict=True)):
            generated = ids.tolist()[len(prompt) :]
            assert (EOS in generated) == ends
            assert int(found.tokens[request]) == (0 if ends else GENERATED)
            if not ends:
                assert ids.tolist() == oracle(denoiser, FAMILIES[family], rule, prompt, request)


def test_the_noise_of_a_request_is_its_own(denoisers: dict[str, HuggingFaceDenoiser]) -> None:
    """Two requests with one prompt draw apart; one request draws the same again; another seed draws anew."""
    denoiser = denoisers["llama"]
    one, other, again = decoded(denoiser, DRAWN, [PROMPTS[0]] * 3, [4, 5, 4], "eager")
    assert one == again
    assert one != other
    assert decoded(denoiser, replace(DRAWN, temperature=0.0), [PROMPTS[0]] * 2, [4, 5], "eager")[0] not in (
        one,
        other,
    )
