"""Published rules with a small network give, as policies, the canvas after every forward of a naive loop.

The networks are random: these tests compare rules, not their quality. The published networks have other
layers (docs/learned.md). Not here: the rules without a network (`test_published`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import dsldec
from dsldec.backends import noise
from dsldec.networks.network import LearnedNetwork

from ...networks import network, plainly
from ...toy import ToyDenoiser
from ..rules import Canvas, See, Steps, best, blocks, masks, write
from ..test_published import MASK, PROMPTS, actual, see

LENGTH = 33
OF_TWO = "linear 2 4, silu, self_attention 4 2, linear 4 1"
OF_THREE = "linear 3 4, self_attention 4 2, silu, linear 4 1, sigmoid"


def scores(of: LearnedNetwork, rows: list[list[float]]) -> list[float]:
    """The network's number at each position of a window, as float32."""
    found = plainly(of.sizes, of.numbers, [True] * len(rows), rows)
    numbers: list[float] = torch.tensor(found, dtype=torch.float64).float().tolist()
    return numbers


def learn2pd(see: See, canvas: Canvas, filter: LearnedNetwork, level: float, block: int) -> Steps:
    for window in blocks(len(canvas), block):
        while m := masks(canvas, window):
            s = see(canvas)
            final = scores(filter, [[s.conf[i], float(canvas[i] is None)] for i in window])
            chosen = [i for i in m if final[i - window[0]] > level]
            write(canvas, chosen or best(m, s.conf), s.token)
            yield list(canvas)


def apple_unmasking(
    see: See, canvas: Canvas, unmasking: LearnedNetwork, block: int, uniform: Callable[[int, int], float]
) -> Steps:
    step = 0
    for window in blocks(len(canvas), block):
        while m := masks(canvas, window):
            s = see(canvas)
            # Windows after this one do not count as written.
            time = float(1 - torch.tensor((window.stop - len(m)) / len(canvas)))
            rows = [[s.conf[i], float(canvas[i] is None), time] for i in window]
            chance = dict(zip(window, scores(unmasking, rows), strict=True))
            drawn = [i for i in m if uniform(step, i) < chance[i]]
            top = max(chance[i] for i in m)
            write(canvas, drawn or [next(i for i in m if chance[i] == top)], s.token)
            step += 1
            yield list(canvas)


def p2_planner(see: See, canvas: Canvas, planner: LearnedNetwork, steps: int, eta: float) -> Steps:
    length = len(canvas)
    for step in range(steps):
        if not masks(canvas, range(length)):
            return
        s = see(canvas)
        rows = [
            [s.conf[i] if canvas[i] is None else s.of(canvas, i), float(canvas[i] is None)]
            for i in range(length)
        ]
        planned = scores(planner, rows)
        score = [planned[i] * (1 if canvas[i] is None else eta) for i in range(length)]
        kept = best(range(length), score, length * (step + 1) // steps)
        for i in range(length):
            if i not in kept:
                canvas[i] = None
            elif canvas[i] is None:
                canvas[i] = s.token[i]
        yield list(canvas)


RULES: dict[str, tuple[Callable[..., Steps], str, str, list[dict[str, Any]]]] = {
    "learn2pd": (learn2pd, "filter", OF_TWO + ", sigmoid", [{"level": 0.5}, {"level": 0.75, "block": 8}]),
    "apple_unmasking": (apple_unmasking, "unmasking", OF_THREE, [{}, {"block": 11}]),
    "p2_planner": (p2_planner, "planner", OF_TWO, [{}, {"steps": 7, "eta": 2.0}]),
}


@pytest.mark.parametrize("backend", ["eager", "reference"])
@pytest.mark.parametrize("name", RULES)
def test_a_policy_steps_as_the_rule(name: str, backend: str) -> None:
    rule, parameter, sizes, settings = RULES[name]
    wrote: set[int] = set()
    for seed in range(3):
        policy = dsldec.load(name, **{parameter: network(sizes, seed)})
        policy, denoiser = policy.bind(**settings[seed % 2]), ToyDenoiser(seed + 1, 3.0)
        found = actual(policy, denoiser, LENGTH, backend)
        for index, prompt in enumerate(PROMPTS):
            given = dict(policy.parameters)
            if name == "apple_unmasking":
                key = noise.key(0, index)
                given["uniform"] = lambda step, i, key=key: noise.uniform_float(key, step, i, 1)
            wanted = [
                [MASK if id_ is None else id_ for id_ in canvas]
                for canvas in rule(see(denoiser, prompt), [None] * LENGTH, **given)
            ]
            assert found[index] == wanted
            wrote.add(len(wanted))
    assert len(wrote) > 1, "every run takes the same number of steps: the network decides nothing"
