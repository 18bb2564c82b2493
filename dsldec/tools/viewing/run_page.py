"""The page that `dsldec run --html FILE` writes for its one answer.

Not here: the page (`page`), the other files of a run (`run`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...diagnostics import Diagnostic, UsageError
from ..process import say
from ..prompts import Prompt
from ..results import Result
from ..writing import put
from .page import page_of
from .page_data import ViewedRun
from .page_file import require_page_place


class RunPage:
    """The page of a run. Raises `UsageError` (E0423, E0432, E0436) before anything is decoded."""

    def __init__(self, name: str, title: str, prompts: Sequence[Prompt]) -> None:
        if sum(prompt.n for prompt in prompts) != 1:
            message = "`--html` shows one answer, and this run gives several"
            help = "`--trace traces.jsonl --values` stores the steps of all; then `dsldec view traces.jsonl --id ID`"
            raise UsageError(Diagnostic("E0423", message, help=help))
        require_page_place(name, "--html")
        self.name, self.title = name, title

    def append(self, result: Result) -> None:
        """Write the page of an answer. A prompt without an answer has none."""
        if result.error is None and result.trajectory is not None:
            try:
                put(self.name, page_of([ViewedRun(self.title, result.trajectory, result.prompt.text)]))
            except UsageError as failure:  # the answer itself still goes to its files
                say(str(failure.diagnostic))
