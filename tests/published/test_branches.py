"""LoPA and Info-Gain as policies with `branch` give what their plain loops give: ids, forwards, input rows, and
the candidate that each step goes on with.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

import dsldec
from dsldec.backends import noise
from dsldec.runtime.brancher import Brancher

from ..toy import ToyDenoiser
from .branch_loops import BranchRun, info_gain, lopa
from .test_published import see

PROMPTS = [[3, 7, 11, 2], [25, 0, 8, 19], [9, 17, 0, 1]]
SETTINGS = 48


def lopa_setting(number: int) -> dict[str, Any]:
    rng = random.Random(number)
    return {
        "confidence": rng.choice((0.3, 0.5, 0.7, 0.9, 1.0)),
        "rows": rng.choice((1, 2, 3, 5, 9, 12)),
        "alpha": rng.choice((0.0, 0.25, 0.5, 0.75, 1.0)),
        "share": rng.choice((0.0, 0.25, 0.5, 0.75, 1.0)),
        "block": rng.choice((1, 3, 5, 8, 12, 24, 40)),
    }


def info_gain_setting(number: int) -> dict[str, Any]:
    rng = random.Random(number)
    return {
        "rows": rng.choice((1, 2, 3, 5, 8)),
        "temperature": rng.choice((0.05, 0.1, 0.5, 1.0, 10.0)),
        "bypass": rng.choice((2.0, 2.0, 2.0, 0.5, 0.9)),
        "steps": rng.choice((2, 3, 5, 8, 24)),
        "block": rng.choice((1, 5, 8, 12, 24)),
    }


def world(number: int) -> tuple[ToyDenoiser, int]:
    """A denoiser and a length."""
    rng = random.Random(1000 + number)
    return ToyDenoiser(rng.randint(1, 9), rng.choice((0.5, 1.0, 2.0, 4.0))), rng.choice((1, 7, 14, 14))


def expected(name: str, number: int, prompt: list[int], index: int) -> BranchRun:
    denoiser, length = world(number)
    if name == "lopa":
        return lopa(see(denoiser, prompt), length, **lopa_setting(number))
    key = noise.key(number, index)
    return info_gain(see(denoiser, prompt), length, key=key, **info_gain_setting(number))


def setting_of(name: str, number: int) -> dict[str, Any]:
    return lopa_setting(number) if name == "lopa" else info_gain_setting(number)


def decoded(name: str, number: int, prompts: list[list[int]] = PROMPTS, **how: Any) -> Any:
    denoiser, length = world(number)
    setting = setting_of(name, number)
    how = {"backend": "eager", "trace": True, "stop_at_eos": False, "seed": number, **how}
    return dsldec.decode(denoiser, prompts, dsldec.load(name, **setting), gen_length=length, **how)


def assert_equal(name: str, number: int, **how: Any) -> None:
    got = decoded(name, number, **how)
    for index, prompt in enumerate(PROMPTS):
        run = expected(name, number, prompt, index)
        assert got.ids[index].tolist() == prompt + run.canvas
        assert (int(got.forwards[index]), int(got.rows[index])) == (run.forwards, run.rows)
        if setting_of(name, number)["rows"] > 1:
            assert [step.branch for step in got.trace[index]] == run.picked
        path = [prompt + [ToyDenoiser.mask_id if id_ is None else id_ for id_ in one] for one in run.path]
        assert [*got.trajectories[index].canvases()][-len(path) :] == path


@pytest.mark.parametrize("number", range(SETTINGS))
@pytest.mark.parametrize("name", ["lopa", "info_gain"])
def test_every_setting(name: str, number: int) -> None:
    assert_equal(name, number)


@pytest.mark.parametrize("number", range(0, SETTINGS, 16))
@pytest.mark.parametrize("name", ["lopa", "info_gain"])
def test_some_settings_with_the_reference(name: str, number: int) -> None:
    assert_equal(name, number, backend="reference")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lopa", "info_gain"])
def test_a_setting_compiled(name: str) -> None:
    assert_equal(name, 3, backend="inductor")


@pytest.mark.parametrize("number", range(0, SETTINGS, 8))
@pytest.mark.parametrize("name", ["lopa", "info_gain"])
def test_rows_that_take_the_places_of_others(name: str, number: int) -> None:
    """A batch of two: the third prompt waits."""
    assert_equal(name, number, batch=2)


def test_the_settings_have_picks_of_many_numbers() -> None:
    """Else a wrong candidate would not show."""
    for name in ("lopa", "info_gain"):
        runs = [expected(name, number, PROMPTS[0], 0) for number in range(SETTINGS)]
        assert len({number for run in runs for number in run.picked}) > 3
        assert sum(len(set(run.picked)) > 1 for run in runs) >= 10


# --- what these tests would find


def wrong_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal scores, the last candidate."""
    best = Brancher.best

    def last(self: Brancher, candidates: Any, seen: Any, rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
        backwards, scores = best(self, candidates[::-1], seen[::-1], rows)
        return len(candidates) - 1 - backwards, scores.flip(0)

    monkeypatch.setattr(Brancher, "best", last)


def score_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each candidate has the observations of the next one."""
    best = Brancher.best

    def shifted(self: Brancher, candidates: Any, seen: Any, rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return best(self, candidates, [*seen[1:], seen[0]], rows)

    monkeypatch.setattr(Brancher, "best", shifted)


def state_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each candidate is scored with the state of the first."""
    best = Brancher.best

    def of_first(self: Brancher, candidates: Any, seen: Any, rows: Any) -> torch.Tensor:
        own = {n: v for n, v in candidates[0]._named().items() if "state_" in n}
        return best(self, [one._of(one._named() | own) for one in candidates], seen, rows)

    monkeypatch.setattr(Brancher, "best", of_first)


def logits_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next step reads the logits of the first candidate."""
    forked = Brancher.forked

    def of_first(self: Brancher, state: Any, seen: Any, rows: Any) -> Any:
        return forked(self, state, type(seen)(seen.logits, torch.zeros_like(seen.source), seen.first), rows)

    monkeypatch.setattr(Brancher, "forked", of_first)


@pytest.mark.parametrize("mistake", [wrong_order, score_of_another, state_of_another, logits_of_another])
@pytest.mark.parametrize("name", ["lopa", "info_gain"])
def test_a_wrong_loop_shows(name: str, mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)
    assert any(differs(name, number) for number in range(SETTINGS))


def differs(name: str, number: int) -> bool:
    try:
        assert_equal(name, number)
    except AssertionError:
        return True
    return False
