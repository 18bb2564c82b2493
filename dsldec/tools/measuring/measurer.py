"""Decodes prompts under many policies, scores the answers, and keeps the results.

Policies that differ in dynamic parameters alone have one step, and their prompts share full batches: each row
has its own values. Other policies follow one after the other. Not here: decoding of prompts (`attempts`),
what decides a result (`identity`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from ...checks.values import Value
from ...diagnostics import Diagnostic, UsageError
from ...options import DEFAULT_DECODE, DecodeOptions
from ...policy import Policy
from .. import quoted_path
from ..attempts import Attempts
from ..evaluation.answers import MOST_PROCESSES
from ..evaluation.problems import Problem
from ..evaluation.scorers import Judged, Scorer, require_scorable
from ..line_options import with_line
from ..output_places import make_folder
from ..process import say
from ..results import Result
from ..results_file import check_unique
from ..settings import title
from .identity import digest_of, identity_of, of_setting, prompt_digest
from .scores import Measurement, PromptScore
from .scores_file import ScoresFile

# Called with the number of finished prompts and the number of all, over all policies of a call.
MeasuringProgress = Callable[[int, int], None]


@dataclass(slots=True)
class MeasuredSetting:
    """A policy with its parameter values, its scores by the digest of the prompt, and its file."""

    policy: Policy
    identity: dict[str, Any]
    scores: dict[str, PromptScore] = field(default_factory=dict)
    file: ScoresFile | None = None


@dataclass(frozen=True, slots=True)
class PromptToMeasure:
    """One prompt to decode under one setting. `values`: parameters that differ from those of the step."""

    setting: MeasuredSetting
    values: Mapping[str, Value]
    place: int


class Measurer:
    """Measures policies on problems. The folder `store` and this object hold the results.

    `decode`: options of all policies. `backend="auto"` is `eager` on a CPU, where the forward takes nearly
    all of the time. `about`: what else decides a result, such as the name of the task and of its split.
    Raises `UsageError`: E0423 for several samples a prompt, E0431 for two prompts with one id, E0480 for a
    problem without an answer to compare with.
    """

    def __init__(
        self,
        denoiser: Any,
        problems: Sequence[Problem],
        scorer: Scorer,
        decode: DecodeOptions = DEFAULT_DECODE,
        store: str | None = None,
        *,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        check_unique([problem.prompt for problem in problems])
        require_scorable(problems, scorer)
        _require_one_sample(decode, problems)
        self.denoiser, self.problems, self.scorer, self.store = denoiser, list(problems), scorer, store
        on_cpu = getattr(getattr(denoiser, "device", None), "type", "cpu") == "cpu"
        self.decode = replace(decode, backend="eager") if on_cpu and decode.backend == "auto" else decode
        self._shared = {**identity_of(denoiser, decode, scorer.name), **(about or {})}
        self._keys = [prompt_digest(problem) for problem in self.problems]
        self._settings: dict[str, MeasuredSetting] = {}

    def measure(
        self, policies: Sequence[Policy], progress: MeasuringProgress | None = None
    ) -> list[Measurement]:
        """The measurements of the policies, in this order. Only prompts without a result are decoded.

        A prompt that fails counts as wrong, and is tried again by another `Measurer`. After an interruption,
        `known` has the finished prompts. Raises `UsageError` for a policy that the model cannot run, and
        E0510, E0511 for a file in the folder that is not of its setting.
        """
        # A policy that is given twice is measured once.
        settings = list({id(one): one for one in map(self._setting, policies)}.values())
        with ExitStack() as files:
            for setting in settings:
                self._open(setting, files)
            batches = [*_batches(self._tasks(settings))]
            total, done = len(settings) * len(self.problems), sum(map(self._finished, settings))
            tell = progress or (lambda finished, all_: None)
            tell(done, total)
            for base, tasks in batches:
                for _ in self._decoded(base, tasks):
                    done += 1
                    tell(done, total)
        return self.known(policies)

    def known(self, policies: Sequence[Policy]) -> list[Measurement]:
        """The measurements of the policies so far, in this order: of some prompts, or of all."""
        return [self._measurement(self._setting(policy)) for policy in policies]

    def _setting(self, policy: Policy) -> MeasuredSetting:
        identity = of_setting(policy, self._shared)
        return self._settings.setdefault(digest_of(identity), MeasuredSetting(policy, identity))

    def _finished(self, setting: MeasuredSetting) -> int:
        return sum(key in setting.scores for key in self._keys)

    def _measurement(self, setting: MeasuredSetting) -> Measurement:
        found = [
            (one.prompt.id, setting.scores.get(key))
            for one, key in zip(self.problems, self._keys, strict=True)
        ]
        known = [(id_, score) for id_, score in found if score is not None]
        scores = tuple(score for _, score in known)
        seconds = sum(score.seconds for score in scores)
        return Measurement(title(setting.policy), scores, seconds, tuple(id_ for id_, _ in known))

    def _open(self, setting: MeasuredSetting, files: ExitStack) -> None:
        """Open the file of a setting until the end of `measure`, and take its scores."""
        if self.store is None:
            return
        make_folder(self.store, "--out results")
        setting.file = file = ScoresFile(self.store, setting.policy.name, setting.identity)
        files.callback(_release, setting)
        files.enter_context(file)
        setting.scores = {**file.scores, **setting.scores}
        if file.unlocked is not None:
            say(str(file.unlocked))
        if file.torn:
            say(
                f"a line of {quoted_path(file.name)} removed, cut off by a crash: the prompt is decoded again"
            )

    def _tasks(self, settings: Sequence[MeasuredSetting]) -> Iterator[PromptToMeasure]:
        for setting in settings:
            for place, key in enumerate(self._keys):
                if key not in setting.scores:
                    yield PromptToMeasure(setting, {}, place)

    def _decoded(self, base: Policy, tasks: Sequence[PromptToMeasure]) -> Iterator[PromptToMeasure]:
        """Decode the tasks in shared batches, and keep each score. Gives each task when it is finished."""
        values = [task.values for task in tasks] if any(task.values for task in tasks) else None
        attempts = Attempts(self.denoiser, base, self.decode, parameters=values)
        work = [self.problems[task.place].prompt for task in tasks]
        rows = min(self.decode.batch, len(work))
        with _ScoringQueue(self.scorer) as scoring:
            try:
                for place, result in attempts.results(work):
                    scoring.add(tasks[place], self.problems[tasks[place].place], result)
                    yield from self._kept(scoring.ready(), rows)
                yield from self._kept(scoring.rest(), rows)
            except BaseException:
                # After an interruption: the scores that came on averagetime.
                for _ in self._kept(scoring.ready(), rows):
                    pass
                raise

    def _kept(
        self, scored: Iterator[tuple[PromptToMeasure, Result, Judged]], rows: int
    ) -> Iterator[PromptToMeasure]:
        for task, result, judged in scored:
            self._keep(task, result, judged, rows)
            yield task

    def _keep(self, task: PromptToMeasure, result: Result, judged: Judged, rows: int) -> None:
        error = "" if result.error is None else f"{result.error.code}: {result.error.message}"
        score = PromptScore(judged.score, result.forwards, result.tokens, result.seconds / rows, error)
        key = self._keys[task.place]
        task.setting.scores[key] = score
        if task.setting.file is not None:
            task.setting.file.append(result.prompt.id, key, score, result.text)


class _ScoringQueue:
    """Scores results, in threads where the scorer is slow."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._pool = ThreadPoolExecutor(min(MOST_PROCESSES, os.cpu_count() or 1)) if scorer.slow else None
        self._waiting: list[tuple[PromptToMeasure, Result, Judged | Future[Judged]]] = []

    def __enter__(self) -> _ScoringQueue:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def add(self, task: PromptToMeasure, problem: Problem, result: Result) -> None:
        judged: Judged | Future[Judged]
        if result.error is not None:
            judged = Judged(0.0)
        elif self._pool is None:
            judged = self._scorer.judged(problem, result.text)
        else:
            judged = self._pool.submit(self._scorer.judged, problem, result.text)
        self._waiting.append((task, result, judged))

    def ready(self) -> Iterator[tuple[PromptToMeasure, Result, Judged]]:
        """The results whose scores are known, without waiting."""
        waiting, self._waiting = self._waiting, []
        for task, result, judged in waiting:
            if isinstance(judged, Judged):
                yield task, result, judged
            elif judged.done():
                yield task, result, judged.result()
            else:
                self._waiting.append((task, result, judged))

    def rest(self) -> Iterator[tuple[PromptToMeasure, Result, Judged]]:
        """All other results."""
        while self._waiting:
            task, result, judged = self._waiting[0]
            known = judged if isinstance(judged, Judged) else judged.result()
            del self._waiting[0]
            yield task, result, known


def _batches(tasks: Iterator[PromptToMeasure]) -> Iterator[tuple[Policy, list[PromptToMeasure]]]:
    """The tasks that may share batches, with the policy whose step decodes them."""
    from ...runtime.request_parameters import values_beside

    of_step: list[tuple[Policy, list[PromptToMeasure]]] = []
    values: dict[int, tuple[list[PromptToMeasure], Mapping[str, Value]]] = {}  # by setting
    for task in tasks:
        setting = task.setting
        if id(setting) not in values:
            for base, members in of_step:
                beside = values_beside(base, setting.policy)
                if beside is not None:
                    values[id(setting)] = members, beside
                    break
            else:
                of_step.append((setting.policy, []))
                values[id(setting)] = of_step[-1][1], {}
        members, own = values[id(setting)]
        members.append(replace(task, values=own))
    yield from of_step


def _release(setting: MeasuredSetting) -> None:
    if setting.file is not None:
        setting.file.close()
    setting.file = None


def _require_one_sample(decode: DecodeOptions, problems: Sequence[Problem]) -> None:
    """Raise `UsageError` (E0423) for several samples of a prompt."""
    if any(with_line(decode, problem.prompt.given).n > 1 for problem in problems):
        message = "policies are compared with one sample a prompt"
        help = "leave `--n` and the field `n` out; `dsldec evaluate` takes several samples"
        raise UsageError(Diagnostic("E0423", message, help=help))
