"""Does the measurer share batches without changing an answer, keep every result, and never mix settings?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import dsldec
from dsldec.diagnostics import UsageError
from dsldec.options import DecodeOptions
from dsldec.policy import Policy, load
from dsldec.runtime.request_parameters import values_beside
from dsldec.tools.evaluation.problems import Problem, of_embedded
from dsldec.tools.evaluation.scorers import ExactScorer, TaskScorer
from dsldec.tools.measuring.identity import identity_of, of_setting
from dsldec.tools.measuring.measurer import Measurer
from dsldec.tools.measuring.scores import Measurement, PromptScore
from dsldec.tools.prompts import Prompt

from ...shipped import CORE
from ..test_run import Echo, control_c, out_of_memory

# A dynamic parameter of each policy, and two of its values.
DYNAMIC = {
    "dico": ("keep_conf", (0.5, 0.9)),
    "diffusion_gemma": ("budget", (0.05, 0.4)),
    "entropy_bounded": ("gamma", (0.05, 0.4)),
    "factor": ("budget", (0.5, 2.0)),
    "frechet": ("delta", (0.1, 0.5)),
    "freedave": ("tokens", (1, 4)),
    "freedave_plus": ("confidence", (0.7, 0.9)),
    "info_gain": ("steps", (4, 8)),
    "klass": ("confidence", (0.5, 0.9)),
    "lopa": ("confidence", (0.7, 0.9)),
    "static": ("tokens", (2, 4)),
    "threshold": ("confidence", (0.7, 0.9)),
}


def problems(*texts: str) -> list[Problem]:
    return [Problem(Prompt(number, number, text), (text.upper(),)) for number, text in enumerate(texts)]


def measurer(denoiser, store: Path | None = None, /, *texts: str, **how) -> Measurer:
    given = problems(*(texts or ("a", "bc", "d", "efg")))
    return Measurer(
        denoiser, given, ExactScorer(), DecodeOptions(**how), None if store is None else str(store)
    )


def thresholds(*values: float) -> list[Policy]:
    return [load("threshold", confidence=value) for value in values]


def lines(folder: Path) -> dict[str, list[dict]]:
    return {path.name: [json.loads(line) for line in path.open()] for path in sorted(folder.iterdir())}


def without_time(found: list[Measurement]) -> list[list[PromptScore]]:
    return [[replace(score, seconds=0.0) for score in one.scores] for one in found]


@pytest.mark.parametrize("name", CORE)
def test_settings_in_one_batch_get_the_answers_of_each_alone(name):
    parameter, values = DYNAMIC[name]
    policies = [load(name, block=8, **{parameter: value}) for value in values]
    assert values_beside(*policies) == {parameter: values[1]}
    how = {"gen_length": 12, "batch": 4}
    together = measurer(Echo(), **how).measure(policies)
    alone = [measurer(Echo(), **how).measure([policy])[0] for policy in policies]
    assert without_time(together) == without_time(alone)
    assert [one.title for one in together] == [one.title for one in alone]
    assert all(one.seconds > 0 for one in together)


def test_dynamic_values_share_batches_and_static_ones_do_not():
    one, other = thresholds(0.5, 0.9)
    assert values_beside(one, other) == {"confidence": 0.9}
    assert values_beside(one, load("threshold", confidence=0.5, block=8)) is None
    assert values_beside(one, load("static")) is None
    together, alone = Echo(), Echo()
    measurer(together, batch=16).measure(thresholds(0.5, 0.7, 0.9))
    for value in (0.5, 0.7, 0.9):
        measurer(alone, batch=16).measure(thresholds(value))
    assert max(shape[0] for shape in together.calls) == 3 * max(shape[0] for shape in alone.calls)
    assert len(together.calls) < len(alone.calls)


@pytest.mark.slow
def test_settings_share_batches_of_the_embedded_model():
    policies, few = thresholds(0.6, 0.9), of_embedded("word_problems")[:3]
    how = {"gen_length": 24, "batch": 4}
    embedded, scorer = dsldec.from_pretrained(), TaskScorer("word_problems")
    together = Measurer(embedded, few, scorer, DecodeOptions(**how)).measure(policies)
    alone = [Measurer(embedded, few, scorer, DecodeOptions(**how)).measure([one])[0] for one in policies]
    assert without_time(together) == without_time(alone)


def test_the_bound_of_forwards_is_that_of_each_row():
    """With one token a step a row may take more forwards than with the tokens of the step's own policy."""
    found = measurer(Echo(), gen_length=16).measure([load("static", tokens=n) for n in (16, 1)])
    assert found[0].forwards == 1
    assert found[1].forwards > 1


def test_figures_are_means_over_prompts():
    (one,) = measurer(Echo(), None, "a", "bc").measure([load("static", tokens=4)])
    assert (one.accuracy, one.failed, one.ids) == (1.0, 0, (0, 1))
    forwards, tokens = (sum(getattr(score, name) for score in one.scores) for name in ("forwards", "tokens"))
    assert (one.forwards, one.tokens_per_forward) == (forwards / 2, tokens / forwards)
    assert tokens == 3
    assert one.tokens_per_second == pytest.approx(3 / one.seconds)


def test_more_settings_decode_only_the_new_ones(tmp_path):
    first, second = Echo(), Echo()
    found = measurer(first, tmp_path).measure(thresholds(0.5, 0.9))
    again = measurer(second, tmp_path).measure(thresholds(0.9, 0.5))
    assert second.calls == []
    assert without_time(again) == without_time(found[::-1])
    counts: list[tuple[int, int]] = []
    measurer(second, tmp_path).measure(thresholds(0.5, 0.7), lambda *count: counts.append(count))
    assert counts == [(4, 8), (5, 8), (6, 8), (7, 8), (8, 8)]
    assert [len(of) for of in lines(tmp_path).values()] == [5, 5, 5]


def test_more_prompts_decode_only_the_new_ones(tmp_path):
    denoiser = Echo()
    measurer(denoiser, tmp_path, "a", "bc").measure(thresholds(0.5))
    counts: list[tuple[int, int]] = []
    found = measurer(denoiser, tmp_path, "a", "bc", "d").measure(thresholds(0.5), lambda *c: counts.append(c))
    assert counts == [(2, 3), (3, 3)]
    assert found[0].ids == (0, 1, 2)


@pytest.mark.parametrize("change", ["option", "scorer", "weights", "prompt"])
def test_results_of_other_settings_are_never_used(change, tmp_path):
    measurer(Echo(), tmp_path).measure(thresholds(0.5))
    denoiser = Echo()
    other = {
        "option": lambda: measurer(denoiser, tmp_path, gen_length=8),
        "scorer": lambda: Measurer(denoiser, problems("a"), Renamed(), store=str(tmp_path)),
        "weights": lambda: measurer(denoiser, tmp_path),
        "prompt": lambda: measurer(denoiser, tmp_path, "b", "x", "y", "z"),
    }[change]
    if change == "weights":
        denoiser.weights = lambda: [torch.ones(3)]
    other().measure(thresholds(0.5))
    assert denoiser.calls


class Renamed(ExactScorer):
    name = "other"


def test_an_interruption_keeps_what_is_finished(tmp_path):
    denoiser = Echo()
    denoiser.fails_at[4] = control_c
    one = measurer(denoiser, tmp_path, batch=1)
    with pytest.raises(KeyboardInterrupt):
        one.measure(thresholds(0.0, 1.0))
    known = one.known(thresholds(0.0, 1.0))
    finished = sum(len(measured.scores) for measured in known)
    assert 0 < finished < 8
    counts: list[tuple[int, int]] = []
    measurer(Echo(), tmp_path).measure(thresholds(0.0, 1.0), lambda *count: counts.append(count))
    assert counts[0] == (finished, 8)


def test_a_failed_prompt_counts_as_wrong_and_is_tried_again(tmp_path):
    denoiser = Echo()
    denoiser.fails_at[2] = out_of_memory
    (one,) = measurer(denoiser, tmp_path, batch=1).measure(thresholds(0.0))
    assert (one.failed, one.accuracy) == (3, 0.25)
    assert "out of memory" in one.scores[1].error
    (again,) = measurer(Echo(), tmp_path).measure(thresholds(0.0))
    assert (again.failed, again.accuracy) == (0, 1.0)
    assert all("error" not in line for line in lines(tmp_path).popitem()[1])


def test_a_torn_line_is_removed_and_decoded_again(tmp_path, capsys):
    measurer(Echo(), tmp_path).measure(thresholds(0.5))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    denoiser = Echo()
    measurer(denoiser, tmp_path).measure(thresholds(0.5))
    assert denoiser.calls
    assert "cut off by a crash" in capsys.readouterr().err
    assert [line.get("prompt") for line in lines(tmp_path)[file.name]] == [
        json.loads(line).get("prompt") for line in whole.splitlines()
    ]
    file.write_bytes(whole[:30])  # within the first line
    assert measurer(Echo(), tmp_path).measure(thresholds(0.5))[0].accuracy == 1.0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"setting": {}}', "E0510"),
        ("no json", "E0510"),
        ('{"prompt": "x", "right": 2, "forwards": 1, "tokens": 1, "seconds": 1}', "E0511"),
        ('{"prompt": "x", "right": true, "forwards": 1, "tokens": 1, "seconds": 1}', "E0511"),
        ('{"prompt": "x", "right": 1, "forwards": -1, "tokens": 1, "seconds": 1}', "E0511"),
        ('{"prompt": "x", "right": 1, "forwards": 1, "tokens": 1, "seconds": NaN}', "E0511"),
        ("[]", "E0511"),
    ],
)
def test_a_foreign_file_is_refused(line, code, tmp_path):
    measurer(Echo(), tmp_path).measure(thresholds(0.5))
    (file,) = tmp_path.iterdir()
    header, *_ = file.read_text().splitlines()
    file.write_text(f"{line}\n" if code == "E0510" else f"{header}\n{line}\n")
    before = file.read_bytes()
    with pytest.raises(UsageError) as caught:
        measurer(Echo(), tmp_path).measure(thresholds(0.5))
    assert caught.value.diagnostic.code == code
    assert file.read_bytes() == before


def test_wrong_use_is_said(tmp_path):
    with pytest.raises(UsageError, match="one sample a prompt"):
        measurer(Echo(), n=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        measurer(Echo(), tmp_path / "file").measure(thresholds(0.5))


class Slow(ExactScorer):
    """Scores in a thread, as a scorer that starts a process."""

    name, slow = "slow", True


def test_a_slow_scorer_scores_beside_the_decoding(tmp_path):
    denoiser, given = Echo(), problems("a", "bc", "d")
    (one,) = Measurer(denoiser, given, Slow(), store=str(tmp_path)).measure(thresholds(0.5))
    assert (one.accuracy, one.ids) == (1.0, (0, 1, 2))
    assert len(lines(tmp_path).popitem()[1]) == 4
    denoiser = Echo()
    denoiser.fails_at[3] = control_c
    interrupted = Measurer(denoiser, given, Slow(), DecodeOptions(batch=1, gen_length=8), str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        interrupted.measure([load("static", tokens=8)])
    assert len(interrupted.known([load("static", tokens=8)])[0].scores) <= 2
    Measurer(Echo(), given, Slow(), DecodeOptions(gen_length=8), str(tmp_path)).measure(
        [load("static", tokens=8)]
    )
    assert [len(of) for of in lines(tmp_path).values()] == [4, 4]


WINDOW = "policy found():\n  window {}\n  commit top(masked, 1, by=conf)\n"
DRAFTED = (
    "policy found():\n  window blocks(8)\n  lookahead {} accept exact\n  commit top(masked, 1, by=conf)\n"
)
GUIDED = (
    "policy found(a: real = 0.5, b: real = 1.5):\n  window blocks(8)\n  logits cfg({})\n  commit masked\n"
)


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        (WINDOW, "blocks(2)", "blocks(4)"),
        (WINDOW, "all", "blocks(300)"),
        (WINDOW, "sliding(max_masks=4, max_length=8)", "sliding(max_masks=4, max_length=9)"),
        (DRAFTED, "2", "4"),
        (GUIDED, "a", "b"),
    ],
)
def test_a_number_beside_the_step_is_another_setting(text, one, other):
    policies = [load(text.format(value)) for value in (one, other)]
    assert values_beside(*policies) is None
    assert of_setting(policies[0], {}) != of_setting(policies[1], {})


def test_drafts_are_not_mixed_with_their_forwards(tmp_path):
    alone = measurer(Echo(), tmp_path).measure([load("static")])
    drafted = measurer(Echo(), tmp_path, lookahead=4).measure([load("static")])
    assert drafted[0].forwards < alone[0].forwards


@pytest.mark.parametrize("what", ["version", "never", "template"])
def test_the_identity_has_what_else_changes_answers(what, monkeypatch):
    denoiser = Echo()
    before = identity_of(denoiser, DecodeOptions(), "exact")
    if what == "version":
        monkeypatch.setattr("dsldec.tools.measuring.identity.version", lambda: "9.9.9")
    elif what == "never":
        denoiser.never = torch.tensor([7])
    else:
        denoiser.reader, denoiser.raw = SimpleNamespace(chat_template="{{ messages }}"), False
    assert identity_of(denoiser, DecodeOptions(), "exact") != before
