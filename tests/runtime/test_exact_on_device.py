"""The exact cache whose places stay on the device gives the answers of the cache on a CPU, and reads nothing
between two forwards.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dsldec
from dsldec.models.blocks import BlockMask, as_truth
from dsldec.runtime import decode_loop, exact_forward
from dsldec.runtime.exact_forward import ExactForwardOnDevice
from dsldec.runtime.poll import AsyncPoll, SyncPoll

from ..as_on_a_gpu import read_nothing_in_steps
from ..models.tiny import denoiser_of
from .cached_runs import DRAWN, GUIDED, RAGGED, SLIDING, UNTIL, bound, decode, named
from .keeping import Keeper
from .test_poll import Reads, late

POLICIES = ["threshold", "static", "dico", GUIDED, DRAWN, SLIDING, UNTIL]


@pytest.fixture(params=["at once", "late"])
def poll(request: pytest.FixtureRequest) -> Any:
    return SyncPoll if request.param == "at once" else (lambda: AsyncPoll(late(lambda: 1)))


def answers(decoded: Any) -> tuple[Any, ...]:
    return (
        [ids.tolist() for ids in decoded.ids], decoded.forwards.tolist(), decoded.rows.tolist(),
        decoded.proposed, decoded.accepted,
    )  # fmt: skip


def in_blocks() -> Any:
    mask = BlockMask(4, as_truth, torch.float64)
    own = denoiser_of("qwen3", {"num_hidden_layers": 2}, block_length=4, mask=mask)
    own.model.double()
    return own


def compared(
    poll: Any, monkeypatch: pytest.MonkeyPatch, make: Any, prompts: Any, policy: Any, **how: Any
) -> list[ExactForwardOnDevice]:
    how |= {"trace": False}
    wanted = decode(make(), prompts, policy, "exact", **how)
    made: list[ExactForwardOnDevice] = []
    init = ExactForwardOnDevice.__init__
    with monkeypatch.context() as patch:
        patch.setattr(exact_forward, "keeps_places", lambda rows: not rows.gaps)
        patch.setattr(decode_loop, "polling", lambda device, watched: poll())
        patch.setattr(
            ExactForwardOnDevice, "__init__", lambda self, *given: (made.append(self), init(self, *given))[1]
        )
        got = decode(make(), prompts, policy, "exact", **how)
    assert answers(got) == answers(wanted)
    return made


@pytest.mark.parametrize("text", POLICIES, ids=named)
@pytest.mark.parametrize("drafts", [None, 3])
@pytest.mark.parametrize("block", [4, 5])
def test_it_gives_the_answers_of_a_cpu(
    text: str, drafts: int | None, block: int, poll: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\n" in text:
        policy: Any = dsldec.load(text)
    else:
        policy, drafts = bound(text, 4, drafts or 1)
    make = lambda: Keeper(3, block, 0.4, 7, wide=True)  # noqa: E731
    made = compared(poll, monkeypatch, make, RAGGED, policy, batch=3, lookahead=drafts)
    assert len(made) == 1
    assert not made[0].waits


def test_a_model_of_transformers_gives_them_too(poll: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = lambda: in_blocks()  # noqa: E731
    assert compared(poll, monkeypatch, made, [[5, 6, 7], [8, 9, 10, 11, 12, 13]], "threshold", gen_length=12)


def test_texts_with_gaps_stay_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [[49, 49, 7, 49, 3, 4, 5, 6, 7, 8, 49, 49, 9]]
    made = lambda: Keeper(3, 4, 0.4)  # noqa: E731
    mask = made().mask_id
    texts = [[mask if one == 49 else one for one in text] for text in texts]
    assert not compared(SyncPoll, monkeypatch, made, texts, "static", infill=True, gen_length=None)


def test_nothing_is_read_between_two_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_loop, "polling", lambda device, watched: AsyncPoll(late(lambda: 1)))
    monkeypatch.setattr(exact_forward, "keeps_places", lambda rows: True)
    read_nothing_in_steps(monkeypatch)
    reads = Reads()

    def at(place: str, owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            with reads.at(place):
                return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, called)

    at("poll", AsyncPoll, "later")
    at("poll", AsyncPoll, "wait")
    at("step", dsldec.backends.step.Step, "__call__")
    at("admit", ExactForwardOnDevice, "admit")
    at("ended", decode_loop.DecodeLoop, "_finish")
    own = in_blocks()
    own.kv_cache(1, 8)  # its probes read
    with reads:
        rows = list(
            dsldec.runtime.decode.stream(
                own, [[5, 6, 7], [8, 9, 10, 11], [4]], "static", gen_length=8, cache="exact", backend="eager",
                batch=2, lookahead=2,
            )
        )  # fmt: skip
    assert len(rows) == 3
    assert torch.is_tensor(rows[0].ids)
    between = {place: count for place, count in reads.counts.items() if place.startswith("between")}
    assert not between, between
