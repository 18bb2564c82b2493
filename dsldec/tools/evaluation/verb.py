"""`dsldec evaluate --task`: decodes a task under policies, scores the answers, and prints the table.

Not here: the arguments (`cli`), decoding of prompts (`attempts`), scores (`scorers`), figures (`figures`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...diagnostics import Diagnostic, PolicyError, UsageError
from ...options import DEFAULT_DECODE, DEFAULT_LOAD, DecodeOptions, LoadOptions
from ...policy import samples_warning, seed_warning
from ...resources import version
from ...runtime.prompt_options import require_of_infill
from ...terminal import data
from .. import quoted_path
from ..attempts import Attempts
from ..displays import Bar
from ..line_options import require_no_infill, with_line
from ..process import log_on_stderr, say, termination_interrupts
from ..results_file import ResultsFile
from ..run import DECODED, FAILED, INTERRUPTED, RunOptions, made_by, warn_of_file
from ..tally import Tally
from ..writing import put
from .answers import AnswerLine, ScoredResult, lines_of, score_file, score_lines, stored
from .chosen_policies import ChosenPolicy, chosen_policies
from .code_runner import CodeLimits
from .figures import Figures, difference_of, figures_of
from .problems import Problem
from .scorers import Scorer, require_scorable, scorer_of
from .table import table
from .tasks import default_scorer, problems_of

if TYPE_CHECKING:
    from ...models.huggingface import HuggingFaceDenoiser

REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """The arguments of the command line. `policies`: `("policy", name)` and `("set", "name=value")`, in
    order. None: not given.
    """

    task: str
    policies: tuple[tuple[str, str], ...] = ()
    scorer: str | None = None
    limit: int | None = None
    model: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    decode: DecodeOptions = DEFAULT_DECODE
    out: str | None = None
    resume: bool = False
    rescore: bool = False
    run_code: bool = False
    limits: CodeLimits = field(default_factory=CodeLimits)
    json: str | None = None
    markdown: bool = False


@dataclass(slots=True)
class Evaluated:
    """A policy, the name of its results file, and without a file its answers."""

    chosen: ChosenPolicy
    file: str | None
    lines: list[AnswerLine] = field(default_factory=list)


def evaluate_task(options: EvaluateOptions) -> int:
    """Evaluate, and return the exit status. Raises `UsageError` and `PolicyError`, before anything is decoded
    if the arguments are wrong.
    """
    with termination_interrupts(), log_on_stderr(), ExitStack() as open_things:
        _require_sensible(options)
        chosen = chosen_policies(options.policies)
        name = options.scorer or default_scorer(options.task)
        scorer = scorer_of(name, options.task, options.run_code, options.limits)
        problems = [
            replace(
                problem, prompt=replace(problem.prompt, n=with_line(options.decode, problem.prompt.given).n)
            )
            for problem in problems_of(options.task, options.load.raw)[: options.limit]
        ]
        require_scorable(problems, scorer)
        _require_infill(options, problems)
        _check_policies(chosen, options, max(problem.prompt.n for problem in problems))
        evaluated = [Evaluated(one, _file(options.out, one, len(chosen))) for one in chosen]
        run = _Run(options, problems, scorer)
        status = DECODED
        try:
            if not options.rescore:
                run.decode(evaluated, open_things)
            run.score(evaluated)
        except KeyboardInterrupt:
            status = INTERRUPTED
        except (UsageError, PolicyError):
            if any(one.lines for one in evaluated):  # stored nowhere else
                _report([run.figures(one) for one in evaluated], options, scorer)
            raise
        figures = [run.figures(one) for one in evaluated]
        _report(figures, options, scorer)
        if status == INTERRUPTED:
            say(_interrupted(figures, options.out))
            return status
        return FAILED if any(one.failed for one in figures) else DECODED


class _Run:
    """One evaluation: its problems and its scorer."""

    def __init__(self, options: EvaluateOptions, problems: Sequence[Problem], scorer: Scorer) -> None:
        self.options, self.scorer = options, scorer
        self.problems = {problem.prompt.id: problem for problem in problems}
        self.prompts = [problem.prompt for problem in problems]
        self.samples = [replace(one, sample=sample) for one in self.prompts for sample in range(one.n)]

    def decode(self, evaluated: Sequence[Evaluated], open_things: ExitStack) -> None:
        """Decode the prompts that have no answer yet, policy by policy."""
        files = {one.chosen.file: self._opened(one, open_things) for one in evaluated}
        for one in evaluated:
            self._require_same_scorer(one)
        denoiser = None
        for one in evaluated:
            file = files[one.chosen.file]
            work = [one for one in self.samples if file is None or (one.id, one.sample) not in file.answered]
            if denoiser is None and work:
                denoiser = self._denoiser()
            with ExitStack() as inside:
                if file is not None:
                    inside.enter_context(file)  # removes torn lines, also where nothing is left to do
                if work:
                    assert denoiser is not None
                    self._decode_all(one, file, work, denoiser)

    def _opened(self, one: Evaluated, open_things: ExitStack) -> ResultsFile | None:
        if one.file is None:
            return None
        how = made_by(one.chosen.policy, self._as_run())
        file = ResultsFile(one.file, self.prompts, resume=self.options.resume, made_by=how)
        open_things.callback(file.close)  # also if something fails before its first line
        warn_of_file(file, self.prompts)
        return file

    def _require_same_scorer(self, one: Evaluated) -> None:
        """Raise `UsageError` (E0437) where a file has scores of another scorer."""
        if one.file is None or not self.options.resume or self.options.rescore:
            return
        others = {line["scorer"] for line in self._lines(one) if "scorer" in line} - {self.scorer.name}
        if others:
            message = f"{quoted_path(one.file)} was scored by `--scorer {min(others)}`, and now `--scorer {self.scorer.name}`"
            help = "first score its answers again: the same command with `--rescore` instead of `--resume`"
            raise UsageError(Diagnostic("E0437", message, help=help))

    def _denoiser(self) -> HuggingFaceDenoiser:
        from ...models.huggingface import from_pretrained

        return from_pretrained(self.options.model, **asdict(self.options.load))

    def _decode_all(
        self, one: Evaluated, file: ResultsFile | None, work: Sequence[Any], denoiser: HuggingFaceDenoiser
    ) -> None:
        attempts = Attempts(denoiser, one.chosen.policy, self.options.decode, self.options.load.dtype)
        noun = "prompt" if len(self.samples) == len(self.prompts) else "sample"
        tally = Tally(len(work), len(self.samples) - len(work), noun)
        with Bar(len(work)) if sys.stderr.isatty() else ExitStack() as bar:
            tally.start()
            for place, result in _timed(attempts.results(work), self._scored):
                if file is not None:
                    file.append(result)
                else:
                    one.lines.append(result.line())
                tally.add(result)
                if isinstance(bar, Bar):
                    bar.finished(place, result)
            tally.stop()
        for line in tally.errors():
            say(line)
        say(f"{one.chosen.title}: {tally.summary()}")

    def _scored(self, result: Any, wall_seconds: float) -> ScoredResult:
        judged = None
        if result.error is None and not self.scorer.slow:
            judged = self.scorer.judged(self.problems[result.prompt.id], result.text)
        return ScoredResult.of(result, judged, self.scorer.name, wall_seconds)

    def score(self, evaluated: Sequence[Evaluated]) -> None:
        """Score the answers that have no score yet; with `--rescore` all."""
        for one in evaluated:
            if one.file is None:
                score_lines(one.lines, self.problems, self.scorer, self.options.rescore)
            elif os.path.exists(one.file):
                score_file(one.file, self.problems, self.scorer, self.options.rescore)

    def figures(self, one: Evaluated) -> Figures:
        parameters = {
            name: value
            for name, value in one.chosen.policy.parameters.items()
            if not isinstance(value, tuple)
        }
        return figures_of(one.chosen.title, parameters, self._lines(one), len(self.prompts))

    def _lines(self, one: Evaluated) -> list[AnswerLine]:
        return one.lines if one.file is None else [*lines_of(stored(one.file), self.problems)]

    def _as_run(self) -> RunOptions:
        return RunOptions(model=self.options.model, load=self.options.load, decode=self.options.decode)


def _timed(results: Iterator[Any], scored: Any) -> Iterator[tuple[int, ScoredResult]]:
    """The results with their scores. The time of scoring and of storing does not count as decoding."""
    while True:
        before = time.monotonic()
        found = next(results, None)
        if found is None:
            return
        place, result = found
        yield place, scored(result, time.monotonic() - before)


def _require_sensible(options: EvaluateOptions) -> None:
    """Raise `UsageError` (E0423) for options without a meaning together."""
    for name, given in (("--resume", options.resume), ("--rescore", options.rescore)):
        if given and options.out is None:
            help = f"name the folder of the results: `--out results {name}`"
            raise UsageError(Diagnostic("E0423", f"`{name}` needs `--out`", help=help))
    if options.out is not None and os.path.exists(options.out) and not os.path.isdir(options.out):
        message = f"`--out` is a folder, and {quoted_path(options.out)} is a file"
        raise UsageError(Diagnostic("E0432", message, help="for example `--out results`"))


def _require_infill(options: EvaluateOptions, problems: Sequence[Problem]) -> None:
    """Raise `UsageError` (E0423) for options and lines that `--infill` cannot follow."""
    if not options.decode.infill:
        return
    require_of_infill(options.decode)
    if options.decode.gen_length is not None:
        help = "leave `--gen-length` out: the gaps give the number of tokens, `[MASK*8]` is eight"
        raise UsageError(Diagnostic("E0423", "`--gen-length` cannot be used with `--infill`", help=help))
    for problem in problems:
        require_no_infill(problem.prompt.given, problem.prompt.messages, problem.place)


def _check_policies(chosen: Sequence[ChosenPolicy], options: EvaluateOptions, samples: int) -> None:
    """Mistakes of policies and warnings about them, before a model is loaded. `samples`: the most of a
    prompt.
    """
    for one in chosen:
        one.policy.drafts(options.decode.lookahead)
        seed = seed_warning(one.policy, options.decode.seed)
        for warning in (seed, samples_warning(one.policy, samples)):
            if warning is not None:
                say(f"{one.title}: {warning}" if len(chosen) > 1 else str(warning))


def _file(out: str | None, chosen: ChosenPolicy, policies: int) -> str | None:
    """The results file of a policy, in the folder `out`, which is made."""
    if out is None:
        return None
    try:
        os.makedirs(out, exist_ok=True)
    except (OSError, ValueError) as failure:
        why = ((isinstance(failure, OSError) and failure.strerror) or str(failure)).lower()
        message = f"the folder {quoted_path(out)} cannot be made: {why}"
        raise UsageError(
            Diagnostic("E0432", message, help="name a folder of yours: `--out results`")
        ) from None
    return os.path.join(out, chosen.file)


def _report(figures: Sequence[Figures], options: EvaluateOptions, scorer: Scorer) -> None:
    """Print the table, and write the JSON file."""
    known = [one for one in figures if one.prompts or one.unscored]
    differences = [difference_of(one, known[0]) for one in known[1:] if one.scores and known[0].scores]
    if known:
        for line in table(known, differences, options.markdown):
            print(line, file=data())
        data().flush()
    for line in [line for one in known for line in _reasons(one)]:
        say(line)
    if options.json is not None:
        from .problems import encoded

        whole = {
            "dsldec": version(), "task": options.task, "scorer": scorer.name, "model": options.model,
            "seed": options.decode.seed, "policies": [one.as_json() for one in figures],
            "differences": [one.as_json() for one in differences],
        }  # fmt: skip
        put(options.json, encoded(whole).decode() + "\n")


def _reasons(one: Figures) -> Iterator[str]:
    """The most frequent reasons of zeros, apart from a wrong answer."""
    for why, answers in one.reasons[:REASONS_SHOWN]:
        yield f"{one.policy}: {answers} answer{'s' * (answers != 1)} scored 0: {why}"
    if (hidden := len(one.reasons) - REASONS_SHOWN) > 0:
        yield f"{one.policy}: and {hidden} other reason{'s' * (hidden != 1)}, in the field `why` of the results"


def _interrupted(figures: Sequence[Figures], out: str | None) -> str:
    counts = "; ".join(f"{one.policy}: {one.prompts + one.unscored} of {one.of} prompts" for one in figures)
    if out is None:
        return f"interrupted: {counts}\n  = help: with `--out results` an evaluation can be continued by `--resume`"
    return f"interrupted: {counts}\n  = help: the same command with `--resume` continues"
