"""Does the newest request of each page win, and does a slider compile nothing?

Not here: the requests over HTTP (`test_play_server`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dsldec import backends
from dsldec.models.denoiser import Denoiser
from dsldec.tools.playing import decode_queue, held_out_run, watched_decode
from dsldec.tools.playing.decode_queue import DecodeQueue
from dsldec.tools.playing.held_out_run import HeldOutRun
from dsldec.tools.playing.play_requests import DecodeRequest
from dsldec.tools.playing.policy_controls import bound_to, policy_controls
from dsldec.tools.playing.watched_decode import PolicyTexts, WatchedDecode

from .conftest import PROMPT, TEXT

SLOW = "policy slow():\n  window all\n  commit top(masked, 1, by=conf)\n"


@pytest.fixture
def queue(embedded: Denoiser) -> Iterator[DecodeQueue]:
    made = DecodeQueue(embedded, PolicyTexts())
    yield made
    made.close()
    assert not made._thread.is_alive()


def wait_until(holds: Callable[[], Any]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in 30 seconds")


def test_a_slider_compiles_nothing(embedded: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = backends.make
    monkeypatch.setattr(
        backends,
        "make",
        lambda program, backend, *more: made.append(backend) or make(program, backend, *more),
    )
    monkeypatch.setattr("torch.compile", lambda *_, **__: pytest.fail("torch.compile is called"))
    policies = PolicyTexts()
    forwards = []
    for confidence in (0.2, 0.8, 0.99):
        request = DecodeRequest("a", TEXT, PROMPT, {"confidence": confidence}, gen_length=24)
        result = WatchedDecode(embedded, request, lambda: False).result(policies.bound(request))
        forwards.append(result["forwards"])
        assert len(policies.policy(TEXT)._functions) == 1
    assert made == ["eager"]
    assert forwards == sorted(forwards)
    assert forwards[0] < forwards[-1]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Each decode waits after its first step until the event is set."""
    go, step = threading.Event(), WatchedDecode._step
    monkeypatch.setattr(WatchedDecode, "_step", lambda self, event: (step(self, event), go.wait(30))[0])
    yield go
    go.set()


def asked(queue: DecodeQueue, request: DecodeRequest) -> tuple[threading.Thread, list[dict[str, Any]]]:
    """Asks in a thread, and waits until the queue has the request."""
    results: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: results.append(queue.decoded(request)))
    thread.start()
    wait_until(lambda: (job := queue._newest.get(request.tab)) is not None and job.request is request)
    return thread, results


def test_a_newer_request_replaces_the_older_ones_of_its_page(
    queue: DecodeQueue, gate: threading.Event
) -> None:
    requests = [DecodeRequest(tab, SLOW, PROMPT, gen_length=8) for tab in ("a", "a", "a", "b")]
    first = asked(queue, requests[0])
    wait_until(lambda: queue.state("a")["progress"])  # it runs
    others = [asked(queue, request) for request in requests[1:]]
    gate.set()
    for thread, _ in (first, *others):
        thread.join(30)
    statuses = [results[0]["status"] for _, results in (first, *others)]
    assert statuses == ["replaced", "replaced", "done", "done"]


def test_a_decode_says_how_far_it_is_and_stops(queue: DecodeQueue, gate: threading.Event) -> None:
    running, result = asked(queue, DecodeRequest("a", SLOW, PROMPT, gen_length=8))
    wait_until(lambda: queue.state("a")["progress"])
    assert queue.state("a")["progress"] == {"step": 1, "written": 1, "length": 8}
    waiting, other = asked(queue, DecodeRequest("b", SLOW, PROMPT, gen_length=8))
    for tab in "abc":  # one that runs, one that waits, one that nobody knows
        queue.stop(tab)
    gate.set()
    for thread in (running, waiting):
        thread.join(30)
    assert (result[0]["status"], other[0]["status"]) == ("stopped", "stopped")
    assert result[0]["diagnostics"] == []
    assert 1 <= result[0]["tokens"] <= 2
    assert queue.decoded(DecodeRequest("a", SLOW, PROMPT, gen_length=8))["status"] == "done"  # the next one


def test_another_prompt_keeps_the_figures(queue: DecodeQueue) -> None:
    runs = []
    for prompt, values in ((PROMPT, {}), ("2 + 2", {}), (PROMPT, {"confidence": 0.5})):
        queue.decoded(DecodeRequest("a", TEXT, prompt, values, gen_length=8))
        runs.append(queue._runs["a"])
    assert runs[0] is runs[1]
    assert runs[1] is not runs[2]


def test_an_older_request_that_arrives_later_is_replaced(queue: DecodeQueue) -> None:
    assert queue.decoded(DecodeRequest("a", TEXT, PROMPT, number=2))["status"] == "done"
    assert queue.decoded(DecodeRequest("a", TEXT, PROMPT, number=1)) == {"status": "replaced"}
    assert queue.decoded(DecodeRequest("b", "wrong", PROMPT, number=1))["status"] == "failed"


def test_the_state_says_which_page_is_decoded(queue: DecodeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    result = WatchedDecode.result
    monkeypatch.setattr(WatchedDecode, "result", lambda self, policy: go.wait(30) and result(self, policy))
    thread = threading.Thread(target=queue.decoded, args=(DecodeRequest("a", TEXT, PROMPT),))
    thread.start()
    wait_until(lambda: queue.state("a")["decoding"])
    assert queue.state("a") == {"decoding": "this", "progress": None, "held_out": None}
    assert queue.state("b") == {"decoding": "other", "progress": None, "held_out": None}
    go.set()
    thread.join(30)
    wait_until(lambda: queue.state("a")["decoding"] == "")


def test_a_pinned_run_is_beside_the_next_ones_of_its_prompt(queue: DecodeQueue) -> None:
    def titles(prompt: str, **values: float) -> list[str]:
        page = queue.decoded(DecodeRequest("a", TEXT, prompt, values, gen_length=8))["page"]
        return [run["title"] for run in page["runs"]]

    assert not queue.pin("a", True)  # nothing is decoded
    assert titles(PROMPT) == ["mine"]
    assert queue.pin("a", True)
    assert not queue.pin("b", True)
    assert titles(PROMPT, confidence=0.5) == ["mine (pinned)", "mine"]
    assert titles("2 + 2") == ["mine"]
    assert not queue.pin("a", False)
    assert titles(PROMPT) == ["mine"]


@pytest.mark.slow
def test_held_out_prompts_are_counted_and_cancelled(queue: DecodeQueue) -> None:
    request = DecodeRequest("a", TEXT, PROMPT)
    queue.decoded(request)
    seen = set()

    def ended() -> bool:
        figures = queue.state("a")["held_out"]
        seen.add(figures["answered"])
        return bool(figures["ended"])

    wait_until(ended)
    figures = queue.state("a")["held_out"]
    assert figures["answered"] == figures["prompts"] == 20
    assert len(seen) > 2  # partial counts
    assert figures["right"] > 10
    assert 1 < figures["forwards"] < 48
    queue.decoded(DecodeRequest("a", SLOW, PROMPT, gen_length=1))
    wait_until(lambda: queue.state("a")["held_out"])
    assert queue.state("a")["held_out"]["answered"] < 20  # of the new policy


def test_a_page_that_asks_for_no_figures_costs_nothing(
    queue: DecodeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_queue, "SECONDS_OF_INTEREST", 0.1)
    begun, ended, advance = threading.Event(), threading.Event(), HeldOutRun.advance

    def advanced(run: HeldOutRun, interrupted: Callable[[], bool]) -> None:
        begun.set()
        advance(run, interrupted)
        ended.set()

    monkeypatch.setattr(HeldOutRun, "advance", advanced)
    queue.decoded(DecodeRequest("a", TEXT, PROMPT, gen_length=8))
    assert not begun.is_set()
    assert queue.state("a")["held_out"]  # the only question
    assert begun.wait(30)
    assert ended.wait(30)
    assert queue._runs["a"].figures()["answered"] < 20
    assert queue._unfinished() is None


def test_a_run_that_is_interrupted_keeps_its_answers(
    embedded: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out_run, "PROMPTS", 5)
    monkeypatch.setattr(held_out_run, "BATCH", 2)
    run = HeldOutRun(embedded, PolicyTexts().policy(TEXT), 0)
    calls = iter(range(10**6))
    run.advance(lambda: next(calls) > 40)
    first = run.figures()["answered"]
    assert 0 < first < 5
    run.advance(lambda: False)
    assert run.figures()["answered"] == 5


@pytest.mark.parametrize(("name", "value"), [("MOST_STEPS", 5), ("MOST_SECONDS", -1.0)])
def test_a_long_decode_is_stopped_and_keeps_its_text(
    queue: DecodeQueue, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    monkeypatch.setattr(watched_decode, name, value)
    result = queue.decoded(DecodeRequest("a", SLOW, PROMPT))
    assert result["status"] == "stopped"
    assert result["diagnostics"][0].code == "E0576"
    assert result["tokens"] >= 1


def test_many_pages_are_forgotten(queue: DecodeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_queue, "MOST_TABS", 2)
    for tab in "abcd":
        queue.decoded(DecodeRequest(tab, "wrong", PROMPT))
    assert list(queue._newest) == ["c", "d"]


def test_a_mistake_of_dsldec_is_a_sentence(queue: DecodeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("secret path /x")

    monkeypatch.setattr(WatchedDecode, "result", fails)
    (wrong,) = queue.decoded(DecodeRequest("a", TEXT, PROMPT))["diagnostics"]
    assert wrong.code == "E0579"
    assert "secret" not in str(wrong)


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("a: prob = 0.5", {"control": "slider", "from": 0.0, "to": 1.0, "step": 0.01}),
        ("a: real = 2.0", {"control": "slider", "from": 0.0, "to": 8.0}),
        ("a: real = -1.0", {"control": "slider", "from": -2.0, "to": 1.0}),
        ("a: int = 3 in 1..65536", {"control": "slider", "least": 1, "most": 65536, "from": 1, "to": 64}),
        ("a: int = 3 in 1..8", {"control": "slider", "from": 1, "to": 8, "step": 1.0}),
        ("a: bool = true", {"control": "checkbox", "value": True}),
        ("a: x | y = x", {"control": "select", "choices": ["x", "y"], "value": "x", "static": True}),
        ("a: table by step = 0.5", {"control": "text", "value": "0.5"}),
        ("a: network", {"control": "none"}),
    ],
)
def test_each_kind_of_parameter_has_a_control(parameter: str, expected: dict[str, Any]) -> None:
    use = {
        "table": "conf > of(a, steps_in_window)",
        "bool": "a and conf > 0.5",
        "x | y": "a == x and conf > 0.5",
        "network": "learned(a, conf) > 0",
    }
    condition = next((text for kind, text in use.items() if kind in parameter), "conf > a")
    text = f"policy p({parameter}):\n  window all\n  commit masked and {condition} at least 1 by conf\n"
    (control,) = policy_controls(PolicyTexts().policy(text))
    assert {name: control[name] for name in expected} == expected


def test_a_network_and_a_file_are_no_values() -> None:
    policies = PolicyTexts()
    text = (
        "policy p(n: network):\n  window all\n  commit masked and learned(n, conf) > 0 at least 1 by conf\n"
    )
    with pytest.raises(watched_decode.UsageError, match="reads no files"):
        bound_to(policies.policy(text), {"n": "/etc/passwd"})


def test_a_pattern_without_a_value_gets_a_sentence() -> None:
    text = "policy p(shape: pattern):\n  window all\n  logits constrain(shape)\n  commit top(masked, 1, by=conf)\n"
    policy = PolicyTexts().policy(text)
    with pytest.raises(watched_decode.UsageError, match="is a pattern, and has no value"):
        bound_to(policy, {"shape": ""})
    assert bound_to(policy, {"shape": "[0-9]+"}).parameters["shape"] == "[0-9]+"
    assert (
        bound_to(policy, {"shape": "@/etc/passwd"}).parameters["shape"] == "@/etc/passwd"
    )  # a text, no file


def test_a_table_is_numbers_with_commas() -> None:
    condition = "conf > of(a, steps_in_window)"
    text = f"policy p(a: table by step = 0.5):\n  window all\n  commit masked and {condition} at least 1 by conf\n"
    policy = PolicyTexts().policy(text)
    assert bound_to(policy, {"a": "0.9, 0.5"}).parameters["a"] == (0.9, 0.5)
    with pytest.raises(watched_decode.UsageError, match="numbers with commas"):
        bound_to(policy, {"a": "@/etc/passwd"})
