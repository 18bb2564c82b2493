"""Decodes the same prompts under two policies, and shows the first step at which they differ.

Not here: a search without a model (`search`), decoding of prompts (`attempts`), why a step differs
(`first_difference`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from ...diagnostics import Diagnostic, UsageError, did_you_mean
from ...policy import Policy
from ...runtime.prompt_options import require_of_infill
from ...spelling import typed
from ...trace_step import TraceStep
from .. import quoted, quoted_path
from ..attempts import Attempts
from ..evaluation.tasks import model_for, problems_of
from ..process import say
from ..prompts import Prompt, read
from ..viewing.page import page_of
from ..viewing.page_data import ViewedRun
from ..viewing.page_file import require_page_place
from ..writing import put
from .case_text import ComparedSide
from .compare_options import CompareOptions
from .first_difference import ComparedPrompt, chosen, of_results, recorded, steps_of, why_lines

EQUAL, DIFFERENT = 0, 1
IDS_SHOWN = 8


def compare_on_prompts(
    options: CompareOptions, sides: Sequence[ComparedSide], policies: Sequence[Policy]
) -> int:
    """Compare, and return the exit status. Raises `UsageError`, before a model is loaded if the arguments
    are wrong.
    """
    from ...models.huggingface import from_pretrained

    prompts = _prompts(options)
    if options.html is not None:
        require_page_place(options.html, "--html")
    require_of_infill(options.decode)
    for policy in policies:
        policy.drafts(options.decode.lookahead)
    denoiser = from_pretrained(model_for(options.task, options.model), **asdict(options.load))
    decode = replace(options.decode, trace=True)
    results = []
    both = [Attempts(denoiser, policy, decode, options.load.dtype) for policy in policies]
    for side, attempts in zip(sides, both, strict=True):
        found = dict(attempts.results(prompts))
        results.append([found[place] for place in range(len(prompts))])
        say(f"{side.title}: {len(prompts)} prompt{'s' * (len(prompts) != 1)} decoded")
    compared = [of_results(prompt, a, b) for prompt, a, b in zip(prompts, *results, strict=True)]
    print("\n".join(_lines(compared, sides)))
    _look_inside(options, compared, sides, both)
    same = all(one.step is None and not one.failed for one in compared)
    return EQUAL if same else DIFFERENT


def _look_inside(
    options: CompareOptions,
    compared: Sequence[ComparedPrompt],
    sides: Sequence[ComparedSide],
    attempts: Sequence[Attempts],
) -> None:
    """Decode the prompt of interest again with the values of each step: print why the policies differ there,
    and write the page.
    """
    one = chosen(compared, options.show)
    if one is None:
        which = "every prompt" if options.show is None else f"prompt {quoted(options.show)}"
        if options.html is not None or options.show is not None:
            say(
                f"{which} failed, so there is nothing to look into{' and no page' * (options.html is not None)}"
            )
        return
    if one.step is None and options.html is None and options.show is None:
        return
    seen = recorded(one.prompt, attempts)
    if seen.failed:
        error = next(result.error for result in seen.results if result.error is not None)
        say(f"prompt {quoted(str(one.prompt.id))} failed when its values were recorded: {error.message}")
        return
    print("\n".join(_inside(one, seen, sides, options.show is not None)))
    if options.html is not None:
        viewed = [
            ViewedRun(side.title, result.trajectory, one.prompt.text)
            for side, result in zip(sides, seen.results, strict=True)
            if result.trajectory is not None
        ]
        try:
            put(options.html, page_of(viewed))
        except UsageError as failure:  # the comparison itself is printed, and its status stays
            say(str(failure.diagnostic))
            return
        say(f"{quoted_path(options.html)} shows prompt {quoted(str(one.prompt.id))} under both policies")


def _inside(
    one: ComparedPrompt, seen: ComparedPrompt, sides: Sequence[ComparedSide], asked: bool
) -> Iterator[str]:
    if one.step is None:
        if asked:
            yield f"both policies write the same in each step of prompt {quoted(str(one.prompt.id))}"
        return
    if asked:
        yield from _first(seen if seen.step is not None else one, sides)
    if seen.step is None:
        yield "decoded alone, both write the same: only the rounding of a batch makes this difference"
        return
    yield ""
    yield from why_lines(seen, sides)


def _prompts(options: CompareOptions) -> list[Prompt]:
    sources = [options.prompts or None, options.file, options.task]
    if sum(one is not None for one in sources) > 1:
        message = "prompts come from one of `--prompt`, `--prompts` and `--task`"
        raise UsageError(Diagnostic("E0423", message, help="leave one: `--task word_problems`"))
    if options.task is not None:
        prompts = [one.prompt for one in problems_of(options.task, options.load.raw)][: options.limit]
    else:
        prompts = read(options.prompts, options.file)[: options.limit]
    if options.show is not None:
        _require_id(options.show, prompts)
    return prompts


def _require_id(show: str, prompts: Sequence[Prompt]) -> None:
    """Raise `UsageError` (E0590) where no prompt has the id that `--show` names."""
    ids = [str(prompt.id) for prompt in prompts]
    if show in ids:
        return
    close = did_you_mean(show, ids)
    some = " ".join(quoted(one) for one in ids[:IDS_SHOWN])
    known = f"the ids are {some}" + (f" and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else "")
    help = f"did you mean `--show {typed(close)}`?" if close else known
    raise UsageError(Diagnostic("E0590", f"no prompt has the id {quoted(show)}", help=help))


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
    places = one.places
    where = f", position {places[0]}" if places else ""
    yield ""
    yield f"first difference: prompt {quoted(str(one.prompt.id))}, step {one.step}{where}"
    for side, result in zip(sides, one.results, strict=True):
        steps = steps_of(result)
        yield f"  {side.title}: {_written(steps[one.step]) if one.step < len(steps) else 'has ended'}"


def _written(step: TraceStep) -> str:
    parts = [
        " ".join(
            f"{at} ({step.confidence[at]:.4g})" if at in step.confidence else str(at) for at in positions
        )
        for positions in (step.committed, step.revoked, step.edited)
    ]
    names = ("commits", "revokes", "edits")
    return ", ".join(f"{name} {part}" for name, part in zip(names, parts, strict=True) if part) or "nothing"
