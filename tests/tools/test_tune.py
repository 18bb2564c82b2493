"""Does `dsldec tune` find the best values, keep the floor, go on after an interrupt, and report honestly?"""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import dsldec
from dsldec.cli import main
from dsldec.diagnostics import PolicyError, UsageError
from dsldec.tools.evaluation.intervals import paired, wilson
from dsldec.tools.evaluation.problems import Problem
from dsldec.tools.measuring.prompt_split import split_of
from dsldec.tools.measuring.scores import Measurement, PromptScore
from dsldec.tools.prompts import Prompt
from dsldec.tools.tune.floor import AccuracyFloor, floor_of
from dsldec.tools.tune.held_out import FAILS, HOLDS, NOT_SHOWN, held_out_figures
from dsldec.tools.tune.proposals import FIRST_ROUND, ROUND, proposals
from dsldec.tools.tune.search import may_reach, parts_of
from dsldec.tools.tune.searched import ValueList, ValueRange, searched_parameters
from dsldec.tools.tune.trials import TriedSetting, best_of
from dsldec.tools.tune.tune_report import require_answers

from .test_run import START, VOCABULARY, Echo, control_c

pytest.importorskip("optuna")
pytest.importorskip("scipy")

HASTY, EASY = 0.75, (0.8, 0.85, 0.9, 0.95)
# The first position is sure. The second is wrong, with a confidence of 0.75, until the first is written. The
# next four are right at once, and become sure when the second is written. So the best threshold lies above
# 0.75 and up to 0.8: all easy positions are committed in the first step.
LETTERS = 2 + len(EASY)


def logit(confidence: float) -> float:
    """The logit of one id with this probability, where all others have the logit 0."""
    return math.log(confidence / (1 - confidence) * (VOCABULARY - 1))


class Hasty(Echo):
    """Answers a prompt of six letters with capitals, and wrongly if it writes the second one too early."""

    max_length, gen_length = 24, LETTERS

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[set[str]] = []  # the prompts of each call

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        self.calls.append(ids.shape)
        self.texts.append(set())
        if len(self.calls) in self.fails_at:
            self.fails_at[len(self.calls)]()
        logits = torch.zeros(*ids.shape, VOCABULARY)
        for row, canvas in enumerate(ids.tolist()):
            begin = canvas.index(START) + 1
            right = bytes(canvas[begin - 1 - LETTERS : begin - 1]).upper()
            self.texts[-1].add(right.decode().lower())
            hasty, waited = canvas[begin] == self.mask_id, canvas[begin + 1] == self.mask_id
            for place, letter in enumerate(right):
                confidence = (0.99, HASTY, *EASY)[place]
                if place == 1 and hasty:
                    letter = ord("?")
                elif (place == 1 and not hasty) or (place > 1 and not waited):
                    confidence = 0.99
                logits[row, begin + place, letter] = logit(confidence)
        return logits


@pytest.fixture
def model(monkeypatch, tmp_path) -> Hasty:
    denoiser = Hasty()
    monkeypatch.setattr(dsldec.models.huggingface, "from_pretrained", lambda *path, **how: denoiser)
    monkeypatch.chdir(tmp_path)
    words = [
        "abcdef",
        "bcdefg",
        "cdefgh",
        "defghi",
        "efghij",
        "fghijk",
        "ghijkl",
        "hijklm",
        "ijklmn",
        "jklmno",
    ]
    write_task(tmp_path / "task.jsonl", words)
    return denoiser


def write_task(file: Path, words: list[str]) -> None:
    file.write_text("".join(json.dumps({"prompt": one, "answer": one.upper()}) + "\n" for one in words))


def tune(
    *arguments: str, policy: str = "threshold", floor: str = "accuracy=0.9", task: str = "task.jsonl"
) -> int:
    given = ["--floor", floor, "--task", task, "--scorer", "exact", "--backend", "eager"]
    return main(["tune", policy, *given, *arguments])


def figures(name: str = "f.json") -> dict:
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def trials(folder: str) -> list[dict]:
    lines = [json.loads(line) for line in Path(folder, "study.jsonl").read_text().splitlines()]
    return [
        {name: line[name] for name in ("trial", "set", "prompts", "accuracy", "forwards")}
        for line in lines[1:]
    ]


CONFIDENCE = ("--set", "confidence=0.5..0.99")


def test_the_known_best_value_is_found_and_printed_to_be_pasted(model, capsys):
    assert tune(*CONFIDENCE, "--trials", "16", "--json", "f.json") == 0
    out, err = capsys.readouterr()
    found = figures()
    best = found["chosen"]["set"]["confidence"]
    assert HASTY < best <= EASY[0]
    assert found["chosen"]["forwards"] == 2
    assert (
        out.splitlines()[-1] == f"dsldec run --policy threshold --set confidence={best}" == found["command"]
    )
    assert found["held_out"]["accuracy"] == 1
    assert found["held_out"]["forwards"] == 2
    assert found["held_out"]["baseline_forwards"] == 3
    # Five right answers of five say little: the interval begins far below the floor.
    assert found["held_out"]["verdict"] == NOT_SHOWN
    assert "floor, held out: not shown" in out
    assert "16 trials on 5 calibration prompts" in err
    assert len(found["trials"]) == 16


def test_a_floor_of_the_baseline_is_relative_to_the_same_prompts(model):
    assert tune(*CONFIDENCE, "--trials", "8", "--json", "f.json", floor="accuracy=0.98x") == 0
    assert figures()["floor"] == {"text": "accuracy=0.98x", "accuracy": 0.98}
    Path("careful.policy").write_text(
        "policy careful():\n  window blocks(32)\n  commit top(masked, 1, by=-pos)\n"
    )
    given = ("--trials", "8", "--json", "f.json", "--baseline", "careful.policy")
    assert tune(*CONFIDENCE, *given, floor="accuracy=0.98x") == 0
    assert figures()["baseline"]["forwards"] == LETTERS == figures()["held_out"]["baseline_forwards"]


def test_a_floor_of_a_baseline_that_is_never_right_is_refused(model, capsys):
    Path("hasty.policy").write_text("policy hasty():\n  window blocks(32)\n  commit masked\n")
    given = ("--trials", "8", "--baseline", "hasty.policy")
    assert tune(*CONFIDENCE, *given, floor="accuracy=0.98x") == 1
    assert "error[E0536]: the baseline `hasty()` has no right answer" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_trials(model):
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert tune(*CONFIDENCE, "--trials", "16", "--out", folder, "--seed", seed) == 0
    assert trials("a") == trials("b")
    assert [one["set"] for one in trials("a")] != [one["set"] for one in trials("c")]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_interrupted_search_goes_on_as_if_it_had_not_stopped(share, model, capsys):
    assert tune(*CONFIDENCE, "--trials", "16", "--out", "whole") == 0
    whole = len(model.calls)
    model.fails_at = {whole + int(share * whole): control_c}
    assert tune(*CONFIDENCE, "--trials", "16", "--out", "cut") == 130
    err = capsys.readouterr().err
    assert "of 16 trials" in err
    assert "the same command goes on" in err
    assert tune(*CONFIDENCE, "--trials", "16", "--out", "cut") == 0
    assert trials("cut") == trials("whole")
    # Again: nothing is left to decode.
    calls = len(model.calls)
    assert tune(*CONFIDENCE, "--trials", "16", "--out", "cut", "--json", "f.json") == 0
    assert len(model.calls) == calls
    assert figures()["held_out"]["prompts"] == 5


def test_an_interrupted_search_prints_the_best_setting_so_far(model, capsys):
    assert tune(*CONFIDENCE, "--trials", "8", "--out", "study") == 0
    model.fails_at = {len(model.calls) + 1: control_c}
    capsys.readouterr()
    assert tune(*CONFIDENCE, "--trials", "16", "--out", "study") == 130
    out, err = capsys.readouterr()
    assert "8 trials of 16 are stored already" in err
    assert out.splitlines()[0].startswith("chosen: confidence=")
    assert out.splitlines()[-1].startswith("dsldec run --policy threshold --set confidence=")


def test_an_interrupted_report_keeps_the_search(model, capsys):
    assert tune(*CONFIDENCE, "--trials", "8", "--out", "whole") == 0
    model.fails_at = {2 * len(model.calls): control_c}
    capsys.readouterr()
    assert tune(*CONFIDENCE, "--trials", "8", "--out", "study") == 130
    out, err = capsys.readouterr()
    assert "interrupted: 8 of 8 trials" in err
    assert out.splitlines()[-1].startswith("dsldec run --policy threshold --set confidence=")
    assert trials("study") == trials("whole")


def test_without_a_folder_the_search_says_how_it_could_go_on(model, capsys):
    model.fails_at = {2: control_c}
    assert tune(*CONFIDENCE, "--trials", "8") == 130
    assert "with `--out FOLDER` a search can go on" in capsys.readouterr().err


WORDS_OF_TEST = ("uvwxyz", "tuvwxy", "stuvwx")


def test_the_test_split_is_scored_once_at_the_end(model, monkeypatch, capsys):
    """The prompts of both splits are made up here: the real test split stays unseen."""
    asked = []

    def problems_of(task: str, raw: bool, split: str | None = None) -> list[Problem]:
        asked.append((task, split))
        words = ["abcdef", "bcdefg", "cdefgh", "defghi"] if split is None else WORDS_OF_TEST
        return [Problem(Prompt(at, f"{split}-{at}", one), (one.upper(),)) for at, one in enumerate(words)]

    monkeypatch.setattr("dsldec.tools.tune.verb.problems_of", problems_of)
    assert tune(*CONFIDENCE, "--trials", "8", "--report", "test", "--json", "f.json", task="sudoku") == 0
    assert asked == [("sudoku", None), ("sudoku", "test")]
    assert figures()["calibration"] == 4
    assert (figures()["report"], figures()["held_out"]["prompts"]) == ("test", 3)
    assert "8 trials on 4 calibration prompts" in capsys.readouterr().err
    seen = [{text in WORDS_OF_TEST for text in texts} for texts in model.texts]
    first = seen.index({True})
    assert first >= 2
    assert seen == [{False}] * first + [{True}] * (len(seen) - first)


def test_a_limit_takes_the_first_prompts(model):
    given = ("--trials", "3", "--limit", "6", "--json", "f.json")
    assert tune(*CONFIDENCE, *given) == 0
    assert (figures()["calibration"], figures()["held_out"]["prompts"]) == (3, 3)


def test_more_trials_continue_a_study(model):
    assert tune(*CONFIDENCE, "--trials", "8", "--out", "study") == 0
    before = trials("study")
    assert tune(*CONFIDENCE, "--trials", "16", "--out", "study") == 0
    assert trials("study")[:8] == before
    assert len(trials("study")) == 16


@pytest.mark.parametrize("cut", [b"", b'{"trial": 9, "set": {"conf'])
def test_a_line_that_was_cut_off_is_forgotten(cut, model):
    assert tune(*CONFIDENCE, "--trials", "8", "--out", "study") == 0
    before, file = trials("study"), Path("study/study.jsonl")
    file.write_bytes(file.read_bytes() + cut)
    assert tune(*CONFIDENCE, "--trials", "8", "--out", "study") == 0
    assert trials("study") == before


@pytest.mark.parametrize(
    "line",
    [
        b'{"trial": 1, "set": {"confidence": 7}, "prompts": 5, "accuracy": 1, "forwards": 1, "seconds": 1, "cost": 1, "lacks": 0}',
        b'{"trial": 1, "set": {"block": 7}, "prompts": 5, "accuracy": 1, "forwards": 1, "seconds": 1, "cost": 1, "lacks": 0}',
        b'{"trial": 1, "set": {"confidence": 0.7}, "prompts": 5, "accuracy": NaN, "forwards": 1, "seconds": 1, "cost": 1, "lacks": 0}',
        b'{"trial": 2, "set": {"confidence": 0.7}, "prompts": 5, "accuracy": 1, "forwards": 1, "seconds": 1, "cost": 1, "lacks": 0}',
        b'["\\u001b[2J"]',
        b"[" * 10_000,
    ],
)
def test_a_line_of_another_program_is_refused(line, model, capsys):
    assert tune(*CONFIDENCE, "--trials", "2", "--out", "study") == 0
    file = Path("study/study.jsonl")
    head = file.read_bytes().split(b"\n")[0]
    file.write_bytes(head + b"\n" + line + b"\n\n")
    capsys.readouterr()
    assert tune(*CONFIDENCE, "--trials", "2", "--out", "study") == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E0434]: line 2 of `study/study.jsonl` is no line of a study")
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "confidence=0.6..0.99"), "`--search confidence=0.5..0.99`, and now"),
        ((*CONFIDENCE, "--seed", "3"), "--seed"),
        ((*CONFIDENCE, "--calibration", "4"), "--calibration"),
        ((*CONFIDENCE, "--minimise", "seconds"), "--minimise"),
        ((*CONFIDENCE, "--set", "block=16"), "--set block=32"),
    ],
)
def test_a_study_of_other_arguments_is_refused(arguments, says, model, capsys):
    assert tune(*CONFIDENCE, "--trials", "2", "--out", "study") == 0
    calls = len(model.calls)
    capsys.readouterr()
    assert tune(*arguments, "--trials", "2", "--out", "study") == 2
    err = capsys.readouterr().err
    assert err.startswith(
        "error[E0437]: `study/study.jsonl` is the study of another policy, model, task or option"
    )
    assert says in err
    assert len(model.calls) == calls


def test_where_no_setting_reaches_the_floor_it_says_so(model, capsys):
    assert tune("--set", "confidence=0.1..0.7", "--trials", "8", "--json", "f.json") == 1
    out, err = capsys.readouterr()
    assert "error[E0534]: none of 8 settings has an accuracy of 0.900" in err
    assert "dsldec run" not in out
    assert figures()["chosen"] is None
    assert figures()["held_out"] is None


def test_a_failing_model_ends_the_search_with_the_reason(model, capsys):
    def broken() -> None:
        raise RuntimeError("broken")

    model.fails_at = {1: broken}
    assert tune(*CONFIDENCE, "--trials", "8") == 1
    assert "broken" in capsys.readouterr().err


def test_a_list_of_few_values_is_tried_as_a_whole(model, capsys):
    assert (
        tune("--set", "tokens=1,2,3", "--static", "--trials", "8", "--json", "f.json", policy="static") == 0
    )
    assert [one["set"]["tokens"] for one in figures()["trials"]] == [1, 2, 3]
    assert "3 settings on 5 calibration prompts" in capsys.readouterr().err
    assert figures()["trials"][0]["accuracy"] == 1


def test_the_least_time_is_a_cost_too(model, capsys):
    assert tune(*CONFIDENCE, "--trials", "3", "--minimise", "seconds", "--json", "f.json") == 0
    assert "seconds/prompt" in capsys.readouterr().out
    found = figures()
    above = [one for one in found["trials"] if one["lacks"] <= 0]
    assert found["chosen"]["seconds"] == min(one["seconds"] for one in above) > 0


@pytest.mark.parametrize(
    ("arguments", "status", "code", "says"),
    [
        ((), 2, "E0531", "for example `--set confidence=0.5..0.99`"),
        (("--set", "confidence=0.8"), 2, "E0531", "no parameter is searched"),
        (("--set", "confidence"), 2, "E0424", "`--set confidence=0.5..0.99`"),
        (("--set", "confidence=0.99..0.5"), 2, "E0531", "does not go up"),
        (("--set", "confidence=0.5..2"), 1, "E0402", "probability"),
        (("--set", "confidence=a..b"), 2, "E0424", "a number"),
        (("--set", "confidence=0..1 log"), 2, "E0531", "no logarithm"),
        (("--set", "confidence=0..1 linear"), 2, "E0531", "is no range"),
        (("--set", "confidence=0.5,0.5"), 2, "E0531", "fewer than two values"),
        (("--set", "sure=0.5..0.9"), 1, "E0403", "has no parameter `sure`"),
        (("--set", "block=1..70000", "--static"), 1, "E0402", "1..65536"),
        (("--set", "block=1.5..7", "--static"), 2, "E0424", "a whole number"),
        (("--set", "block=8,16"), 2, "E0532", "add `--static`"),
        ((*CONFIDENCE, "--minimise", "rows"), 2, "E0422", "`forwards`, `seconds`"),
        ((*CONFIDENCE, "--calibration", "9"), 2, "E0533", "`--calibration 5`"),
        ((*CONFIDENCE, "--calibration", "1"), 2, "E0533", "too few"),
        ((*CONFIDENCE, "--report", "test"), 2, "E0423", "has no test split"),
        ((*CONFIDENCE, "--n", "2"), 2, "E0423", "leave it out"),
        ((*CONFIDENCE, "--out", "task.jsonl"), 2, "E0432", "folder"),
        ((*CONFIDENCE, "--json", "none/f.json"), 2, "E0432", "its folder does not exist"),
        ((*CONFIDENCE, "--baseline", "thresold"), 1, "E0401", "did you mean `threshold`?"),
        ((*CONFIDENCE, "--epochs", "3"), 2, "E0420", "--epochs"),
    ],
)  # fmt: skip
def test_wrong_usage_is_a_sentence_before_decoding(arguments, status, code, says, model, capsys):
    assert tune(*arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error[{code}]: " in err
    assert says in err
    assert "Traceback" not in err
    assert model.calls == []


@pytest.mark.parametrize(
    ("floor", "says"),
    [
        ("0.9", "is no floor"),
        ("accuracy", "is no floor"),
        ("accuracy=", "is no floor"),
        ("forwards=3", "not of `forwards`"),
        ("accuracy=95%", "`--floor accuracy=0.95`"),
        ("accuracy=1.2", "up to 1"),
        ("accuracy=1.2x", "a factor"),
        ("accuracy=0", "above 0"),
        ("accuracy=" + "9" * 400, "is no floor"),
    ],
)
def test_a_wrong_floor_is_a_sentence(floor, says, model, capsys):
    assert tune(*CONFIDENCE, floor=floor) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E0530]: ")
    assert says in err


def test_a_missing_floor_and_policy_have_an_example(capsys):
    assert main(["tune", "threshold"]) == 2
    assert (
        "`dsldec tune threshold --set confidence=0.5..0.99 --floor accuracy=0.98x`" in capsys.readouterr().err
    )
    assert main(["tune", "--floor", "accuracy=1x"]) == 2
    assert "dsldec tune threshold" in capsys.readouterr().err


def test_a_missing_package_gives_the_line_of_pip(model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert tune(*CONFIDENCE) == 2
    assert "error[E0535]: `optuna` is not installed" in (err := capsys.readouterr().err)
    assert '`pip install "dsldec[tune]"`' in err


def test_a_package_that_cannot_be_imported_says_why(model, monkeypatch, tmp_path, capsys):
    (tmp_path / "optuna.py").write_text("raise ImportError('libx.so\\x1b[31m: no such file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "optuna", raising=False)
    assert tune(*CONFIDENCE) == 2
    err = capsys.readouterr().err
    assert "error[E0535]: `optuna` cannot be imported: ImportError: libx.so" in err
    assert "pip install --force-reinstall optuna" in err
    assert "\x1b" not in err


def test_floors_are_read():
    assert floor_of("accuracy=0.98x") == AccuracyFloor(0.98, True)
    assert floor_of(" accuracy = .9 ") == AccuracyFloor(0.9, False)
    assert floor_of("accuracy=1") == AccuracyFloor(1.0, False)
    assert floor_of("accuracy=0.5x").accuracy(0.8) == 0.4


def test_values_of_a_range_stay_inside_and_have_few_digits():
    confidence = ValueRange("confidence", 0.5, 0.99, whole=False, log=False)
    calm = ValueRange("calm", 1e-5, 1.0, whole=False, log=True)
    seeds = ValueRange("seeds", 1, 16, whole=True, log=False)
    for at in range(1000):
        share = at / 1000
        assert 0.5 <= confidence.at(share) <= 0.99
        assert len(f"{confidence.at(share)}") <= 6
        assert 1e-5 <= calm.at(share) <= 1
        assert len(f"{calm.at(share):.10g}") <= 10
        assert type(seeds.at(share)) is int
    assert {seeds.at(at / 160) for at in range(160)} == {*range(1, 17)}
    assert calm.at(0.2) == pytest.approx(1e-4)
    assert seeds.rounded(16.9) == 16


def test_kinds_of_parameters_get_the_values_of_their_kind(tmp_path):
    text = (
        "policy p(n: int = 4 in 1..8, sure: prob = 0.9, fast: bool = false, order: conf | margin = conf):\n"
        "  window blocks(32)\n"
        "  score = conf if order == conf else margin\n"
        "  commit masked and (fast or conf > sure) at least n by score\n"
    )
    policy = dsldec.load(text)
    fixed, searched = searched_parameters(
        policy, ["n=2..8", "fast=true,false", "sure=.5..1 log", "order=conf,margin"], static=True
    )
    assert fixed.parameters == policy.parameters
    assert searched == [
        ValueRange("n", 2, 8, whole=True, log=False),
        ValueList("fast", (True, False)),
        ValueRange("sure", 0.5, 1.0, whole=False, log=True),
        ValueList("order", ("conf", "margin")),
    ]
    with pytest.raises(UsageError, match="E0532"):
        searched_parameters(policy, ["order=conf,margin"], static=False)
    with pytest.raises(UsageError, match="E0531"):
        searched_parameters(policy, ["fast=true..false"], static=True)


def tried(confidence: float, cost: float, lacks: float = 0.0, accuracy: float = 1.0) -> TriedSetting:
    return TriedSetting({"confidence": confidence}, 10, accuracy, cost, 0.1, cost, lacks)


def test_the_first_round_is_spread_and_begins_with_the_defaults():
    searched = [ValueRange("confidence", 0.5, 0.99, whole=False, log=False)]
    first = proposals(searched, [], {"confidence": 0.9}, seed=0, trials=24)
    assert first[0] == {"confidence": 0.9}
    assert len(first) == FIRST_ROUND
    values = sorted(one["confidence"] for one in first)
    assert max(after - before for before, after in pairwise(values)) < 0.2
    assert first == proposals(searched, [], {"confidence": 0.9}, seed=0, trials=24)
    assert proposals(searched, [], {"confidence": 0.1}, seed=0, trials=24)[0] != {"confidence": 0.1}


def test_later_rounds_are_new_settings_near_the_best_one_above_the_floor():
    searched = [ValueRange("confidence", 0.5, 0.99, whole=False, log=False)]
    known = [
        tried(0.5 + 0.03 * at, cost=10 * (0.5 + 0.03 * at), lacks=0.5 if at < 8 else 0.0) for at in range(16)
    ]
    new = proposals(searched, known, {"confidence": 0.9}, seed=0, trials=24)
    assert new == proposals(searched, known, {"confidence": 0.9}, seed=0, trials=24)
    assert len(new) == ROUND
    assert not {repr(one) for one in new} & {repr(one.setting) for one in known}
    near = [one for one in new if abs(one["confidence"] - 0.74) < 0.1]
    assert len(near) >= ROUND // 2
    assert proposals(searched, known, {"confidence": 0.9}, seed=0, trials=16) == []


def test_the_best_setting_is_the_cheapest_above_the_floor():
    assert best_of([]) is None
    assert best_of([tried(0.5, 1, lacks=0.1)]) is None
    good = tried(0.8, 2, accuracy=0.95)
    assert best_of([tried(0.9, 3), tried(0.5, 1, lacks=0.1), tried(0.7, 2, accuracy=0.9), good]) is good


def problem(number: int, text: str) -> Problem:
    return Problem(Prompt(number, number, text), ("a",))


def test_a_split_has_no_prompt_twice_and_keeps_its_seed():
    problems = [problem(number, f"prompt {number % 30}") for number in range(40)]
    split = split_of(problems, 20, seed=3)
    assert len(split.calibration) == 20
    texts = [{one.prompt.text for one in part} for part in (split.calibration, split.held_out)]
    assert not texts[0] & texts[1]
    assert split == split_of(problems, 20, seed=3)
    assert split.calibration != split_of(problems, 20, seed=4).calibration
    assert len(split_of(problems, None, seed=3).calibration) == 20
    test = [problem(100, "prompt 1"), problem(101, "new"), problem(102, "newer")]
    split = split_of(problems, None, seed=3, test=test)
    assert len(split.calibration) == 40
    assert [one.prompt.text for one in split.held_out] == ["new", "newer"]


def measurement(right: list[float]) -> Measurement:
    return Measurement("p", tuple(PromptScore(one, 3, 5) for one in right), 1.0)


def test_a_setting_is_dropped_only_when_the_floor_is_out_of_reach():
    assert may_reach(measurement([0] * 5 + [1] * 15), 0.9, 50)
    assert not may_reach(measurement([0] * 6 + [1] * 15), 0.9, 50)
    assert may_reach(measurement([1] * 49 + [0]), 0.98, 50)
    parts = parts_of([problem(at, "") for at in range(61)])
    assert [len(part) for part in parts] == [15, 15, 16, 15]
    assert len(parts_of([problem(at, "") for at in range(5)])) == 1


def test_a_hopeless_setting_decodes_a_part_of_the_prompts(model):
    write_task(
        Path("task.jsonl"),
        [chr(97 + at) + "bcdef" for at in range(26)] + [chr(97 + at) + "xyzab" for at in range(22)],
    )
    assert tune("--set", "confidence=0.5,0.9", "--calibration", "32", "--json", "f.json") == 0
    assert [(one["prompts"], one["accuracy"]) for one in figures()["trials"]] == [(8, 0), (32, 1)]


@pytest.mark.parametrize(
    ("wrong", "floor", "verdict"),
    [
        (0, AccuracyFloor(0.95, False), HOLDS),
        (2, AccuracyFloor(0.98, False), NOT_SHOWN),
        (40, AccuracyFloor(0.95, False), FAILS),
        (0, AccuracyFloor(0.98, True), HOLDS),
        (4, AccuracyFloor(0.98, True), NOT_SHOWN),
        (40, AccuracyFloor(0.98, True), FAILS),
    ],
)
def test_the_verdict_is_that_of_the_interval(wrong, floor, verdict):
    chosen, baseline = measurement([0] * wrong + [1] * (200 - wrong)), measurement([1] * 200)
    found = held_out_figures(chosen, baseline, floor)
    assert found.verdict == verdict
    assert found.interval == wilson(1 - wrong / 200, 200)
    assert found.above_interval[0] <= found.above <= found.above_interval[1]
    assert (found.difference, found.forwards) == (pytest.approx(-wrong / 200), 3)


def test_scores_between_0_and_1_are_resampled():
    chosen, baseline = measurement([0.5, 1] * 50), measurement([0.5, 0.75] * 50)
    found = held_out_figures(chosen, baseline, AccuracyFloor(0.98, True))
    assert found.p is None
    assert found.verdict == HOLDS


def test_a_scaled_interval_is_the_known_one_with_the_factor_1():
    assert paired(56, 9, 14, 2, 1.0) == paired(56, 9, 14, 2)
    low, high = paired(90, 2, 3, 5, 0.9)
    assert low < 0.92 - 0.9 * 0.93 < high
    # Without a baseline, it is the interval of a share.
    assert paired(90, 2, 3, 5, 0.0) == pytest.approx(wilson(0.92, 100))


def test_a_setting_with_a_prompt_without_an_answer_ends_the_search():
    failed = PromptScore(0.0, 0, 0, error="E0406: the logits are not finite")
    with pytest.raises(PolicyError, match="1 of 2 prompts have no answer under `static`: E0406") as wrong:
        require_answers([Measurement("static", (PromptScore(1.0, 3, 4), failed), 1.0)])
    assert [one.code for one in wrong.value.diagnostics] == ["E0537"]
