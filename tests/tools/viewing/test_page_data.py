"""The data of a page: places in units of JavaScript, texts without control codes, few bytes.

Not here: the page in a browser (`tests/browser`).
"""

from __future__ import annotations

import base64
import gzip
import json
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.explained.why import Why, WhyLine
from dsldec.source import Source, Span
from dsldec.tools.viewing.page import packed, page_of
from dsldec.tools.viewing.page_data import ViewedRun, page_data
from dsldec.tools.viewing.shown_text import ShownText, shown_token
from dsldec.tools.viewing.step_data import shown_number
from dsldec.tools.viewing.why_data import WhyTable
from dsldec.trajectory import Trajectory

from ...toy import ToyDenoiser

MEGABYTE = 1_000_000


def decoded(policy: str, length: int = 16, **settings: object) -> Trajectory:
    chosen = dsldec.load(policy, **settings)
    run = dsldec.decode(
        ToyDenoiser(3, 2.0), [[1, 2]], chosen, gen_length=length, trace="values", stop_at_eos=False
    )
    trajectory = run.trajectories[0]
    assert trajectory is not None
    return trajectory


@pytest.mark.parametrize(
    ("text", "shown", "place", "unit"),
    [
        ("abc", "abc", 2, 2),
        ("# 😀 é\nx", "# 😀 é\nx", 3, 4),  # the emoji has two units
        ("a\r\nb", "a\nb", 3, 2),
        ("a\u202eb", "a\\u202eb", 2, 7),
        ("a\x1bb", "a\\x1bb", 3, 6),
    ],
)
def test_places_count_units_of_the_shown_text(text: str, shown: str, place: int, unit: int) -> None:
    made = ShownText.of(text)
    assert (made.text, made.place(place)) == (shown, unit)
    assert made.place(len(text) + 9) == len(shown.encode("utf-16-le")) // 2


def test_a_token_is_on_one_line_and_short() -> None:
    assert shown_token("a\nb\t") == "a↵b⇥"
    assert shown_token("\x00\u2066\ud800") == "\\x00\\u2066\\ud800"
    assert len(shown_token("x" * 10_000)) == 120


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.123456, 0.123),
        (float("nan"), None),
        (float("-inf"), "-∞"),
        (12345.0, 12300.0),
        (True, True),
        (12345, 12345),
    ],
)
def test_numbers_are_rounded_and_json(value: float, shown: object) -> None:
    assert shown_number(value) == shown
    json.dumps(shown_number(value), allow_nan=False)


def test_explanations_of_the_same_form_share_it() -> None:
    source = Source("commit masked and {x} > 1")
    table = WhyTable(ShownText.of(source.text))
    line = WhyLine(0, "conf {} in {{x}}", ("0.5",), True, Span(source, 0, 6))
    first = table.add(Why(3, 1, "draft", "committed", (line,)))
    again = table.add(Why(4, 2, "draft", "committed", (replace(line, arguments=("0.6",)),)))
    same = table.add(Why(5, 9, "draft", "committed", (line,)))
    data = table.data()
    assert (first, again, same) == (0, 1, 0)
    assert data["cells"] == [[0, "0.5"], [0, "0.6"]]
    assert data["spans"] == [[0, 6]]
    line_data = [0, "conf {} in {{x}}", True, False, 0]
    assert data["forms"] == [["position {}, step {}, phase draft: committed", "committed", [line_data]]]


def test_the_data_is_in_the_page_as_compressed_json() -> None:
    run = ViewedRun("threshold", decoded("threshold"))
    data = page_data([run])
    text = gzip.decompress(base64.b64decode(packed(data)))
    assert json.loads(text) == json.loads(json.dumps(data))
    assert packed(data) in page_of([run])


def test_the_first_difference_is_a_step_and_its_positions() -> None:
    one, other = decoded("threshold"), decoded("static")
    data = page_data([ViewedRun("a", one), ViewedRun("b", other)])
    step, places = data["difference"]
    assert all(dict(one.steps[at].ids) == dict(other.steps[at].ids) for at in range(step))
    assert places == sorted(
        at for at in range(16) if one.steps[step].ids.get(at) != other.steps[step].ids.get(at)
    )
    same = page_data([ViewedRun("a", one), ViewedRun("b", one)])
    assert (same["difference"], same["samePrompt"]) == (None, True)
    longer = replace(one, steps=one.steps[:-1], prompt_ids=[9])
    assert page_data([ViewedRun("a", one), ViewedRun("b", longer)])["samePrompt"] is False


def test_a_page_has_one_run_or_two() -> None:
    with pytest.raises(ValueError, match="one or two runs, not 0"):
        page_data([])


def test_a_long_trace_explains_its_changes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = decoded("threshold")
    monkeypatch.setattr("dsldec.tools.viewing.step_data.MOST_EXPLAINED", trace.length)
    data = page_data([ViewedRun("long", trace)])["runs"][0]
    assert data["allExplained"] is False
    for step, shown in zip(trace.steps, data["steps"], strict=True):
        assert [at for at, _ in shown["someWhys"]] == sorted(step.ids)


def test_a_trace_that_no_browser_can_draw_is_refused() -> None:
    trace = replace(decoded("threshold"), length=2**22, steps=[])
    with pytest.raises(dsldec.UsageError, match="has 4194304 positions, and a page shows at most 16384"):
        page_data([ViewedRun("huge", trace)])


class RandomLogits:
    """Other logits in each forward: the values of a page compress badly."""

    mask_id, vocab_size = 1999, 2000

    def __init__(self) -> None:
        self.forwards = 0

    def __call__(self, ids: Tensor) -> Tensor:
        self.forwards += 1
        generator = torch.Generator().manual_seed(self.forwards)
        return 3 * torch.randn(*ids.shape, self.vocab_size, generator=generator)


@pytest.mark.parametrize("length", [64, pytest.param(256, marks=pytest.mark.slow)])
def test_a_page_of_256_positions_and_128_steps_is_small_and_quick(length: int) -> None:
    policy = dsldec.load("static", tokens=2, block=length)
    run = dsldec.decode(
        RandomLogits(), [[1, 2]], policy, gen_length=length, trace="values", stop_at_eos=False
    )
    trajectory = run.trajectories[0]
    assert trajectory is not None
    assert len(trajectory.steps) == length // 2
    start = time.process_time()
    size = len(page_of([ViewedRun("static", trajectory)]))
    share = (length / 256) ** 2  # of the positions of all steps; the assets of the page are 0.1 MB
    assert size < 1.9 * MEGABYTE * share + 0.1 * MEGABYTE
    assert time.process_time() - start < 10
