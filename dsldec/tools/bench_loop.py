"""`dsldec bench loop`: tokens a second of whole decodes, as a multiple of a published plain loop.

The embedded model decodes some of its held-out prompts, one at a time. Not here: the plain loop
(`baselines`), timing (`rounds`), the quality of the answers (`evaluate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..models.denoiser import Denoiser
from ..models.huggingface import HuggingFaceDenoiser, from_pretrained
from ..policy import Policy, load
from . import bench
from .answers import all_decoded
from .baselines import static_loop
from .evaluate import LENGTHS, held_out
from .rounds import Ratio, measured

BACKENDS = ("eager", "inductor")
POLICIES = ("static", "threshold")
TASK = "word_problems"
PLAIN, SAME_RULE = "plain loop", "static"  # the plain loop is this policy's rule


class LoopKey(NamedTuple):
    policy: str
    backend: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, self))


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """The options of the measurement, and the file of its results. An empty tuple stands for the defaults."""

    policies: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    prompts: int = 4
    gen_length: int = LENGTHS[TASK]
    rounds: int = 5
    threads: int | None = None
    device: str | None = None
    json: str | None = None


class LoopAnswers(NamedTuple):
    """All ids of each prompt, and the total of forwards."""

    ids: list[list[int]]
    forwards: int


def bench_loop(options: LoopOptions) -> int:
    """Measure and print; returns the exit status. Raises `PolicyError` and `UsageError` for the user's
    mistakes.
    """
    bench.require_writable(options.json)
    device = None if options.device is None else bench.device_here(options.device)
    policies = bench.policies(options.policies or POLICIES)
    backends = bench.backends_here(options.backends, BACKENDS)
    bench.use_threads(options.threads)
    denoiser = from_pretrained(device=device)
    prompts = [denoiser.encode(example.prompt) for example in held_out(TASK, options.prompts)]
    calls = _calls(denoiser, prompts, policies, backends, options.gen_length)
    answers: dict[LoopKey, LoopAnswers] = {}
    report = bench.progress("whole decodes")
    for key, call in calls.items():
        report(f"first decode, not timed: {key}")
        answers[key] = call()
    require_same(answers)
    seconds = measured(calls, options.rounds, torch.device(denoiser.device), report)
    tokens = len(prompts) * options.gen_length
    print(
        f"tokens a second as a multiple of those of a plain loop of the rule of `{SAME_RULE}`, with the embedded model:"
    )
    print(
        f"{len(prompts)} prompts one at a time, {options.gen_length} tokens each; median and quartiles of {options.rounds} rounds"
    )
    print(f"{bench.machine_line(denoiser.device)}\n")
    print(*table(seconds, answers), sep="\n")
    if SAME_RULE in policies:
        print(
            f"\nthe plain loop and `{SAME_RULE}` wrote the same ids in the same number of forwards, and no policy differs between backends"
        )
    if options.json is not None:
        bench.write_json(options.json, results(seconds, answers, tokens, bench.machine(denoiser.device)))
    return 0


def _calls(
    denoiser: HuggingFaceDenoiser,
    prompts: Sequence[list[int]],
    policies: Mapping[str, Policy],
    backends: Sequence[str],
    gen_length: int,
) -> dict[LoopKey, Callable[[], LoopAnswers]]:
    rule = (policies.get(SAME_RULE) or load(SAME_RULE)).parameters
    block, tokens = int(_number(rule["block"])), int(_number(rule["tokens"]))
    calls: dict[LoopKey, Callable[[], LoopAnswers]] = {
        LoopKey(PLAIN): partial(_plain, denoiser, prompts, gen_length, block, tokens)
    }
    for name, policy in policies.items():
        for backend in backends:
            calls[LoopKey(name, backend)] = partial(_decoded, denoiser, prompts, gen_length, policy, backend)
    return calls


def _number(value: Any) -> float:
    assert isinstance(value, int | float)
    return value


def _plain(
    denoiser: Denoiser, prompts: Sequence[list[int]], gen_length: int, block: int, tokens: int
) -> LoopAnswers:
    answers = [static_loop(denoiser, prompt, gen_length, block, tokens) for prompt in prompts]
    return LoopAnswers([ids.tolist() for ids, _ in answers], sum(forwards for _, forwards in answers))


def _decoded(
    denoiser: Denoiser, prompts: Sequence[list[int]], gen_length: int, policy: Policy, backend: str
) -> LoopAnswers:
    decoded = all_decoded(
        denoiser, prompts, policy, gen_length=gen_length, backend=backend, batch=1, stop_at_eos=False
    )
    ids: list[Tensor] = decoded.ids
    return LoopAnswers([each.tolist() for each in ids], int(decoded.forwards.sum()))


def require_same(answers: Mapping[LoopKey, LoopAnswers]) -> None:
    """Raise `AssertionError` if two implementations of one rule differ: their times could not be compared."""
    first: dict[str, LoopKey] = {}
    for key, answer in answers.items():
        rule = SAME_RULE if key.policy == PLAIN else key.policy
        other = first.setdefault(rule, key)
        assert answer.ids == answers[other].ids, f"`{key}` wrote other ids than `{other}`"
        assert answer.forwards == answers[other].forwards, (
            f"`{key}` took {answer.forwards} forwards, `{other}` {answers[other].forwards}"
        )


def table(
    seconds: Mapping[LoopKey, Sequence[float]], answers: Mapping[LoopKey, LoopAnswers]
) -> Iterator[str]:
    """A Markdown table with one row for each policy and backend."""
    yield "| policy | backend | tokens a second | forwards | time a forward |"
    yield "|---|---|---|---|---|"
    for key in seconds:
        rate = rates(seconds, key)
        each = rate_a_forward(seconds, answers, key)
        name = key.policy if key.policy == PLAIN else f"`{key.policy}`"
        cells = f"{rate.median:.3g} ({rate.low:.3g} to {rate.high:.3g}) | {answers[key].forwards} | {each.median:.3g}"
        yield f"| {name} | {key.backend or 'eager'} | {cells} |"


def rates(seconds: Mapping[LoopKey, Sequence[float]], key: LoopKey) -> Ratio:
    """Tokens a second as a multiple of the plain loop's. Both generate the same number of tokens."""
    return Ratio.between(seconds[LoopKey(PLAIN)], seconds[key])


def rate_a_forward(
    seconds: Mapping[LoopKey, Sequence[float]], answers: Mapping[LoopKey, LoopAnswers], key: LoopKey
) -> Ratio:
    """Time a forward, model and step, as a multiple of the plain loop's."""
    plain = answers[LoopKey(PLAIN)].forwards / answers[key].forwards
    return Ratio.of(
        [this / that * plain for this, that in zip(seconds[key], seconds[LoopKey(PLAIN)], strict=True)]
    )


def results(
    seconds: Mapping[LoopKey, Sequence[float]],
    answers: Mapping[LoopKey, LoopAnswers],
    tokens: int,
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that was measured, seconds too, for a JSON file."""
    rows = []
    for key, taken in seconds.items():
        rate = rates(seconds, key)
        row = {
            "policy": key.policy,
            "backend": key.backend or "eager",
            "rate": rate.median,
            "quartiles": [rate.low, rate.high],
        }
        rows.append(row | {"forwards": answers[key].forwards, "seconds": list(taken)})
    return {"machine": dict(machine), "tokens": tokens, "timed": rows}
