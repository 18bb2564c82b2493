"""A forward and a step that are recorded as one CUDA graph give the answers of the loop without one.

`tests.gpu.graphs` records as a GPU does: operations and addresses, no code of the host.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends.cuda_graphs import Buffers, copy
from dsldec.models.probe import keys_mask
from dsldec.runtime import captured_loop, decode, decode_loop
from dsldec.runtime.decode import Decoded
from dsldec.runtime.poll import AsyncPoll, SyncPoll
from dsldec.runtime.step_runner import StepRunner

from ..as_on_a_gpu import read_nothing_in_steps
from ..gpu.graphs import RecorderOnCpu
from ..models.tiny import denoiser_of
from ..shipped import ONE_CANDIDATE
from ..toy import MASK, ToyDenoiser
from .test_poll import DRAWN, GUIDED, Ending, late

PROMPTS = [[9, 17, 0], [25, 0, 8, 3], [1, 2, 3], [30, 4, 12], [7], [8, 8, 8, 8, 1]]
UNTIL = "policy until_five():\n  window until(5, 3, min=2, max=9)\n  commit masked and conf > 0.4 at least 1 by conf\n"
MIXED = """policy mixed(taus: table by step = 0.4, way: conf | margin = margin):
  window until(length=3 + int(4 * mean(conf)), min=2, max=9)
  noise uniform
  logits ban(eos, pad)
  logits temperature(1.5 - 0.125 * step)
  draw gumbel(max(0, 1 - 0.25 * steps_in_window))
  refresh when step == 2
  commit masked and conf >= of(taus, step) and random > 0.25 and js(before) > 0 at least 1 by conf if way == conf else margin
"""
KINDS = [*ONE_CANDIDATE, DRAWN, GUIDED, UNTIL, MIXED]


class Counting(Ending):
    """Calls in Python, which a launch does not repeat."""

    captures = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.python = 0

    def __call__(self, ids: Tensor) -> Tensor:
        self.python += 1
        return super().__call__(ids)


@pytest.fixture(autouse=True)
def steps_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """They read no value."""
    read_nothing_in_steps(monkeypatch)


@pytest.fixture(params=["at once", "late"])
def poll(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    make = SyncPoll if request.param == "at once" else (lambda: AsyncPoll(late(lambda: 1)))
    monkeypatch.setattr(decode_loop, "polling", lambda device, watched: make())
    return make


def recorded(monkeypatch: pytest.MonkeyPatch, **how: Any) -> RecorderOnCpu:
    recorder = RecorderOnCpu(**how)
    monkeypatch.setattr(decode, "recorder_for", lambda *given: recorder)
    return recorder


def answers(decoded: Decoded) -> tuple[Any, ...]:
    errors = [error and (error.code, error.message) for error in decoded.errors]
    return [ids.tolist() for ids in decoded.ids], decoded.forwards.tolist(), decoded.rows.tolist(), errors


def named(text: str) -> str:
    return text.split("(")[0].removeprefix("policy ")


@pytest.mark.parametrize("text", [one for one in KINDS if "freedave" not in one], ids=named)
def test_a_graph_gives_the_same_answers(text: str, poll: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = dsldec.load(text, **({"block": 10} if "\n" not in text else {}))
    how: dict[str, Any] = {"gen_length": 20, "backend": "eager", "batch": 2}
    wanted = dsldec.decode(Counting(7, 1.0), PROMPTS, policy, **how)
    recorder, denoiser = recorded(monkeypatch), Counting(7, 1.0)
    got = dsldec.decode(denoiser, PROMPTS, policy, **how)
    assert answers(got) == answers(wanted)
    assert recorder.launches >= int(got.forwards.max()) > 2
    assert denoiser.python == 3 * recorder.recordings < recorder.launches


class Padded(Counting):
    """Takes rows of mixed lengths and selects columns."""

    pads = selects_columns = True

    def __call__(self, ids: Tensor, lengths: list[int], columns: Tensor | None = None) -> Tensor:  # type: ignore[override]
        assert max(lengths) == ids.shape[1]
        logits = super().__call__(ids)
        for row, length in enumerate(lengths):
            logits[row, length:] = 0.0
        return logits if columns is None else logits.gather(1, columns.unsqueeze(2).expand(-1, -1, 40))


@pytest.mark.parametrize("text", ["threshold", DRAWN, UNTIL], ids=named)
def test_rows_of_mixed_lengths_are_recorded_by_their_lengths(
    text: str, poll: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {
        "gen_length": [20, 3, 11, 20, 7, 16],
        "backend": "eager",
        "batch": 3,
        "stop_ids": 12,
    }
    policy = dsldec.load(text, **({"block": 8} if "\n" not in text else {}))
    wanted = dsldec.decode(Padded(7, 1.0), PROMPTS, policy, **how)
    recorder = recorded(monkeypatch)
    assert answers(dsldec.decode(Padded(7, 1.0), PROMPTS, policy, **how)) == answers(wanted)
    assert 2 < recorder.recordings < recorder.launches


def test_a_row_fails_alone_and_texts_with_gaps_are_filled(poll: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Counting):
        def __call__(self, ids: Tensor) -> Tensor:
            bad = (ids[:, 0] == 25) & ((ids != MASK).sum(1) > 9)
            return torch.where(bad.view(-1, 1, 1), float("nan"), super().__call__(ids))

    texts = [[1, MASK, MASK, 4, MASK, 9, 9, MASK], [25, *[2] * 9, MASK, MASK], [MASK] * 8]
    for prompts, how in ((PROMPTS, {"gen_length": 20}), (texts, {"infill": True})):
        wanted = dsldec.decode(Broken(7, 1.0), prompts, "threshold", backend="eager", batch=2, **how)
        with pytest.MonkeyPatch.context() as patch:
            recorder = recorded(patch)
            got = dsldec.decode(Broken(7, 1.0), prompts, "threshold", backend="eager", batch=2, **how)
        assert recorder.launches
        assert answers(got) == answers(wanted)
        assert [error.code for error in got.errors if error] == ["E0406"]


class Reads(Counting):
    def __call__(self, ids: Tensor) -> Tensor:
        assert int(ids.max()) == MASK
        return super().__call__(ids)


class Lists(Counting):
    def __call__(self, ids: Tensor) -> Tensor:
        return super().__call__(ids) + torch.tensor([0.0] * 40)


@pytest.mark.parametrize(("kind", "fails"), [(Counting, True), (Reads, False), (Lists, False)])
def test_without_a_recording_the_loop_goes_on(
    kind: type, fails: bool, poll: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    how: dict[str, Any] = {"gen_length": 20, "backend": "eager", "batch": 2}
    wanted = dsldec.decode(kind(7, 1.0), PROMPTS, "static", **how)
    recorder = recorded(monkeypatch, fails=fails)
    with caplog.at_level(logging.WARNING, "dsldec"):
        assert answers(dsldec.decode(kind(7, 1.0), PROMPTS, "static", **how)) == answers(wanted)
    assert recorder.launches == 0
    assert "no CUDA graph: the forward and the step cannot be recorded (" in caplog.text


def test_an_error_of_the_denoiser_stays_its_error(poll: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Counting):
        def __call__(self, ids: Tensor) -> Tensor:
            raise ValueError("it has a mistake")

    recorded(monkeypatch)
    with pytest.raises(dsldec.DecodingStopped, match="ValueError: it has a mistake"):
        dsldec.decode(Failing(7, 1.0), PROMPTS, "static", gen_length=8, backend="eager")


def test_a_placement_that_is_not_forgotten_shows(poll: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder of these tests repeats addresses: code that knows a tensor by its identity goes wrong."""
    how: dict[str, Any] = {"gen_length": 20, "backend": "eager", "batch": 2}
    policy = dsldec.load("threshold", block=5)
    wanted = dsldec.decode(Counting(7, 1.0), PROMPTS, policy, **how)
    monkeypatch.setattr(StepRunner, "forget", lambda runner: None)
    recorded(monkeypatch)
    with pytest.raises((AssertionError, dsldec.DecodingStopped)):
        assert answers(dsldec.decode(Counting(7, 1.0), PROMPTS, policy, **how)) == answers(wanted)


def test_buffers_take_new_values_only_and_views_of_each_other_in_any_order() -> None:
    a, b = torch.arange(3), torch.arange(3) + 10
    buffers = Buffers({"a": a, "b": b})
    held = dict(buffers.now)
    buffers.follow({"a": held["b"].view(3), "b": held["a"].view(3)})
    assert (held["a"].tolist(), held["b"].tolist()) == ([10, 11, 12], [0, 1, 2])
    buffers.fill({"a": a, "b": b})  # given before: unchanged, as far as is known
    assert held["a"].tolist() == [10, 11, 12]
    buffers.written(["a"])
    buffers.fill({"a": a, "b": b})
    assert (held["a"].tolist(), held["b"].tolist()) == ([0, 1, 2], [0, 1, 2])
    assert all(buffers.now[name] is held[name] for name in held)
    with torch.inference_mode():
        buffers.fill({"a": torch.ones(3, dtype=torch.int64), "b": b})
    assert held["a"].tolist() == [1, 1, 1]
    copy([], [])


def test_rounds_are_recorded_only_where_nothing_holds_an_older_state() -> None:
    class Rows:
        device = torch.device("cuda:1")

    def forward(cached: bool = False) -> Any:
        made = object.__new__(type("Cached", (decode_loop.Forward,), {}) if cached else decode_loop.Forward)
        made.rows = Rows()
        return made

    class Observer:
        wanted = False

    class Plain(Counting):
        captures = False

    def asked(denoiser: Any = Counting, drafts: int = 1, stops: Any = None, **how: Any) -> Any:
        observer = Observer()
        observer.wanted = how.pop("wanted", False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(captured_loop, "CudaRecorder", lambda device: ("recorder", str(device)))
            return captured_loop.recorder_for(denoiser(7, 1.0), forward(**how), drafts, observer, stops)  # type: ignore[arg-type]

    assert asked() == ("recorder", "cuda:1")
    assert asked(Plain) is asked(ToyDenoiser) is asked(drafts=2) is asked(stops=object()) is None
    assert asked(wanted=True) is asked(cached=True) is None


def test_a_model_of_transformers_is_recorded(poll: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lengths and its mask, and the hook on its head."""
    prompts = [[9, 17, 3], [25, 3, 8, 3], [7]]
    how: dict[str, Any] = {"gen_length": [8, 4, 6], "backend": "eager", "batch": 2}
    own = denoiser_of("qwen3", {"num_hidden_layers": 1}, mask=keys_mask)
    own.captures = True
    wanted = dsldec.decode(own, prompts, "threshold", **how)
    recorder = recorded(monkeypatch)
    assert answers(dsldec.decode(own, prompts, "threshold", **how)) == answers(wanted)
    assert recorder.launches > recorder.recordings > 1
