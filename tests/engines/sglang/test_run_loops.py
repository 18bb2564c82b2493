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
from .fake_engine import ALL, BLOCK, MODELS, SEED, Served, decoded, forward, serve, served

pytest.importorskip("sglang")

from sglang.srt.dllm.algorithm import get_algorithm
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
    """The name or the file of a policy of the tests."""
    from .fake_engine import PUBLISHED

    name = next(name for name, one in ALL.items() if one is policy)
    return name if name in dsldec.shipped_policies() else str(PUBLISHED / f"{name}.policy")


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
