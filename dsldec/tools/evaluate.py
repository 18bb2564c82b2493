"""The quality and the speed of policies on the held-out prompts of the embedded models.

Not here: the prompts and the scores (`dsldec.models.tasks`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..models.denoiser import Denoiser
from ..models.embedded_names import PREFIX
from ..models.huggingface import from_pretrained
from ..models.tasks import TASKS, Example
from ..policy import Policy, load
from ..resources import embedded_model_folder
from .answers import all_decoded

# Choose policies and parameters on `dev`. Report on `test`, once.
SPLITS = {"dev": "held_out.jsonl", "test": "held_out_test.jsonl"}
HELD_OUT = SPLITS["dev"]
# Tokens to generate: the longest response and some filler.
LENGTHS = {"word_problems": 48, "sudoku": 24, "equations": 64}


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table: a shipped policy, its parameters, and the number of tokens to generate."""

    policy: str
    parameters: dict[str, float | int]
    gen_length: int
    stop_at_eos: bool = False

    def load(self) -> Policy:
        return load(self.policy, **self.parameters)

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.policy}({values})" + (", stop at end of text" if self.stop_at_eos else "")


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of a setting on some prompts: shares of right answers and of fully right responses, means
    per prompt.

    `rows`: input rows of the denoiser, drafts included. `tokens_per_forward` counts content tokens only:
    filler after the end of text does not count.
    """

    prompts: int
    answer: float
    every_step: float
    forwards: float
    rows: float
    tokens_per_forward: float


def settings(task: str) -> Iterator[Setting]:
    """The settings of a task: one and more tokens a step, then every shipped policy with its defaults."""
    length = LENGTHS[task]
    for tokens in (1, 2, 4, length) if task == "sudoku" else (1, 2, 4):
        yield Setting("static", {"tokens": tokens, "block": length}, length)
    for tokens in (1, 4):
        yield Setting("static", {"tokens": tokens, "block": 8}, length, stop_at_eos=True)
    for name in ("threshold", "factor", "frechet", "entropy_bounded"):
        yield Setting(name, {"block": length}, length)
    yield Setting("klass", {"block": length}, length)
    yield Setting("dico", {"block": length}, length)
    yield Setting(
        "dico", {"seeds": 4, "block": length // 2}, length
    )  # the paper's number of seeds for parts of the text
    yield Setting("threshold", {"block": 8}, length, stop_at_eos=True)
    yield Setting("freedave", {"drafts": 4, "block": length}, length)
    yield Setting("freedave_plus", {"drafts": 4, "block": length}, length)


def model_of(task: str) -> str:
    """The name of the embedded model of a task, for `from_pretrained`."""
    return f"{PREFIX}{TASKS[task].model}"


def held_out(task: str, count: int | None = None, split: str = "dev") -> list[Example]:
    """The first `count` held-out examples of a task; by default all 200. `split`: `dev` or `test`."""
    folder = embedded_model_folder(TASKS[task].model)
    lines = (folder / SPLITS[split]).read_text(encoding="utf-8").splitlines()
    examples = [Example(**json.loads(line)) for line in lines]
    return [example for example in examples if example.task == task][:count]


def measure(denoiser: Denoiser, examples: Sequence[Example], setting: Setting, batch: int = 25) -> Measured:
    """Decode the examples' prompts and score the responses."""
    decoded = all_decoded(
        denoiser, [e.prompt for e in examples], setting.load(),
        gen_length=setting.gen_length, stop_at_eos=setting.stop_at_eos, backend="eager", batch=batch,
    )  # fmt: skip
    scores = [TASKS[e.task].score(e, text or "") for e, text in zip(examples, decoded.text, strict=True)]
    forwards = decoded.forwards.double()
    return Measured(
        prompts=len(examples),
        answer=sum(score.answer for score in scores) / len(scores),
        every_step=sum(score.every_step for score in scores) / len(scores),
        forwards=float(forwards.mean()),
        rows=float(decoded.rows.double().mean()),
        tokens_per_forward=float(decoded.tokens.sum() / forwards.sum()),
    )


def table(
    denoiser_of: Callable[[str], Denoiser], count: int | None = None, split: str = "dev"
) -> Iterator[str]:
    """A Markdown table, line by line as it is measured. `denoiser_of`: of a task."""
    yield "| task | policy | answer right | every step right | forwards | rows | content tokens a forward |"
    yield "|---|---|---|---|---|---|---|"
    for task in TASKS:
        examples, denoiser = held_out(task, count, split), denoiser_of(task)
        for setting in settings(task):
            m = measure(denoiser, examples, setting)
            name = task.replace("_", " ")
            cells = f"{m.answer:.3f} | {m.every_step:.3f} | {m.forwards:.1f} | {m.rows:.1f} | {m.tokens_per_forward:.2f}"
            yield f"| {name} | `{setting}` | {cells} |"


def evaluate(count: int | None, model: str | None, split: str = "dev", **how: Any) -> int:
    """Print the table; returns the exit status. By default each task has its own embedded model. `how`:
    loading options, see `from_pretrained`.
    """
    loaded = cache(lambda name: from_pretrained(name, **how))
    first = loaded(model or model_of(next(iter(TASKS))))  # a wrong option is a mistake before the first line
    for line in table(lambda task: first if model else loaded(model_of(task)), count, split):
        print(line, flush=True)
    return 0
