"""`dsldec evolve`: searches for policies on a task, writes the front, and tests it on held-out prompts.

Not here: the arguments (`cli`), the search itself (`search`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ...diagnostics import UsageError
from ...options import LOAD
from ...resources import version
from ...spelling import typed
from ...terminal import data
from ..differences import digest
from ..evaluation.code_runner import CodeLimits
from ..evaluation.problems import Problem
from ..evaluation.scorers import Scorer, require_scorable, scorer_of
from ..evaluation.tasks import default_scorer, model_for, problems_of
from ..measuring.identity import weights_digest
from ..measuring.measurer import Measurer
from ..measuring.prompt_split import PromptSplit, split_of
from ..process import log_on_stderr, say, termination_interrupts
from ..results_file import check_unique
from ..run import DECODED, INTERRUPTED
from . import report
from .candidates import Individual, NotSearchable, SizeLimits, as_diagnostic, start_of
from .evolve_options import EvolveOptions, StartPolicy, start_policies
from .front import FrontPolicy, written_front
from .journal import FRONT, SCORES, Journal
from .racing import Contestant, Race
from .report import TestedPolicy
from .search import EvolutionSearch, SearchSize
from .shrinking import shrunk

if TYPE_CHECKING:
    from ...models.huggingface import HuggingFaceDenoiser

HEATS = (20, 60)  # the prompts of the first heats; the last heat has all calibration prompts
FORWARDS_A_TOKEN = 4  # the largest proved bound on forwards, for each token of an answer


def evolve(options: EvolveOptions) -> int:
    """Search, and return the exit status. Raises `UsageError` and `PolicyError`, before anything is decoded
    if the arguments are wrong.
    """
    with termination_interrupts(), log_on_stderr():
        starts = start_policies(options.starts)
        for one in starts:
            _require_start(one)
        scorer = scorer_of(options.scorer or default_scorer(options.task), options.task, False, CodeLimits())
        options = replace(options, model=model_for(options.task, options.model))
        problems = problems_of(options.task, options.load.raw)[: options.limit]
        check_unique([problem.prompt for problem in problems])
        require_scorable(problems, scorer)
        split = split_of(problems, options.calibration, options.seed)
        journal = Journal(options.out)
        journal.begin(_settings(options, starts, split))
        try:
            _Evolution(options, starts, split, scorer, journal).run()
        except KeyboardInterrupt:
            say("interrupted: the finished generations are stored\n  = help: the same command goes on")
            return INTERRUPTED
    return DECODED


def _require_start(one: StartPolicy) -> None:
    """Raises `UsageError` (E0541) for a policy that the search cannot start from."""
    try:
        start_of(one.policy, SizeLimits.none())
    except NotSearchable as why:
        raise UsageError(as_diagnostic(one.title, why)) from None


def _settings(options: EvolveOptions, starts: Sequence[StartPolicy], split: PromptSplit) -> dict[str, Any]:
    """The options that decide a search, to compare it with the search of a folder."""
    return {
        "dsldec": version(), "task": options.task, "scorer": options.scorer, "model": options.model,
        "start": [f"{one.title} {digest(one.policy.facts.source)}" for one in starts], "generations": options.generations, "population": options.population,
        "seed": options.seed, "floor": options.floor, "budget": None if options.budget == float("inf") else options.budget,
        "nodes": options.nodes, "gen_length": options.decode.gen_length,
        "prompts": [split.noted, len(split.held_out)],
        "load": {name: getattr(options.load, name) for name, one in LOAD.items() if one.decides},
    }  # fmt: skip


class _Evolution:
    """One run of the verb: its prompts, its model, its search."""

    def __init__(
        self, options: EvolveOptions, starts: Sequence[StartPolicy], split: PromptSplit, scorer: Scorer, journal: Journal
    ) -> None:  # fmt: skip
        self.options, self.split, self.scorer, self.journal = options, split, scorer, journal
        self.denoiser = self._denoiser()
        # A path says nothing about a training that has written there since.
        journal.require_weights(weights_digest(self.denoiser))
        length = options.decode.gen_length
        self.length = length if isinstance(length, int) else self.denoiser.gen_length
        self.limits = SizeLimits(
            nodes=options.nodes, gen_length=self.length, forwards=FORWARDS_A_TOKEN * self.length
        )
        self.starts = [self._start(at, one) for at, one in enumerate(starts)]
        self.titles = {one.id: start.title for one, start in zip(self.starts, starts, strict=True)}

    def run(self) -> None:
        options = self.options
        size = SearchSize(
            options.generations, options.population, options.seed, options.floor, options.budget
        )
        race = Race([self._measurer(part) for part in self._heats()], say)
        search = EvolutionSearch(self.journal, race, size, self.limits, say)
        search.run(self.starts)
        say("shrinking: parts without effect on the calibration prompts are removed")
        front = [shrunk(one, race, self.limits) for one in search.front()]
        found = written_front(self.journal, front, search.everyone(), self.titles, self._how())
        self._test(found, search)
        self._help(found)

    def _start(self, at: int, one: StartPolicy) -> Individual:
        text, policy = start_of(one.policy, SizeLimits.none())
        return Individual(f"g000-{at:02}", text, (), (f"the start {one.title}",), policy)

    def _denoiser(self) -> HuggingFaceDenoiser:
        from ...models.huggingface import from_pretrained

        return from_pretrained(self.options.model, **asdict(self.options.load))

    def _measurer(self, problems: Sequence[Problem]) -> Measurer:
        decode = replace(self.options.decode, gen_length=self.length)
        about = {"task": self.options.task}
        return Measurer(self.denoiser, problems, self.scorer, decode, self.journal.path(SCORES), about=about)

    def _heats(self) -> list[list[Problem]]:
        prompts = [*self.split.calibration]
        ends = [end for end in HEATS if end < len(prompts)] + [len(prompts)]
        return [prompts[first:end] for first, end in zip([0, *ends], ends, strict=False)]

    def _how(self) -> str:
        options = self.options
        return f"task {options.task}, seed {options.seed}, {options.generations} generations of {options.population} policies"

    def _test(self, found: Sequence[FrontPolicy], search: EvolutionSearch) -> None:
        """Measure the front and the starts on the held-out prompts, and print the tables."""
        measurer = self._measurer(self.split.held_out)

        def tested(name: str, one: Contestant) -> TestedPolicy:
            return TestedPolicy(name, one, measurer.measure([one.individual.policy])[0].scores)

        front = [tested(one.name, one.contestant) for one in found]
        starts = [tested(self.titles[one.id], search.all[one.id]) for one in self.starts]
        for line in report.lines(front, starts):
            print(line, file=data())
        data().flush()

    def _help(self, found: Sequence[FrontPolicy]) -> None:
        for one in found[:1]:
            path = self.journal.path(FRONT, f"{one.name}.policy")
            count = f"{len(found)} policies are" if found[1:] else "1 policy is"
            say(f"\n{count} in {self.journal.path(FRONT)}, the lineage is in lineage.jsonl")
            say(f"  = help: `dsldec evaluate --task {typed(self.options.task)} --policy {typed(path)}`")
