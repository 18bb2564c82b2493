"""The pass over the vocabulary against float64, and its ties."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dsldec.backends import noise
from dsldec.backends.vocabulary import (
    LEAST_REST,
    banned,
    biased,
    divergence,
    log_probabilities,
    numbers_kept,
    observe,
    plain_statistics,
    probability,
    sampled,
    statistics,
)

BASIC = {"token", "conf", "doubt", "finite", "best", "others"}


def plainly(logits: Tensor, mask_id: int) -> dict[str, Tensor]:
    """The same observations from their definitions, in float64."""
    p = logits.double().softmax(-1)
    others = logits.double().clone()
    others[..., mask_id] = float("-inf")
    # argmax of a CPU tensor does not promise the first of equals: look for it.
    token = (others == others.amax(-1, keepdim=True)).to(torch.uint8)
    token[..., mask_id] = 0
    token = token.argmax(-1)
    conf = p.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    best_two = p.topk(2, -1).values
    logit_two = logits.double().topk(2, -1).values
    doubt = p.scatter(-1, token.unsqueeze(-1), 0).sum(-1)
    entropy = torch.special.entr(p).sum(-1)
    margins = {
        "margin": best_two[..., 0] - best_two[..., 1],
        "logit_margin": logit_two[..., 0] - logit_two[..., 1],
    }
    return {"token": token, "conf": conf, "doubt": doubt, "entropy": entropy} | margins


def assert_agrees(logits: Tensor, mask_id: int) -> None:
    given, wanted = observe(logits, mask_id), plainly(logits, mask_id)
    assert torch.equal(given["token"], wanted["token"])
    for name in ("conf", "doubt", "margin", "entropy", "logit_margin"):
        assert given[name].dtype == torch.float32
        torch.testing.assert_close(
            given[name].double(),
            wanted[name],
            rtol=2e-6,
            atol=1e-6,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("vocabulary", [2, 3, 40, 5000])
@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
def test_against_float64(vocabulary: int, scale: float) -> None:
    torch.manual_seed(vocabulary)
    logits = scale * torch.randn(3, 7, vocabulary)
    for mask_id in (0, vocabulary - 1):
        assert_agrees(logits, mask_id)


def test_what_is_not_wanted_does_not_change_the_rest() -> None:
    logits = torch.randn(2, 5, 300)
    whole = observe(logits, 7)
    for wanted in ((), ("entropy",), ("margin",)):
        part = observe(logits, 7, wanted)
        assert {"token", "conf", "doubt", "finite", *wanted} <= set(part)
        assert all(torch.equal(part[name], whole[name]) for name in part)


def test_low_precision_logits_are_cast_first() -> None:
    logits = torch.randn(2, 5, 300).bfloat16()
    assert_agrees(logits, 7)


def test_ties_go_to_the_lower_id_and_never_to_mask() -> None:
    logits = torch.tensor([[[1.0, 3.0, 3.0, 3.0], [5.0, 1.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0]]])
    seen = observe(logits, mask_id=0)
    assert seen["token"].tolist() == [[1, 1, 1]]
    assert seen["margin"].tolist()[0][0] == 0
    assert seen["logit_margin"].tolist() == [[0, 4, 0]]
    assert_agrees(logits, 0)


def test_nothing_but_mask_is_likely() -> None:
    logits = torch.full((1, 1, 5), float("-inf"))
    logits[..., 2] = 0
    seen = observe(logits, mask_id=2)
    assert seen["token"].item() == 0
    assert (seen["conf"].item(), seen["doubt"].item(), seen["entropy"].item()) == (0, 1, 0)
    assert seen["finite"].item()


LARGE = 126_464
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def tall_logits(peak: float, scale: float, dtype: torch.dtype) -> Tensor:
    """Two positions over a large vocabulary, rounded to `dtype`: id 5 stands out at both, MASK (7) still more
    at the second.
    """
    logits = scale * torch.randn(1, 2, LARGE, generator=torch.Generator().manual_seed(0))
    logits[..., 5] = peak
    logits[0, 1, 7] = peak + 2
    logits[..., 100:200] = float("-inf")
    return logits.to(dtype)


def relative_errors(given: dict[str, Tensor], logits: Tensor) -> dict[str, float]:
    wanted = plainly(logits, 7)
    # Of the best, float64 too has only a few digits of -p log p = -log(1 - (1 - p)).
    p = logits.double().softmax(-1)
    p, others = p.amax(-1), p.scatter(-1, p.argmax(-1, keepdim=True), 0)
    wanted["entropy"] = torch.special.entr(others).sum(-1) - p * torch.log1p(-others.sum(-1))
    assert torch.equal(given["token"], wanted["token"])
    assert all(given[name].dtype == torch.float32 for name in wanted if name != "token")
    return {
        name: ((given[name].double() - wanted[name]).abs() / wanted[name]).max().item()
        for name in ("conf", "doubt", "entropy")
    }


CASES = [(0.0, 0.0), (0.0, 1.0), (12.0, 1.0), (24.0, 1.0), (30.0, 4.0), (60.0, 3.0)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("peak", "scale"), CASES)
def test_doubt_keeps_the_tail_of_a_large_vocabulary(peak: float, scale: float, dtype: torch.dtype) -> None:
    """1 - conf in float32 would be wrong in the second digit where the peak is 24, and 0 where it is 60."""
    logits = tall_logits(peak, scale, dtype)
    for read in (statistics, plain_statistics):
        errors = relative_errors(observe(logits, 7, read=read), logits)
        assert max(errors.values()) <= 1e-6, errors


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
def test_doubt_keeps_the_tail_when_compiled(dtype: torch.dtype) -> None:
    compiled = torch.compile(observe, fullgraph=True, dynamic=False)
    for peak, scale in CASES:
        logits = tall_logits(peak, scale, dtype)
        errors = relative_errors(compiled(logits, 7), logits)
        assert max(errors.values()) <= 1e-6, errors


def test_the_best_is_kept_out_of_the_sum() -> None:
    logits = torch.full((1, 3, 1000), -30.0)
    logits[0, 0, 4] = logits[0, 1, 4] = logits[0, 1, 9] = 0
    of = statistics(logits, 0)
    torch.testing.assert_close(
        of.others[0, 0].double(), torch.tensor(-30.0).double().exp() * 999, rtol=1e-6, atol=0
    )
    assert of.others[0, 1:].tolist() == [1.0, 999.0]  # of ties all but one stay in it
    assert of.ties.tolist() == [[1, 2, 1000]]
    assert of.below is not None
    assert of.below.tolist() == [[-30, -30, -math.inf]]


def test_only_what_is_wanted_is_computed() -> None:
    of = statistics(torch.randn(1, 2, 50), 3, ())
    assert (of.token, of.score, of.spread, of.below) == (None, None, None, None)
    assert set(observe(torch.randn(1, 2, 50), 3, ("margin",))) == BASIC | {"margin", "logit_margin"}
    assert set(observe(torch.randn(1, 2, 50), 3, ("entropy", "conf"))) == BASIC | {"entropy"}


def test_mask_may_be_no_id_of_the_vocabulary() -> None:
    logits = torch.randn(2, 3, 40)
    for mask_id in (-1, 40, 126_336):
        seen = observe(logits, mask_id)
        assert torch.equal(seen["token"], logits.argmax(-1))
        assert torch.equal(seen["finite"], torch.ones(2, 3, dtype=torch.bool))
        torch.testing.assert_close(seen["conf"], logits.softmax(-1).amax(-1))


@pytest.mark.parametrize(
    ("value", "finite"), [(float("nan"), False), (float("inf"), False), (float("-inf"), True)]
)
def test_what_is_finite(value: float, finite: bool) -> None:
    logits = torch.zeros(1, 2, 6)
    logits[0, 1, 3] = value
    assert observe(logits, 5)["finite"].tolist() == [[True, finite]]
    assert observe(torch.full((1, 1, 6), float("-inf")), 5)["finite"].tolist() == [[False]]


@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
def test_probabilities_against_float64(scale: float) -> None:
    torch.manual_seed(0)
    logits, before = scale * torch.randn(2, 3, 7, 500)
    log_p, log_q = logits.double().log_softmax(-1), before.double().log_softmax(-1)
    torch.testing.assert_close(log_probabilities(logits, 500).double(), log_p, rtol=1e-6, atol=2e-6)
    wanted = (log_p.exp() * (log_p - log_q)).sum(-1)
    torch.testing.assert_close(
        divergence(logits, log_probabilities(before, 500), 500).double(), wanted, rtol=1e-5, atol=2e-6
    )
    ids = torch.randint(500, (3, 7))
    wanted = log_p.exp().gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(probability(logits, ids).double(), wanted, rtol=2e-6, atol=0)


def test_probability_of_the_token_is_conf_and_of_no_id_is_0() -> None:
    logits = 5 * torch.randn(2, 5, 300)
    seen = observe(logits, 7)
    assert torch.equal(probability(logits, seen["token"]), seen["conf"])
    assert torch.equal(probability(logits, seen["token"], seen), seen["conf"])
    assert not probability(logits, torch.tensor([[-1, 300, 2**62, -(2**63), -7]] * 2)).any()


def test_divergence_from_itself_and_from_what_was_ruled_out() -> None:
    logits = torch.tensor([[[0.0, 1.0, float("-inf")], [0.0, 1.0, 2.0]]])
    log_p = log_probabilities(logits, 3)
    assert not divergence(logits, log_p, 3).any()
    assert divergence(logits, log_p.flip(1), 3).isinf().tolist() == [[False, True]]


def lumped(now: list[float], before: list[float], keep: int) -> float:
    """The divergence of two distributions of which the `keep` likeliest ids before are told apart, less those
    that tie with the next.
    """
    p, q = (torch.tensor(logits).double().softmax(0).tolist() for logits in (now, before))
    ordered = sorted(before, reverse=True)
    kept = [i for i, logit in enumerate(before) if keep >= len(before) or logit > ordered[keep]]
    terms = [(p[i], q[i]) for i in kept]
    if len(kept) < len(p):
        terms.append(
            (max(1 - sum(p[i] for i in kept), LEAST_REST), max(1 - sum(q[i] for i in kept), LEAST_REST))
        )
    return sum(0 if a == 0 else math.inf if b == 0 else a * math.log(a / b) for a, b in terms)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keep", [0, 1, 2, 5, 11, 12, 13, 256])
def test_divergence_of_the_ids_kept(keep: int, dtype: torch.dtype) -> None:
    torch.manual_seed(keep)
    for scale in (0.5, 2, 4):
        now, before = (scale * torch.randn(2, 2, 40, 12)).to(dtype)
        before[1] = before[1].round()  # ties
        before[0, :5, 3:] = float("-inf")
        kept = log_probabilities(before, keep)
        assert kept.shape == (2, 40, numbers_kept(12, keep))
        got = divergence(now, kept, keep)
        wanted = [
            [lumped(*both, keep) for both in zip(*rows, strict=True)]
            for rows in zip(now.tolist(), before.tolist(), strict=True)
        ]
        # The logarithm of a small rest is known to fewer places.
        torch.testing.assert_close(got, torch.tensor(wanted), rtol=2e-3, atol=4e-6)
        assert (got <= 1.002 * divergence(now, log_probabilities(before, 12), 12) + 4e-6).all()
        assert (divergence(before, kept, keep).abs() < 4e-6).all()


def test_banned_and_biased_logits() -> None:
    logits = torch.zeros(1, 1, 5, dtype=torch.bfloat16)
    few = banned(
        logits, [torch.tensor(3), torch.tensor(0), torch.tensor(3), torch.tensor(-1), torch.tensor(5)]
    )
    assert few.isinf().tolist() == [[[True, False, False, True, False]]]
    more = biased(logits, torch.tensor(2), torch.tensor(0.1))
    assert torch.equal(more, torch.tensor([[[0, 0, 0.1, 0, 0]]]))
    for id_ in (-1, 5, 2**62):
        assert not biased(logits, torch.tensor(id_), torch.tensor(0.1)).any()


def test_conf_and_doubt_are_those_of_a_given_token() -> None:
    logits = 4 * torch.randn(2, 6, 50)
    p = logits.double().softmax(-1)
    for token in (torch.randint(50, (2, 6)), logits.argmax(-1)):
        seen = observe(logits, 7, (), token)
        conf = p.gather(-1, token.unsqueeze(-1)).squeeze(-1)
        torch.testing.assert_close(seen["conf"].double(), conf, rtol=2e-6, atol=0)
        torch.testing.assert_close(seen["doubt"].double(), 1 - conf, rtol=2e-6, atol=1e-12)
        assert torch.equal(seen["token"], token)


def draw(
    logits: Tensor,
    way: str,
    temperature: float,
    top_p: float = 1,
    top_k: int = 0,
    keys: Tensor | None = None,
    step: int = 0,
) -> Tensor:
    """Tokens drawn at positions 0, 1, ... of rows with these keys (0, 1, ...); MASK is 3."""
    rows, length, _ = logits.shape
    numbers = (torch.tensor(temperature), torch.tensor(float(top_p)), torch.tensor(top_k))
    keys = torch.arange(rows) if keys is None else keys
    return sampled(
        logits, 3, way, *numbers, keys, torch.full((rows,), step), torch.arange(length).expand(rows, length)
    )


def shares(tokens: Tensor, vocabulary: int) -> Tensor:
    return torch.bincount(tokens.flatten(), minlength=vocabulary) / tokens.numel()


LOGITS = torch.tensor([2.0, 0.5, 1.0, 5.0, 1.0, -1.0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_gumbel_draws_have_the_probabilities(temperature: float) -> None:
    tokens = draw(LOGITS.expand(5_000, 4, 6), "gumbel", temperature)
    others = LOGITS.clone()
    others[3] = float("-inf")
    assert (
        shares(tokens, 6) - (others / temperature).softmax(-1)
    ).abs().max() < 0.012  # 3.4 standard errors at most


@pytest.mark.parametrize(
    ("top_p", "top_k", "kept"),
    [
        (0.6, 0, [0, 2]),
        (0.7, 0, [0, 2, 4]),
        (1.0, 0, [0, 1, 2, 4, 5]),
        (1.0, 2, [0, 2]),
        (0.0, 0, [0]),
        (0.6, 1, [0]),
        (2.0, -1, [0, 1, 2, 4, 5]),
        (1.0, 2**40, [0, 1, 2, 4, 5]),
    ],
)
def test_nucleus_draws_from_the_fewest_likeliest(top_p: float, top_k: int, kept: list[int]) -> None:
    """Without MASK the probabilities are .50, .18, .18, .11, .02: 2 and 4 are a tie, which the lower id wins."""
    tokens = draw(LOGITS.expand(5_000, 4, 6), "nucleus", 1.0, top_p, top_k)
    assert sorted(set(tokens.flatten().tolist())) == kept
    some = torch.full_like(LOGITS, float("-inf"))
    some[kept] = LOGITS[kept]
    assert (shares(tokens, 6) - some.softmax(-1)).abs().max() < 0.012


@pytest.mark.parametrize("way", ["gumbel", "nucleus"])
def test_temperature_0_is_argmax(way: str) -> None:
    logits = torch.randn(20, 4, 30)
    logits[..., 3] = 9
    for temperature in (0.0, -1.0, 1e-4):
        assert torch.equal(draw(logits, way, temperature, 0.9), observe(logits, 3)["token"])
    nothing = torch.full((1, 2, 6), float("-inf"))
    assert draw(nothing, way, 1.0).tolist() == [[0, 0]]


@pytest.mark.parametrize("way", ["gumbel", "nucleus"])
def test_a_request_draws_the_same_in_any_batch(way: str) -> None:
    logits, keys = torch.randn(8, 5, 30), torch.tensor([noise.key(0, request) for request in range(8)])
    whole = draw(logits, way, 1.0, 0.9, keys=keys)
    for rows in (slice(0, 1), slice(3, 7), torch.tensor([7, 2, 2])):
        assert torch.equal(draw(logits[rows], way, 1.0, 0.9, keys=keys[rows]), whole[rows])


def test_draws_of_other_requests_steps_and_positions_are_others() -> None:
    flat = torch.zeros(400, 4, 1000)
    tokens, later = draw(flat, "gumbel", 1.0), draw(flat, "gumbel", 1.0, step=1)
    assert (tokens == later).float().mean() < 0.01
    assert (tokens[:, 1:] == tokens[:, :-1]).float().mean() < 0.01
    assert (tokens[1:] == tokens[:-1]).float().mean() < 0.01
    assert len(tokens.unique()) > 700


@pytest.mark.parametrize(("way", "numbers"), [("gumbel", (4.0, 1.0, 0)), ("nucleus", (0.5, 0.6, 3))])
def test_observations_of_a_drawn_token_are_untempered(way: str, numbers: tuple[float, float, int]) -> None:
    logits = torch.randn(2, 40, 11, generator=torch.Generator().manual_seed(0))
    token = draw(logits, way, *numbers)
    assert (token != logits.argmax(-1)).any()
    plain = logits.softmax(-1).gather(-1, token.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(observe(logits, 3, token=token)["conf"], plain)
