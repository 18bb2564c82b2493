"""Shows the progress and the answers of a run: as text, as a bar, or live.

Not here: drawing the canvas (`live`), the results file (`results_file`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from ..policy import Policy
from ..terminal import bare, data
from .prompts import Prompt
from .results import InOrder, Result
from .results_file import STANDARD_OUTPUT
from .settings import title

if TYPE_CHECKING:
    from rich.console import Console

    from ..models.huggingface import HuggingFaceDenoiser
    from ..runtime.trace import StepEvent


# Called after each step, with the place of the prompt.
Watch = Callable[[int, "StepEvent"], None]


class Display(Protocol):
    """Shows a run while it runs. A place counts the prompts of this run from 0."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def finished(self, place: int, result: Result) -> None: ...


def displays_of(
    work: Sequence[Prompt], policy: Policy, denoiser: HuggingFaceDenoiser, out: str | None, live: bool | None
) -> tuple[Watch | None, list[Display]]:
    """The displays of a run, and the function to call after each step, if one of them needs it.

    `out`: the file of the results; `live`: whether the canvas is shown, `None` for the default.
    """
    console = _live_console(out, live)
    displays: list[Display] = []
    answers_on_console = console is not None and console.file is bare(sys.stdout)
    if out is None and not answers_on_console:
        displays.append(PlainAnswers(data(), many=len(work) > 1))
    if console is not None:
        from .live import LiveDisplay

        display = LiveDisplay(console, title(policy), denoiser, work, print_answers=answers_on_console)
        return display.step, [*displays, display]
    # Answers printed to the same terminal would run into the bar.
    if len(work) > 1 and sys.stderr.isatty() and not (displays and sys.stdout.isatty()):
        displays.append(Bar(len(work)))
    return None, displays


def _live_console(out: str | None, live: bool | None) -> Console | None:
    on_stdout = out != STANDARD_OUTPUT and sys.stdout.isatty()
    if not (on_stdout and os.environ.get("TERM") != "dumb" if live is None else live):
        return None
    from rich.console import Console

    # If standard output is no terminal, it has the answers. The view then goes to standard error, if that is
    # a terminal.
    return Console(
        file=bare(
            sys.stderr if not on_stdout and (sys.stderr.isatty() or out == STANDARD_OUTPUT) else sys.stdout
        )
    )


class PlainAnswers:
    """The answers as text, in the order of the prompts; each under its prompt where there are several."""

    def __init__(self, stream: TextIO, many: bool) -> None:
        self._stream = stream
        self._many = many
        self._results = InOrder[Result]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for result in self._results.rest():
            self._print(result)

    def finished(self, place: int, result: Result) -> None:
        self._results.put(place, result)
        for ready in self._results.ready():
            self._print(ready)

    def _print(self, result: Result) -> None:
        text = result.text if result.error is None else f"(no answer: {result.error.message})"
        if self._many:
            text = "\n".join(f"> {line}" for line in result.prompt.text.split("\n")) + f"\n{text}\n"
        elif result.error is not None:
            return
        print(text, file=self._stream, flush=True)


class Bar:
    """A progress bar on standard error."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(file=bare(sys.stderr))
        self._progress = Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._progress.add_task("prompts", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def finished(self, place: int, result: Result) -> None:
        self._progress.advance(self._task)


class CountBar(Bar):
    """A progress bar that is told how many prompts are finished."""

    def at(self, finished: int) -> None:
        self._progress.update(self._task, completed=finished)
