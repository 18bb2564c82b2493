"""Decodes the same prompts under two policies, and shows the first step at which they differ.

Not here: a search without a model (`search`), decoding of prompts (`attempts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from ...diagnostics import Diagnostic, UsageError
from ...policy import Policy
from ...runtime.prompt_options import require_of_infill
from ...trace_step import TraceStep
from .. import quoted
from ..attempts import Attempts
from ..evaluation.tasks import model_for, problems_of
from ..process import say
from ..prompts import Prompt, read
from ..results import Result
from .case_text import ComparedSide
from .compare_options import CompareOptions

EQUAL, DIFFERENT = 0, 1


@dataclass(frozen=True, slots=True)
class ComparedPrompt:
    """A prompt under both policies. `step`: the first one that differs, `None` where none does."""

    prompt: Prompt
    results: tuple[Result, Result]
    step: int | None

    @property
    def failed(self) -> bool:
        return any(result.error is not None for result in self.results)

    @property
    def same_text(self) -> bool:
        return self.results[0].ids == self.results[1].ids


def compare_on_prompts(
    options: CompareOptions, sides: Sequence[ComparedSide], policies: Sequence[Policy]
) -> int:
    """Compare, and return the exit status. Raises `UsageError`, before a model is loaded if the arguments
    are wrong.
    """
    from ...models.huggingface import from_pretrained

    prompts = _prompts(options)
    require_of_infill(options.decode)
    for policy in policies:
        policy.drafts(options.decode.lookahead)
    denoiser = from_pretrained(model_for(options.task, options.model), **asdict(options.load))
    decode = replace(options.decode, trace=True)
    results = []
    for side, policy in zip(sides, policies, strict=True):
        attempts = Attempts(denoiser, policy, decode, options.load.dtype)
        found = dict(attempts.results(prompts))
        results.append([found[place] for place in range(len(prompts))])
        say(f"{side.title}: {len(prompts)} prompt{'s' * (len(prompts) != 1)} decoded")
    compared = [
        ComparedPrompt(prompt, (a, b), first_difference(a, b))
        for prompt, a, b in zip(prompts, *results, strict=True)
    ]
    print("\n".join(_lines(compared, sides)))
    same = all(one.step is None and not one.failed for one in compared)
    return EQUAL if same else DIFFERENT


def _prompts(options: CompareOptions) -> list[Prompt]:
    sources = [options.prompts or None, options.file, options.task]
    if sum(one is not None for one in sources) > 1:
        message = "prompts come from one of `--prompt`, `--prompts` and `--task`"
        raise UsageError(Diagnostic("E0423", message, help="leave one: `--task word_problems`"))
    if options.task is not None:
        return [one.prompt for one in problems_of(options.task, options.load.raw)][: options.limit]
    return read(options.prompts, options.file)[: options.limit]


def first_difference(a: Result, b: Result) -> int | None:
    """The first step with other writes, or the first one that only one of them has."""
    first, second = ([_writes(step) for step in steps_of(one)] for one in (a, b))
    for number, (these, those) in enumerate(zip(first, second, strict=False)):
        if these != those:
            return number
    return None if len(first) == len(second) else min(len(first), len(second))


def steps_of(result: Result) -> list[TraceStep]:
    """The steps of a result; none where it failed."""
    return [] if result.trajectory is None else result.trajectory.steps


def _writes(step: TraceStep) -> tuple[frozenset[int], dict[int, int]]:
    return frozenset(step.revoked), dict(step.ids)


def _lines(compared: Sequence[ComparedPrompt], sides: Sequence[ComparedSide]) -> Iterator[str]:
    fine = [one for one in compared if not one.failed]
    others = [one for one in fine if one.step is not None]
    texts = sum(not one.same_text for one in fine)
    yield f"{len(others)} of {len(compared)} prompts have other steps, {texts} another text"
    if len(fine) < len(compared):
        first = next(one for one in compared if one.failed)
        error = next(result.error for result in first.results if result.error is not None)
        yield f"{len(compared) - len(fine)} failed; the first: prompt {quoted(str(first.prompt.id))}: {error.message}"
    for number, side in enumerate(sides):
        forwards = sum(one.results[number].forwards for one in fine)
        tokens = sum(one.results[number].tokens for one in fine)
        rate = f", {tokens / forwards:.2f} tokens a forward" if forwards else ""
        yield f"{side.title}: {forwards} forwards{rate}"
    if others:
        yield from _first(others[0], sides)


def _first(one: ComparedPrompt, sides: Sequence[ComparedSide]) -> Iterator[str]:
    assert one.step is not None
    places = sorted(_places(one))
    where = f", position {places[0]}" if places else ""
    yield ""
    yield f"first difference: prompt {quoted(str(one.prompt.id))}, step {one.step}{where}"
    for side, result in zip(sides, one.results, strict=True):
        steps = steps_of(result)
        yield f"  {side.title}: {_written(steps[one.step]) if one.step < len(steps) else 'has ended'}"


def _places(one: ComparedPrompt) -> set[int]:
    """The positions that only one of the two steps writes, or that they write otherwise."""
    assert one.step is not None
    steps = [steps_of(result)[one.step : one.step + 1] for result in one.results]
    ids = [dict(step[0].ids) if step else {} for step in steps]
    revoked = [set(step[0].revoked) if step else set() for step in steps]
    return {at for at in {*ids[0], *ids[1]} if ids[0].get(at) != ids[1].get(at)} | (revoked[0] ^ revoked[1])


def _written(step: TraceStep) -> str:
    parts = [
        " ".join(
            f"{at} ({step.confidence[at]:.4g})" if at in step.confidence else str(at) for at in positions
        )
        for positions in (step.committed, step.revoked, step.edited)
    ]
    names = ("commits", "revokes", "edits")
    return ", ".join(f"{name} {part}" for name, part in zip(names, parts, strict=True) if part) or "nothing"
