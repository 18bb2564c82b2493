"""The begin of generation for a block-causal model: at a block of the model, even if the prompt ends inside
one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.runtime.decode import Decoded, stream
from dsldec.runtime.requests import Request, continued, infilled
from dsldec.runtime.trace import StepEvent

from ..published import more_rules, rules
from ..shipped import CORE
from ..toy import MASK, ToyDenoiser
from .families import Padded, Watched
from .slow import Rule, slowly, static

BLOCK, EOS, LENGTH = 4, 5, 11
PROMPTS = [[(7 * at + length) % 30 + 6 for at in range(length)] for length in range(10)]
RULES: dict[str, tuple[str, Rule]] = {
    "static": ("commit top(masked, 1, by=conf)", static(1, BLOCK)),
    "threshold": (
        "commit masked and conf >= 0.4 at least 1 by conf",
        partial(rules.threshold, confidence=0.4, block=BLOCK),
    ),
    "factor": (
        "commit prefix(masked, by=conf, while=(rank + 1) * doubt < 1.7) at least 1 by conf",
        partial(more_rules.factor, budget=1.7, form="paper", block=BLOCK),
    ),
}


class InBlocks(ToyDenoiser):
    """Says end-of-text nowhere."""

    block_length = BLOCK
    eos_id = EOS

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        logits[:, :, EOS] = -32.0
        return logits


def decode(denoiser: Any, prompts: list[list[int]], policy: str | dsldec.Policy, **how: Any) -> Decoded:
    return dsldec.decode(
        denoiser, prompts, policy, **{"gen_length": LENGTH, "backend": "eager", "trace": True, **how}
    )


def policy(line: str, window: str = f"blocks({BLOCK})") -> str:
    return f"policy p():\n  window {window}\n  {line}\n"


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("drafts", [1, 3])
def test_windows_are_the_blocks_of_the_model(name: str, drafts: int) -> None:
    line, rule = RULES[name]
    slow = [
        slowly(InBlocks(3, 1.0), text, range(length - length % BLOCK, len(text)), rule)
        for length, text in ((len(prompt), [*prompt, *[MASK] * LENGTH]) for prompt in PROMPTS)
    ]
    for denoiser in (InBlocks(3, 1.0), Padded(InBlocks(3, 1.0))):
        decoded = decode(denoiser, PROMPTS, policy(line), lookahead=drafts, batch=4)
        for row, prompt in enumerate(PROMPTS):
            assert decoded.ids[row].tolist() == slow[row].ids
            assert [step.committed for step in decoded.trace[row]] == slow[row].counted_from(len(prompt))
            assert decoded.tokens[row] == LENGTH
            assert (
                decoded.forwards[row] == len(slow[row].steps)
                if drafts == 1
                else decoded.forwards[row] <= len(slow[row].steps)
            )
            blocks = [{(len(prompt) + at) // BLOCK for at in step.committed} for step in decoded.trace[row]]
            assert all(len(one) == 1 for one in blocks)
            assert [min(one) for one in blocks] == sorted(min(one) for one in blocks)


def test_a_window_larger_than_what_is_generated_is_one_window() -> None:
    """What the prompt has of the first block counts too: the bound on forwards is of one window, whoever else
    is in the batch.
    """
    everything = policy("commit masked", "blocks(12)")
    for drafts in (1, 3):
        for prompts in ([PROMPTS[3]], [PROMPTS[4], PROMPTS[7], PROMPTS[3]]):
            decoded = decode(Padded(InBlocks(3, 1.0)), prompts, everything, gen_length=5, lookahead=drafts)
            assert decoded.forwards.tolist() == [1] * len(prompts)
    short, long = [9, 9, 9, MASK, 8, MASK, 8], [9, *[MASK] * 14]
    alone = decode(Padded(InBlocks(3, 1.0)), [short], everything, infill=True)
    both = decode(Padded(InBlocks(3, 1.0)), [short, long], everything, infill=True)
    assert alone.forwards.tolist() == [1]
    assert both.forwards.tolist() == [1, 2]
    assert repr((alone.ids[0], alone.trace[0])) == repr((both.ids[0], both.trace[0]))


def test_calls_are_those_of_a_model_that_sees_everything() -> None:
    for prompt in PROMPTS:
        watched = Watched(InBlocks(3, 1.0))
        decode(watched, [prompt, prompt], policy("commit top(masked, 1, by=conf)"))
        assert watched.shapes == [(2, len(prompt) + LENGTH)] * LENGTH


@pytest.mark.parametrize("name", CORE)
def test_a_prompt_of_whole_blocks_begins_where_it_ends(name: str) -> None:
    class Everything(InBlocks):
        block_length = None  # type: ignore[assignment]

    of = dsldec.load(name, block=BLOCK)
    prompts = [prompt for prompt in PROMPTS if len(prompt) % BLOCK == 0]
    both = [decode(Padded(kind(3, 1.0)), prompts, of, batch=2) for kind in (Everything, InBlocks)]
    left, right = (
        repr((one.ids, one.forwards, one.rows, one.tokens, one.accepted, one.trace)) for one in both
    )
    assert left == right


@pytest.mark.parametrize("name", CORE)
def test_what_the_prompt_has_of_a_block_stays(name: str) -> None:
    """Even an end of text, or a mask, that stands in it: neither ends nor is anything to decode."""
    of = dsldec.load(name, block=2 * BLOCK)
    prompts = [[1, 2, 3, 9, EOS, 8], [EOS], [9, 9, MASK], [1, 2, 3, 4, MASK, EOS, MASK]]
    plain = decode(Padded(InBlocks(3, 1.0)), prompts, of, batch=2)
    bare = decode(Padded(InBlocks(3, 1.0)), prompts, of, batch=2, stop_at_eos=False)
    for row, prompt in enumerate(prompts):
        ids = plain.ids[row].tolist()
        assert ids[: len(prompt)] == prompt
        assert MASK not in ids[len(prompt) :]
        assert plain.tokens[row] == LENGTH
        committed = [at for step in plain.trace[row] for at in step.committed]
        assert sorted(set(committed) if of.facts.revises else committed) == list(range(LENGTH))
        assert plain.forwards[row] <= of.facts.forwards_bound(
            len(prompt) % BLOCK + LENGTH, of.parameters, True
        )
    assert [ids.tolist() for ids in bare.ids] == [ids.tolist() for ids in plain.ids]
    assert bare.forwards.tolist() == plain.forwards.tolist()


@pytest.mark.parametrize(
    "window", ["all", "sliding(max_masks=3, max_length=5)", "until(9, 11, 20, 30, min=2, max=5)"]
)
def test_other_windows_write_everything_too(window: str) -> None:
    for drafts in (1, 3):
        decoded = decode(
            Padded(InBlocks(3, 1.0)),
            PROMPTS,
            policy("commit top(masked, 1, by=conf)", window),
            lookahead=drafts,
            batch=3,
        )
        for row in range(len(PROMPTS)):
            assert sorted(at for step in decoded.trace[row] for at in step.committed) == list(range(LENGTH))
            assert decoded.forwards[row] <= LENGTH


def test_an_end_of_text_that_is_generated_ends() -> None:
    class Ending(InBlocks):
        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            logits[:, 7, EOS] = 60.0
            return logits

    prompts = [prompt for prompt in PROMPTS if len(prompt) < 8]
    decoded = decode(Padded(Ending(3, 1.0)), prompts, policy("commit top(masked, 1, by=pos)"), batch=3)
    for row, prompt in enumerate(prompts):
        assert decoded.tokens[row] == 7 - len(prompt)
        assert decoded.ids[row].tolist()[7:] == [EOS] * (len(prompt) + LENGTH - 7)
        # The blocks are written from their ends, up to the one that holds column 7.
        assert decoded.forwards[row] == 8 - len(prompt)


def test_positions_count_from_the_first_generated_one() -> None:
    class Broken(InBlocks):
        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            logits[:, :6] = float("nan")  # what the prompt has: never looked at
            logits[(ids == MASK).sum(1) <= LENGTH - 3, 13] = float("nan")
            return logits

    prompt = PROMPTS[6]
    events: list[StepEvent] = []
    of = dsldec.load(policy("commit top(masked, 1, by=-pos)", "all"))
    (row,) = stream(Broken(3, 1.0), [prompt], of, gen_length=LENGTH, backend="eager", on_step=events.append)
    assert row.error is not None
    assert "in step 4 at generated position 7" in row.error.message
    assert [event.written for event in events[:3]] == [[0], [1], [2]]
    assert row.tokens == 3
    assert row.ids.tolist()[9:] == [MASK] * (LENGTH - 3)
    assert all(len(event.generated) == LENGTH for event in events)


def test_a_request_says_where_its_region_lies() -> None:
    for length in range(10):
        request = continued(0, [1] * length, LENGTH, BLOCK)
        assert (request.begin, request.region.stop, request.lead) == (length, length + LENGTH, length % 4)
        text = [1] * length + [MASK, 2, 2, MASK, 3]
        request = infilled(0, text, MASK, BLOCK)
        assert (request.begin, request.region.stop, request.lead) == (length, length + 4, length % 4)
        assert request.to_write(MASK) == [length, length + 3]
        assert request.gaps
        assert not infilled(0, [1] * length + [MASK, MASK, 3], MASK, BLOCK).gaps
        assert continued(0, [1] * length, LENGTH, None).lead == infilled(0, text, MASK, None).lead == 0


def test_a_request_that_waits_holds_no_canvas_of_its_own() -> None:
    text = [1, MASK, 3]
    assert continued(0, text, 9, None).text is infilled(0, text, MASK, None).text is text
    assert continued(0, text, 2, None).canvas(MASK) == [1, MASK, 3, MASK, MASK]
    assert infilled(0, text, MASK, None).canvas(MASK) == text


def test_a_canvas_is_not_read_through_at_every_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    to_write = Request.to_write
    monkeypatch.setattr(
        Request, "to_write", lambda self, mask_id: read.append(self.index) or to_write(self, mask_id)
    )
    decode(InBlocks(3, 1.0), PROMPTS[:3], policy("commit top(masked, 1, by=conf)"))
    assert not read
    decode(
        InBlocks(3, 1.0),
        [[1, MASK, 2, MASK, 3], [MASK, 4, MASK]],
        policy("commit top(masked, 1, by=conf)"),
        infill=True,
    )
    assert sorted(read) == [0, 1]  # what was written is counted, once


def test_an_infilling_keeps_to_the_blocks_of_the_model() -> None:
    for length in range(6):
        text = [*PROMPTS[length], MASK, MASK, 9, MASK, 8, 8, 8, 8, EOS, MASK, 7, 7, MASK, 1]
        slow = slowly(InBlocks(3, 1.0), text, range(length - length % BLOCK, len(text) - 1), static(1, BLOCK))
        decoded = decode(InBlocks(3, 1.0), [text], policy("commit top(masked, 1, by=conf)"), infill=True)
        assert decoded.ids[0].tolist() == slow.ids
        assert [step.committed for step in decoded.trace[0]] == slow.counted_from(length)


@pytest.mark.slow
def test_a_compiled_step_takes_the_short_first_windows() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    both = [
        decode(
            Padded(InBlocks(3, 1.0)),
            PROMPTS[:6],
            policy("commit top(masked, 1, by=conf)"),
            batch=2,
            backend=b,
        )
        for b in ("eager", "inductor")
    ]
    assert [ids.tolist() for ids in both[0].ids] == [ids.tolist() for ids in both[1].ids]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
