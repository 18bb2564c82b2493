"""Does `dsldec compare` print a case that holds, say what it tried, and name the mistakes of its user?"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

import dsldec
from dsldec.backends.reference_vocabulary import PlainLogitsView
from dsldec.cli import main
from dsldec.diagnostics import Diagnostic, UsageError
from dsldec.source import Source
from dsldec.tools.cases import read_cases
from dsldec.tools.comparing import verb
from dsldec.tools.comparing.edges import edges_of
from dsldec.tools.comparing.observations import observe
from dsldec.tools.comparing.observed_step import ModelIds, ObservedRows
from dsldec.tools.comparing.on_paper import as_written, shortest
from dsldec.tools.comparing.proposals import MANNERS, Proposer
from dsldec.tools.comparing.search import SearchLimits, search
from dsldec.tools.comparing.trial import ComparedPair, Trial, play
from dsldec.tools.verdict import outcome_of

from .compare_pairs import MOVED_SUM, policy_of

OBSERVATIONS = ("conf", "doubt", "margin", "logit_margin", "entropy", "kl", "js", "token", "likeliest")


def compare(capsys, *arguments: str) -> tuple[int, str, str]:
    """The exit status of `dsldec compare`, its output and its messages."""
    status = main(["compare", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def cases_of(output: str) -> list[str]:
    """The text of each case in the output."""
    return ["case " + part for part in re.split(r"^case ", output, flags=re.MULTILINE)[1:]]


def codes(text: str, policy: dsldec.Policy) -> list[str]:
    cases, wrong = read_cases(Source(text, "shown.cases"))
    assert (len(cases), wrong) == (1, [])
    return [one.code for one in outcome_of(cases[0], policy, "shown.cases").diagnostics]


# --- a difference


def test_the_smallest_case_is_printed_for_both(capsys):
    status, out, err = compare(capsys, "threshold", "dinfer_threshold")
    assert (status, err) == (1, "")
    mine, others = cases_of(out)
    assert mine.splitlines()[1].split() == ["conf", ".8", ".8"]
    assert "commit       0          # dinfer_threshold: commits 0 1, ends" in mine
    a, b = dsldec.load("threshold"), policy_of(("dinfer_threshold", ()))
    assert (codes(mine, a), codes(others, b)) == ([], [])
    assert {*codes(mine, b), *codes(others, a)} == {"E0446"}


def test_every_line_of_the_output_belongs_into_a_file_of_cases_and_is_on_the_page(capsys):
    _, out, _ = compare(capsys, "klass", "klass", "--set-a", "patience=1")
    page = Path(__file__).parents[2] / "docs" / "compare.md"
    assert f"```text\n{out}```\n" in page.read_text(encoding="utf-8")
    cases, wrong = read_cases(Source(out, "shown.cases"))
    assert (len(cases), wrong) == (2, [])
    assert "  set patience=1\n" in out


def test_a_search_is_the_same_for_the_same_seed(capsys):
    pair = ("factor", "factor", "--set-b", "budget=0.75")
    first, again = (compare(capsys, *pair, "--seed", "3") for _ in range(2))
    assert first == again


def test_set_is_of_both_and_windows_are_the_users(capsys):
    status, out, _ = compare(capsys, "static", "threshold", "--set", "block=3", "--set-a", "tokens=2")
    assert status == 1
    assert [line for line in out.splitlines() if "set " in line] == [
        "  set block=3 tokens=2",
        "  set block=3",
    ]


STAYS = """\
policy stays(confidence: prob = 0.9, block: int = 32 in 1..65536):
  window blocks(block)
  commit masked and conf >= confidence at least 1 by conf
  edit committed and conf > 0.95 as token at most 1 by conf
  stay at most 1
"""


def test_a_policy_that_ends_later_is_told_apart_by_done_and_one_more_forward(capsys, tmp_path):
    (tmp_path / "stays.policy").write_text(STAYS)
    status, out, _ = compare(capsys, "threshold", str(tmp_path / "stays.policy"), "--tries", "500")
    ends, stays = cases_of(out)
    assert status == 1
    assert [line.split()[0] for line in ends.splitlines()[1:4]] == ["conf", "commit", "done"]
    assert [line.split()[0] for line in stays.splitlines()[1:]] == [
        "conf",
        "commit",
        "conf",
        "commit",
        "done",
    ]
    assert codes(stays, dsldec.load("threshold")) == ["E0446"]


FRESH = """\
policy fresh(confidence: prob = 0.9, block: int = 32 in 1..65536):
  window blocks(block)
  refresh when steps_in_window % 2 == 1
  commit masked and conf >= confidence at least 1 by conf
"""


def test_a_request_for_new_keys_is_a_difference(capsys, tmp_path):
    (tmp_path / "fresh.policy").write_text(FRESH)
    _, out, _ = compare(capsys, "threshold", str(tmp_path / "fresh.policy"), "--tries", "500")
    without, fresh = cases_of(out)
    assert "  refresh -\n" in without
    assert "  refresh\n" in fresh


# --- no difference


def test_a_proof_of_the_same_step_is_no_search(capsys):
    status, out, _ = compare(capsys, "freedave", "static")
    assert status == 0
    assert out == (
        "freedave and static have the same step. This is proved from their operations, not searched.\n"
        "Their forwards differ: drafts verified in one forward: freedave 4 and static 1.\n"
    )


def test_what_was_tried_is_said(capsys, tmp_path):
    (tmp_path / "moved.policy").write_text(MOVED_SUM)
    status, out, _ = compare(capsys, "entropy_bounded", str(tmp_path / "moved.policy"), "--tries", "600")
    assert status == 0
    assert out.startswith("no difference between entropy_bounded and moved_sum in 600 tries\ntried in ")
    assert "both had the same `block`: 4, 2, 3, 8" in out
    assert "only the rounding of float32 made a difference" in out


def test_rounding_is_a_difference_if_the_user_wants_it(capsys, tmp_path):
    (tmp_path / "moved.policy").write_text(MOVED_SUM)
    status, out, _ = compare(capsys, "entropy_bounded", str(tmp_path / "moved.policy"), "--rounding")
    assert status == 1
    assert codes(cases_of(out)[0], dsldec.load("entropy_bounded")) == []


def test_lines_that_change_logits_are_named_as_not_compared(capsys, tmp_path):
    cooled = dsldec.load("threshold").facts.source.replace("  commit", "  logits temperature(0.5)\n  commit")
    (tmp_path / "cooled.policy").write_text(cooled)
    status, out, _ = compare(capsys, "threshold", str(tmp_path / "cooled.policy"), "--tries", "50")
    assert status == 0
    assert "not compared: the lines `logits`: the numbers are those after them" in out


def test_an_interrupt_keeps_what_was_tried(capsys, monkeypatch):
    class Interrupted:
        def __init__(self, *arguments: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("dsldec.tools.comparing.search._Batch", Interrupted)
    status, out, _ = compare(capsys, "threshold", "factor")
    assert status == 130
    assert out.startswith("no difference between threshold and factor in 0 tries until the interrupt\n")


def test_an_interrupt_while_a_case_shrinks_shows_the_case_so_far(capsys, monkeypatch):
    def interrupted(trial: Trial) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "tells_apart", interrupted)
    status, out, _ = compare(capsys, "threshold", "factor")
    assert status == 1
    assert codes(cases_of(out)[0], dsldec.load("threshold")) == []


# --- on prompts


def test_the_same_prompts_show_the_first_step_that_differs(capsys):
    options = ("--task", "word_problems", "--limit", "2", "--gen-length", "24", "--backend", "eager")
    status, out, _ = compare(capsys, "threshold", "factor", *options)
    assert status == 1
    lines = out.splitlines()
    assert lines[0] == "2 of 2 prompts have other steps, 0 another text"
    assert [line.split(":")[0] for line in lines[1:3]] == ["threshold", "factor"]
    assert re.fullmatch(r"first difference: prompt `0`, step \d+, position \d+", lines[4])
    assert [line.split(":")[0] for line in lines[5:7]] == ["  threshold", "  factor"]


def test_a_task_chooses_the_model_that_has_learned_it(monkeypatch, capsys):
    names = []

    def no_model(name, **how):
        names.append(name)
        raise UsageError(Diagnostic("E0405", "no model"))

    monkeypatch.setattr("dsldec.models.huggingface.from_pretrained", no_model)
    for task in ("equations", "word_problems"):
        assert compare(capsys, "threshold", "factor", "--task", task)[0] == 2
    assert compare(capsys, "threshold", "factor", "--task", "equations", "--model", "mine")[0] == 2
    assert names == ["dsldec:equations", None, "mine"]


def test_drafts_have_the_same_steps_in_fewer_forwards(capsys):
    options = ("--prompt", "What is 14+18?", "--gen-length", "16", "--backend", "eager")
    status, out, _ = compare(capsys, "freedave_plus", "threshold", *options)
    assert status == 0
    drafted, plain = (int(count) for count in re.findall(r": (\d+) forwards", out))
    assert out.startswith("0 of 1 prompts have other steps, 0 another text\n")
    assert drafted < plain


# --- mistakes


@pytest.mark.parametrize(
    ("arguments", "code", "help_"),
    [
        (("threshold", "nope"), "E0401", "`dsldec list`"),
        (("threshold", "threshold"), "E0521", "`--set-b confidence=0.45`"),
        (("threshold", "factor", "--set-b", "nope=3"), "E0403", "`budget`, `form`, `block`"),
        (("threshold", "factor", "--set", "confidence=0.8"), "E0522", "`--set-a confidence=0.8`"),
        (("threshold", "factor", "--set", "budget=0.8"), "E0522", "`--set-b budget=0.8`"),
        (("threshold", "factor", "--set-a", "confidence"), "E0424", "`--set confidence=0.8`"),
        (("lopa", "threshold"), "E0520", "`--task word_problems`"),
        (("threshold",), "E0420", "`dsldec compare threshold factor`"),
        (("threshold", "factor", "--tries", "0"), "E0422", "`--tries 8`"),
        (("threshold", "factor", "--tries", "3", "--task", "sudoku"), "E0423", "`dsldec compare A B --tries ...`"),
        (("threshold", "factor", "--gen-length", "8"), "E0423", "`--task word_problems`"),
        (("threshold", "factor", "--task", "sudoku", "--prompt", "a"), "E0423", "`--task word_problems`"),
        (("threshold", "factor", "--task", "soduku"), "E0422", "`--task sudoku`"),
    ],
)  # fmt: skip
def test_a_mistake_has_a_diagnostic_and_the_status_2(capsys, arguments, code, help_):
    status, out, err = compare(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error[{code}]: ")
    assert help_ in err


def test_a_policy_with_errors_shows_all_of_them(capsys, tmp_path):
    (tmp_path / "bad.policy").write_text("policy bad():\n  window blocks(x)\n  commit masked and confi > 2\n")
    status, out, err = compare(capsys, str(tmp_path / "bad.policy"), "threshold")
    assert (status, out) == (2, "")
    assert err.count("error[") == 2


def test_a_network_without_a_file_is_named(capsys):
    status, _, err = compare(capsys, "threshold", "learn2pd")
    assert status == 2
    assert "E0507" in err


# --- the parts


def test_observations_are_those_of_logits():
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(2, 3, 7, generator=generator, dtype=torch.float64) + 0.01
    p = p / p.sum(-1, keepdim=True)
    found = observe(OBSERVATIONS, p[1], p[1].argmax(-1), p[0])
    view, before = (PlainLogitsView(one.log().float().tolist(), 99) for one in (p[1], p[0]))
    expected = dict(view.observe({"conf", "doubt", "margin", "logit_margin", "entropy", "token"}, "argmax"))
    kept = before.log_probabilities(7)
    expected |= {"kl": view.divergence(kept, 7), "js": view.jensen_shannon(kept, 7)}
    for name in ("conf", "doubt", "margin", "logit_margin", "entropy", "token", "kl", "js"):
        assert found[name].tolist() == pytest.approx(expected[name], rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("manner", MANNERS)
def test_proposals_are_distributions_with_their_likeliest_id(manner):
    ids, generator = ModelIds(8), torch.Generator().manual_seed(2)
    edges = edges_of(dsldec.load("klass"), dsldec.load("entropy_bounded"))
    proposer = Proposer(edges, ids, generator, compares=True)
    p, token = proposer.first(32, 5, manner)
    for _ in range(3):
        assert torch.allclose(p.sum(-1), torch.ones(32, 5, dtype=torch.float64))
        assert bool((p >= 0).all())
        best = p.gather(-1, token.unsqueeze(-1)).squeeze(-1)
        assert torch.allclose(best, p.amax(-1))
        p, token = proposer.following(p, token, manner)


def test_numbers_lie_on_the_thresholds_and_beside_them():
    policy = dsldec.load("klass")
    edges = edges_of(policy)
    single = torch.tensor(0.9)
    beside = {float(torch.nextafter(single, torch.tensor(end))) for end in (0.0, 1.0)}
    assert {float(single), *beside} <= set(edges.probabilities.tolist())
    proposer = Proposer(edges, ModelIds(8), torch.Generator().manual_seed(0), compares=False)
    p, token = proposer.first(64, 4, MANNERS[1])
    entropy = observe(("entropy",), p, token, None)["entropy"].float()
    assert bool((entropy == torch.tensor(0.01)).any())


def test_observed_rows_do_what_a_case_does():
    """The step of many rows and the reference of a case give the same canvases."""
    for names in (
        ("klass", "threshold"),
        ("dico", "static"),
        ("joint_threshold", "saber"),
        ("dcd", "factor"),
    ):
        pair = ComparedPair(*(policy_of((name, ())) for name in names))
        ids, generator = ModelIds(8), torch.Generator().manual_seed(5)
        proposer = Proposer(edges_of(pair.a), ids, generator, compares=True)
        rows, steps = ObservedRows(pair.a, 6, 5, ids), []
        p, token = proposer.first(6, 5, MANNERS[2])
        canvases = []
        for _ in range(4):
            before = steps[-1][0] if steps else None
            steps.append((p, token))
            observed = {
                name: one.float() if one.is_floating_point() else one
                for name, one in observe(OBSERVATIONS, p, token, before).items()
            }
            rows.step(observed, p.log().float())
            canvases.append(rows.canvas.clone())
            p, token = proposer.following(p, token, MANNERS[2])
        for row in range(6):
            tables = [torch.stack([step[part][row] for step in steps]) for part in (0, 1)]
            played = play(Trial(ComparedPair(pair.a, pair.a), ids, tables[0], tables[1]))
            for number, step in enumerate(played.a):
                shown = [None if id_ == ids.mask else id_ for id_ in canvases[number][row].tolist()]
                special = {ids.special[word]: word for word in ids.special}
                assert [one in special for one in shown] == [
                    one is not None and one > 10**8 for one in step.after
                ]
                ordinary = [one if one not in special else 0 for one in shown]
                assert ordinary == [0 if one is not None and one > 10**8 else one for one in step.after]


def test_the_text_of_a_float32_is_short_and_exact():
    assert [shortest(value) for value in (0.1, 1.0, 1 / 3, math.inf)] == ["0.1", "1", "0.33333334", "inf"]
    assert as_written(float(torch.tensor(0.9))) == 0.9


def test_limits_end_a_search():
    pair = ComparedPair(policy_of(("llada", ())), policy_of(("vllm_ceil", ())))
    found = search(pair, "block", SearchLimits(70, 60, 0, False))
    assert (found.tries, found.trial, found.rounded) == (70, None, 0)
