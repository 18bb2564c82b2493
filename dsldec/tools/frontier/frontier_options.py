"""The arguments of `dsldec frontier`, and the mistakes in them that show before anything is decoded.

Not here: the grids (`grids`), the task (`evaluation.tasks`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...diagnostics import Diagnostic, UsageError
from ..evaluation.evaluate_options import EvaluateOptions
from ..evaluation.evaluate_options import require_sensible as require_sensible_task
from ..output_places import require_place


@dataclass(frozen=True, slots=True)
class FrontierOptions:
    """The arguments of the command line. `evaluate`: those about the task, its model and its policies; None
    where only `results` are shown, files of lm-evaluation-harness.
    """

    evaluate: EvaluateOptions | None
    results: tuple[str, ...] = ()
    title: str | None = None
    html: str | None = None
    svg: str | None = None
    json: str | None = None
    markdown: bool = False

    @property
    def pictures(self) -> bool:
        return self.html is not None or self.svg is not None


def require_sensible(options: FrontierOptions) -> None:
    """Raise `UsageError`: E0420 without a task and results, E0423 and E0432 for options that cannot work."""
    if options.evaluate is None:
        if not options.results:
            help = "for example `dsldec frontier --task word_problems --svg frontier.svg`"
            raise UsageError(Diagnostic("E0420", "`frontier` lacks `--task`", help=help))
    else:
        require_sensible_task(options.evaluate)
    written = [("--html", options.html), ("--svg", options.svg), ("--json", options.json)]
    for flag, name in written:
        if name is not None:
            require_place(name, f"{flag} frontier.{flag.strip('-')}")
    paths = [os.path.realpath(name) for _, name in written if name is not None]
    if len(set(paths)) < len(paths):
        help = "give each a file of its own"
        raise UsageError(Diagnostic("E0423", "two of `--html`, `--svg`, `--json` name one file", help=help))
