"""Every policy that an engine can run gives the tokens of `decode` in a batch that changes every round, in
both of the engine's loops, without SGLang.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

import dsldec
from dsldec.engines.sglang.hosted_blocks import ShownBlocks
from dsldec.engines.sglang.hosted_requests import BlockRun, HostedRequest
from dsldec.runtime.block_host import carried_between_blocks

from ...runtime.families import MASK, VOCABULARY
from .fake_engine import (
    ALL,
    BLOCK,
    DRAWS,
    MODELS,
    PROMPTS,
    SEED,
    Plain,
    Sampling,
    Served,
    decoded,
    hosted,
    serve,
    served,
    until,
)

LOOPS = pytest.mark.parametrize("one_step", [True, False], ids=["first-done-first-out", "whole-blocks"])


@LOOPS
@pytest.mark.parametrize("name", ALL)
def test_the_tokens_of_decode(name: str, one_step: bool) -> None:
    policy, eos_id = ALL[name], 4
    requests = served(eos_id=eos_id, skip=one_step)
    serve(Plain(hosted(policy, eos_id), one_step), requests, MODELS[eos_id], random.Random(name))
    assert [one.text for one in requests] == decoded(policy, eos_id)


OF_REQUESTS: dict[str, dict[str, list[Any]]] = {
    "threshold": {"confidence": [0.02, 0.9, 0.2, 0.5]},
    "dico": {"seed_conf": [0.02, 0.3, 0.05, 0.1], "sure_margin": [0.1, 3.0, 0.5, 1.0]},
    "klass": {"calm": [0.01, 0.1, 1.0, 5.0], "steps": [1, 2, 64, 1]},
    "llada_random": {"steps": [2, 3, 8, 1]},
}


@LOOPS
@pytest.mark.parametrize("name", OF_REQUESTS)
def test_parameters_of_each_request(name: str, one_step: bool) -> None:
    """Also the bound on the steps of a block follows from them."""
    policy, requests = ALL[name], served()
    each = [
        {key: values[index] for key, values in OF_REQUESTS[name].items()} for index in range(len(requests))
    ]
    for one, own in zip(requests, each, strict=True):
        one.sampling_params.custom_params = own
    serve(Plain(hosted(policy), one_step), requests, MODELS[None], random.Random(name))
    assert [one.text for one in requests] == decoded(policy, each=each)


def test_random_numbers_follow_from_the_id_or_the_seed() -> None:
    policy = dsldec.load(DRAWS)

    def texts(**more: Any) -> list[list[int]]:
        requests = served(seed=more.pop("own", None))
        serve(Plain(hosted(policy, **more), True), requests, MODELS[None], random.Random(str(more)))
        return [one.text for one in requests]

    assert texts() == texts()
    assert texts() != texts(seed=1)
    assert texts(own=SEED) == texts(own=SEED, seed=1) == decoded(policy)
    # The same number in every process: Python's `hash` of a text has another salt in each.
    assert HostedRequest("request-0", 3, 8).key(7) == 3255068737647744617


def test_a_literal_mask_in_a_prompt_is_not_written() -> None:
    policy, model = ALL["threshold"], MODELS[None]
    prompt = [3, MASK, 11, 7, MASK]
    request = Served("request", prompt, Sampling(11))
    blocks, run = hosted(policy), BlockRun(HostedRequest("request", len(prompt), 11))
    given = torch.arange(BLOCK).unsqueeze(0) < len(prompt)
    ids = torch.tensor([request.ids])
    done = [False]
    while not done[0]:
        logits = model.of(tuple(ids[0].tolist())).unsqueeze(0)
        done = blocks.step(ShownBlocks(ids, lambda: [0], given), logits, [run])
    assert ids[0, : len(prompt)].tolist() == prompt
    assert MASK not in ids[0, len(prompt) :].tolist()


def test_a_block_with_nothing_to_write_is_done_at_once() -> None:
    blocks, request = hosted(ALL["threshold"]), HostedRequest("request", 16, 8)
    ids = torch.tensor([[1, 2, 3, 4, 5, 6, 7, MASK]])
    logits = torch.full((1, BLOCK, VOCABULARY), float("nan"))
    given = torch.ones(1, BLOCK, dtype=torch.bool)
    assert blocks.step(ShownBlocks(ids, lambda: [0], given), logits, [BlockRun(request)]) == [True]
    assert ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, MASK]]


@LOOPS
@pytest.mark.parametrize("eos_id", [None, 4])
def test_logits_that_are_not_finite_end_one_request(eos_id: int | None, one_step: bool) -> None:
    policy, model, requests = ALL["dico"], MODELS[eos_id], served(eos_id=eos_id)
    bad = requests[1]
    bad.sick_from = 2
    serve(Plain(hosted(policy, eos_id), one_step), requests, model, random.Random(3))
    assert bad.reason == "abort"
    assert "error[E0406]: the denoiser gave logits that are not finite in step" in bad.to_finish
    assert (MASK in bad.output_ids) == (eos_id is None)
    expected = decoded(policy, eos_id)
    assert [one.text for one in requests if one is not bad] == [expected[0], expected[2], expected[3]]


@LOOPS
def test_a_text_goes_on_after_its_end(one_step: bool) -> None:
    """With `ignore_eos`; `decode` has this as `stop_at_eos=False`."""
    policy, requests = ALL["threshold"], served(eos_id=4)
    for one in requests:
        one.sampling_params.ignore_eos = True
    serve(Plain(hosted(policy, 4), one_step), requests, MODELS[4], random.Random(4))
    assert [one.reason for one in requests] == ["length"] * 4
    assert [one.output_ids for one in requests] == decoded(policy, 4, stop_at_eos=False)


@LOOPS
@pytest.mark.parametrize("eos_id", [None, 4])
def test_stop_ids_and_the_least_length(eos_id: int | None, one_step: bool) -> None:
    policy, requests = ALL["threshold"], served(eos_id=eos_id)
    for one in requests:
        one.sampling_params.stop_token_ids, one.sampling_params.min_new_tokens = {8, 12}, 6
    serve(Plain(hosted(policy, eos_id), one_step), requests, MODELS[eos_id], random.Random(4))
    found = [one.text for one in requests]
    assert found == decoded(policy, eos_id, stop_ids=[8, 12], min_length=6)
    assert found != decoded(policy, eos_id)
    assert min(map(len, found)) >= 6


def test_an_engine_that_goes_on_after_the_end_gets_the_end_again() -> None:
    """Of a text that ended, in an engine that does not know this end-of-text token."""
    policy, requests = ALL["threshold"], served(eos_id=None)
    serve(Plain(hosted(policy, 4), True), requests, MODELS[4], random.Random(5))
    found = [until({4}, one.output_ids) for one in requests]
    assert found == decoded(policy, 4)
    assert any(len(text) + BLOCK < len(one.output_ids) for text, one in zip(found, requests, strict=True))
    assert all(
        set(one.output_ids[len(text) :]) <= {*one.output_ids[: len(text) + BLOCK], 4}
        for text, one in zip(found, requests, strict=True)
    )


@pytest.mark.parametrize("name", ["threshold", "factor", "dico", "klass"])
def test_a_request_whose_state_was_dropped(name: str) -> None:
    """It gets the tokens of `decode`, or an error that says why."""
    policy, requests = ALL[name], served(skip=True)
    worker = Plain(hosted(policy, most_records=1), True)
    for one in [*requests] * 60:  # one after the other, so that the others wait without a slot
        if not one.finished():
            worker.run([one], MODELS[None])
    expected = decoded(policy)
    if not carried_between_blocks(policy):
        assert [one.text for one in requests] == expected
        return
    for one, text in zip(requests, expected, strict=True):
        assert one.text == text or one.reason == "abort"
    lost = [one.to_finish for one in requests if one.reason == "abort"]
    assert lost
    assert all(f"error[E0455]: the policy `{name}` carries `" in why for why in lost)


def test_records_of_requests_that_ended_are_dropped() -> None:
    worker = Plain(hosted(ALL["threshold"]), True)
    for round_ in range(5):
        requests = served()
        for one in requests:
            one.rid += f"-{round_}"
        serve(worker, requests, MODELS[None], random.Random(round_))
    assert len(worker.blocks._records) <= 2 * len(PROMPTS)


@LOOPS
def test_the_same_id_again(one_step: bool) -> None:
    policy, worker = ALL["klass"], Plain(hosted(ALL["klass"]), one_step)
    for _ in range(2):
        requests = served()
        worker.hosted.clear()
        serve(worker, requests, MODELS[None], random.Random(6))
        assert [one.text for one in requests] == decoded(policy)


def test_few_shapes_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, shapes = hosted(ALL["dico"], slots=4), set()
    function = blocks.session.runner.step.function

    def seen(logits: torch.Tensor, *inputs: Any) -> Any:
        shapes.add(tuple(logits.shape))
        return function(logits, *inputs)

    step = replace(blocks.session.runner.step, function=seen)
    monkeypatch.setattr(blocks.session.runner, "step", step)
    requests = [one for round_ in range(3) for one in served()]
    for number, one in enumerate(requests):
        one.rid = f"request-{number}"
    chance, worker = random.Random(8), Plain(blocks, True)
    while left := [one for one in requests if not one.finished()]:
        worker.run(chance.sample(left, chance.randint(1, min(4, len(left)))), MODELS[None])
    assert shapes == {(size, BLOCK, VOCABULARY) for size in (1, 2, 4)}


def test_a_batch_is_put_together_again_only_where_its_requests_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks, joins = hosted(ALL["dico"], slots=4), []
    join = blocks.session.join
    monkeypatch.setattr(
        blocks.session, "join", lambda *parts, **stay: [joins.append(1), join(*parts, **stay)]
    )
    requests, chance, rounds, worker = served(), random.Random(9), 0, Plain(blocks, True)
    while left := [one for one in requests if not one.finished()]:
        chance.shuffle(left)
        worker.run(left, MODELS[None])
        rounds += 1
    assert len(joins) <= 4 < 10 < rounds  # where a request begins, and where fewer rows are enough
