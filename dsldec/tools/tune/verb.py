"""`dsldec tune`: searches, reports on held-out prompts, and prints the command with the chosen values.

Not here: the arguments (`cli`), the search (`search`), decoding and scores (`measuring`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from ...policy import Policy, load
from ...terminal import data
from ..differences import digest
from ..displays import CountBar
from ..evaluation.problems import Problem
from ..evaluation.scorers import Scorer, require_scorable, scorer_of
from ..evaluation.tasks import default_scorer, model_for, problems_of
from ..measuring.measurer import Measurer
from ..measuring.prompt_split import PromptSplit, split_of
from ..measuring.scores import Measurement
from ..process import log_on_stderr, say, termination_interrupts
from ..results_file import check_unique
from ..run import DECODED, FAILED, INTERRUPTED, RunOptions, made_by
from ..settings import title
from .floor import AccuracyFloor, floor_of
from .held_out import HeldOutFigures, held_out_figures
from .proposals import number_of_settings, require_optuna
from .search import SearchPlan, measured_whole, search, tried_setting
from .searched import Searched, searched_parameters
from .trials import STUDY_FILE, TrialsFile, TriedSetting, best_of
from .tune_options import (
    SECONDS,
    TEST,
    TuneOptions,
    require_sensible_search,
    require_test_split,
    study_folder,
)
from .tune_report import (
    line_of_round,
    lines_of_result,
    lines_of_search,
    lines_of_verdict,
    none_reaches,
    pasted,
    require_answers,
    require_right_answers,
    write_json,
)

if TYPE_CHECKING:
    from ...models.huggingface import HuggingFaceDenoiser


def tune(options: TuneOptions) -> int:
    """Search, and return the exit status. Raises `UsageError` and `PolicyError`, before anything is decoded
    if the arguments are wrong.
    """
    with termination_interrupts(), log_on_stderr(), ExitStack() as open_things:
        require_optuna()
        require_sensible_search(options)
        options = replace(options, model=model_for(options.model, options.task))
        floor = floor_of(options.floor)
        policy, searched = searched_parameters(load(options.policy), options.settings, options.static)
        baseline = policy if options.baseline is None else load(options.baseline)
        scorer = scorer_of(
            options.scorer or default_scorer(options.task), options.task, options.run_code, options.limits
        )
        split = _split(options, scorer)
        folder = study_folder(options.out)
        tuned = _Tuned(options, policy, searched, baseline, floor, split, scorer, folder)
        return tuned.run(open_things)


def _split(options: TuneOptions, scorer: Scorer) -> PromptSplit:
    raw, test = options.load.raw, None
    problems = problems_of(options.task, raw)[: options.limit]
    if options.report == TEST:
        require_test_split(options.task)
        test = problems_of(options.task, raw, TEST)
    split = split_of(problems, options.calibration, options.decode.seed, test)
    for several in (split.calibration, split.held_out):
        check_unique([problem.prompt for problem in several])
        require_scorable(several, scorer)
    return split


@dataclass(slots=True)
class _Tuned:
    """One search: its arguments, its prompts and its denoiser."""

    options: TuneOptions
    policy: Policy
    searched: Sequence[Searched]
    baseline: Policy
    floor: AccuracyFloor
    split: PromptSplit
    scorer: Scorer
    folder: str | None
    denoiser: HuggingFaceDenoiser | None = None
    measurers: dict[tuple[str | int, ...], Measurer] = field(default_factory=dict)

    def run(self, open_things: ExitStack) -> int:
        """Search and report; returns the exit status."""
        tried: list[TriedSetting] = []
        plan = SearchPlan(
            self.policy, self.searched, self.split.calibration, 0.0, self.options.minimise == SECONDS,
            self.options.decode.seed, self.options.trials,
        )  # fmt: skip
        try:
            file = self._file(open_things)
            tried = file.tried if file is not None else tried
            calibrated = measured_whole(self.baseline, plan.problems, self._measured)
            require_right_answers(calibrated, self.floor)
            plan = replace(plan, floor=self.floor.accuracy(calibrated.accuracy))
            self._announce(plan, calibrated)
            keep = tried.extend if file is None else file.append

            def store(round_: Sequence[TriedSetting]) -> None:
                keep(round_)
                say(line_of_round(plan, tried))

            search(plan, self._measured, tried, store)
            return self._report(plan, tried, tried_setting({}, calibrated, plan))
        except KeyboardInterrupt:
            self._interrupted(plan, tried)
            return INTERRUPTED

    def _file(self, open_things: ExitStack) -> TrialsFile | None:
        if self.folder is None:
            return None
        options = self.options
        given = {one.partition("=")[0].strip(): one.partition("=")[2].strip() for one in options.settings}
        more = {
            "task": options.task, "scorer": self.scorer.name, "calibration": self.split.noted,
            "search": ", ".join(f"{one.name}={given[one.name]}" for one in self.searched),
            "floor": str(self.floor), "minimise": options.minimise,
            "baseline": f"{title(self.baseline)} {digest(str(self.baseline.program))}",
            "seed": options.decode.seed,
        }  # fmt: skip
        as_run = RunOptions(model=options.model, load=options.load, decode=options.decode)
        run = made_by(self.policy, as_run, more)["run"]
        file = TrialsFile(os.path.join(self.folder, STUDY_FILE), run, self.searched)
        open_things.callback(file.close)
        if file.unlocked is not None:
            say(str(file.unlocked))
        if file.tried:
            say(
                f"{len(file.tried)} trial{'s' * (len(file.tried) != 1)} of {options.trials} are stored already"
            )
        return open_things.enter_context(file)

    def _measured(self, policies: Sequence[Policy], problems: Sequence[Problem]) -> list[Measurement]:
        """The measurements of policies on some prompts. Raises `PolicyError` (E0537) for a failed prompt."""
        measurer = self._measurer(problems)
        if sys.stderr.isatty():
            with CountBar(len(policies) * len(problems)) as bar:
                found = measurer.measure(policies, lambda finished, total: bar.at(finished))
        else:
            found = measurer.measure(policies)
        require_answers(found)
        return found

    def _measurer(self, problems: Sequence[Problem]) -> Measurer:
        """The measurer of some prompts. It keeps their results where there is no `--out`."""
        key = tuple(problem.prompt.id for problem in problems)
        if key not in self.measurers:
            if self.denoiser is None:
                from ...models.huggingface import from_pretrained

                self.denoiser = from_pretrained(self.options.model, **asdict(self.options.load))
            store = None if self.folder is None else os.path.join(self.folder, "answers")
            about = {"task": self.options.task}
            self.measurers[key] = Measurer(
                self.denoiser, problems, self.scorer, self.options.decode, store, about=about
            )
        return self.measurers[key]

    def _announce(self, plan: SearchPlan, calibrated: Measurement) -> None:
        size = number_of_settings(self.searched)
        several = f"{size} settings" if size is not None and size <= plan.trials else f"{plan.trials} trials"
        say(
            f"{several} on {len(plan.problems)} calibration prompts; the baseline {calibrated.title} has "
            f"{calibrated.accuracy:.3f} right in {calibrated.forwards:.2f} forwards; floor {plan.floor:.3f}"
        )

    def _report(self, plan: SearchPlan, tried: Sequence[TriedSetting], baseline: TriedSetting) -> int:
        self._print(lines_of_search(plan, tried))
        best, figures = best_of(tried), None
        if best is not None:
            figures = self._held_out(plan.policy.bind(**best.setting))
            self._print(["", *lines_of_result(best, plan, figures)])
            self._print(["", *lines_of_verdict(figures, self.floor)])
            self._print([pasted(self.options, best.setting)])
        if self.options.json is not None:
            write_json(self.options.json, self.options, plan, tried, baseline, figures)
        if best is None:
            say(str(none_reaches(plan, tried)))
            return FAILED
        return DECODED

    def _held_out(self, chosen: Policy) -> HeldOutFigures:
        both = [chosen, self.baseline]
        if self.options.minimise == SECONDS:
            first, second = (self._measured([one], self.split.held_out)[0] for one in both)
        else:
            first, second = self._measured(both, self.split.held_out)
        return held_out_figures(first, second, self.floor)

    def _interrupted(self, plan: SearchPlan, tried: Sequence[TriedSetting]) -> None:
        best = best_of(tried)
        if best is not None:
            self._print(lines_of_result(best, plan, None))
            self._print([pasted(self.options, best.setting)])
        number = f"{len(tried)} of {self.options.trials} trials"
        goes_on = (
            "the same command goes on"
            if self.folder is not None
            else "with `--out FOLDER` a search can go on"
        )
        say(f"interrupted: {number}\n  = help: {goes_on}")

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            print(line, file=data())
        data().flush()
