"""A host that shows blocks, shuffles its rows or puts a new batch together for every step gets the tokens of
`decode`.

The denoiser is block-causal: a position sees its own block and those before it. So the logits of a block are
those of the canvas up to its end, and a host that shows one block at a time can have them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends import noise
from dsldec.runtime.block_host import why_not_by_block
from dsldec.runtime.requests import Request, block_shown, continued
from dsldec.runtime.session import Session, SlotState

from ..shipped import ONE_CANDIDATE, PUBLISHED
from .families import MASK, VOCABULARY, Ids, TinyTransformer, block_causal

BLOCK, GENERATED, SEED = 8, 24, 5
PROMPTS = [[3, 7, 11], [5, 0, 8, 19, 2, 1, 4, 9], [6], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]]
OWN = {
    "gumbel": "policy gumbel(temperature: real = 0.8, block: int = 8 in 1..64):\n  window blocks(block)\n"
    "  draw gumbel(temperature=temperature)\n  commit top(masked, 2, by=conf)",
    "nucleus": "policy nucleus(temperature: real = 0.9, mass: prob = 0.7, block: int = 8 in 1..64):\n"
    "  window blocks(block)\n  draw nucleus(temperature=temperature, top_p=mass)\n  commit top(masked, 2, by=conf)",
    "chancy": "policy chancy(luck: prob = 0.4, block: int = 8 in 1..64):\n  window blocks(block)\n"
    "  commit chance(masked, luck) at least 1 by conf",
    "urgent": "policy urgent(block: int = 8 in 1..64):\n  window blocks(block)\n"
    "  commit top(masked, 1 + step // 5, by=conf) at least 1 by conf\n  finish when eos_closed",
    "late": "policy late(block: int = 8 in 1..64):\n  window blocks(block)\n  state wrote: int = 0 per sequence\n"
    "  set wrote = wrote + 1\n  commit top(masked and not after_eos, 1 + wrote % 3, by=conf) at least 1 by conf",
    "biased": "policy biased(push: real = 1.5, block: int = 8 in 1..64):\n  window blocks(block)\n"
    "  logits bias(3, push)\n  commit masked and conf > 0.3 at least 1 by conf",
}


def policies() -> dict[str, dsldec.Policy]:
    """Shipped, published and our own, in windows of a block of the denoiser, or half of one."""
    found = {name: dsldec.load(name) for name in ONE_CANDIDATE}
    found |= {name: dsldec.load(name) for name in PUBLISHED}
    found |= {name: dsldec.check(text)[0] or pytest.fail(name) for name, text in OWN.items()}
    return {
        name: policy.bind(block=BLOCK // 2 if name in ("threshold", "dico", "late") else BLOCK)
        if policy.facts.window_size == "block"
        else policy
        for name, policy in found.items()
    }


ALL = policies()
HOSTED = [name for name, policy in ALL.items() if why_not_by_block(policy, BLOCK) is None]


class Model(TinyTransformer):
    """Block-causal from the first column on, with an end-of-text token that it proposes now and then."""

    block_length = BLOCK

    def __init__(self, eos_id: int | None = None) -> None:
        super().__init__(11, block_causal(BLOCK, 0), context=2.0, eos_id=eos_id)

    def row(self, ids: Ids) -> Tensor:
        return 4 * super().row(ids)


MODELS = {None: Model(), 4: Model(4)}


@dataclass
class Text:
    """One request as an engine has it: ids written so far, and the block at hand."""

    index: int
    ids: list[int]
    prompt: int
    end: int
    state: SlotState | None = None
    begin: int = 0
    error: bool = False

    @property
    def over(self) -> bool:
        return self.begin >= self.end

    def shown(self) -> list[int]:
        """The ids of the block: the engine always has whole blocks, filled up with masks."""
        return self.ids[self.begin : self.begin + BLOCK]


def texts(lengths: list[int]) -> list[Text]:
    made = []
    for index, (prompt, length) in enumerate(zip(PROMPTS, lengths, strict=True)):
        end = len(prompt) + length
        ids = prompt + [MASK] * (-(-end // BLOCK) * BLOCK - len(prompt))
        made.append(Text(index, ids, len(prompt), end, begin=len(prompt) // BLOCK * BLOCK))
    return made


def logits_of(model: Any, text: Text) -> Tensor:
    """Of the block alone, `[BLOCK, V]`: what is right of it is not there yet. `decode` shows the model no
    masks after the last position; an engine whose last block has some would have other logits there.
    """
    logits = model.of(tuple(text.ids[: min(text.begin + BLOCK, text.end)]))[text.begin :]
    return torch.nn.functional.pad(logits, (0, 0, 0, BLOCK - len(logits)))


def as_decoded(text: Text, eos_id: int | None) -> list[int]:
    """The generated ids as `decode` has them: masks after the end-of-text token are filled with it."""
    ids = text.ids[text.prompt : text.end]
    if eos_id is not None and eos_id in ids and MASK not in ids[: ids.index(eos_id)]:
        return [eos_id if id_ == MASK else id_ for id_ in ids]
    return ids


def session(policy: dsldec.Policy, slots: int, eos_id: int | None, backend: str = "eager") -> Session:
    return Session.of(
        policy,
        slots=slots,
        columns=BLOCK,
        mask_id=MASK,
        vocab_size=VOCABULARY,
        eos_id=eos_id,
        backend=backend,
    )


def opened(host: Session, text: Text, length: int, parameters: dict[str, Any] | None = None) -> None:
    """The engine's first block of a request, in slot 0."""
    request = block_shown(
        text.index, text.shown(), text.begin - text.prompt, length, MASK, noise.key(SEED, text.index)
    )
    host.admit(0, replace(request, parameters=parameters))


def written(text: Text, ids: list[int]) -> None:
    text.ids[text.begin : text.begin + BLOCK] = ids


def wanted(policy: dsldec.Policy, model: Any, lengths: list[int], **parameters: Any) -> list[list[int]]:
    """What `decode` gives each prompt alone."""
    ids = []
    for index, (prompt, length) in enumerate(zip(PROMPTS, lengths, strict=True)):
        own = policy.bind(**{name: values[index] for name, values in parameters.items()})
        decoded = dsldec.decode(
            model,
            [prompt],
            own,
            gen_length=length,
            seed=SEED,
            request_ids=[index],
            backend="eager",
            cache="none",
        )
        ids.append(decoded.ids[0].tolist()[len(prompt) :])
    return ids


@pytest.mark.parametrize("eos_id", MODELS)
@pytest.mark.parametrize("name", HOSTED)
def test_one_block_at_a_time(name: str, eos_id: int | None) -> None:
    policy, model = ALL[name], MODELS[eos_id]
    lengths = [GENERATED, 17, GENERATED, 20]
    host, found = session(policy, 1, eos_id), []
    for text, length in zip(texts(lengths), lengths, strict=True):
        opened(host, text, length)
        while not bool(host.ended[0]):
            output = host.step(logits_of(model, text).unsqueeze(0))
            written(text, output.canvas[0].tolist())
            if bool(output.done[0]) and not bool(host.ended[0]):
                text.begin += BLOCK
                host.show(0, text.shown(), text.begin - text.prompt)
        found.append(as_decoded(text, eos_id))
    assert found == wanted(policy, model, lengths)


def steps(
    host: Session, texts: list[Text], model: Any, lengths: list[int], chance: random.Random
) -> Iterator[int]:
    """An engine whose batch is another one in every step: some of the requests that are not over, in any
    order. Each request carries its state.
    """
    one = session(host.policy, 1, host.rows.eos_id)
    while left := [text for text in texts if not text.over]:
        batch = chance.sample(left, chance.randint(1, len(left)))
        for text in batch:
            if text.state is None:
                opened(one, text, lengths[text.index], text_parameters.get(text.index))
                text.state = one.take([0])[0]
        host.join([text.state for text in batch if text.state is not None])
        logits = torch.full((len(host.ended), BLOCK, VOCABULARY), float("nan"))
        for slot, text in enumerate(batch):
            logits[slot] = logits_of(model, text)
        output = host.step(logits)
        done, ended = output.done.tolist(), host.ended.tolist()
        for slot, text in enumerate(batch):
            written(text, output.canvas[slot].tolist())
            text.error = host.error(slot) is not None
            if ended[slot]:
                text.begin = text.end
            elif done[slot]:
                text.begin += BLOCK
                host.show(slot, text.shown(), text.begin - text.prompt)
        for text, state in zip(batch, host.take(range(len(batch))), strict=True):
            text.state = state
        yield len(host.ended)


text_parameters: dict[int, dict[str, Any]] = {}


@pytest.mark.parametrize("name", HOSTED)
def test_another_batch_in_every_step(name: str) -> None:
    policy, eos_id = ALL[name], 4
    model, lengths = MODELS[eos_id], [GENERATED, 9, 17, 20]
    engine = texts(lengths)
    sizes = set(steps(session(policy, 4, eos_id), engine, model, lengths, random.Random(name)))
    assert sizes <= {1, 2, 4}  # the buckets
    assert [as_decoded(text, eos_id) for text in engine] == wanted(policy, model, lengths)


OF_REQUESTS: dict[str, dict[str, list[Any]]] = {
    "threshold": {"confidence": [0.02, 0.9, 0.2, 0.5]},
    "factor": {"budget": [0.5, 1.0, 2.0, 3.0]},
    "static": {"tokens": [1, 2, 3, 8]},
    "dico": {"seed_conf": [0.02, 0.3, 0.05, 0.1], "sure_margin": [0.1, 3.0, 0.5, 1.0]},
    "klass": {"calm": [0.01, 0.1, 1.0, 5.0], "steps": [1, 2, 64, 1]},
    "llada_random": {"steps": [2, 3, 8, 1]},
    "gumbel": {"temperature": [0.0, 0.5, 1.0, 3.0]},
    "nucleus": {"temperature": [0.0, 0.5, 1.0, 3.0], "mass": [0.1, 0.5, 0.9, 1.0]},
    "chancy": {"luck": [0.0, 0.2, 0.5, 1.0]},
    "biased": {"push": [0.0, 3.0, -2.0, 9.0]},
    "joint_threshold": {"confidence": [0.1, 0.3, 0.5, 0.2], "extra": [0, 3, 5, 16]},
}


@pytest.mark.parametrize("name", [name for name in OF_REQUESTS if name in HOSTED])
def test_parameters_of_each_request(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, model, lengths = ALL[name], MODELS[None], [GENERATED, 9, 17, 20]
    values = OF_REQUESTS[name]
    for index in range(len(PROMPTS)):
        monkeypatch.setitem(text_parameters, index, {key: value[index] for key, value in values.items()})
    engine = texts(lengths)
    list(steps(session(policy, 4, None), engine, model, lengths, random.Random(name)))
    expected = wanted(policy, model, lengths, **values)
    assert [as_decoded(text, None) for text in engine] == expected
    engine = texts(lengths)
    list(steps(session(policy, 2, None, "reference"), engine[:2], model, lengths, random.Random(name)))
    assert [as_decoded(text, None) for text in engine[:2]] == expected[:2]
    assert expected != wanted(policy, model, lengths)


@pytest.mark.parametrize("name", ["threshold", "dcd", "adablock", "slowfast", "gumbel", "static"])
def test_whole_canvases_of_a_host_of_ones_own(name: str) -> None:
    policy, model = ALL[name], MODELS[4]
    longest = max(len(prompt) for prompt in PROMPTS) + GENERATED
    host = Session.of(
        policy, slots=3, columns=longest, mask_id=MASK, vocab_size=VOCABULARY, eos_id=4, gen_length=GENERATED
    )
    found: dict[int, list[int]] = {}
    waiting = [
        replace(
            continued(i, prompt, GENERATED, BLOCK if policy.facts.window == "blocks" else None),
            key=noise.key(SEED, i),
        )
        for i, prompt in enumerate(PROMPTS)
    ]
    slots: dict[int, Request] = {}
    while waiting or slots:
        for slot in range(3):
            if slot not in slots and waiting:
                slots[slot] = waiting.pop(0)
                host.admit(slot, slots[slot])
        logits = torch.zeros(3, longest, VOCABULARY)
        for slot, request in slots.items():
            logits[slot, : request.columns] = model.of(tuple(host.canvas[slot, : request.columns].tolist()))
        host.step(logits)
        for slot in [slot for slot in slots if bool(host.ended[slot])]:
            request = slots.pop(slot)
            text = Text(request.index, host.canvas[slot].tolist(), request.begin, request.columns)
            found[request.index] = as_decoded(text, 4)
            host.evict(slot)
    expected = wanted(policy, model, [GENERATED] * 4)
    assert [found[i] for i in range(4)] == expected


def test_logits_of_the_windows_alone() -> None:
    policy, model = ALL["threshold"], MODELS[None]
    columns = len(PROMPTS[0]) + GENERATED
    host = Session.of(policy, slots=1, columns=columns, mask_id=MASK, vocab_size=VOCABULARY)
    host.admit(0, continued(0, PROMPTS[0], GENERATED, BLOCK))
    while not bool(host.ended[0]):
        first, end = host.windows()
        logits = model.of(tuple(host.canvas[0].tolist()))[int(first) : int(end)]
        host.step(logits.unsqueeze(0), first)
    assert host.canvas[0, 3:].tolist() == wanted(policy, model, [GENERATED] * 4)[0]


def test_a_row_with_logits_that_are_not_finite_fails_alone() -> None:
    policy, model = ALL["threshold"], MODELS[None]
    host, engine = session(policy, 2, None), texts([GENERATED] * 4)[:2]
    for slot, text in enumerate(engine):
        request = block_shown(text.index, text.shown(), text.begin - text.prompt, GENERATED, MASK)
        host.admit(slot, request)
    logits = torch.stack([logits_of(model, text) for text in engine])
    logits[1, 2] = float("nan")
    output = host.step(logits)
    assert output.done.tolist() == [False, True]
    assert host.ended.tolist() == [False, True]
    assert host.error(0) is None
    error = host.error(1)
    assert error is not None
    assert error.code == "E0406"
    assert "in step 1 at generated position 2" in error.message
    assert output.canvas[1].tolist() == engine[1].shown()
    before = host.canvas.clone()
    host.step(torch.stack([logits_of(model, text) for text in engine]))
    assert (host.canvas[1] == before[1]).all()
    assert host.error(1) == error
    host.evict(1)
    assert host.error(1) is None


def test_a_request_goes_on_where_another_host_left_it() -> None:
    """Block index, request id, and the steps so far are all that a policy without states needs."""
    policy, model = ALL["llada_random"], MODELS[None]
    text, host = texts([GENERATED] * 4)[2], session(policy, 1, None)
    step = 0
    while not text.over:
        start = text.begin - text.prompt
        request = block_shown(2, text.shown(), start, GENERATED, MASK, noise.key(SEED, 2))
        host.admit(0, request, step=step)
        while not bool(host.done[0]):
            written(text, host.step(logits_of(model, text).unsqueeze(0)).canvas[0].tolist())
            step += 1
        text.begin += BLOCK
    assert as_decoded(text, None) == wanted(policy, model, [GENERATED] * 4)[2]


def test_what_a_block_host_cannot_run_is_refused_by_name() -> None:
    refused = {name: why_not_by_block(policy, BLOCK) for name, policy in ALL.items() if name not in HOSTED}
    shapes = {policy.facts.window for name, policy in ALL.items() if name in refused}
    assert shapes == {"all", "sliding", "until", "blocks"}
    assert {name for name in refused if ALL[name].facts.window == "blocks"} == {
        "diffusion_gemma",
        "freedave",
        "freedave_plus",
    }
    for name, why in refused.items():
        assert why is not None
        assert why.code == "E0450"
        assert f"`{ALL[name].name}` cannot run" in why.message
        assert why.help
    assert why_not_by_block(ALL["freedave"].bind(drafts=1), BLOCK) is None
    guided, _ = dsldec.check(
        "policy g(block: int = 8 in 1..64):\n  window blocks(block)\n  logits cfg(1.5)\n  commit top(masked, 1, by=conf)"
    )
    assert guided is not None
    assert "cfg" in str(why_not_by_block(guided))
    assert "are no multiple" in str(why_not_by_block(ALL["threshold"].bind(block=3), BLOCK))


@pytest.mark.parametrize(
    ("name", "parameters", "code"),
    [
        ("threshold", {"block": 4}, None),
        ("threshold", {"block": 2}, "E0450"),
        ("threshold", {"confidence": 7.0}, "E0402"),
        ("threshold", {"sure": 0.5}, "E0403"),
        ("dcd", {"masks": 3}, "E0450"),
        ("pc_sampler", {"frequency": (0.1, 0.2)}, "E0450"),
        ("freedave", {"drafts": 2}, "E0450"),
    ],
)
def test_parameters_that_a_request_cannot_have(
    name: str, parameters: dict[str, Any], code: str | None
) -> None:
    host = session(ALL[name], 1, None)
    request = replace(continued(0, [], BLOCK, None), parameters=parameters)
    if code is None:
        host.admit(0, request)
        return
    with pytest.raises(dsldec.UsageError if code == "E0450" else dsldec.PolicyError, match=code):
        host.admit(0, request)


def test_sizes_that_do_not_fit() -> None:
    host = session(ALL["threshold"], 2, None)
    with pytest.raises(dsldec.UsageError, match="a slot has 8 columns, and the request 9"):
        host.admit(0, continued(0, [], 9, None))
    with pytest.raises(dsldec.UsageError, match="2 slots, and 3 states"):
        host.join(host.take([0, 1, 0]))
    with pytest.raises(dsldec.UsageError, match="2 slots, and 0 states"):
        host.join([])


@pytest.mark.parametrize("name", ["threshold", "dico", "gumbel"])
def test_slots_that_stay_and_requests_that_begin(name: str) -> None:
    """`opened`, `join(..., stay=)`, `source`, `only` and `of_windows` give the same as whole new batches."""
    policy, model, lengths = ALL[name].bind(block=BLOCK), MODELS[None], [24, 24, 24, 24]
    host, engine = session(policy, 4, None), texts(lengths)

    def requests(some: list[Text]) -> list[Request]:
        shown = [(text, text.begin - text.prompt) for text in some]
        return [
            block_shown(text.index, text.shown(), start, 24, MASK, noise.key(SEED, text.index))
            for text, start in shown
        ]

    host.join(host.opened(requests(engine[:3])))
    step_of(host, model, engine[:3])
    left = host.take([1])
    host.join(host.opened(requests(engine[3:])), stay=[2, 0])
    step_of(host, model, [engine[2], engine[0], engine[3]], only=[2, 0])
    host.join(left, stay=[0, 2, 1])
    order = [engine[2], engine[3], engine[0], engine[1]]
    while any(not text.over for text in order):
        step_of(host, model, order)
    assert [as_decoded(text, None) for text in engine] == wanted(policy, model, lengths)


def step_of(host: Session, model: Any, order: list[Text], only: list[int] | None = None) -> None:
    """One step of these texts, whose logits are in reverse order, or in that of the slots for whole windows."""
    logits = torch.stack([logits_of(model, text) for text in order])
    empty = len(host.ended) - len(order)
    if only is None and not empty:
        output = host.step(logits, of_windows=True)
    else:
        source = torch.tensor([*reversed(range(len(order))), *[0] * empty])
        output = host.step(logits.flip(0), source=source, only=only)
    again = {}
    for slot, text in enumerate(order):
        if only is not None and slot not in only:
            assert output.canvas[slot].tolist() == text.shown()
        written(text, output.canvas[slot].tolist())
        if bool(host.done[slot]) and not text.over:
            text.begin += BLOCK
            if not text.over:
                again[slot] = (text.shown(), text.begin - text.prompt)
    if again:
        host.show_all(again)
