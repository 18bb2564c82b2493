"""The problems of a task: prompts, each with its answer or its test.

Not here: scores (`scorers`), the problems of HumanEval (`human_eval`), the file of prompts (`prompts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...diagnostics import UsageError
from ...files import json_of
from ...models.tasks import TASKS, Example
from ...spelling import typed
from .. import quoted_path
from ..evaluate import held_out
from ..prompts import INPUT, Prompt, read

# Fields of a stored answer that this verb adds. A field of the task's line with such a name goes under
# `input`.
OWN_FIELDS = ("score", "scorer", "found", "why", "wall_seconds")


@dataclass(frozen=True, slots=True)
class Problem:
    """One prompt of a task.

    `answers`: the right answers, as text, any of them; `test`, `entry_point`, `code`: of a problem of
    programming, its test, the name of the function, and the text before the completion. `example`: of a task
    of an embedded model. `place`: the line, for messages.
    """

    prompt: Prompt
    answers: tuple[str, ...] = ()
    test: str | None = None
    entry_point: str | None = None
    code: str = ""
    example: Example | None = None
    place: str = field(default="", compare=False)


def of_file(name: str) -> list[Problem]:
    """The problems of a JSONL file. Raises `UsageError` where the file cannot be read, or a line is no
    prompt. A line may lack its answer: `scorers` checks the fields
    that a scorer needs.
    """
    try:
        prompts = read((), name)
    except UsageError as wrong:
        if wrong.diagnostic.code == "E0428" and '"question"' in wrong.diagnostic.message:  # as in GSM8K
            help = f"name it `prompt`: `jq -c '{{prompt: .question, answer}}' {typed(name)} > task.jsonl`"
            raise UsageError(replace(wrong.diagnostic, help=help)) from None
        raise
    return [_of_line(prompt, f"line {prompt.number + 1} of {quoted_path(name)}") for prompt in prompts]


def _of_line(prompt: Prompt, place: str) -> Problem:
    fields = json_of("{" + prompt.extra.decode() + "}")
    texts = {name: fields[name] for name in ("test", "entry_point") if isinstance(fields.get(name), str)}
    if taken := [name for name in OWN_FIELDS if name in fields]:
        prompt = replace(prompt, extra=_moved(fields, taken), moved=(*prompt.moved, *taken))
    return Problem(prompt, _answers(fields.get("answer")), code=prompt.text, place=place, **texts)


def _moved(fields: Mapping[str, Any], names: Sequence[str]) -> bytes:
    """The fields as JSON without the braces, with some of them under `input`."""
    others = {name: value for name, value in fields.items() if name not in names}
    others[INPUT] = {**fields.get(INPUT, {}), **{name: fields[name] for name in names}}
    return encoded(others)[1:-1]


def _answers(value: Any) -> tuple[str, ...]:
    """The accepted answers. A number is the text that JSON has for it; a list has several answers."""
    if isinstance(value, list):
        return tuple(one for part in value if not isinstance(part, list) for one in _answers(part))
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return ()
    return (value if isinstance(value, str) else str(value),)


def of_embedded(task: str, split: str) -> list[Problem]:
    """The held-out problems of a task of an embedded model. `split`: `dev` or `test`."""
    problems = []
    for number, example in enumerate(held_out(task, split=split)):
        extra = encoded({"answer": example.answer})[1:-1]
        # A results file knows a prompt by its id, and no id is in both splits.
        id_ = number if split == "dev" else f"{split}-{number}"
        prompt = Prompt(number, id_, example.prompt, extra)
        problems.append(Problem(prompt, (example.answer,), example=example, place=f"problem {id_}"))
    return problems


def encoded(fields: Mapping[str, Any]) -> bytes:
    """A JSON object as bytes. A lone surrogate is escaped."""
    try:
        return json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(fields).encode()


EMBEDDED_TASKS = tuple(TASKS)
