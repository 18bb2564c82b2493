"""Which task is evaluated? A built-in one by its name, or a JSONL file.

Not here: the problems (`problems`, `human_eval`).
"""

from __future__ import annotations

import os

from ...diagnostics import Diagnostic, UsageError, did_you_mean
from .. import quoted
from .human_eval import human_eval
from .problems import EMBEDDED_TASKS, Problem, of_embedded, of_file

HUMAN_EVAL = "humaneval"
NAMES = (*EMBEDDED_TASKS, HUMAN_EVAL)


def problems_of(task: str, raw: bool) -> list[Problem]:
    """The problems of a task. `raw`: for prompts that are used without a chat template. Raises `UsageError`,
    E0422 for an unknown name.
    """
    if task in EMBEDDED_TASKS:
        return of_embedded(task)
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
