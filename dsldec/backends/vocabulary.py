"""The passes over the vocabulary: from logits to what a policy may observe at each position.

Shapes: B rows, T window positions, V vocabulary. The only place that reads logits; all are cast to float32
first. Written so that a compiler makes two passes of `observe`: the maximum, then everything else at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..language import words
from . import noise

# Those that are numbers.
OBSERVATIONS = tuple(name for name in words.OBSERVATIONS if words.WORDS[name].nonnegative)

NO_ID = -1
LEAST_REST = 2.0**-20  # below that, float32 sums beside 1 leave too little of it

FOR_DRAWS = -1  # keeps what is drawn apart from the numbers of `random`, which are numbered from 0 on


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one read of `logits [B, T, V]` gives, all `[B, T]`; with [B, T] arithmetic the observations follow
    from it.

    `best` (float32): the highest score of all ids, `ties` (int): how many have it (of more than one, perhaps
    not all), `others`: the sum of exp(score - best) less one winner's 1.0, next to which float32 would lose
    the tail that 1 - conf is made of. Only where wanted, `None` else: `token` (int64): the best id other than
    MASK, ties to the lower one, and `score`, its own; `spread`: the sum of exp(score - best) * (score -
    best); `below`: the highest score below the best, -inf if there is none.
    """

    best: Tensor
    ties: Tensor
    others: Tensor
    token: Tensor | None = None
    score: Tensor | None = None
    spread: Tensor | None = None
    below: Tensor | None = None


WANTED = ("token", "spread", "below")
Reader = Callable[[Tensor, Any, Collection[str]], Statistics]


@dataclass(frozen=True, slots=True)
class _Weights:
    """exp(score - best) of every id, but for the best ones.

    `best [B, T, 1]`, `distance` (score - best) and `weight [B, T, V]`, `wins [B, T, V]`: is best, `ties` and
    `others [B, T]` as in `Statistics`.
    """

    best: Tensor
    distance: Tensor
    weight: Tensor
    wins: Tensor
    ties: Tensor
    others: Tensor


def _sum(x: Tensor, *, plain: bool = False) -> Tensor:
    """The sum over the vocabulary as float32.

    Compiled for a CPU, thousands of numbers are added in a row: in float32 many small ones are lost, and the
    fifth digit with them. A GPU adds them up as a tree.
    """
    return x.sum(-1) if plain or x.device.type != "cpu" else x.sum(-1, dtype=torch.float64).float()


def _weights(scores: Tensor, best: Tensor | None = None, *, plain: bool = False) -> _Weights:
    best = scores.amax(-1, keepdim=True) if best is None else best
    wins = scores == best
    ties = wins.sum(-1, dtype=torch.int32)
    distance = scores - best
    weight = torch.where(wins, 0.0, distance.exp())
    return _Weights(best, distance, weight, wins, ties, _sum(weight, plain=plain) + (ties - 1))


def _ids(scores: Tensor, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.arange(scores.shape[-1], device=scores.device, dtype=dtype)


def _likeliest(scores: Tensor, mask_id: int | Tensor) -> tuple[Tensor, Tensor]:
    """The best id other than MASK `[B, T]`, ties to the lower one, and its score `[B, T, 1]`."""
    ids = _ids(scores, torch.int32)  # half the memory, and not compared with ids of the caller's
    is_mask = ids == mask_id
    best = torch.where(is_mask, float("-inf"), scores).amax(-1, keepdim=True)
    last = scores.shape[-1] - 1
    return torch.where((scores == best) & ~is_mask, ids, last).amin(-1).long(), best


def _score_of(scores: Tensor, id_: int | Tensor) -> Tensor:
    """The score `[B, T, 1]` of one id everywhere, -inf if it is none of the vocabulary."""
    size = scores.shape[-1]
    if isinstance(id_, Tensor):
        there = scores.index_select(-1, id_.clamp(0, size - 1).view(1))
        return torch.where((id_ >= 0) & (id_ < size), there, float("-inf"))
    return scores[..., id_ : id_ + 1] if 0 <= id_ < size else torch.full_like(scores[..., :1], float("-inf"))


def statistics(
    logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED, *, plain: bool = False
) -> Statistics:
    """The statistics of `logits [B, T, V]` by torch, those of `WANTED` only where they are `wanted`; `plain`:
    without float64.
    """
    scores = logits.float()
    token = score = best = None
    if "token" in wanted:
        token, score = _likeliest(scores, mask_id)
        # Not a maximum of its own, which Inductor would read all logits a third time for.
        best = torch.maximum(score, _score_of(scores, mask_id))
    of = _weights(scores, best, plain=plain)
    spread = (
        _sum(torch.where(of.weight > 0, of.weight * of.distance, 0.0), plain=plain)
        if "spread" in wanted
        else None
    )
    below = torch.where(of.wins, float("-inf"), scores).amax(-1) if "below" in wanted else None
    return Statistics(
        of.best.squeeze(-1),
        of.ties,
        of.others,
        token,
        None if score is None else score.squeeze(-1),
        spread,
        below,
    )


def plain_statistics(logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED) -> Statistics:
    """The same in nothing but float32 and ints."""
    return statistics(logits, mask_id, wanted, plain=True)


def observe(
    logits: Tensor,
    mask_id: int | Tensor,
    wanted: Collection[str] = OBSERVATIONS,
    token: Tensor | None = None,
    read: Reader = statistics,
    *,
    raw: bool = True,
) -> dict[str, Tensor]:
    """Observations of `logits [B, T, V]`; every result is `[B, T]`.

    `token` (int64) is the best id other than `mask_id`, ties to the lower id, unless a drawn one is given.
    Over the whole vocabulary, MASK included: `conf` = p(token), `doubt` = 1 - conf without cancellation,
    `margin` and `logit_margin` = best less second best as probability and as logit, `entropy` in nats.
    `finite` (bool): the logits are neither NaN nor +inf nor all -inf. What is not `wanted` may be left out;
    `token`, `conf`, `doubt` and `finite` never are. `read` makes the statistics; `best` and `others` are
    handed on from them, for `probability`. `raw`: see `_score_at`.
    """
    of = read(logits, mask_id, _wanted_statistics(wanted, token))
    if token is None:
        token, score = of.token, of.score
    else:
        score = _score_at(logits, token, raw)
    assert token is not None
    assert score is not None
    total = 1 + of.others
    head = (score - of.best).exp()
    observations = {
        "token": token,
        "conf": head / total,
        "doubt": torch.where(score == of.best, of.others, total - head) / total,
        "finite": of.best.abs() < float("inf"),
        "best": of.best,
        "others": of.others,
    }
    if of.spread is not None:
        observations["entropy"] = torch.log1p(of.others) - of.spread / total
    if of.below is not None:
        observations["logit_margin"] = of.best - torch.where(of.ties > 1, of.best, of.below)
        observations["margin"] = -torch.expm1(-observations["logit_margin"]) / total
    return observations


def _wanted_statistics(wanted: Collection[str], token: Tensor | None) -> frozenset[str]:
    """Which of the statistics that can be left out the wanted observations are made of."""
    uses = {
        "token": token is None,
        "spread": "entropy" in wanted,
        "below": "margin" in wanted or "logit_margin" in wanted,
    }
    return frozenset(name for name in WANTED if uses[name])


def _over_ids(x: Tensor) -> Tensor:
    """A number for all rows, 0-d, or one a row, `[B, 1]`, as it broadcasts to `[B, T, V]`."""
    return x.unsqueeze(-1) if x.dim() else x


def banned(logits: Tensor, ids: Sequence[Tensor]) -> Tensor:
    """`logits [B, T, V]` with -inf at some ids (int tensors, 0-d or `[B, 1]`); one that is no id of the
    vocabulary changes nothing.
    """
    there = _ids(logits)
    is_banned = torch.zeros_like(there, dtype=torch.bool)
    for id_ in ids:
        is_banned = is_banned | (there == _over_ids(id_))
    return torch.where(is_banned, float("-inf"), logits)


def biased(logits: Tensor, id_: Tensor, amount: Tensor) -> Tensor:
    """`logits [B, T, V]` as float32 with `amount` added at an id, both 0-d or `[B, 1]`; one that is no id
    changes nothing.
    """
    scores = logits.float()
    return torch.where(_ids(scores) == _over_ids(id_), scores + _over_ids(amount), scores)


def biased_everywhere(logits: Tensor, table: Tensor) -> Tensor:
    """`logits [B, T, V]` as float32 with a table added: `[V]`, or 0-d where all ids have one number; 0 where
    it is too short.
    """
    scores = logits.float()
    size = scores.shape[-1]
    if table.dim():
        table = torch.nn.functional.pad(table[:size], (0, max(0, size - len(table))))
    return scores + table


def looked_up(table: Tensor, ids: Tensor) -> Tensor:
    """A table's numbers `[B, T]` of `ids [B, T]`; NaN for what is no id of it. A 0-d table has one number for
    every id.
    """
    if not table.dim():
        return torch.where(ids >= 0, table, float("nan"))
    return torch.where((ids >= 0) & (ids < len(table)), table[ids.clamp(0, len(table) - 1)], float("nan"))


def _score_at(logits: Tensor, ids: Tensor, raw: bool) -> Tensor:
    """The scores `[B, T]` of ids `[B, T]` of the vocabulary.

    `raw`: the logits are what the denoiser gave. Made of others, they would be written down only for the sake
    of a gather.
    """
    if raw:
        return logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1).float()
    return torch.where(_ids(logits) == ids.unsqueeze(-1), logits.float(), float("-inf")).amax(-1)


def probability(
    logits: Tensor, ids: Tensor, observations: Mapping[str, Tensor] | None = None, *, raw: bool = True
) -> Tensor:
    """Probability `[B, T]` of an id at each position, `ids [B, T]`; 0 for what is no id of the vocabulary.

    `observations`: what `observe` gave for the same logits, where that is known: it spares reading them all
    again. `raw`: see `_score_at`.
    """
    size = logits.shape[-1]
    best, others = _best_and_others(logits, observations)
    score = _score_at(logits, ids.clamp(0, size - 1), raw)
    p = (score - best).exp() / (1 + others)
    return torch.where((ids >= 0) & (ids < size), p, 0.0)


def _best_and_others(logits: Tensor, observations: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
    """See `Statistics`."""
    if observations is not None:
        return observations["best"], observations["others"]
    of = _weights(logits.float())
    return of.best.squeeze(-1), of.others


def numbers_kept(vocab_size: int, keep: int) -> int:
    """N, how many numbers `log_probabilities` has for a position."""
    return vocab_size if keep >= vocab_size else 2 * (max(0, keep) + 1)


def log_probabilities(logits: Tensor, keep: int, observations: Mapping[str, Tensor] | None = None) -> Tensor:
    """Logarithms `[B, T, N]` float32, in nats, of the probabilities, for `divergence` from a later step.

    Of all ids in order where `keep` are no fewer. Else of the likeliest, at most `keep`, and of all others
    together; and then what these are: the ids (a float32 holds them exactly up to 2^24) and `NO_ID`. Ids that
    tie with the first one not kept are not kept either, so that nothing depends on how a machine orders what
    is equal. `observations` as in `probability`.
    """
    if keep >= logits.shape[-1]:
        best, others = _best_and_others(logits, observations)
        return logits.float() - best.unsqueeze(-1) - torch.log1p(others).unsqueeze(-1)
    keep = max(0, keep)
    scores, ids = logits.topk(keep + 1)
    kept = torch.where(scores[..., :keep] > scores[..., keep:], ids[..., :keep], NO_ID)
    ids = torch.nn.functional.pad(kept, (0, 1), value=NO_ID)
    return torch.cat([_with_rest(logits, kept, observations), ids.float()], -1)


def _with_rest(logits: Tensor, ids: Tensor, observations: Mapping[str, Tensor] | None) -> Tensor:
    """Log probabilities `[B, T, K + 1]` of `ids [B, T, K]`, -inf for `NO_ID`, and of all others together, at
    least `LEAST_REST`.
    """
    best, others = (x.unsqueeze(-1) for x in _best_and_others(logits, observations))
    distance = torch.where(ids >= 0, logits.gather(-1, ids.clamp(min=0)).float() - best, float("-inf"))
    wins = distance == 0
    # As in `_weights`, one best id is kept out of the sums.
    best_kept = wins.sum(-1, keepdim=True).clamp(max=1)
    kept = torch.where(wins, 0.0, distance.exp()).sum(-1, keepdim=True) + (
        wins.sum(-1, keepdim=True) - best_kept
    )
    rest = (others + (1 - best_kept) - kept) / (1 + others)
    return torch.cat([distance - torch.log1p(others), rest.clamp(min=LEAST_REST).log()], -1)


def divergence(
    logits: Tensor, before: Tensor, keep: int, observations: Mapping[str, Tensor] | None = None
) -> Tensor:
    """KL divergence `[B, T]` in nats from `before [B, T, N]`, what `log_probabilities` gave for as many ids
    to keep.

    The sum of p (log p - log q): 0 for what has no probability now, +inf for what had none before and has
    some now. With all others taken together it is never more than the sum over all ids (log sum inequality).
    `observations` as in `probability`.
    """
    if keep >= logits.shape[-1]:
        log_p = log_probabilities(logits, keep, observations)
    else:
        before, ids = before.chunk(2, -1)
        log_p = _with_rest(logits, ids[..., :-1].nan_to_num(NO_ID).long(), observations)
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - before), 0.0).sum(-1)


def sampled(
    logits: Tensor,
    mask_id: int | Tensor,
    method: str,
    temperature: Tensor,
    top_p: Tensor,
    top_k: Tensor,
    key: Tensor,
    step: Tensor,
    pos: Tensor,
) -> Tensor:
    """A token `[B, T]` drawn at random, never MASK; the likeliest where the temperature is not above 0.

    `method` is gumbel (all ids) or nucleus (see `_nucleus`), `temperature`, `top_p` and `top_k` are 0-d or
    `[B, 1]`. What is drawn depends on `key [B]`, `step [B]` and `pos [B, T]` and on nothing else of the row
    or the batch.
    """
    scores = logits.float()
    likeliest, best = _likeliest(scores, mask_id)
    warm = _over_ids(torch.where(temperature > 0, temperature, 1.0).double())
    # A sum of noise and score is largest at an id with just its probability (Gumbel 1954).
    heated = torch.where(_ids(scores) == mask_id, float("-inf"), scores.double() / warm)
    if method == "nucleus":
        heated = torch.where(_nucleus(heated, _over_ids(top_p), _over_ids(top_k)), heated, float("-inf"))
    place = noise.mixed(key.unsqueeze(1), step.unsqueeze(1), pos, FOR_DRAWS)
    # The index at once, the first of equal ones: looking for it in a second pass, a compiler would keep the
    # noise of all ids.
    token = (heated + noise.gumbel(place.unsqueeze(-1), _ids(scores))).argmax(-1)
    return torch.where((temperature > 0) & (best.squeeze(-1) > float("-inf")), token, likeliest)


def _nucleus(heated: Tensor, top_p: Tensor, top_k: Tensor) -> Tensor:
    """The fewest likeliest ids that hold `top_p` of the probability, at most `top_k` (all for 0 or less), at
    least one.
    """
    sorted_, ids = heated.sort(dim=-1, descending=True, stable=True)
    p = sorted_.softmax(-1)
    better = p.cumsum(-1) - p  # what the ids before this one hold
    rank = _ids(heated)
    few = (rank < top_k) | (top_k <= 0)
    kept = ((better < top_p) | (top_p >= 1)) & few
    last = (kept.sum(-1, keepdim=True) - 1).clamp(min=0)
    least, last_id = sorted_.gather(-1, last), ids.gather(-1, last)
    return (heated > least) | ((heated == least) & (rank <= last_id))
