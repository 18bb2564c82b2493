"""The file of a run's results: one JSON object for each prompt, written as each is finished.

Not here: the results (`results`), reading those of an earlier run (`resumed`), the file itself
(`lines_file`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from . import quoted
from .lines_file import STANDARD_OUTPUT, LinesFile
from .prompts import Prompt
from .results import Result
from .resumed import resumed

__all__ = ["STANDARD_OUTPUT", "ResultsFile"]


class ResultsFile(LinesFile):
    """A results file. Inside `with`, each `append` adds one line.

    `answered`: the answers of a resumed file, each an id and the number of a sample; `finished`: the ids of
    prompts with all their answers; `retried`: the number of its failed prompts; `torn`: the number of its
    damaged lines, which are removed. `made_by` is in every line: the `policy`, and under `run` the settings
    that decide an answer, with a `digest` of them.
    """

    what, flag, example = "results file", "--out", "results.jsonl"

    def __init__(
        self,
        name: str,
        prompts: Sequence[Prompt],
        *,
        resume: bool = False,
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        self._made_by, self._prompts = dict(made_by or {}), prompts
        self.answered: frozenset[tuple[str | int, int]] = frozenset()
        self.finished: frozenset[str | int] = frozenset()
        self.retried = self.torn = 0
        if name != STANDARD_OUTPUT:
            check_unique(prompts)
        super().__init__(name, resume=resume)

    def _stays(self, data: bytes) -> bytes:
        before = resumed(data, self.name, self._prompts, self._made_by)
        self.answered, self.retried, self.torn = before.answered, before.retried, before.torn
        samples = {prompt.id: prompt.n for prompt in self._prompts}
        ids = {id_ for id_, _ in self.answered}
        self.finished = frozenset(
            id_ for id_ in ids if all((id_, one) in self.answered for one in range(samples.get(id_, 1)))
        )
        return before.remaining

    def append(self, result: Result) -> None:
        """Write the line of a result."""
        self.write(_line(result, self._made_by))


def check_unique(prompts: Sequence[Prompt]) -> None:
    """Raise `UsageError` (E0431) for two prompts with one id."""
    first: dict[str | int, Prompt] = {}
    for prompt in prompts:
        if (earlier := first.setdefault(prompt.id, prompt)) is not prompt:
            message = f"the id {quoted(str(prompt.id))} is on line {earlier.number + 1} and on line {prompt.number + 1}"
            raise UsageError(
                Diagnostic(
                    "E0431",
                    message,
                    help="give each prompt an `id` of its own: `--resume` identifies prompts by it",
                )
            )


def _line(result: Result, made_by: Mapping[str, Any]) -> bytes:
    """A result as a line of the file: our fields, then the other fields of its input line."""
    fields = result.line() | dict(made_by)
    try:
        ours = json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a tokenizer: escaped it can be written
        ours = json.dumps(fields).encode()
    return ours[:-1] + (b", " + result.prompt.extra if result.prompt.extra else b"") + b"}\n"
