"""`dsldec bench`: the compared programs compute the same results, and the figures are printed as promised. No
time is asserted anywhere.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch

import dsldec
from dsldec.backends.vocabulary import observe
from dsldec.cli import main
from dsldec.tools import baselines, bench_batch, bench_loop, bench_report
from dsldec.tools.bench_cases import FLOAT64, READ, STATISTICS, BenchCase, CaseKey
from dsldec.tools.bench_step import StepOptions, bench_step
from dsldec.tools.rounds import Ratio, measured
from dsldec.tools.rule import Rule, reduction_results

from ..shipped import CORE

CPU = torch.device("cpu")
TINY = ["--shape", "2x8x500", "--backend", "eager", "--rounds", "2"]


def logits_of(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_baselines_see_what_a_step_sees() -> None:
    logits = logits_of(2, 8, 500)
    logits[..., 499] = -9  # MASK: published decoders do not know it, so it must not win
    seen = observe(logits, 499)
    assert baselines.one_read(logits).item() == logits.max().item()
    token, conf = baselines.float64_softmax(logits)
    token_of_topk, conf_of_topk, margin = baselines.softmax_topk(logits)
    token_of_entropy, conf_of_entropy, entropy = baselines.softmax_entropy(logits)
    for tokens in (token, token_of_topk, token_of_entropy):
        assert torch.equal(tokens, seen["token"])
    assert conf.dtype == torch.float64
    for confidences in (conf, conf_of_topk, conf_of_entropy):
        torch.testing.assert_close(confidences.float(), seen["conf"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(margin, seen["margin"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(entropy, seen["entropy"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CORE)
def test_a_rule_does_what_its_step_does_without_reading_logits(name: str) -> None:
    B, T, V = 2, 8, 500
    step = dsldec.load(name).compile("eager", mask_id=V - 1, eos_id=V - 2)
    state = step.start(B, T, vocab_size=V)
    inputs = (torch.full((B, T), V - 1), torch.ones(B, T, dtype=torch.bool), state)
    logits = logits_of(B, T, V)
    known = reduction_results(step.function, step, logits, *inputs)
    module = step.function
    rule = Rule(module.program, module.mask_id, module.eos_id, module.static)
    unread = torch.full_like(logits, float("nan"))
    for of_rule, of_step in zip(rule(unread, *inputs, known)[:2], step(logits, *inputs)[:2], strict=True):
        assert torch.equal(of_rule, of_step)
    after, expected = rule(unread, *inputs, known)[2], step(logits, *inputs)[2]
    assert after.keys() == expected.keys()
    for carried, value in expected.items():
        torch.testing.assert_close(after[carried], value, rtol=0, atol=0, equal_nan=True)


def test_rounds_time_every_call_and_compare_within_a_round() -> None:
    called: list[str] = []
    calls = {name: (lambda name=name: called.append(name)) for name in "abc"}
    told: list[str] = []
    seconds = measured(calls, 3, CPU, told.append, often="a")
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    assert all(time > 0 for times in seconds.values() for time in times)
    assert called.count("a") > called.count("b") == called.count("c")
    assert told == [
        *(f"preparing {n} of 3: {name}" for n, name in enumerate("abc", 1)),
        *(f"round {n} of 3" for n in (1, 2, 3)),
    ]


def test_a_ratio_is_of_times_of_one_round() -> None:
    assert Ratio.between([2, 40, 6], [1, 10, 2]) == Ratio(3, 2.5, 3.5)
    assert Ratio.between([3], [2]) == Ratio(1.5, 1.5, 1.5)
    with pytest.raises(ValueError, match="zip"):
        Ratio.between([1, 2], [1])


def test_a_run_prints_a_table_and_writes_json_and_a_plot(tmp_path, capsys) -> None:
    files = ["--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.svg")]
    assert (
        main(["bench", "step", *TINY, "--dtype", "float32", "--policy", "static", "--policy", "dico", *files])
        == 0
    )
    out, err = capsys.readouterr()
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert rows[0] == "| 2x8x500 float32 | eager | rule's share, eager |"
    assert [row.split(" | ")[0][2:] for row in rows[1:]] == [
        READ, FLOAT64, "softmax, topk(2)", "softmax, entropy", STATISTICS, "`static`", "`dico`",
    ]  # fmt: skip
    assert re.search(
        r"^\| `dico` \| [\d.e+]+ \([\d.e+]+ to [\d.e+]+\) \| [\d.e+]+ % \([\d.e+]+ to [\d.e+]+\) \|$",
        out,
        re.MULTILINE,
    )
    assert "no goals were measured" in out
    assert "round 2 of 2" in err
    results = json.loads((tmp_path / "out.json").read_text())
    assert (results["rounds"], results["goals"]) == (2, [])
    assert results["machine"]["device"] == "cpu"
    (case,) = results["cases"]
    assert (case["shape"], case["dtype"], len(case["timed"])) == ([2, 8, 500], "float32", 9)
    assert case["timed"][0]["reads"] == 1
    assert all(timed["reads"] > 0 and len(timed["seconds"]) == 2 for timed in case["timed"])
    drawn = "".join(ElementTree.parse(tmp_path / "out.svg").getroot().itertext())
    assert {"static", "dico", FLOAT64} <= set(drawn.splitlines())


def made_up(
    dtype: str = "float32", shape: tuple[int, int, int] = bench_report.GOAL_SHAPE, **seconds: float
) -> BenchCase:
    """One round: a read takes a second, `a` has one phase and needs conf alone, `b` has three."""
    times = {
        CaseKey(READ): 1, CaseKey(FLOAT64): 30, CaseKey(STATISTICS, "inductor"): seconds.get("statistics", 5),
        CaseKey("a", "inductor"): seconds.get("a", 4), CaseKey("a", "inductor", "rule"): seconds.get("a_rule", 0.08),
        CaseKey("b", "inductor"): 8, CaseKey("b", "inductor", "rule"): seconds.get("b_rule", 0.6),
    }  # fmt: skip
    return BenchCase(
        shape, dtype, {key: [float(time)] for key, time in times.items()}, {"a": 1, "b": 3}, frozenset({"a"})
    )


@pytest.mark.parametrize(
    ("case", "reached", "measured_"),
    [
        (made_up(), [True] * 4, [5, 0.02, 0.075, 7.5]),
        (made_up(statistics=7), [False, True, True, True], [7, 0.02, 0.075, 7.5]),
        (made_up("bfloat16", statistics=7), [True] * 4, [7, 0.02, 0.075, 7.5]),
        (made_up(a=6, a_rule=0.24, b_rule=1.2), [True, False, False, False], [5, 0.04, 0.15, 5]),
        (made_up(shape=(1, 2, 50)), [True] * 3, [0.02, 0.075, 7.5]),
    ],
)
def test_goals(case: BenchCase, reached: list[bool], measured_: list[float]) -> None:
    goals = bench_report.goals([case])
    assert [goal.reached for goal in goals] == reached
    assert [goal.measured for goal in goals] == pytest.approx(measured_)
    lines = list(bench_report.goal_lines(goals))[1:]
    assert [line.split()[0] for line in lines] == ["reached" if each else "missed" for each in reached]


def test_a_goal_is_told_with_what_was_measured() -> None:
    lines = list(bench_report.goal_lines(bench_report.goals([made_up(a_rule=0.24)])))
    name = "1x256x126464 float32"
    assert lines[1] == f"  reached  {name}: reads of the logits that `{STATISTICS}` takes: 5, aim <= 6"
    assert (
        lines[2]
        == f"  missed   {name}: share of the rule in a step of one phase (most: `a`): 6 %, aim <= 3 %"
    )
    assert lines[4].endswith("needs conf alone (least: `a`): 7.5, aim >= 6")


def test_baselines_have_a_place_where_no_backend_is_eager() -> None:
    rows = list(bench_report.table(made_up(), ["inductor"]))
    assert rows[0] == "| 1x256x126464 float32 | inductor | rule's share, inductor |"
    assert rows[3] == f"| {FLOAT64} | 30 (30 to 30) |  |"
    assert rows[-1] == "| `b` | 8 (8 to 8) | 7.5 % (7.5 to 7.5) |"


def test_the_plain_loop_is_what_static_does(capsys, tmp_path) -> None:
    file = tmp_path / "loop.json"
    options = [
        "--prompts",
        "1",
        "--gen-length",
        "6",
        "--rounds",
        "1",
        "--backend",
        "eager",
        "--json",
        str(file),
    ]
    assert main(["bench", "loop", *options]) == 0
    out = capsys.readouterr().out
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")][1:]
    assert [(row[0], row[1], row[3]) for row in rows[:2]] == [
        ("| plain loop", "eager", "6"),
        ("| `static`", "eager", "6"),
    ]
    assert "wrote the same ids" in out
    results = json.loads(file.read_text())
    assert [row["policy"] for row in results["timed"]] == ["plain loop", "static", "threshold"]
    assert results["timed"][0]["rate"] == 1
    assert all(row["rate"] > 0 for row in results["timed"])


@pytest.mark.slow
def test_many_prompts_are_answered_alike_however_they_share_rows(capsys, tmp_path) -> None:
    file = tmp_path / "batch.json"
    options = [
        "--prompts",
        "5",
        "--batch",
        "2",
        "--rounds",
        "1",
        "--set",
        "block=8",
        "--gen-length",
        "24",
        "--json",
        str(file),
    ]
    assert main(["bench", "batch", *options]) == 0
    timed = json.loads(file.read_text())["timed"]
    assert [row["way"] for row in timed] == [
        bench_batch.AFTER_EACH_OTHER, bench_batch.REFILLED, bench_batch.ALL_LOGITS,
        f"{bench_batch.REFILLED}, cache prefix", f"{bench_batch.REFILLED}, cache dual",
    ]  # fmt: skip
    assert [row["same"] for row in timed[:3]] == [1, 1, 1]
    assert len({row["rows"] for row in timed[:3]}) == 1
    assert timed[1]["calls"] == timed[2]["calls"] <= timed[0]["calls"] <= timed[0]["rows"]
    assert timed[0]["rate"] == 1
    assert "5 prompts of" in capsys.readouterr().out


def test_ways_that_disagree_are_not_compared() -> None:
    same, other = (bench_batch.BatchAnswers([[1, 2], [1, last]], 2, 2, 1.0) for last in (2, 3))
    names = (bench_batch.AFTER_EACH_OTHER, bench_batch.REFILLED, bench_batch.ALL_LOGITS)
    bench_batch.require_same(dict(zip(names, (same, same, same), strict=True)))
    with pytest.raises(AssertionError, match="1 answers of `waiting prompts take free rows` differ"):
        bench_batch.require_same(dict(zip(names, (same, other, same), strict=True)))


def test_loops_that_disagree_are_not_compared() -> None:
    plain, static = bench_loop.LoopKey(bench_loop.PLAIN), bench_loop.LoopKey("static", "eager")
    answers = bench_loop.LoopAnswers
    bench_loop.require_same({plain: answers([[1, 2]], 2), static: answers([[1, 2]], 2)})
    with pytest.raises(AssertionError, match="wrote other ids than `plain loop`"):
        bench_loop.require_same({plain: answers([[1, 2]], 2), static: answers([[1, 3]], 2)})
    with pytest.raises(AssertionError, match="took 1 forwards, `plain loop` 2"):
        bench_loop.require_same({plain: answers([[1, 2]], 2), static: answers([[1, 2]], 1)})


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "error[E0420]: `dsldec bench` needs a measurement, such as `step` or `loop`"),
        (["stpe"], 2, "did you mean `dsldec bench step`?"),
        (["xyz"], 2, "write `dsldec bench step`; the measurements are step, loop, batch, overhead"),
        (["step", "--shape", "1x32"], 2, "`--shape` is rows x positions x vocabulary, not `1x32`"),
        (["step", "--shape", "1x-3x500"], 2, "`--shape` is rows x positions x vocabulary"),
        (["step", "--shape", "0x4x500"], 2, "at least 1 row"),
        (["step", "--shape", "1x4x2"], 2, "8 ids"),
        (["step", "--shape", "99999x99999x99999", "--backend", "eager"], 2, "GiB of memory"),
        (["step", "--dtype", "float31"], 2, "did you mean `--dtype float32`?"),
        (["step", "--backend", "reference"], 2, "one of `eager`, `inductor`, `aot`"),
        (["loop", "--backend", "aot"], 2, "one of `eager`, `inductor`"),
        (["step", "--device", "gpu"], 2, "unknown value `gpu` for `--device`"),
        (["step", "--rounds", "0"], 2, "`--rounds` is at least 1, not `0`"),
        (["step", "--threads", "x"], 2, "`--threads` is a whole number"),
        (["step", "--plot", "bench.png"], 2, "`--plot bench.svg`"),
        (
            ["step", "--json", "no/such/folder/x.json"],
            2,
            "error[E0432]: `no/such/folder/x.json` cannot be written",
        ),
        (["step", "--policy", "treshold"], 1, "did you mean `threshold`?"),
        (["step", "static"], 2, "`dsldec bench step` takes no `static`"),
        (["loop", "--policy", "statc"], 1, "did you mean `static`?"),
        (["batch", "--policy", "statc"], 1, "did you mean `static`?"),
        (["batch", "--set", "blok=4"], 1, "did you mean `block`?"),
        (["loop", "--prompts", "0"], 2, "`--prompts` is at least 1"),
        (["loop", "--plot", "a.svg"], 2, "`dsldec bench loop` has no option `--plot`"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], status: int, says: str, capsys) -> None:
    assert main(["bench", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err


def test_a_gpu_that_is_not_there_and_a_compiler_that_is_not_there(monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "step", "--device", "cuda"]) == 2
    assert "`--device cuda` needs a GPU" in capsys.readouterr().err
    monkeypatch.setattr("dsldec.backends.toolchain.compiler", lambda: None)
    assert main(["bench", "step", "--backend", "inductor"]) == 2
    assert "error[E0404]: the backend `inductor` needs a C++ compiler" in capsys.readouterr().err
    assert (
        bench_step(StepOptions(shapes=((1, 4, 500),), dtypes=("float32",), policies=("static",), rounds=1))
        == 0
    )
    out, err = capsys.readouterr()
    assert "| 1x4x500 float32 | eager | rule's share, eager |" in out
    assert "left out: the backend `inductor`" in err


def test_help_and_wrong_usage_name_both(capsys) -> None:
    assert main(["bench", "--help"]) == 0
    assert "bench step|loop|batch" in capsys.readouterr().out
    for what in ("step", "loop"):
        assert main(["bench", what, "--help"]) == 0
        assert f"dsldec bench {what}" in capsys.readouterr().out
