"""Which task is evaluated, and which of its prompts? A built-in one by its name, or a JSONL file.

Not here: the problems (`problems`, `human_eval`).
"""

from __future__ import annotations

import os
from dataclasses import replace

from ...diagnostics import Diagnostic, UsageError, did_you_mean
from ...models.tasks import TASKS
from ...resources import DEFAULT_MODEL
from .. import quoted
from ..evaluate import SPLITS, model_of
from .evaluate_options import EvaluateOptions
from .human_eval import human_eval
from .problems import EMBEDDED_TASKS, Problem, of_embedded, of_file

HUMAN_EVAL = "humaneval"
NAMES = (*EMBEDDED_TASKS, HUMAN_EVAL)


def problems_of(task: str, raw: bool, split: str | None = None) -> list[Problem]:
    """The problems of a task. `raw`: for prompts that are used without a chat template. `split`: `dev`, the
    default, or `test`, of a task of an embedded model. Raises `UsageError`: E0422 for an unknown name, E0423
    for a split of another task.
    """
    if split is not None and split not in SPLITS:
        help = " or ".join(f"`{name}`" for name in SPLITS)
        raise UsageError(Diagnostic("E0422", f"there is no split {quoted(split)}", help=help))
    if task in EMBEDDED_TASKS:
        return of_embedded(task, split or "dev")
    if split is not None and (task == HUMAN_EVAL or task.lower().endswith(".jsonl")):
        help = "leave `--split` out: all prompts are used"
        if task != HUMAN_EVAL:
            help = f"leave `--split` out, and keep the prompts of `{split}` in a file of their own"
        raise UsageError(Diagnostic("E0423", f"the task {quoted(task)} has no splits", help=help))
    if task == HUMAN_EVAL:
        return human_eval(raw)
    if task.lower().endswith(".jsonl"):
        return of_file(task)
    near = did_you_mean(task, NAMES)
    names = ", ".join(f"`{name}`" for name in NAMES)
    help = (
        f"did you mean `--task {near}`?" if near else f"one of {names}, or a file whose name ends in .jsonl"
    )
    if os.path.exists(task):
        help = "a task is a file whose name ends in .jsonl, with one JSON object a line"
    raise UsageError(Diagnostic("E0422", f"unknown task {quoted(task)}", help=help))


def with_defaults(options: EvaluateOptions) -> EvaluateOptions:
    """The options of a task of an embedded model with that model and a split. Those of other tasks stay."""
    if options.task not in EMBEDDED_TASKS:
        return options
    return replace(options, model=model_for(options.task, options.model), split=options.split or "dev")


def model_for(task: str | None, named: str | None) -> str | None:
    """The model that is named, or the embedded model of the task; None for the default model."""
    if named is not None or task not in EMBEDDED_TASKS or TASKS[task].model == DEFAULT_MODEL:
        return named
    return model_of(task)


def default_scorer(task: str) -> str:
    """The scorer of a built-in task. Raises `UsageError` (E0420) for a file, whose scorer must be named."""
    if task in EMBEDDED_TASKS:
        return task
    if task == HUMAN_EVAL:
        return "python"
    if task.lower().endswith(".jsonl"):
        help = "add `--scorer exact`, `number`, `regex:PATTERN` or `python`"
        raise UsageError(Diagnostic("E0420", f"the task {quoted(task)} lacks `--scorer`", help=help))
    problems_of(task, raw=True)  # raises: the task is unknown
    raise AssertionError(task)
