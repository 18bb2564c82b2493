"""The tasks of the embedded model: right examples, fair scores, and no held-out prompt in training."""

from __future__ import annotations

import json
import random

import pytest

from dsldec.models.tasks import (
    HELD_OUT_ONE_IN,
    TASKS,
    held_out,
    is_held_out,
    sudoku,
    training_stream,
    word_problems,
)
from dsldec.models.tasks.example import Example
from dsldec.resources import embedded_model_folder
from dsldec.tools import evaluate


@pytest.mark.parametrize("task", TASKS)
def test_the_made_response_is_fully_right(task: str) -> None:
    rng = random.Random(0)
    for _ in range(500):
        example = TASKS[task].make(rng)
        score = TASKS[task].score(example, example.response)
        assert score.answer, example
        assert score.every_step, example


@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_prompts_are_the_held_out_ones_and_training_never_makes_them(task: str) -> None:
    shipped = evaluate.held_out(task)
    assert shipped == held_out(task, 200, seed=0)
    assert len({example.prompt for example in shipped}) == 200
    assert all(is_held_out(example.prompt) for example in shipped)
    prompts = {example.prompt for example in shipped}
    for make in (TASKS[task].make, word_problems.make_arithmetic):
        stream = training_stream(make, random.Random(1))
        seen = {next(stream).prompt for _ in range(20_000)}
        assert not seen & prompts
        assert not any(map(is_held_out, seen))


def test_a_share_of_all_prompts_is_held_out() -> None:
    rng = random.Random(2)
    drawn = [word_problems.make(rng).prompt for _ in range(5_000)]
    assert 0.5 < HELD_OUT_ONE_IN * sum(map(is_held_out, drawn)) / len(drawn) < 2


def test_held_out_file_is_small_and_plain() -> None:
    lines = (embedded_model_folder() / evaluate.HELD_OUT).read_text().splitlines()
    assert len(lines) == 400
    assert set(json.loads(lines[0])) == {"task", "prompt", "response", "answer"}


PROBLEM = Example("word_problems", "", "", "32")
PUZZLE = Example("sudoku", "", "", "1030000440000201")


@pytest.mark.parametrize(
    ("response", "answer", "every_step"),
    [
        ("3*6=18. 14+18=32. The answer is 32. #### 32", True, True),
        ("3*6=19. 14+18=32. #### 32", True, False),
        ("14+18=33. #### 32", True, False),
        ("#### 32", True, False),
        ("14+18=32. #### 33", False, False),
        ("14+18=32. #### 3232", False, False),
        ("14+18=32.", False, False),
        ("5/0=0. #### 32", True, False),
        ("7/2=3. #### 32", True, False),
        ("", False, False),
    ],
)
def test_word_problem_scores(response: str, answer: bool, every_step: bool) -> None:
    score = word_problems.score(PROBLEM, response)
    assert (score.answer, score.every_step) == (answer, every_step)


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("1432 2314 4123 3241", True),
        ("1432 2314 4123 3214", False),  # a column holds 4 twice
        ("2143 4321 1234 3412", False),  # a filled grid that changes a clue
        ("1432231441233241", False),  # not in rows
        ("1432 2314 4123", False),
        ("", False),
    ],
)
def test_sudoku_scores(response: str, right: bool) -> None:
    assert sudoku.score(PUZZLE, response).answer is right


def test_there_are_288_grids() -> None:
    assert len(set(sudoku.solutions())) == 288
