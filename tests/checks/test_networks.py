"""The proofs about a policy with a network hold for every network."""

from __future__ import annotations

import pytest

import dsldec

from ..networks import network
from ..toy import ToyDenoiser

POLICIES = (
    "commit masked and learned(brain, conf, masked) > 0 at least 1 by learned(brain, conf, masked)",
    "commit top(masked, 2, by=learned(brain, conf, committed))",
    "commit masked and learned(brain, before(conf), pos) > 0 at least 1 by -learned(brain, before(conf), pos)",
    "commit prefix(masked, by=learned(brain, conf, 1), while=cumsum(learned(brain, conf, 1)) < 2) at least 1 by conf",
)


@pytest.mark.parametrize("line", POLICIES)
def test_decoding_ends_within_the_bound_whatever_the_network_says(line: str) -> None:
    text = f"policy p(brain: network, block: int = 5 in 1..9):\n  window blocks(block)\n  {line}\n"
    for seed in range(12):
        policy = dsldec.load(text, brain=network(seed=seed), block=1 + seed % 9)
        decoded = dsldec.decode(ToyDenoiser(seed, 2.0), [[1, 2], [3]], policy, gen_length=13)
        assert int(decoded.forwards.max()) <= policy.plan(13).max_forwards
        assert policy.facts.deterministic


def test_a_score_of_a_network_alone_proves_no_progress() -> None:
    text = "policy p(brain: network):\n  window blocks(5)\n  commit masked and learned(brain, conf) > 0\n"
    policy, diagnostics = dsldec.check(text)
    assert policy is None
    assert [found.code for found in diagnostics] == ["E0301"]
