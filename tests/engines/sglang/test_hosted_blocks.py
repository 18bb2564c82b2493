"""Every policy that an engine can run gives the tokens of `decode` in a batch that changes every round, in
both of the engine's loops, without SGLang.
"""

from __future__ import annotations

import random

import pytest

from .fake_engine import ALL, MODELS, Plain, decoded, hosted, serve, served


@pytest.mark.parametrize("one_step", [True, False], ids=["first-done-first-out", "whole-blocks"])
@pytest.mark.parametrize("name", ALL)
def test_the_tokens_of_decode(name: str, one_step: bool) -> None:
    policy, eos_id = ALL[name], 4
    requests = served(eos_id=eos_id, skip=one_step)
    serve(Plain(hosted(policy, eos_id), one_step), requests, MODELS[eos_id], random.Random(name))
    assert [one.text for one in requests] == decoded(policy, eos_id)
