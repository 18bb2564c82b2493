"""The meaning of reading the logits: plain loops over doubles, one position at a time.

Shapes: T window positions, V vocabulary, N numbers of a distribution. Logits are float32. Every result is
computed in double precision from its definition and rounded once to float32; ids, ties and infinities are
exact. `vocabulary` computes in float32: its reals are within 2e-6 (relative, or absolute near 0) of these.
Where the logits of a position are not finite (NaN, +inf, or nothing but -inf), its reals are NaN here, and
`vocabulary` may give others. Not here: tensors.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..language.arithmetic import AnyNumber, float32
from .noise import mixed_int

LogitRow = list[float]  # the V logits of one position
LEAST_REST = 2.0**-20  # the least probability of the remaining ids of a distribution together
NO_ID = -1
COLDEST, HOTTEST = float32(0.001), 1e6  # temperatures of logits
FOR_DRAWS = -1  # separates the noise of draws from the numbers of `random`, which are numbered from 0 on
# Sums of probabilities in different orders differ by less. At an edge of equal probabilities, as 20 of 40
# with `top_p` 0.5, the rounding of the sum must not decide.
NUCLEUS_EDGE = 2.0**-30


@dataclass(frozen=True, slots=True)
class PlainLogitsView:
    """The logits of one row as T lists of V floats."""

    logits: Sequence[LogitRow]
    mask_id: int

    def banned(self, ids: list[int]) -> PlainLogitsView:
        return self._changed(lambda id_, score: -math.inf if id_ in ids else score)

    def biased(self, id_: int, amount: float) -> PlainLogitsView:
        more = float32(amount)
        return self._changed(lambda other, score: float32(score + more) if other == id_ else score)

    def biased_everywhere(self, table: Any) -> PlainLogitsView:
        if not isinstance(table, list):
            return self._changed(lambda id_, score: float32(score + float32(table)))
        more = {id_: float32(amount) for id_, amount in enumerate(table)}
        return self._changed(lambda id_, score: float32(score + more.get(id_, 0.0)))

    def cooled(self, temperature: float) -> PlainLogitsView:
        """The logits divided by a temperature. NaN is not below or above a number, and counts as the least."""
        x = float32(temperature)
        x = min(x, HOTTEST) if x >= COLDEST else COLDEST
        return self._changed(lambda id_, score: float32(score / x))

    def _changed(self, change: Any) -> PlainLogitsView:
        logits = [[change(id_, score) for id_, score in enumerate(scores)] for scores in self.logits]
        return type(self)(logits, self.mask_id)

    def observe(self, wanted: Collection[str], method: str, *given: Any) -> Mapping[str, list[AnyNumber]]:
        tokens = given[0] if method == "given" else self.chosen(*given)
        rows = [observed(*each, wanted) for each in zip(self.logits, tokens, strict=True)]
        if "likeliest" in wanted:
            for row, scores in zip(rows, self.logits, strict=True):
                row["likeliest"] = likeliest(scores, self.mask_id)
        return {name: [row[name] for row in rows] for name in rows[0]}

    def chosen(self, *draw: Any) -> list[int]:
        if not draw:
            return [likeliest(scores, self.mask_id) for scores in self.logits]
        *settings, key, step, pos = draw
        places = [mixed_int(key, step, position, FOR_DRAWS) for position in pos]
        return [
            drawn(scores, self.mask_id, place, *settings)
            for scores, place in zip(self.logits, places, strict=True)
        ]

    def perturbed(self, *draw: Any) -> Sequence[Sequence[float]]:
        if not draw:
            return self.logits
        *settings, key, step, pos = draw
        found = []
        for scores, position in zip(self.logits, pos, strict=True):
            place = mixed_int(key, step, position, FOR_DRAWS)
            noisy = with_noise(scores, self.mask_id, place, *settings)
            found.append(
                scores if noisy is None else [noisy.get(id_, -math.inf) for id_ in range(len(scores))]
            )
        return found

    def probability(self, ids: list[int]) -> list[float]:
        return [
            float32(probability(scores, id_)) if 0 <= id_ < len(scores) else 0.0
            for scores, id_ in zip(self.logits, ids, strict=True)
        ]

    def log_probabilities(self, keep: int) -> list[list[float]]:
        return [[float32(x) for x in log_probabilities(scores, keep)] for scores in self.logits]

    def divergence(self, before: Sequence[Sequence[float]], keep: int) -> list[float]:
        return [
            float32(divergence(scores, earlier, keep))
            for scores, earlier in zip(self.logits, before, strict=True)
        ]

    def jensen_shannon(self, before: Sequence[Sequence[float]], keep: int) -> list[float]:
        return [
            float32(jensen_shannon(scores, earlier, keep))
            for scores, earlier in zip(self.logits, before, strict=True)
        ]


def is_finite(scores: LogitRow) -> bool:
    """Whether the logits of a position are neither NaN nor +inf nor all -inf."""
    return not any(map(math.isnan, scores)) and math.isfinite(max(scores))


def likeliest(scores: LogitRow, mask_id: int) -> int:
    """The id with the highest score other than MASK, ties to the lower id; the last one beside a NaN."""
    ids = [id_ for id_ in range(len(scores)) if id_ != mask_id]
    others = [scores[id_] for id_ in ids]
    if any(map(math.isnan, others)):
        return len(scores) - 1
    return ids[others.index(max(others))]


def probabilities(scores: LogitRow) -> list[float]:
    """Softmax."""
    if not is_finite(scores):
        return [math.nan] * len(scores)
    best = max(scores)
    weights = [math.exp(score - best) for score in scores]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def probability(scores: LogitRow, id_: int) -> float:
    return probabilities(scores)[id_]


def observed(scores: LogitRow, token: int, wanted: Collection[str]) -> dict[str, AnyNumber]:
    """The observations of one position, for the token proposed there."""
    finite = is_finite(scores)
    p = probabilities(scores)
    reals = {"conf": p[token], "doubt": math.fsum(p[:token] + p[token + 1 :])}
    if "margin" in wanted or "logit_margin" in wanted:
        best, second = _best_two(scores) if finite else (math.nan, math.nan)
        # 1 - exp(second - best), without cancellation if both have nearly the same probability.
        reals["margin"] = -math.expm1(second - best) * max(p)
        reals["logit_margin"] = best - second
    if "entropy" in wanted:
        pairs = zip(p, log_softmax(scores), strict=True)
        reals["entropy"] = -math.fsum(share * log for share, log in pairs if share != 0)
    return {"token": token, "finite": finite, **{name: float32(value) for name, value in reals.items()}}


def _best_two(scores: LogitRow) -> tuple[float, float]:
    """The two highest scores. Two ids with the highest score give it twice; a vocabulary of one id gives -inf
    second.
    """
    first = scores.index(max(scores))
    return scores[first], max(scores[:first] + scores[first + 1 :], default=-math.inf)


def log_softmax(scores: LogitRow) -> list[float]:
    if not is_finite(scores):
        return [math.nan] * len(scores)
    best = scores.index(max(scores))
    # `log1p` adds the 1 of one of the best ids, so that no small rest is lost beside it.
    others = math.fsum(math.exp(score - scores[best]) for id_, score in enumerate(scores) if id_ != best)
    return [score - scores[best] - math.log1p(others) for score in scores]


def log_probabilities(scores: LogitRow, keep: int) -> list[float]:
    """A distribution: the log probabilities of all V ids; or, if `keep` is less, of the `keep` likeliest ids
    and of all remaining ids together, followed by these ids and `NO_ID`.

    Ids that tie with the first omitted id are omitted too, and `NO_ID` takes their place.
    """
    if keep >= len(scores):
        return log_softmax(scores)
    keep = max(0, keep)
    ranked = sorted(range(len(scores)), key=lambda id_: (-scores[id_], id_))
    last = scores[ranked[keep]]
    ids = [id_ if scores[id_] > last else NO_ID for id_ in ranked[:keep]]
    return [*_with_rest(scores, ids), *map(float, ids), float(NO_ID)]


def _with_rest(scores: LogitRow, ids: Sequence[int]) -> list[float]:
    """The log probabilities of some ids, -inf for `NO_ID`, and of all remaining ids together."""
    logs, p = log_softmax(scores), probabilities(scores)
    held = {id_ for id_ in ids if id_ != NO_ID}
    rest = math.fsum(share for id_, share in enumerate(p) if id_ not in held)
    return [*(logs[id_] if id_ != NO_ID else -math.inf for id_ in ids), math.log(max(rest, LEAST_REST))]


def divergence(scores: LogitRow, before: Sequence[float], keep: int) -> float:
    """KL divergence in nats from a distribution of the previous step, over its stored ids and the remaining
    ids together.
    """
    return _divergence(*_compared(scores, before, keep)) if is_finite(scores) else math.nan


def jensen_shannon(scores: LogitRow, before: Sequence[float], keep: int) -> float:
    """Jensen-Shannon divergence in nats from a distribution of the previous step, over the same outcomes as
    `divergence`: the mean of the KL divergences of both distributions from their mean.
    """
    if not is_finite(scores):
        return math.nan
    total = 0.0
    for now, then in zip(*_compared(scores, before, keep), strict=True):
        p, q = math.exp(float32(now)), math.exp(then)
        mean = (p + q) / 2
        both = (p * math.log(p / mean) if p > 0 else 0.0) + (q * math.log(q / mean) if q > 0 else 0.0)
        total += max(0.0, both / 2)  # each outcome adds 0 or more (log sum inequality)
    return total


def _compared(scores: LogitRow, before: Sequence[float], keep: int) -> tuple[list[float], Sequence[float]]:
    """The log probabilities of the outcomes that two steps share, now and in the previous step."""
    if keep >= len(scores):
        return log_softmax(scores), before
    logs, ids = before[: len(before) // 2], before[len(before) // 2 : -1]
    return _with_rest(scores, [NO_ID if id_ != id_ else int(id_) for id_ in ids]), logs


def _divergence(log_p: Iterable[float], log_q: Iterable[float]) -> float:
    """The sum of p (log p - log q); an id without probability now adds 0.

    Both are float32, as the state stores them, so the divergence of equal distributions is exactly 0.
    """
    terms = [(float32(now), before) for now, before in zip(log_p, log_q, strict=True)]
    return sum((math.exp(now) * (now - before) for now, before in terms if math.exp(now) > 0), 0.0)


def drawn(
    scores: LogitRow, mask_id: int, place: int, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> int:
    """A token other than MASK: the id of the nucleus with the largest sum of tempered logit and Gumbel noise
    (Gumbel 1954).

    The likeliest id if the temperature is not above 0, no id has a probability, or a logit is NaN.
    """
    noisy = with_noise(scores, mask_id, place, temperature, top_p, top_k)
    return likeliest(scores, mask_id) if noisy is None else max(noisy, key=lambda id_: (noisy[id_], -id_))


def with_noise(
    scores: LogitRow, mask_id: int, place: int, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> dict[int, float] | None:
    """Tempered logit and noise of the ids that may be drawn; `None` where nothing is drawn."""
    others = {id_: score for id_, score in enumerate(scores) if id_ != mask_id}
    some = any(score > -math.inf for score in others.values())
    if not temperature > 0 or not some or any(score != score for score in others.values()):
        return None
    # An id without probability stays without one, even at an infinite temperature.
    heated = {id_: score / temperature if score > -math.inf else score for id_, score in others.items()}
    nucleus = _nucleus(heated, top_p, top_k)
    return {id_: heated[id_] + _gumbel(place, id_) for id_ in nucleus}


def _nucleus(heated: Mapping[int, float], top_p: float, top_k: int) -> list[int]:
    """The smallest set of likeliest ids whose total probability is at least `top_p`.

    At most `top_k` ids (no limit if `top_k` is 0 or less), at least one. A probability that is less than
    `top_p` by `NUCLEUS_EDGE` or less counts as enough.
    """
    ranked = sorted(heated, key=lambda id_: (-heated[id_], id_))
    p = probabilities([heated[id_] for id_ in ranked])
    nucleus, held = [ranked[0]], p[0]
    for id_, share in zip(ranked[1:], p[1:], strict=True):
        if not (held < top_p - NUCLEUS_EDGE or top_p >= 1) or 0 < top_k <= len(nucleus):
            break
        nucleus.append(id_)
        held += share
    return nucleus


def _gumbel(place: int, id_: int) -> float:
    """Standard Gumbel noise from 52 random bits."""
    uniform = ((mixed_int(place, id_) % 2**64 >> 12) + 0.5) / 2**52
    return -math.log(-math.log(uniform))
