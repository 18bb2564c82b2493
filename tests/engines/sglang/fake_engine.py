"""An engine that shows one block of each request at a time, as SGLang does: it reads the prompt block by block,
and puts another batch together for every round.

`Plain` runs its two loops on `HostedBlocks`; `test_run_loops` has SGLang's own ones in the same place. The
model is block-causal, and the texts end where a block ends, so `dsldec.decode` has the same logits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

import dsldec
from dsldec.engines.sglang.hosted_blocks import HostedBlocks, ShownBlocks
from dsldec.engines.sglang.hosted_requests import BlockRun, HostedRequest, most_steps
from dsldec.runtime.block_host import for_blocks, why_not_by_block

from ...runtime.families import MASK, VOCABULARY, Ids, TinyTransformer, block_causal
from ...shipped import CORE, PUBLISHED

BLOCK, SEED = 8, 5
PROMPTS = [[3, 7, 11], [5, 0, 8, 19, 2, 1, 4, 9], [6], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]]
LENGTHS = [21, 16, 23, 13]  # each text ends where a block ends


DRAWS = """policy draws(temperature: real = 0.8, block: int = 8 in 1..64):
  window blocks(block)
  draw gumbel(temperature=temperature)
  commit top(masked, 2, by=conf)
"""


def policies() -> dict[str, dsldec.Policy]:
    """The shipped policies and the published ones that an engine can run, in windows of a block."""
    found = {name: dsldec.load(name) for name in CORE}
    found |= {name: dsldec.load(name) for name in PUBLISHED}
    found = {name: for_blocks(policy, BLOCK) for name, policy in found.items()}
    return {name: policy for name, policy in found.items() if why_not_by_block(policy, BLOCK) is None}


ALL = policies()


class Model(TinyTransformer):
    """Block-causal from the first column on, with an end-of-text token that it proposes now and then."""

    block_length = BLOCK

    def __init__(self, eos_id: int | None = None) -> None:
        super().__init__(11, block_causal(BLOCK, 0), context=2.0, eos_id=eos_id)

    def row(self, ids: Ids) -> Tensor:
        return 4 * super().row(ids)


MODELS = {None: Model(), 4: Model(4)}


@dataclass
class Sampling:
    """What the tests set of SGLang's sampling parameters."""

    max_new_tokens: int
    sampling_seed: int | None = SEED
    custom_params: dict[str, Any] | None = None
    ignore_eos: bool = False
    stop_token_ids: set[int] | None = None
    min_new_tokens: int = 0


@dataclass(eq=False)
class Served:
    """A request of the engine, with the names of SGLang's `Req` where the plug-in reads them."""

    rid: str
    origin_input_ids: list[int]
    sampling_params: Sampling
    eos_id: int | None = None
    output_ids: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)  # of the block at hand
    begin: int = 0
    state: Any = None
    forwards: int = 0
    sick_from: int = 10**9  # the first forward whose logits are not finite
    to_finish: Any = None
    reason: str = ""

    def __post_init__(self) -> None:
        self.next_block()

    def finished(self) -> bool:
        return bool(self.reason)

    @property
    def eos_token_ids(self) -> set[int]:
        return set() if self.eos_id is None else {self.eos_id}

    @property
    def ends(self) -> set[int]:
        return self.eos_token_ids | (self.sampling_params.stop_token_ids or set())

    @property
    def committed(self) -> list[int]:
        return [*self.origin_input_ids, *self.output_ids]

    def next_block(self) -> None:
        """The block that begins at `begin`, filled up with masks."""
        ids = self.committed[self.begin : self.begin + BLOCK]
        self.ids = [*ids, *[MASK] * (BLOCK - len(ids))]

    def accept(self) -> None:
        """The engine takes a block that is done, and looks at its end."""
        new = self.ids[max(0, len(self.committed) - self.begin) :]
        self.begin += BLOCK
        if new:
            self.output_ids += new
            most = self.sampling_params.max_new_tokens
            if self.to_finish is not None:
                self.reason = "abort"
            elif self.ends & set(new) and not self.sampling_params.ignore_eos:
                self.reason = "stop"
            elif len(self.output_ids) >= most:
                self.reason = "length"
        self.next_block()

    @property
    def text(self) -> list[int]:
        """The generated ids, up to the end-of-text token."""
        ids = self.output_ids[: self.sampling_params.max_new_tokens]
        return until(self.ends, ids) if self.reason == "stop" else ids


def until(ends: set[int], ids: list[int]) -> list[int]:
    return ids[: next((at for at, id_ in enumerate(ids) if id_ in ends), len(ids))]


class Worker(Protocol):
    """Runs one round of a batch: one forward and one step, or a whole block."""

    def run(self, batch: Sequence[Served], model: Any) -> None: ...


def served(
    lengths: Sequence[int] = LENGTHS,
    eos_id: int | None = None,
    *,
    seed: int | None = SEED,
    skip: bool = False,
) -> list[Served]:
    """Requests of the prompts. `skip`: a prefix cache has their whole blocks."""
    made = []
    for index, (prompt, length) in enumerate(zip(PROMPTS, lengths, strict=True)):
        one = Served(f"request-{index}", prompt, Sampling(length, seed), eos_id)
        if skip:
            one.begin = len(prompt) // BLOCK * BLOCK
            one.next_block()
        made.append(one)
    return made


def serve(worker: Worker, requests: Sequence[Served], model: Any, chance: random.Random) -> None:
    """Runs all requests to their end, another batch in another order in every round."""
    while left := [one for one in requests if not one.finished()]:
        worker.run(chance.sample(left, chance.randint(1, len(left))), model)


def logits_of(model: Any, request: Served) -> Tensor:
    """Of the block alone, `[BLOCK, V]`."""
    request.forwards += 1
    before = request.committed[: request.begin]
    logits: Tensor = model.of((*before, *request.ids))[request.begin :]
    return logits if request.forwards < request.sick_from else torch.full_like(logits, float("nan"))


def forward(batch: Sequence[Served], model: Any) -> Tensor:
    return torch.stack([logits_of(model, one) for one in batch])


@dataclass
class Plain:
    """The two loops of an engine on `HostedBlocks`."""

    blocks: HostedBlocks
    one_step: bool
    hosted: dict[str, HostedRequest] = field(default_factory=dict)

    def request(self, one: Served) -> HostedRequest:
        sampling = one.sampling_params
        made = HostedRequest(
            one.rid,
            len(one.origin_input_ids),
            sampling.max_new_tokens,
            sampling.sampling_seed,
            sampling.custom_params,
            sampling.ignore_eos,
            tuple(sorted(sampling.stop_token_ids or ())),
            sampling.min_new_tokens,
            lambda: not one.finished(),
        )
        return self.hosted.setdefault(one.rid, made)

    def run(self, batch: Sequence[Served], model: Any) -> None:
        if self.one_step:
            runs = [one.state or BlockRun(self.request(one)) for one in batch]
            done = self.step(batch, forward(batch, model), runs)
            for one, run, over in zip(batch, runs, done, strict=True):
                one.state = None if over else run
                if over:
                    one.accept()
            return
        runs = [BlockRun(self.request(one)) for one in batch]
        most = most_steps(self.blocks.policy, BLOCK, [run.request for run in runs])
        for _ in range(most):
            if all(self.step(batch, forward(batch, model), runs)):
                break
        else:
            raise AssertionError(f"not done in {most} steps")
        for one in batch:
            one.accept()

    def step(self, batch: Sequence[Served], logits: Tensor, runs: Sequence[BlockRun]) -> list[bool]:
        ids = torch.tensor([one.ids for one in batch])
        before = ids.clone()
        done = self.blocks.step(ShownBlocks(ids, lambda: [one.begin for one in batch]), logits, runs)
        for one, run, over, old, new in zip(batch, runs, done, before.tolist(), ids.tolist(), strict=True):
            # The keys and values of a block that is done are those of its ids.
            assert not over or old == new or run.error is not None
            one.ids = new
            if run.error is not None:
                one.to_finish = str(run.error)
        return done


def hosted(
    policy: dsldec.Policy, eos_id: int | None = None, *, backend: str = "eager", **more: Any
) -> HostedBlocks:
    return HostedBlocks(policy, BLOCK, MASK, VOCABULARY, eos_id, backend, **more)


def decoded(
    policy: dsldec.Policy,
    eos_id: int | None = None,
    lengths: Sequence[int] = LENGTHS,
    each: Sequence[dict[str, Any]] | None = None,
    **more: Any,
) -> list[list[int]]:
    """The generated ids that `decode` gives each prompt alone."""
    texts = []
    for index, (prompt, length) in enumerate(zip(PROMPTS, lengths, strict=True)):
        own = policy.bind(**each[index]) if each is not None else policy
        options = {"gen_length": length, "seed": SEED, "backend": "eager", "cache": "none"} | more
        result = dsldec.decode(MODELS[eos_id], [prompt], own, **options)
        ids = result.ids[0].tolist()[len(prompt) :]
        ends = {eos_id, *more.get("stop_ids", ())} - {None}
        texts.append(until(ends, ids) if more.get("stop_at_eos", True) else ids)
    return texts
