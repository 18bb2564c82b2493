"""`dsldec frontier`: measures settings of policies on a task, and shows accuracy against forwards.

Not here: the arguments (`cli`), measuring (`measuring`), the points (`points`), the picture (`chart`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from ...diagnostics import PolicyError, UsageError
from ...policy import Policy, seed_warning
from ...resources import version
from ...terminal import data
from .. import quoted, quoted_path
from ..displays import CountBar
from ..evaluation.evaluate_options import EvaluateOptions, require_infill
from ..evaluation.problems import EMBEDDED_TASKS, Problem, encoded
from ..evaluation.scorers import Scorer, require_scorable, scorer_of
from ..evaluation.tasks import default_scorer, problems_of, with_defaults
from ..measuring.measurer import Measurer
from ..measuring.scores import Measurement
from ..process import log_on_stderr, say, termination_interrupts
from ..run import DECODED, FAILED, INTERRUPTED
from ..writing import put
from .default_grids import default_grids
from .figures_table import table_of
from .frontier_options import FrontierOptions, require_sensible
from .grids import PolicyGrid, grids_of
from .harness_results import points_of_file
from .points import Frontier, Point, frontier_of, plain, point_of
from .resampling import require_frontier_packages

REASONS_SHOWN = 3


def frontier(options: FrontierOptions) -> int:
    """Measure and show; returns the exit status. Raises `UsageError` and `PolicyError`, before anything is
    decoded if the arguments are wrong.
    """
    with termination_interrupts(), log_on_stderr():
        require_sensible(options)
        require_frontier_packages(pictures=options.pictures)
        others = [point for name in options.results for point in points_of_file(name)]
        if options.evaluate is None:
            _report(frontier_of(others), options, None, None)
            return DECODED
        evaluate = with_defaults(options.evaluate)
        run = _FrontierRun(evaluate)
        status = run.measure()
        points = [*run.points(), *others]
        if points:
            _report(frontier_of(points), options, evaluate, run.scorer)
        if status == INTERRUPTED:
            say(_interrupted(points, evaluate.out))
        return status


@dataclass(slots=True)
class _FrontierRun:
    """One call: its task and its grids. Mistakes are raised when it is made."""

    options: EvaluateOptions
    scorer: Scorer = field(init=False)
    problems: list[Problem] = field(init=False)
    grids: list[PolicyGrid] = field(init=False)
    measurer: Measurer | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        options = self.options
        self.grids = grids_of(options.policies)
        name = options.scorer or default_scorer(options.task)
        self.scorer = scorer_of(name, options.task, options.run_code, options.limits)
        self.problems = problems_of(options.task, options.load.raw, options.split)[: options.limit]
        require_scorable(self.problems, self.scorer)
        require_infill(options, self.problems)

    def measure(self) -> int:
        """Measure all settings; the exit status. A policy that the model cannot run is left out, with a line."""
        from ...models.huggingface import from_pretrained

        options = self.options
        denoiser = from_pretrained(options.model, **asdict(options.load))
        if not self.grids:
            embedded = options.task in EMBEDDED_TASKS
            given = options.decode.gen_length
            length = given if isinstance(given, int) else denoiser.gen_length
            self.grids = default_grids(length if embedded else None)
        self._say_once()
        about = {"task": options.task, "split": options.split}
        self.measurer = Measurer(
            denoiser, self.problems, self.scorer, options.decode, options.out, about=about
        )
        try:
            failed = self._measured(self.measurer)
        except KeyboardInterrupt:
            return INTERRUPTED
        self._say_failures()
        return FAILED if failed or any(measured.failed for *_, measured in self._all()) else DECODED

    def _measured(self, measurer: Measurer) -> bool:
        """Measure policy by policy; whether one of them cannot run."""
        total = sum(len(grid.settings) for grid in self.grids) * len(self.problems)
        before, failed, kept = 0, False, list[PolicyGrid]()
        with CountBar(total) if sys.stderr.isatty() else ExitStack() as bar:

            def tell(finished: int, _: int) -> None:
                if isinstance(bar, CountBar):
                    bar.at(before + finished)

            for grid in self.grids:
                try:
                    measurer.measure(grid.settings, tell)
                    kept.append(grid)
                except (UsageError, PolicyError) as wrong:
                    # With one policy there is nothing else to show.
                    if len(self.grids) == 1 or _is_of_the_store(wrong):
                        raise
                    say(f"{grid.curve} is left out: {wrong}")
                    failed = True
                before += len(grid.settings) * len(self.problems)
        self.grids = kept
        return failed

    def points(self) -> list[Point]:
        """The points of all settings with a result."""
        points = []
        for grid, setting, title, measured in self._all():
            if measured.scores:
                values = _numbers(setting)
                points.append(point_of(grid.curve, title, values, measured, len(self.problems)))
        return points

    def _all(self) -> list[tuple[PolicyGrid, Policy, str, Measurement]]:
        if self.measurer is None:
            return []
        return [
            (grid, setting, title, measured)
            for grid in self.grids
            for setting, title, measured in zip(
                grid.settings, grid.titles, self.measurer.known(grid.settings), strict=True
            )
        ]

    def _say_once(self) -> None:
        """What the user should know before hours of decoding."""
        for grid in self.grids:
            for name in grid.compiled:
                say(f"{grid.curve}: {quoted(name)} is static: each of its values makes a step of its own")
            warning = seed_warning(grid.settings[0], self.options.decode.seed)
            if warning is not None:
                say(f"{grid.curve}: {warning}")

    def _say_failures(self) -> None:
        for _, _, title, measured in self._all():
            reasons = dict.fromkeys(one.error for one in measured.scores if one.error)
            if reasons:
                more = f" and {len(reasons) - REASONS_SHOWN} other reasons" * (len(reasons) > REASONS_SHOWN)
                shown = "; ".join(list(reasons)[:REASONS_SHOWN])
                prompts = f"{measured.failed} prompt{'s' * (measured.failed != 1)}"
                say(f"{title}: {prompts} failed and count as wrong: {shown}{more}")


def _is_of_the_store(wrong: UsageError | PolicyError) -> bool:
    """Whether the folder of the results is wrong, and not a policy."""
    return isinstance(wrong, UsageError) and wrong.diagnostic.code in (
        "E0432", "E0434", "E0438", "E0439", "E0510", "E0511"
    )  # fmt: skip


def _numbers(setting: Policy) -> Mapping[str, Any]:
    return {
        name: value
        for name, value in setting.parameters.items()
        if isinstance(value, bool | int | float | str)
    }


def _report(
    found: Frontier, options: FrontierOptions, evaluate: EvaluateOptions | None, scorer: Scorer | None
) -> None:
    """Print the table, and write the files."""
    for line in table_of(found, options.markdown):
        print(line, file=data())
    data().flush()
    title, subtitle = _titles(found, options, evaluate)
    if options.json is not None:
        whole = {
            "dsldec": version(), "title": title, "task": evaluate and evaluate.task,
            "split": evaluate and evaluate.split, "model": evaluate and evaluate.model,
            "scorer": scorer and scorer.name, "seed": evaluate and evaluate.decode.seed,
            "points": [one.as_json() for one in found.points],
            "aup": {curve.name: curve.aup for curve in found.curves},
        }  # fmt: skip
        put(options.json, encoded(whole).decode() + "\n")
    if options.pictures:
        from .chart import chart_of, svg_of
        from .page import page_of

        if options.svg is not None:
            put(options.svg, svg_of(found, title, subtitle))
        if options.html is not None:
            chart = chart_of(found, title, subtitle, interactive=True)
            put(options.html, page_of(found, chart, title, subtitle))


def _titles(found: Frontier, options: FrontierOptions, evaluate: EvaluateOptions | None) -> tuple[str, str]:
    task = "results of lm-evaluation-harness" if evaluate is None else evaluate.task.replace("_", " ")
    split = f", split {evaluate.split}" if evaluate is not None and evaluate.split else ""
    title = plain(options.title or f"Accuracy and forwards on {task}{split}")
    counts = sorted({one.prompts for one in found.points})
    prompts = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return title, f"{prompts} prompts a setting; bars: 95 % intervals; rings and the grey line: the front"


def _interrupted(points: Sequence[Point], out: str | None) -> str:
    done, whole = sum(one.prompts for one in points), len(points)
    text = f"interrupted: {done} prompts are decoded ({whole} setting{'s' * (whole != 1)})"
    if out is None:
        return f"{text}\n  = help: with `--out results` the same command goes on from there"
    return f"{text} and stored in {quoted_path(out)}\n  = help: the same command goes on from there"
