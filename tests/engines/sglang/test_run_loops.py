"""SGLang's own loops (`DllmAlgorithm.run`) with a model runner of the tests: every policy that it can run gives
the tokens of `decode`, and `threshold` those of SGLang's LowConfidence.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import dsldec

from ...runtime.families import MASK, VOCABULARY
from .fake_engine import ALL, BLOCK, DRAWS, MODELS, SEED, Served, decoded, forward, serve, served

pytest.importorskip("sglang")

from sglang.srt.dllm.algorithm import get_algorithm
from sglang.srt.dllm.algorithm.base import DllmAlgorithm
from sglang.srt.dllm.config import DllmConfig
from sglang.srt.model_executor.forward_batch_info import ForwardBatch, ForwardMode

from dsldec.engines.sglang import NAME, register
from dsldec.engines.sglang.algorithm import ATTRIBUTE

register()
LOOPS = pytest.mark.parametrize("fdfo", [True, False], ids=["first-done-first-out", "whole-blocks"])


def config(algorithm: str, fdfo: bool, **settings: Any) -> Any:
    return DllmConfig(algorithm, settings, BLOCK, MASK, 4, fdfo)


def runner(model: Any, batch: Sequence[Served], forward_batch: Any) -> Any:
    """A model runner, whose forward gives the logits of the ids in `forward_batch`."""

    def run(given: Any, pp_proxy_tensors: Any) -> Any:
        assert given is forward_batch
        for one, ids in zip(batch, given.input_ids.view(-1, BLOCK).tolist(), strict=True):
            one.ids = ids
        logits = forward(batch, model).reshape(-1, VOCABULARY)
        return SimpleNamespace(logits_output=SimpleNamespace(full_logits=logits), can_run_graph=False)

    eos_id = batch[0].eos_id
    model_config = SimpleNamespace(hf_eos_token_id=None if eos_id is None else {eos_id})
    return SimpleNamespace(forward=run, model_config=model_config)


class Engine:
    """One of SGLang's loops, and its scheduler's bookkeeping as far as the requests of the tests have it."""

    def __init__(self, algorithm: Any) -> None:
        self.algorithm, self.fdfo = algorithm, algorithm.fdfo

    def run(self, batch: Sequence[Served], model: Any) -> None:
        for one in batch:
            if not hasattr(one, ATTRIBUTE):
                assert type(self.algorithm).validate_request(one) is None
        forward_batch = batch_of(batch)
        states = [one.state for one in batch] if self.fdfo else None
        _, ids, lengths, states, _ = self.algorithm.run(
            runner(model, batch, forward_batch), forward_batch, states
        )
        if self.fdfo:
            for one, new, length, state in zip(batch, ids, lengths, states, strict=True):
                one.ids, one.state = new, state
                if length:
                    assert length == BLOCK
                    one.accept()
            return
        for row, one in enumerate(batch):
            one.ids = forward_batch.input_ids.view(-1, BLOCK)[row].tolist()
            assert not ids or ids[row].tolist() == one.ids[BLOCK - len(ids[row]) :]
            one.accept()


def batch_of(batch: Sequence[Served]) -> Any:
    """SGLang's `ForwardBatch` of these requests, as its `init_new` fills it."""
    ids = torch.tensor([id_ for one in batch for id_ in one.ids])
    positions = torch.tensor([one.begin + at for one in batch for at in range(BLOCK)], dtype=torch.int32)
    made = ForwardBatch(
        forward_mode=ForwardMode.DLLM_EXTEND,
        batch_size=len(batch),
        input_ids=ids,
        req_pool_indices=torch.arange(len(batch)),
        seq_lens=torch.tensor([one.begin + BLOCK for one in batch]),
        out_cache_loc=torch.arange(len(ids)),
        seq_lens_sum=0,
        rids=[one.rid for one in batch],
    )
    made.positions = positions
    if any(MASK in one.committed for one in batch):
        lengths = torch.tensor([len(one.committed) for one in batch])
        made.dllm_prompt_mask = positions.view(-1, BLOCK) < lengths[:, None]
    return made


def dsldec_algorithm(policy: str, fdfo: bool, **settings: Any) -> Any:
    return get_algorithm(config(NAME, fdfo, policy=policy, **settings))


def text_of(policy: dsldec.Policy) -> str:
    """The name of a policy of the tests."""
    return next(name for name, one in ALL.items() if one is policy)


@LOOPS
@pytest.mark.parametrize("name", ALL)
def test_the_tokens_of_decode(name: str, fdfo: bool) -> None:
    policy, eos_id = ALL[name], 4
    requests = served(eos_id=eos_id, skip=fdfo)
    engine = Engine(dsldec_algorithm(text_of(policy), fdfo, seed=SEED))
    serve(engine, requests, MODELS[eos_id], random.Random(name))
    assert [one.text for one in requests] == decoded(policy, eos_id)


@LOOPS
@pytest.mark.parametrize("confidence", [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95])
def test_threshold_is_low_confidence(confidence: float, fdfo: bool) -> None:
    found = []
    for algorithm in (
        get_algorithm(config("LowConfidence", fdfo, threshold=confidence)),
        dsldec_algorithm("threshold", fdfo, parameters={"confidence": confidence}),
    ):
        requests = served()
        engine = Engine(algorithm)
        serve(engine, requests, MODELS[None], random.Random(confidence))
        found.append([(one.output_ids, one.forwards) for one in requests])
    assert found[0] == found[1]


@LOOPS
def test_parameters_and_seed_of_a_request(fdfo: bool) -> None:
    """In `custom_params` and `sampling_seed`; without a seed, the id decides."""
    each = [{"confidence": value} for value in (0.02, 0.9, 0.2, 0.5)]
    requests = served()
    for one, own in zip(requests, each, strict=True):
        one.sampling_params.custom_params = own | {"thinking_budget": 3}
    serve(Engine(dsldec_algorithm("threshold", fdfo)), requests, MODELS[None], random.Random(1))
    assert [one.text for one in requests] == decoded(ALL["threshold"], each=each)

    drawn = []
    for seed in (None, None, 7):
        requests = served(seed=seed)
        serve(Engine(dsldec_algorithm(DRAWS, fdfo)), requests, MODELS[None], random.Random(2))
        drawn.append([one.text for one in requests])
    assert drawn[0] == drawn[1] != drawn[2]


@LOOPS
def test_logits_that_are_not_finite_abort_one_request(fdfo: bool) -> None:
    requests = served(eos_id=4)
    bad = requests[3]
    bad.sick_from = 2
    serve(Engine(dsldec_algorithm("threshold", fdfo)), requests, MODELS[4], random.Random(3))
    assert bad.reason == "abort"
    assert bad.to_finish.status_code == 500
    assert bad.to_finish.message.startswith("error[E0406]: the denoiser gave logits that are not finite")
    expected = decoded(ALL["threshold"], 4)[:3]
    assert [one.text for one in requests[:3]] == expected


@LOOPS
def test_literal_masks_in_a_prompt(fdfo: bool) -> None:
    """In a block of the prompt alone, and beside positions to write."""
    requests = served()
    requests[3].origin_input_ids = [1, MASK, 3, 4, 5, 6, 7, 8, MASK, 10, 12]
    requests[3].next_block()
    serve(Engine(dsldec_algorithm("threshold", fdfo)), requests, MODELS[None], random.Random(4))
    assert [one.text for one in requests[:3]] == decoded(ALL["threshold"])[:3]
    assert MASK not in requests[3].output_ids
    assert requests[3].reason == "length"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"custom_params": {"confidnce": 0.5}}, "error[E0403]: the policy `threshold` has no parameter `confidnce`"),
        ({"custom_params": {"confidence": "x"}}, "error[E0402]: `confidence` is of kind `prob`"),
        ({"custom_params": {"block": 4}}, "error[E0450]: the parameter `block` is one for all requests"),
        ({"regex": "a+"}, "error[E0456]: `regex` has no meaning under a policy"),
    ],
)  # fmt: skip
def test_a_request_that_is_refused(wrong: dict[str, Any], words: str) -> None:
    algorithm = dsldec_algorithm("threshold", True)
    request = served()[0]
    for name, value in wrong.items():
        setattr(request.sampling_params, name, value)
    assert type(algorithm).validate_request(request).startswith(words)


def test_a_request_that_cannot_be_checked_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = dsldec_algorithm("threshold", True)
    assert "cannot be checked" in type(algorithm).validate_request(SimpleNamespace())
    assert "AttributeError" in caplog.text


def test_what_the_engine_cannot_run_stops_the_server() -> None:
    with pytest.raises(dsldec.UsageError, match="E0450"):
        dsldec_algorithm("freedave", True)


@LOOPS
def test_a_request_that_sglang_refused_itself(fdfo: bool) -> None:
    """It never passes `validate_request`, and runs once beside the others."""
    requests = served()
    requests[0].rid, lost = "request-lost", requests[0]
    setattr(lost, ATTRIBUTE, None)
    lost.to_finish = "refused"
    serve(Engine(dsldec_algorithm("threshold", fdfo)), requests, MODELS[None], random.Random(5))
    assert lost.reason == "abort"
    assert [one.text for one in requests[1:]] == decoded(ALL["threshold"])[1:]


def test_a_server_without_requests() -> None:
    algorithm = dsldec_algorithm("threshold", True)
    idle = SimpleNamespace(batch_size=0, rids=[])
    assert algorithm.step(idle, torch.zeros(0, VOCABULARY), []) == []


def test_an_engine_with_other_interfaces(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sglang.srt.dllm.algorithm import algo_name_to_cls

    monkeypatch.delitem(algo_name_to_cls, NAME)
    monkeypatch.delattr(DllmAlgorithm, "prepare_inputs")
    register()
    assert NAME not in algo_name_to_cls
    assert "is not registered, because this SGLang does not have the interface" in caplog.text
    assert "it has no prepare_inputs" in caplog.text
