"""`noise uniform`: which ids the denoiser sees, in `decode`, in a session, with drafts and with caches.

The expected canvases come from a slow loop over plain ints.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends.noise import key, mixed_int, shown_id, shown_ids
from dsldec.runtime.requests import continued
from dsldec.runtime.session import Session

VOCABULARY = 23
POLICY = "policy some(block: int = 8 in 1..64):\n  window blocks(block)\n  noise uniform\n  commit top(masked, 2, by=conf)\n"
AGAIN = dsldec.load("diffusion_gemma", block=8, steps=5, budget=3.0)


class Watched:
    """Logits that depend on every id of the row; stores its inputs. `mask_id`: an id, or the size of the
    vocabulary where the model has no MASK.
    """

    vocab_size = VOCABULARY

    def __init__(self, mask_id: int = VOCABULARY, eos_id: int | None = None) -> None:
        self.mask_id, self.eos_id, self.seen = mask_id, eos_id, list[Tensor]()

    def __call__(self, ids: Tensor) -> Tensor:
        self.seen.append(ids.clone())
        assert 0 <= int(ids.min()) <= int(ids.max()) < VOCABULARY
        return torch.stack([scores(row) for row in ids])


def scores(row: Tensor) -> Tensor:
    seed = mixed_int(*row.tolist()) % 2**31
    return 2 * torch.randn(len(row), VOCABULARY, generator=torch.Generator().manual_seed(seed))


def plain_id(hashed: int, mask_id: int) -> int:
    """A number for all ids but MASK: its remainder, and one more from MASK on."""
    ids = [id_ for id_ in range(VOCABULARY) if id_ != mask_id]
    return ids[(hashed % 2**64 >> 1) % len(ids)]


@pytest.mark.parametrize("mask_id", [VOCABULARY, 0, 5, VOCABULARY - 1, 10**6])
def test_the_ids_of_both_forms(mask_id: int) -> None:
    keys, steps, places = [key(3, n) for n in range(4)], range(5), range(-2, 6)
    expected = [[[plain_id(mixed_int(k, s, p, -2), mask_id) for p in places] for s in steps] for k in keys]
    assert [
        [[shown_id(k, s, p, VOCABULARY, mask_id) for p in places] for s in steps] for k in keys
    ] == expected
    tensors = torch.tensor(keys)[:, None, None], torch.tensor([*steps])[:, None], torch.tensor([*places])
    assert shown_ids(*tensors, VOCABULARY, mask_id).tolist() == expected


def test_all_ids_are_equally_likely() -> None:
    places = torch.arange(40_000)
    ids = shown_ids(torch.tensor(9), torch.tensor(2), places, VOCABULARY, 7)
    counts = torch.bincount(ids, minlength=VOCABULARY)
    assert counts[7] == 0
    expected = 40_000 / (VOCABULARY - 1)
    chi = ((counts[counts > 0] - expected) ** 2 / expected).sum()
    assert chi < 60  # 21 degrees of freedom: above this in one of 10^5 draws


@pytest.mark.parametrize("mask_id", [VOCABULARY, 4])
@pytest.mark.parametrize("policy", [POLICY, AGAIN])
def test_the_denoiser_sees_the_canvas_with_new_ids_in_each_step(policy: Any, mask_id: int) -> None:
    denoiser, prompt, length = Watched(mask_id), [1, 2, 3], 13
    answer = dsldec.decode(denoiser, [prompt], policy, gen_length=length, seed=6, trace=True)
    canvas = [mask_id] * length
    for step, (ids, done) in enumerate(zip(denoiser.seen, answer.trace[0], strict=True)):
        shown = [
            shown_id(key(6, 0), step, at, VOCABULARY, mask_id) if id_ == mask_id else id_
            for at, id_ in enumerate(canvas)
        ]
        assert ids[0].tolist() == [*prompt, *shown]
        for at in done.revoked:
            canvas[at] = mask_id
        for at, id_ in done.ids.items():
            canvas[at] = id_
    assert answer.ids[0].tolist() == prompt + canvas
    assert mask_id not in canvas


@pytest.mark.parametrize("policy", [POLICY, AGAIN])
def test_alone_in_a_batch_and_with_drafts(policy: Any) -> None:
    prompts, how = [[1], [2, 3, 4], [5], [6, 7]], {"gen_length": 12, "seed": 2}
    together = dsldec.decode(Watched(), prompts, policy, **how)
    drafted = dsldec.decode(Watched(), prompts, policy, lookahead=3, **how)
    for row, prompt in enumerate(prompts):
        alone = dsldec.decode(Watched(), [prompt], policy, request_ids=[row], **how)
        assert alone.ids[0].tolist() == together.ids[row].tolist() == drafted.ids[row].tolist()
    other = dsldec.decode(Watched(), prompts, policy, gen_length=12, seed=3)
    assert [ids.tolist() for ids in other.ids] != [ids.tolist() for ids in together.ids]


@pytest.mark.parametrize("policy", [dsldec.load(POLICY), AGAIN])
def test_a_session_shows_the_same(policy: Any) -> None:
    denoiser = Watched()
    expected = dsldec.decode(denoiser, [[1, 2]], policy, gen_length=16, seed=4)
    how = {"mask_id": VOCABULARY, "vocab_size": VOCABULARY}
    session = Session.of(policy, slots=1, columns=18, **how)
    session.admit(0, replace(continued(0, [1, 2], 16), key=key(4, 0)))
    seen = []
    while not session.done.all():
        seen.append(session.canvas)
        assert int(session.written[0, 2:].max()) == VOCABULARY or not (session.written == VOCABULARY).any()
        session.step(torch.stack([scores(row) for row in session.canvas]))
    assert session.canvas.tolist() == session.written.tolist() == [expected.ids[0].tolist()]
    assert [ids.tolist() for ids in seen] == [ids.tolist() for ids in denoiser.seen]


def test_an_infilling_shows_random_ids_in_its_gaps() -> None:
    denoiser = Watched(mask_id=22)
    answer = dsldec.decode(denoiser, [[1, 22, 3, 22, 22, 2]], POLICY, infill=True)
    assert 22 not in torch.stack(denoiser.seen)
    assert [answer.ids[0].tolist()[at] for at in (0, 2, 5)] == [1, 3, 2]


def written(steps: Any, length: int) -> list[bool]:
    """The positions that hold an id after the last step."""
    holds = [False] * length
    for step in steps:
        for at in step.revoked:
            holds[at] = False
        for at in step.ids:
            holds[at] = True
    return holds


def test_an_end_of_text_is_final_with_its_window_where_steps_accept_anew() -> None:
    """Each step of the sampler may take an id back. A policy that takes nothing back ends a text at once."""
    early = dict[str, int]()
    for policy in (AGAIN, dsldec.load(POLICY)):
        for seed in range(20):
            answer = dsldec.decode(Watched(eos_id=3), [[1]], policy, gen_length=32, seed=seed, trace=True)
            holds = written(answer.trace[0], 32)
            early[policy.name] = early.get(policy.name, 0) + (sum(holds) % 8 > 0)
    assert early["diffusion_gemma"] == 0
    assert early["some"] > 0


@pytest.mark.parametrize(
    ("text", "how", "code"),
    [
        ("threshold", {}, "E0500"),
        (POLICY.replace("uniform\n", "uniform\n  logits cfg(1)\n"), {}, "E0501"),
    ],
)
def test_a_model_without_mask(text: str, how: dict[str, Any], code: str) -> None:
    with pytest.raises(dsldec.UsageError, match=code):
        dsldec.decode(Watched(), [[1]], text, gen_length=8, **how)


def test_dual_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would store keys and values of ids that the next step does not show."""
    denoiser = dsldec.from_pretrained()
    with pytest.raises(dsldec.UsageError, match=r"E0414.*noise uniform"):
        dsldec.decode(denoiser, [[1]], POLICY, gen_length=8, cache="dual")
    assert dsldec.load(POLICY).facts.caches == ("none", "exact", "prefix")


def test_a_host_that_shows_mask_refuses() -> None:
    from dsldec.runtime.block_host import why_not_by_block

    refused = why_not_by_block(dsldec.load(POLICY), 8)
    assert refused is not None
    assert refused.code == "E0450"
    assert why_not_by_block(dsldec.load(POLICY), 8, shows_noise=True) is None


class OfMixedLengths(Watched):
    pads = True

    def __call__(self, ids: Tensor, lengths: list[int]) -> Tensor:  # type: ignore[override]
        for row, length in zip(ids, lengths, strict=True):
            assert self.mask_id == VOCABULARY or (row[length:] == self.mask_id).all()
        return super().__call__(ids)


@pytest.mark.parametrize("mask_id", [VOCABULARY, 4])
def test_only_what_is_to_be_written_shows_random_ids(mask_id: int) -> None:
    """A MASK of the prompt stays MASK, and so does what is after a row, if it is an id."""
    given = [1, 4, 2]
    denoiser = OfMixedLengths(mask_id)
    dsldec.decode(denoiser, [given, [5], [6, 7]], POLICY, gen_length=12, batch=3)
    assert all(ids[0, :3].tolist() == given for ids in denoiser.seen[:2])
