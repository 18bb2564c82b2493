"""Explanations of positions: the outcome, the truth of every shown part, the texts of values."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest
import torch

import dsldec
from dsldec.explained.line_list import CUT, DEEPEST, MOST_LINES
from dsldec.explained.value_texts import compared_texts, id_text, number_text
from dsldec.source import Source
from dsldec.tools.cases import read_cases
from dsldec.tools.explaining.case_run import of_case
from dsldec.tools.explaining.explained_run import ExplainedRun
from dsldec.tools.test import cases_of
from tests.toy import ToyDenoiser

NAMES = tuple(dsldec.shipped_policies())
MOST_TEMPLATES = 140  # of one policy, over all its cases


@cache
def runs(name: str) -> list[ExplainedRun]:
    policy, cases = cases_of(name)
    return [of_case(case, policy) for case in cases]


def run_of(policy: str, case: str) -> ExplainedRun:
    loaded = dsldec.load(policy)
    (read,), wrong = read_cases(Source(case))
    assert not wrong
    return of_case(read, loaded)


def texts(run: ExplainedRun, position: int, step: int = 0) -> list[str]:
    return [line.text for line in run.why(step, position).lines]


def changed(before: int, after: int, mask_id: int) -> str:
    if before == after:
        return "unchanged"
    return "committed" if before == mask_id else "revoked" if after == mask_id else "edited"


@pytest.mark.parametrize("name", NAMES)
def test_every_position_of_every_step_is_explained(name: str) -> None:
    """The outcome is the change of the canvas; the templates are few, and have no number of a step."""
    seen = set()
    numbers = set(re.findall(r"\d+", runs(name)[0].records[0].explained.source.text))
    for run in runs(name):
        for step, (before, after) in enumerate(zip(run.canvases, run.canvases[1:], strict=False)):
            for position in range(run.length):
                why = run.why(step, position)
                assert why.outcome == changed(before[position], after[position], run.mask_id)
                assert (why.position, why.step) == (position, step)
                assert 1 <= len(why.lines) <= MOST_LINES + 1
                for line in why.lines:
                    seen.add((line.template, line.depth, line.span, line.holds))
                    assert set(re.findall(r"\d+", line.template)) <= numbers
                    assert line.text
            assert run.records[step].why_phase()
    assert len(seen) <= MOST_TEMPLATES


@pytest.mark.parametrize("name", ["threshold", "klass", "lopa", "wino_plain", "dico", "saber"])
def test_recorded_steps_are_explained_as_the_trace_has_them(name: str) -> None:
    decoded = dsldec.decode(ToyDenoiser(7, 24), [[1, 2], [3]], name, gen_length=16, trace="values", seed=3)
    for trajectory in decoded.trajectories:
        for step in trajectory.steps:
            for position in range(-1, 18):
                outcome = step.why(position).outcome
                assert (outcome == "committed") is (position in step.committed)
                assert (outcome == "revoked") is (position in step.revoked)
                assert (outcome == "edited") is (position in step.edited)
                str(step.why(position))


# --- each shown part has the truth that is shown, and flipping the deciding ones flips the outcome

LEAVES = ("conf >= {}", "margin < {}", "conf + margin > {}", "pos % 2 == 0", "not conf < {}", "masked")


def condition(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.25:
        return rng.choice(LEAVES).format(round(rng.uniform(0.1, 0.9), 1))
    if rng.random() < 0.2:
        return f"not ({condition(rng, depth - 1)})"
    return f"({condition(rng, depth - 1)} {rng.choice(('and', 'or'))} {condition(rng, depth - 1)})"


@pytest.mark.parametrize("seed", range(40))
def test_shown_parts_have_their_truth_and_decide(seed: int) -> None:
    rng = random.Random(seed)
    text = f"policy p(block: int = 8 in 1..9):\n  window blocks(block)\n  commit {condition(rng, 4)} at least 1 by conf\n"
    if dsldec.check(text)[0] is None:
        pytest.skip("the condition is always false")
    rows = {name: [rng.randrange(1, 20) / 20 + 0.013 for _ in range(8)] for name in ("conf", "margin")}
    lines = [f"{name} {' '.join(map(str, values))}" for name, values in rows.items()]
    run = run_of(text, "\n".join(["case c", *(f"  {line}" for line in lines), "  commit 0"]))
    statement = text.partition("commit ")[2]
    whole = statement.partition(" at least")[0]
    start = text.index(whole)
    for position in range(8):
        names = {name: values[position] for name, values in rows.items()} | {"pos": position, "masked": True}
        passes, flipped = bool(eval(whole, names)), whole
        shown = run.why(0, position).lines
        inside = [o for o in shown if o.span and start <= o.span.start and o.span.end <= start + len(whole)]
        assert inside
        for one in inside:
            if one.holds is not None:
                assert bool(eval(one.span.text, names)) is one.holds, one.text
        for one in sorted((o for o in inside if o.decides), key=lambda o: -o.span.start):
            at = one.span.start - start, one.span.end - start
            flipped = f"{flipped[: at[0]]}{not one.holds}{flipped[at[1] :]}"
        assert bool(eval(flipped, names)) is not passes, str(run.why(0, position))


# --- words


def policy(*lines: str) -> str:
    return "policy p(block: int = 8 in 1..9):\n  window blocks(block)\n" + "".join(f"  {o}\n" for o in lines)


def test_a_selection_has_the_rank() -> None:
    run = run_of(policy("commit top(masked, 2, by=conf)"), "case c\n  conf .2 .9 .4 .5\n  commit 1 3\n")
    assert "top(masked, 2, by=conf) -> no: rank 3 by conf 0.4, and it chooses the best 2" in texts(run, 2)
    assert "top(masked, 2, by=conf) -> yes: rank 1 by conf 0.9, and it chooses the best 2" in texts(run, 1)


def test_a_limit_has_the_rank() -> None:
    commit = "commit masked and conf > .1 at least 1 by conf at most 2 by conf"
    run = run_of(policy(commit), "case c\n  conf .2 .9 .4 .5\n  commit 1 3\n")
    assert "at most 2 by conf -> no: rank 3 by conf 0.4, and the limit is 2" in texts(run, 2)
    assert run.why(0, 2).outcome == "unchanged"


def test_a_floor_has_the_rank_and_the_number_that_lacks() -> None:
    run = run_of(
        policy("commit masked and conf > .95 at least 2 by conf"),
        "case c\n  conf .2 .9 .4 .96\n  commit 1 3\n",
    )
    assert (
        "at least 2 by conf -> yes: 1 pass, so it adds the best 1 of the rest; rank 1 by conf 0.9"
        in texts(run, 1)
    )
    assert "at least 2 by conf -> no: 1 pass, so it adds the best 1 of the rest; rank 2 by conf 0.4" in texts(
        run, 2
    )


def test_a_prefix_names_the_first_position_that_fails() -> None:
    commit = "commit prefix(masked, by=conf, while=margin > .5) at least 1 by conf"
    run = run_of(policy(commit), "case c\n  conf .9 .8 .7 .6\n  margin .9 .1 .9 .9\n  commit 0\n")
    assert any("`while` fails before it, at position 1 with rank 2" in text for text in texts(run, 2))
    assert "margin 0.1 > .5 -> no" in texts(run, 2)


def test_thin_names_the_better_position() -> None:
    commit = "commit thin(masked, by=conf, gap=3, at_most=8) at least 1 by conf"
    run = run_of(policy(commit), "case c\n  conf .5 .8 .9 .2 .1 .6\n  commit 2 5\n")
    assert any("position 2 was picked with 0.9, 1 away, nearer than 3" in text for text in texts(run, 1))


@pytest.mark.parametrize(("position", "ends"), [(5, 1), (3, 1), (6, 1)])
def test_grow_tells_where_a_run_ends(position: int, ends: int) -> None:
    run = run_of(
        policy("commit grow(masked and conf > .9, over=conf > .5, gap=1) at least 1 by conf"),
        "case c\n  conf .95 .6 .1 .2 .1 .6 .1\n  commit 0 1\n",
    )
    assert any(
        f"the run of positions 0 to 0 grows to position {ends}," in text for text in texts(run, position)
    )


def test_a_state_is_followed_to_the_step_that_set_it() -> None:
    text = policy(
        "state seen: mask = false per sequence",
        "commit masked and (seen or conf > .9) at least 1 by conf",
        "set seen = conf > .5",
    )
    run = run_of(text, "case c\n  conf .95 .6 .1\n  commit 0\n  conf . .3 .1\n  commit 1\n")
    assert "seen -> yes: set in step 0" in texts(run, 1, step=1)
    assert "conf 0.6 > .5 -> yes" in texts(run, 1, step=1)


def test_a_function_leads_to_its_body() -> None:
    text = policy(
        "def near(m) = dilate(m, 1) and conf > .3", "commit masked and near(conf > .9) at least 1 by conf"
    )
    run = run_of(text, "case c\n  conf .95 .6 .35\n  commit 0 1\n")
    assert "dilate(m, 1) -> no: the nearest position is 2 away, and 1 is the most" in texts(run, 2)


def test_what_was_written_earlier_is_said() -> None:
    run = run_of(
        policy("commit top(masked, 1, by=conf)"),
        "case c\n  conf .2 .9\n  commit 1\n  conf .3 .\n  commit 0\n",
    )
    assert texts(run, 1, step=1) == ["written in step 0: id 1, and no statement here changes what is written"]


def test_a_position_outside_of_the_window_has_one_line() -> None:
    run = run_of(
        policy("commit top(masked, 1, by=conf)").replace("8 in", "2 in"),
        "case c\n  gen 4\n  conf .2 .9 . .\n  commit 1\n",
    )
    assert texts(run, 3) == ["outside of the window, which has the positions 0 to 1"]


def test_given_text_and_a_window_that_ends_before_are_said() -> None:
    until = policy("commit top(masked, 1, by=conf)").replace("blocks(block)", "until(5, max=8)")
    run = run_of(until, "case c\n  conf .2 .9 .3 .4\n  token 1 5 2 2\n  commit 1\n")
    assert texts(run, 3)[1:] == ["outside of the window"]
    gap = dsldec.decode(ToyDenoiser(7, 24), [[1, 39, 5, 39]], "threshold", infill=True, trace="values")
    lines = gap.trajectories[0].steps[0].why(1).lines
    assert [line.text for line in lines] == ["no step may write here: it has id 5"]


def test_a_deep_expression_is_cut() -> None:
    deep = "conf > .9"
    for number in range(DEEPEST + 4):
        deep = f"({deep} {('and masked) or conf > .95', 'or conf > .96) and masked')[number % 2]}"
    run = run_of(policy(f"commit {deep} at least 1 by conf"), "case c\n  conf .2 .1\n  commit 0\n")
    lines = run.why(0, 1).lines
    assert any(line.template == CUT for line in lines)
    assert max(line.depth for line in lines) <= DEEPEST + 1


# --- phases


def test_the_next_that_fired_and_those_behind_it() -> None:
    run = next(one for one in runs("dico") if "steps over a gap" in one.title)
    lines = [line.text for line in run.records[0].why_phase()]
    assert "phase divide -> yes" in lines
    assert "next conquer when leaving -> yes" in lines
    finalize = next(line for line in lines if line.startswith("next finalize"))
    assert finalize.endswith("-> no")


# --- texts


def test_two_sides_that_differ_are_printed_differently() -> None:
    assert compared_texts([0.89996, 0.9]) == ["0.89996", "0.9"]
    assert compared_texts([0.5, 0.5]) == ["0.5", "0.5"]
    assert compared_texts([float("nan"), 0.5]) == ["no value", "0.5"]
    one = float(torch.tensor(0.9).item())
    assert compared_texts([one, 0.9])[0] != compared_texts([one, 0.9])[1]


def test_texts_of_ids_have_no_control_codes() -> None:
    assert id_text(3, 9, {3: "a\x1b[2J"}) == "'a\\x1b[2J'"
    assert id_text(9, 9, {}) == "MASK"
    assert id_text(-1, 9, {}) == "no id"
    assert id_text(4, 9, {}) == "id 4"
    assert number_text(0.123456) == "0.1235"


def test_thin_names_the_pick_that_removed_the_position() -> None:
    """A nearer pick may be a worse one that came later."""
    commit = "commit thin(masked, by=conf, gap=3, at_most=8) at least 1 by conf"
    run = run_of(policy(commit), "case c\n  conf .9 .1 .8 .3 .5 .2\n  commit 0 4\n")
    assert any("position 0 was picked with 0.9, 2 away" in text for text in texts(run, 2))


def test_a_position_in_no_group_has_no_rank() -> None:
    commit = "commit top(masked, 1, by=conf, each=run(conf > .5)) at least 1 by conf"
    run = run_of(policy(commit), "case c\n  conf .9 .1 .8\n  commit 0 2\n")
    assert any(text.endswith("-> no: the position is in no group") for text in texts(run, 1))


def test_a_floor_counts_only_positions_with_an_id_that_can_be_written() -> None:
    commit = "commit masked and conf > .5 as token if conf < .8 else canvas at least 2 by conf"
    case = "case c\n  conf .9 .85 .7 .3\n  token 1 2 3 4\n  commit 0 2 3\n"
    run = run_of(policy(commit, "commit top(masked, 1, by=conf)"), case)
    assert run.why(0, 3).outcome == "committed"
    assert any("1 pass, so it adds the best 1 of the rest" in text for text in texts(run, 3))
    assert any(text.endswith("this is no id that a step can write") for text in texts(run, 1))


def test_same_shows_the_token_of_this_step_and_of_the_step_before() -> None:
    commit = "commit masked and same(before) at least 1 by conf"
    case = "case c\n  conf .9 .8 .7\n  token 4 5 6\n  commit 0\n  conf . .8 .7\n  token . 5 7\n  commit 1\n"
    run = run_of(policy(commit), case)
    assert "same(before) -> yes: the token is id 5, in the step before id 5" in texts(run, 1, step=1)
    assert "same(before) -> no: the token is id 7, in the step before id 6" in texts(run, 2, step=1)
    assert "same(before) -> no: the token is id 6, in the step before no id" in texts(run, 2)
