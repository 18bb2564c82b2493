"""The tasks of the embedded models: right examples, fair scores, and no held-out prompt in training."""

from __future__ import annotations

import json
import random

import pytest
import torch
from transformers import AutoTokenizer, EuroBertForMaskedLM

from dsldec.models.tasks import (
    HELD_OUT_ONE_IN,
    TASKS,
    equations,
    held_out,
    is_held_out,
    sudoku,
    training_stream,
    word_problems,
)
from dsldec.models.tasks.example import Example
from dsldec.models.train import tokenizer as tokenizers
from dsldec.models.train.batches import MIXTURES, make_batch
from dsldec.models.train.loop import _redraw
from dsldec.resources import EMBEDDED_MODELS, embedded_model_folder
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
    dev, test = (evaluate.held_out(task, split=split) for split in ("dev", "test"))
    assert dev == evaluate.held_out(task) == held_out(task, 200, seed=0)
    assert test == held_out(task, 200, seed=1, without=dev)
    prompts = {example.prompt for example in (*dev, *test)}
    assert len(prompts) == 400  # no prompt is in both
    assert all(map(is_held_out, prompts))
    for make in (TASKS[task].make, word_problems.make_arithmetic):
        stream = training_stream(make, random.Random(1))
        seen = {next(stream).prompt for _ in range(20_000)}
        assert not seen & prompts
        assert not any(map(is_held_out, seen))


def test_a_share_of_all_prompts_is_held_out() -> None:
    rng = random.Random(2)
    drawn = [word_problems.make(rng).prompt for _ in range(5_000)]
    assert 0.5 < HELD_OUT_ONE_IN * sum(map(is_held_out, drawn)) / len(drawn) < 2


def test_no_puzzle_and_no_response_is_in_both_splits() -> None:
    """Another wording of a puzzle would be the same problem. There are too few filled grids for more."""
    for task in TASKS:
        dev, test = (evaluate.held_out(task, split=split) for split in ("dev", "test"))
        field = "answer" if task == "sudoku" else "response"
        assert not {getattr(one, field) for one in dev} & {getattr(one, field) for one in test}


@pytest.mark.parametrize("split", evaluate.SPLITS)
@pytest.mark.parametrize("model", EMBEDDED_MODELS)
def test_the_files_of_held_out_prompts_are_small_and_plain(model: str, split: str) -> None:
    lines = (embedded_model_folder(model) / evaluate.SPLITS[split]).read_text().splitlines()
    assert len(lines) == 200 * sum(task.model == model for task in TASKS.values())
    assert set(json.loads(lines[0])) == {"task", "prompt", "response", "answer"}


def solved(prompt: str) -> list[int]:
    """The value of each equation, by rounds over those that are left."""
    given = prompt.split(",")
    values: dict[int, int] = {}
    while len(values) < len(given):
        before = len(values)
        for place, one in enumerate(given):
            text = one.replace("<", str(values.get(place - 1, "?"))).replace(
                ">", str(values.get(place + 1, "?"))
            )
            if "?" not in text:
                values[place] = eval(text, {})
        assert len(values) > before, prompt
    return [values[place] for place in range(len(given))]


def test_equations_have_the_values_that_another_solver_finds() -> None:
    rng, late, counts = random.Random(3), 0, set()
    for _ in range(500):
        example = equations.make(rng)
        values = solved(example.prompt)
        assert example.answer == str(values[0])
        steps, _, answer = example.response.partition(" #### ")
        assert answer == example.answer
        written = [step.split("=") for step in steps.split(",")]
        assert [int(one[0]) for one in written] == values
        assert all(len(one) == 1 or eval(one[1], {}) == int(one[0]) for one in written)
        assert 0 <= min(values) <= max(values) <= equations.LARGEST
        counts.add(len(written))
        late += ">" in example.prompt.split(",")[0]
    assert counts == set(range(1, equations.MOST_EQUATIONS + 1))
    assert late > 250  # the first equation needs a later one


@pytest.mark.parametrize(
    ("response", "answer", "every_step"),
    [
        ("8=5+3,5 #### 8", True, True),
        ("9=5+3,5 #### 8", True, False),
        ("8=5+3,5 #### 9", False, False),
        ("8=5+3,5", False, False),
        ("#### 8", True, False),
        ("8=5+3,5 #### 88", False, False),
        ("", False, False),
    ],
)
def test_equation_scores(response: str, answer: bool, every_step: bool) -> None:
    example = Example("equations", ">+3,5", "8=5+3,5 #### 8", "8")
    score = equations.score(example, response)
    assert (score.answer, score.every_step) == (answer, every_step)


def test_the_tokenizer_is_built_of_the_tasks_of_the_first_model() -> None:
    texts = tokenizers._texts(seed=1, count=20)
    assert len(texts) == 2 * 20 * 3  # word problems, sudoku and bare sums
    assert not [text for text in texts if ">" in text]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_training_batch_hides_tokens_of_responses_alone(mixture: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded_model_folder())
    for step in range(4):
        batch = make_batch(tokenizer, mixture, seed=1, step=step, rank=0)
        assert batch.ids.shape == batch.targets.shape == batch.weights.shape
        hidden = batch.ids != batch.targets
        assert hidden.any()
        assert (batch.ids[hidden] == tokenizer.mask_token_id).all()
        assert ((batch.weights > 0) == hidden).all()
        assistant = tokenizer.convert_tokens_to_ids("<|assistant|>")
        starts = (batch.targets == assistant).int().argmax(1)
        assert not any(row[: start + 1].any() for row, start in zip(hidden, starts, strict=True))


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


def test_embeddings_of_unseen_letters_are_drawn_apart() -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded_model_folder())
    model = EuroBertForMaskedLM.from_pretrained(embedded_model_folder(), dtype=torch.float32)
    before = model.get_input_embeddings().weight.detach().clone()
    _redraw(model, tokenizer, "jq")
    after = model.get_input_embeddings().weight.detach()
    changed = {int(one) for one in (before != after).any(-1).nonzero()}
    assert changed == set(tokenizer.convert_tokens_to_ids(["j", "q"]))
    drawn = after[sorted(changed)]
    torch.testing.assert_close(drawn.norm(dim=-1), before.norm(dim=-1).mean().expand(2))
    assert torch.cosine_similarity(drawn[0], drawn[1], dim=0).abs() < 0.5
