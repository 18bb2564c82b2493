"""Accepted policies end within their bound: random policies, and policies that the checker once accepted by
mistake.
"""

from __future__ import annotations

import pytest

import dsldec

from ..backends.policies import random_policy
from ..shipped import CORE
from ..toy import ToyDenoiser


class WithEnd(ToyDenoiser):
    eos_id = 4


def decoded_within_bound(text: str, gen_length: int = 12, **parameters: float) -> bool:
    """Whether a policy is accepted, and then ran within its bound on some denoisers and left no mask (the
    loop asserts the bound).
    """
    policy, _ = dsldec.check(text)
    if policy is None:
        return False
    policy = policy.bind(**parameters)
    for seed, gain in ((0, 0.5), (1, 2.0), (2, 5.0)):
        denoiser = WithEnd(seed, gain)
        decoded = dsldec.decode(
            denoiser, [[1, 2, 3], [5]], policy, gen_length=gen_length, backend="eager", stop_at_eos=seed == 1
        )
        assert decoded.forwards.max() <= policy.facts.forwards_bound(gen_length, policy.parameters)
        assert all(denoiser.mask_id not in ids for ids in decoded.ids)
    return True


@pytest.mark.parametrize("begin", range(0, 40, 10))
def test_random_policies_end_within_their_bound(begin: int) -> None:
    for seed in range(begin, begin + 10):
        assert decoded_within_bound(random_policy(seed)[0], gen_length=20)


@pytest.mark.slow
def test_many_random_policies_end_within_their_bound() -> None:
    for seed in range(1_000, 3_000):
        assert decoded_within_bound(random_policy(seed)[0], gen_length=20)


def one_phase(
    *statements: str, window: str = "blocks(8)", parameters: str = "n: int = 4 in 1..9, share: real = 0.3"
) -> str:
    return f"policy p({parameters}):\n  window {window}\n" + "".join(f"  {s}\n" for s in statements)


# Each of these commits nothing in some step for ever.
REFUSED = {
    "a distance to nothing has no value": [
        "commit masked and distance(committed) <= min(distance(committed))"
    ],
    "what was before has no value at first": ["commit masked and before(conf) >= max(before(conf))"],
    "eased by no value": ["commit masked and conf >= max(conf) - std(conf, over=committed)"],
    "the smaller of no value and the best": [
        "commit masked and conf >= min(mean(conf, over=committed), max(conf))"
    ],
    "infinity less infinity": ["commit masked and kl(before) <= max(kl(before)) - kl(before)"],
    "rounded up from no value": ["commit top(masked, ceil(max(1, 4 * mean(conf, over=committed))), by=conf)"],
    "rounded up from what is too small": [
        "commit top(masked, ceil(count(masked) / exp(100 * sum(entropy))), by=conf)"
    ],
    "a sum with a product that wraps around": [
        "commit masked and conf > 2 at least window_length * 1000000000 * 1000000000 + 1 by conf"
    ],
    "a sum of large ints": [
        "huge = floor(exp(60))",
        "commit masked and conf > 2 at least huge + huge + huge + huge + huge + huge + huge + huge + huge + huge + 1 by conf",
    ],
    "a product that wraps around": ["commit top(masked, ceil(n * n * n), by=conf)"],
    "a state set in between": [
        "state s: real each = 0 per block",
        "m = max(s)",
        "set s = s - 1",
        "commit masked and s >= m",
    ],
    "two draws are not one": ["commit chance(masked, 0.2) if any(chance(masked, 0.2)) else masked"],
    "weights that may be nothing": ["commit sample(masked, 1, by=exp(-1000 * conf))"],
    "the best of groups in which no position may be": ["commit masked and conf >= max(conf, each=pos - 9)"],
    "any of a group": ["commit masked and any(masked and conf > 2, each=pos // 4)"],
    "the best of each group, where some have none": [
        "commit masked and conf >= max(conf, over=masked and conf > 0.5, each=pos // 4)"
    ],
    "better than the best": ["commit masked and conf > max(conf)"],
    "worse than the worst": ["commit masked and conf < min(conf)"],
    "more than the best": ["commit masked and conf >= 1.1 * max(conf)"],
    "nothing times infinity": ["commit masked and logit_margin >= 0.5 * max(logit_margin) and conf > 2"],
    "a weight that rounds to 0": ["commit sample(masked, 1, by=1e-30 * 1e-30)"],
    "as much back as written": ["commit top(masked, 2, by=conf)", "revoke committed at most 2"],
    "an id that the pattern may not have": [
        "logits constrain(shape)",
        "commit top(masked, 1, by=conf) as likeliest",
    ],
    "an empty window": ["commit top(masked, 1, by=conf)"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    window = "sliding(max_masks=m, max_length=8)" if name == "an empty window" else "blocks(8)"
    policy, diagnostics = dsldec.check(
        one_phase(
            *REFUSED[name],
            window=window,
            parameters="n: int = 4 in 1..1000000000, m: int = 4, shape: pattern",
        )
    )
    assert policy is None
    assert diagnostics


def test_a_policy_that_may_hang_with_a_pattern_takes_none() -> None:
    text = one_phase("commit top(masked, 1, by=conf) as likeliest")
    assert decoded_within_bound(text)
    with pytest.raises(dsldec.PolicyError, match="may be an id that the pattern forbids") as raised:
        dsldec.load(text).constrained()
    assert [found.code for found in raised.value.diagnostics] == ["E0301"]
    assert dsldec.load("diffusion_gemma").constrained().constrains


# Each of these once ran past its bound.
ACCEPTED = {
    "a limit with a fraction": (one_phase("commit masked and conf > 0.9999", "fill when steps_in_window + 1 >= share * window_length"), {}),
    "staying less than never": (one_phase("commit top(masked, 1, by=conf)", "stay at most few", parameters="few: int = 0"), {"few": -5}),
    "the way through the first else": (
        one_phase(
            "phase a when progress > 2 else b:", "  commit top(masked, 1, by=conf)", "  next c", "phase b:", "  next c",
            "phase c:", "  commit top(masked, 1, by=conf)", window="all",
        ),
        {},
    ),
    "numbered revokes behind a phase that commits": (
        one_phase(
            "phase extend:", "  commit top(masked, 1, by=conf)", "  next look",
            "phase look:", "  next shake when count(masked) <= 1", "  next extend",
            "phase shake at most 3 visits else extend:", "  revoke committed at most 9", "  next extend", window="all",
        ),
        {},
    ),
    "many lengths of one sliding window": (
        one_phase(
            "phase a at most window_length visits else b:", "  next b",
            "phase b at most 9 - window_length visits else c:", "  next a",
            "phase c:", "  commit top(masked, 1, by=conf)", "  next a", window="sliding(max_masks=8, max_length=8)",
        ),
        {},
    ),
    "visits of a rounded quotient": (
        one_phase(
            "phase a at most int(1 // share) visits else b:", "  next b", "phase b:", "  commit top(masked, 1, by=conf)", "  next a",
        ),
        {"share": 0.1},
    ),
    "visits of a float32": (
        one_phase(
            "phase a at most floor(share - 0.1) + 3 visits else b:", "  next b", "phase b:", "  commit top(masked, 1, by=conf)", "  next a",
        ),
        {"share": 0.1},
    ),
    "a schedule after a schedule": (
        one_phase("commit (masked and pos == steps_in_window) orelse top(masked, even(n), by=conf)", window="blocks(32)"),
        {},
    ),
    "blocks in a block": (one_phase("commit top(masked, 1, by=conf, each=pos // 4)"), {}),
    "a finish that a revoke opens again": (
        one_phase(
            "commit masked and pos == 3 as 4", "commit top(masked, 4, by=-pos)", "finish when eos_closed",
            "revoke committed at most committed_now - 1 by -pos",
        ),
        {},
    ),
    "idle steps all along a sliding window": (
        one_phase(
            "phase a:", "  commit masked and conf > 2", "  next b", "phase b:", "  commit top(masked, 1, by=conf)", "  next a",
            window="sliding(max_masks=3, max_length=5)",
        ),
        {},
    ),
    "short windows with a step limit": (
        one_phase(
            "commit masked and conf > 0.9999", "fill when steps_in_window + 1 >= 6", window="until(1, 2, 3, 5, 6, 7, min=2, max=8)",
        ),
        {},
    ),
    "a finish that was undone does not keep a row in its phase": (
        one_phase(
            "phase a at most 2 visits else c:", "  commit masked and pos == 1 as 4", "  commit top(masked, 4, by=conf)",
            "  finish when eos_closed", "  revoke committed at most 4 by -pos", "  next c",
            "phase c:", "  commit top(masked, 1, by=conf)", window="all",
        ),
        {},
    ),
    "a real given as an int": (
        one_phase("phase a at most int(8 // share) visits else b:", "  next b", "phase b:", "  commit top(masked, 1, by=conf)", "  next a"),
        {"share": 1},
    ),
    "everything where nothing was sure": (one_phase("commit masked and conf > 0.9", "fill when idle"), {}),
    "the limit of the phase among others": (
        one_phase(
            "phase a at most 2 visits else c:", "  commit masked and conf > 0.9",
            "  next c when steps_in_window >= 40 or steps_in_phase >= 2",
            "phase c:", "  commit top(masked, 1, by=conf)",
        ),
        {},
    ),
    "the leftmost": (one_phase("commit masked and pos == first(masked)"), {}),
    "the leftmost, another way": (one_phase("commit masked and pos <= min(pos)"), {}),
    "windows that end at a mask": (
        one_phase(
            "phase a:", "  commit masked and conf > 2", "  next b", "phase b:", "  commit top(masked, 1, by=conf)", "  next a",
            window="until(conf > 0.3, min=2, max=5)",
        ),
        {},
    ),
    "windows of a length that a state decides": (
        one_phase(
            "state k: int = 0 per sequence", "phase a at most window_length visits else b:", "  set k = k + 1", "  next b",
            "phase b:", "  commit top(masked, 1, by=conf)", "  next a", window="until(length=k % n, min=n, max=5)",
        ),
        {"n": 2},
    ),
    "a length below its bound, and a step limit": (
        one_phase("commit masked and conf > 0.9999", "fill when steps_in_window + 1 >= 6", window="until(length=step - 9, min=0, max=8)"),
        {},
    ),
    "refreshed again and again": (one_phase("commit top(masked, 1, by=conf)", "refresh"), {}),
    "a share of the best": (one_phase("commit masked and conf >= 0.9 * max(conf)"), {}),
    "half of them": (one_phase("commit top(masked, ceil(0.5 * count(masked)), by=conf)"), {}),
    "a quarter and one": (one_phase("commit top(masked, count(masked) // 4 + 1, by=conf)"), {}),
    "one or two": (one_phase("commit top(masked, 2 if progress > 0.5 else 1, by=conf)"), {}),
    "the first two of an order": (one_phase("commit prefix(masked, by=conf, while=rank <= 2)"), {}),
    "one of each run": (one_phase("commit top(masked, 1, by=conf, each=run(masked))"), {}),
    "no budget beyond a step": (
        one_phase("commit top(masked, 2, by=conf)", "revoke committed at most (committed_now - 1 if steps_in_window > 2 else 0) by pos"),
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_and_within_the_bound(name: str) -> None:
    text, parameters = ACCEPTED[name]
    assert decoded_within_bound(text, **parameters)


def test_a_visit_bound_without_a_value_is_none() -> None:
    text = one_phase("phase a at most int(8 / few) visits else b:", "  next b", "phase b:", "  commit top(masked, 1, by=conf)", "  next a",
                     parameters="few: int = 4")  # fmt: skip
    policy = dsldec.load(text, few=0)
    assert policy.facts.forwards_bound(8, policy.parameters) > 10**15
    assert dsldec.load(text).facts.forwards_bound(8, {"few": 4}) == 8 + 2


def test_bounds_as_numbers() -> None:
    for name in CORE:
        policy = dsldec.load(name)
        assert policy.facts.forwards_bound(64, policy.parameters) == 64 + {
            "dico": 2 * 51,
            "diffusion_gemma": 48 - 16,
        }.get(name, 0)
    assert dsldec.load("static", tokens=4).facts.forwards_bound(30, {"tokens": 4, "block": 16}) == 4 + 4
    limited = dsldec.load(one_phase("commit masked and conf > 0.9", "fill when steps_in_window + 1 >= n"))
    assert limited.facts.forwards_bound(20, {"n": 3, "share": 0.5}) == 3 * 3
    assert limited.facts.forwards_formula == "n a window"  # some of its steps may commit nothing
    assert limited.facts.forwards_bound(2, {"n": 9, "share": 0.5}) == 9
    limit = one_phase("commit top(masked, 1, by=conf)", "fill when steps_in_window + 1 >= n")
    assert dsldec.load(limit).facts.forwards_formula == "n a window, or gen_length if that is less"
    assert dsldec.load(limit).facts.forwards_bound(2, {"n": 9, "share": 0.5}) == 2
