"""The figures of a policy on a task, and the difference of two policies on the same prompts.

Not here: intervals (`intervals`), tables (`table`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .answers import AnswerLine
from .intervals import bootstrap, mcnemar, paired, pass_at_k, wilson

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one policy. Means are over answers.

    `prompts`: prompts with a score, `of`: prompts of the task. `failed`: answers that decoding did not give;
    they count as wrong. `unscored`: answers without a score yet; they do not count. `accuracy`: mean over
    prompts of the mean over samples. `tokens_per_second`: of the time that decoding took, all batches
    together. `reasons`: of zeros that are no comparison (of an error its type), the most frequent first, each
    with its number of answers. `scores`: for each prompt the mean of its samples.
    """

    policy: str
    parameters: Mapping[str, Any]
    prompts: int
    of: int
    samples: int
    accuracy: float
    interval: Interval
    failed: int
    unscored: int
    forwards: float
    rows: float
    tokens: float
    tokens_per_forward: float
    tokens_per_second: float
    pass_at: Mapping[int, float]
    reasons: Sequence[tuple[str, int]]
    scores: Mapping[str | int, float]

    def as_json(self) -> dict[str, Any]:
        """The figures without the scores, which the results file has."""
        fields = asdict(self)
        del fields["scores"]
        if len(self.pass_at) <= 1:
            del fields["pass_at"]
        return fields


def figures_of(policy: str, parameters: Mapping[str, Any], lines: Iterable[AnswerLine], of: int) -> Figures:
    """The figures of the answers in `lines`, to some of the `of` prompts."""
    samples: dict[str | int, list[float]] = {}
    answers, failed, unscored, seconds = [], 0, 0, 0.0
    for line in lines:
        seconds += line.get("wall_seconds", 0.0)
        if "error" in line:
            failed += 1
            samples.setdefault(line["id"], []).append(0.0)
            continue
        answers.append(line)
        if "score" in line:
            samples.setdefault(line["id"], []).append(line["score"])
        else:
            unscored += 1
    scores = {prompt: _mean(several) for prompt, several in samples.items()}
    accuracy, forwards = _mean(scores.values()), sum(line["forwards"] for line in answers)
    tokens = sum(line["tokens"] for line in answers)
    return Figures(
        policy, dict(parameters), len(scores), of, max(map(len, samples.values()), default=1), accuracy,
        wilson(accuracy, len(scores)), failed, unscored,
        forwards=forwards / max(1, len(answers)),
        rows=_mean(line["rows"] for line in answers),
        tokens=tokens / max(1, len(answers)),
        tokens_per_forward=tokens / max(1, forwards),
        tokens_per_second=tokens / seconds if seconds else 0.0,
        pass_at=_pass_at(samples.values()),
        reasons=Counter(line["why"].partition(":")[0] for line in answers if "why" in line).most_common(), scores=scores,
    )  # fmt: skip


def _pass_at(samples: Iterable[Sequence[float]]) -> dict[int, float]:
    """pass@k for k = 1, 2, 4, ... up to the fewest samples of a prompt; empty for scores between 0 and 1."""
    several = [*samples]
    if not several or any(one not in (0.0, 1.0) for scores in several for one in scores):
        return {}
    fewest, ks = min(map(len, several)), [1]
    while ks[-1] * 2 <= fewest:
        ks.append(ks[-1] * 2)
    return {k: _mean(pass_at_k(len(one), int(sum(one)), k) for one in several) for k in ks}


def _mean(values: Iterable[float]) -> float:
    numbers = [*values]
    return sum(numbers) / len(numbers) if numbers else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """The accuracy of `policy` minus that of `against`, on the prompts that have a score of both.

    `method`: of the interval. `only_policy`, `only_against`: prompts that one of them alone has right; `p`:
    of McNemar's exact test. None where a prompt has several samples.
    """

    policy: str
    against: str
    prompts: int
    difference: float
    interval: Interval
    method: str
    only_policy: int | None = None
    only_against: int | None = None
    p: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def difference_of(one: Figures, other: Figures) -> Difference:
    """The difference of two policies on their common prompts."""
    pairs = [(score, other.scores[prompt]) for prompt, score in one.scores.items() if prompt in other.scores]
    difference = _mean(first - second for first, second in pairs)
    if any(score not in (0.0, 1.0) for pair in pairs for score in pair):
        interval = bootstrap([first - second for first, second in pairs])
        return Difference(one.policy, other.policy, len(pairs), difference, interval, "paired bootstrap")
    counts = [pairs.count(pair) for pair in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))]
    return Difference(
        one.policy, other.policy, len(pairs), difference, paired(*counts), "Newcombe",
        only_policy=counts[1], only_against=counts[2], p=mcnemar(counts[1], counts[2]),
    )  # fmt: skip
