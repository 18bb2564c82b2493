"""`dsldec bench batch`: tokens a second of many prompts side by side, as a multiple of batches one after the
other.

The compared methods: batches one after the other, each until all its prompts are finished; a waiting prompt
takes the row of a finished one; the same with the logits of whole canvases; the same with each cache that the
model and the policy support. Not here: timing (`rounds`), the quality of answers without a cache
(`evaluate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch

from ..models.huggingface import HuggingFaceDenoiser, from_pretrained
from ..models.tasks import TASKS, Example
from ..policy import Policy
from . import bench
from .answers import all_decoded
from .evaluate import LENGTHS, held_out
from .rounds import Ratio, measured
from .settings import chosen

TASK = "word_problems"
AFTER_EACH_OTHER, REFILLED, ALL_LOGITS = (
    "batches one after the other",
    "waiting prompts take free rows",
    "the same, with logits of whole canvases",
)


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The options of the measurement, and the file of its results."""

    policy: str = "threshold"
    settings: tuple[str, ...] = ()
    model: str | None = None
    prompts: int = 200
    batch: int = 8
    gen_length: int = LENGTHS[TASK]
    backend: str = "eager"
    rounds: int = 3
    threads: int | None = None
    json: str | None = None


class BatchAnswers(NamedTuple):
    """All ids of each prompt, the total of tokens and of input rows, and the share of right answers."""

    ids: list[list[int]]
    tokens: int
    rows: int
    right: float


class AllLogits:
    """A denoiser that computes the logits of all columns. All other attributes are those of `denoiser`."""

    selects_columns = False

    def __init__(self, denoiser: Any) -> None:
        self.denoiser = denoiser

    def __call__(self, ids: torch.Tensor, **how: Any) -> torch.Tensor:
        logits: torch.Tensor = self.denoiser(ids, **how)
        return logits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)


def bench_batch(options: BatchOptions) -> int:
    """Measure and print; returns the exit status. Raises `PolicyError` and `UsageError` for the user's
    mistakes.
    """
    bench.require_writable(options.json)
    policy = chosen(options.policy, options.settings)
    bench.use_threads(options.threads)
    denoiser = from_pretrained(options.model)
    examples = held_out(TASK, options.prompts)
    all_decoded(
        denoiser, [examples[0].prompt], policy, gen_length=options.gen_length, backend="eager"
    )  # the probes of a new model run only once
    calls = _calls(denoiser, examples, policy, options)
    answers: dict[str, BatchAnswers] = {}
    report = bench.progress("many prompts")
    models_calls: dict[str, int] = {}
    for name, call in calls.items():
        report(f"first decode, not timed: {name}")
        with counted(denoiser.model) as counts:
            answers[name] = call()
        models_calls[name] = len(counts)
    require_same(answers)
    seconds = measured(calls, options.rounds, torch.device(denoiser.device), report)
    lengths = sorted(len(denoiser.encode(example.prompt)) for example in examples)
    print(
        f"tokens a second as a multiple of those of {AFTER_EACH_OTHER}, `{policy.name}`, batches of {options.batch}:"
    )
    print(
        f"{len(lengths)} prompts of {lengths[0]} to {lengths[-1]} tokens, at most {options.gen_length} to generate, end of text ends a row"
    )
    print(f"median and quartiles of {options.rounds} rounds; {bench.machine_line(denoiser.device)}\n")
    print(*table(seconds, answers, models_calls), sep="\n")
    if options.json is not None:
        bench.write_json(
            options.json, results(seconds, answers, models_calls, bench.machine(denoiser.device))
        )
    return 0


def _calls(
    denoiser: HuggingFaceDenoiser, examples: Sequence[Example], policy: Policy, options: BatchOptions
) -> dict[str, Callable[[], BatchAnswers]]:
    whole = [examples]
    parts = [examples[at : at + options.batch] for at in range(0, len(examples), options.batch)]
    calls: dict[str, Callable[[], BatchAnswers]] = {
        AFTER_EACH_OTHER: partial(_decoded, denoiser, parts, policy, options),
        REFILLED: partial(_decoded, denoiser, whole, policy, options),
        ALL_LOGITS: partial(_decoded, AllLogits(denoiser), whole, policy, options),
    }
    kinds = ("exact",) if getattr(denoiser, "block_length", None) is not None else ("prefix", "dual")
    for cache in kinds:
        if cache in policy.facts.caches:
            denoiser.kv_cache(1, 1)  # these probes, too
            calls[f"{REFILLED}, cache {cache}"] = partial(_decoded, denoiser, whole, policy, options, cache)
    return calls


def _decoded(
    denoiser: Any,
    parts: Sequence[Sequence[Example]],
    policy: Policy,
    options: BatchOptions,
    cache: str = "none",
) -> BatchAnswers:
    ids, tokens, rows, right = list[list[int]](), 0, 0, 0
    for part in parts:
        decoded = all_decoded(
            denoiser, [example.prompt for example in part], policy,
            gen_length=options.gen_length, backend=options.backend, batch=options.batch, cache=cache,
        )  # fmt: skip
        ids += [each.tolist() for each in decoded.ids]
        tokens, rows = tokens + int(decoded.tokens.sum()), rows + int(decoded.rows.sum())
        right += sum(
            TASKS[TASK].score(example, text or "").answer
            for example, text in zip(part, decoded.text, strict=True)
        )
    return BatchAnswers(ids, tokens, rows, right / max(1, len(ids)))


@contextmanager
def counted(model: Any) -> Iterator[list[None]]:
    """A list with one entry for each call of the model inside."""
    calls: list[None] = []
    hook = model.register_forward_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        hook.remove()


def require_same(answers: Mapping[str, BatchAnswers]) -> None:
    """Raise `AssertionError` if two methods without a cache give different answers: their times could not be
    compared.
    """
    for name in (REFILLED, ALL_LOGITS):
        different = sum(
            one != other for one, other in zip(answers[name].ids, answers[AFTER_EACH_OTHER].ids, strict=True)
        )
        # Rounding depends on the other rows of a batch. It rarely changes a decision, and with it an answer.
        assert different <= len(answers[name].ids) // 20, f"{different} answers of `{name}` differ"


def table(
    seconds: Mapping[str, Sequence[float]], answers: Mapping[str, BatchAnswers], calls: Mapping[str, int]
) -> Iterator[str]:
    """A Markdown table with one row for each method."""
    yield "| | tokens a second | calls of the model | input rows | same ids | answers right |"
    yield "|---|---|---|---|---|---|"
    for name in seconds:
        rate, same, answer = rates(seconds, answers, name), same_share(answers, name), answers[name]
        cells = f"{calls[name]} | {answer.rows} | {same:.3f} | {answer.right:.3f}"
        yield f"| {name} | {rate.median:.3g} ({rate.low:.3g} to {rate.high:.3g}) | {cells} |"


def rates(seconds: Mapping[str, Sequence[float]], answers: Mapping[str, BatchAnswers], name: str) -> Ratio:
    """Tokens a second as a multiple of those of batches one after the other."""
    more = answers[name].tokens / max(1, answers[AFTER_EACH_OTHER].tokens)
    return Ratio.of(
        [that / this * more for this, that in zip(seconds[name], seconds[AFTER_EACH_OTHER], strict=True)]
    )


def same_share(answers: Mapping[str, BatchAnswers], name: str) -> float:
    """The share of prompts with the same ids as in batches one after the other."""
    pairs = list(zip(answers[name].ids, answers[AFTER_EACH_OTHER].ids, strict=True))
    return sum(one == other for one, other in pairs) / max(1, len(pairs))


def results(
    seconds: Mapping[str, Sequence[float]],
    answers: Mapping[str, BatchAnswers],
    calls: Mapping[str, int],
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that was measured, seconds too, for a JSON file."""
    rows = []
    for name, taken in seconds.items():
        rate = rates(seconds, answers, name)
        row = {"way": name, "rate": rate.median, "quartiles": [rate.low, rate.high], "seconds": list(taken)}
        rows.append(
            row
            | {
                "calls": calls[name],
                "tokens": answers[name].tokens,
                "rows": answers[name].rows,
                "same": same_share(answers, name),
                "right": answers[name].right,
            }
        )
    return {"machine": dict(machine), "timed": rows}
