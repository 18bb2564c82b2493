"""The passes over the vocabulary: from the logits to the observations of a policy at each position.

Shapes: B rows, T window positions, V vocabulary. Only this module and the readers of `vocabulary_dispatch`
read logits; they are cast to float32 first. A compiler makes two passes of `observe`: the maximum, then
everything else at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..language import words
from . import cpu_tiles, noise
from .vocabulary_top import top

# The observations that are numbers.
OBSERVATIONS = tuple(name for name in words.OBSERVATIONS if words.WORDS[name].nonnegative)

NO_ID = -1
COLDEST, HOTTEST = 0.001, 1e6  # temperatures of logits
LEAST_REST = 2.0**-20  # a smaller rest loses too many bits in a float32 sum next to 1

DRAW_TILE = 2**15  # logits whose noise, 8 bytes each, is computed at a time in an eager step on a CPU

FOR_DRAWS = -1  # separates the noise of draws from the numbers of `random`, which are numbered from 0 on
NUCLEUS_EDGE = 2.0**-30  # sums of probabilities in another order differ by less


@dataclass(frozen=True, slots=True)
class Statistics:
    """The results of one read of `logits [B, T, V]`, all `[B, T]`. The observations follow from them without
    the logits.

    `best` (float32): the highest score of all ids. `ties` (int): the number of ids with this score; if more
    than one, possibly too low; without `below`, possibly `None`. `others`: the sum of exp(score - best) minus
    the 1.0 of one best id. Next to this 1.0, float32 would lose the small terms that 1 - conf consists of.

    The others are `None` unless wanted. `token` (int64): the best id other than MASK, the lower of equal
    ones; `score`: its score. `spread`: the sum of exp(score - best) * (score - best). `below`: the highest
    score below the best, -inf if there is none.
    """

    best: Tensor
    ties: Tensor | None
    others: Tensor
    token: Tensor | None = None
    score: Tensor | None = None
    spread: Tensor | None = None
    below: Tensor | None = None


WANTED = ("token", "spread", "below")
Reader = Callable[[Tensor, Any, Collection[str]], Statistics]


@dataclass(frozen=True, slots=True)
class _Weights:
    """exp(score - best) of every id except the best ones.

    `best [B, T, 1]`; `distance` (score - best), `weight` and `wins` (whether the id is a best one) are
    `[B, T, V]`; `ties` and `others [B, T]` as in `Statistics`.
    """

    best: Tensor
    distance: Tensor
    weight: Tensor
    wins: Tensor
    ties: Tensor
    others: Tensor


def _sum(x: Tensor, *, plain: bool = False) -> Tensor:
    """The sum over the vocabulary as float32.

    Code compiled for a CPU adds thousands of numbers one after the other. In float32 this loses many small
    numbers, and with them the fifth digit, so a CPU adds in float64. A GPU adds in a tree.
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


def likeliest(scores: Tensor, mask_id: int | Tensor) -> tuple[Tensor, Tensor]:
    """The best id other than MASK `[B, T]`, the lower of equal ones, and its score `[B, T, 1]`."""
    ids = _ids(scores, torch.int32)  # half the memory of int64; never compared with ids of the caller
    is_mask = ids == mask_id
    best = torch.where(is_mask, float("-inf"), scores).amax(-1, keepdim=True)
    last = scores.shape[-1] - 1
    return torch.where((scores == best) & ~is_mask, ids, last).amin(-1).long(), best


def _score_of(scores: Tensor, id_: int | Tensor) -> Tensor:
    """The score `[B, T, 1]` of one id at every position, -inf if the vocabulary does not have the id."""
    size = scores.shape[-1]
    if isinstance(id_, Tensor):
        there = scores.index_select(-1, id_.clamp(0, size - 1).view(1))
        return torch.where((id_ >= 0) & (id_ < size), there, float("-inf"))
    return scores[..., id_ : id_ + 1] if 0 <= id_ < size else torch.full_like(scores[..., :1], float("-inf"))


def statistics(
    logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED, *, plain: bool = False
) -> Statistics:
    """The statistics of `logits [B, T, V]` by torch; those of `WANTED` only if they are `wanted`.

    `plain`: without float64.
    """
    scores = logits.float()
    token = score = best = None
    if "token" in wanted:
        token, score = likeliest(scores, mask_id)
        # Not a separate maximum: Inductor would then read all logits a third time.
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
    """`statistics` with float32 and ints only."""
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

    `token` (int64) is the given token, or the best id other than `mask_id`, the lower of equal ones. The
    others are over the whole vocabulary, MASK included: `conf` = p(token), `doubt` = 1 - conf without
    cancellation, `margin` and `logit_margin` = best minus second best as probability and as logit, `entropy`
    in nats. `finite` (bool): the logits are neither NaN nor +inf nor all -inf. The result always has `token`,
    `conf`, `doubt` and `finite`, and the others at least if `wanted`. `read` computes the statistics; the
    result also has their `best` and `others`, for `probability`. `raw`: see `_score_at`.
    """
    of = read(logits, mask_id, _wanted_statistics(wanted, token))
    if token is None:
        token, score = of.token, of.score
    else:
        score = _score_at(logits, token, raw)
    assert token is not None
    assert score is not None
    total = 1 + of.others
    conf, doubt = _conf_and_doubt(of, score, total)
    observations = {
        "token": token,
        "conf": conf,
        "doubt": doubt,
        "finite": of.best.abs() < float("inf"),
        "best": of.best,
        "others": of.others,
    }
    if "likeliest" in wanted:
        assert of.token is not None
        observations["likeliest"] = of.token
    if of.spread is not None:
        observations["entropy"] = torch.log1p(of.others) - of.spread / total
    if of.below is not None:
        assert of.ties is not None
        observations["logit_margin"] = of.best - torch.where(of.ties > 1, of.best, of.below)
        observations["margin"] = -torch.expm1(-observations["logit_margin"]) / total
    return observations


def _conf_and_doubt(of: Statistics, score: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """p(token) and 1 - p(token) `[B, T]` for the score of the token and the sum of weights."""
    if score is of.best:  # a reader knows it: the same numbers in fewer operations
        return total.reciprocal(), of.others / total
    head = (score - of.best).exp()
    return head / total, torch.where(score == of.best, of.others, total - head) / total


def _wanted_statistics(wanted: Collection[str], token: Tensor | None) -> frozenset[str]:
    """The optional statistics that the wanted observations need."""
    uses = {
        "token": token is None or "likeliest" in wanted,
        "spread": "entropy" in wanted,
        "below": "margin" in wanted or "logit_margin" in wanted,
    }
    return frozenset(name for name in WANTED if uses[name])


def _over_ids(x: Tensor) -> Tensor:
    """A number per run (0-d) or per row (`[B, 1]`), in a shape that broadcasts to `[B, T, V]`."""
    return x.unsqueeze(-1) if x.dim() else x


def banned(logits: Tensor, ids: Sequence[Tensor]) -> Tensor:
    """`logits [B, T, V]` with -inf at some ids (int tensors, 0-d or `[B, 1]`). An id outside the vocabulary
    changes nothing.
    """
    there = _ids(logits)
    is_banned = torch.zeros_like(there, dtype=torch.bool)
    for id_ in ids:
        is_banned = is_banned | (there == _over_ids(id_))
    return torch.where(is_banned, float("-inf"), logits)


def biased(logits: Tensor, id_: Tensor, amount: Tensor) -> Tensor:
    """`logits [B, T, V]` as float32 with `amount` added at an id; both are 0-d or `[B, 1]`. An id outside the
    vocabulary changes nothing.
    """
    scores = logits.float()
    return torch.where(_ids(scores) == _over_ids(id_), scores + _over_ids(amount), scores)


def biased_everywhere(logits: Tensor, table: Tensor) -> Tensor:
    """`logits [B, T, V]` as float32 with a table added.

    The table is `[V]`, or 0-d with one number for all ids. Ids beyond the end of the table get 0.
    """
    scores = logits.float()
    size = scores.shape[-1]
    if table.dim():
        table = torch.nn.functional.pad(table[:size], (0, max(0, size - len(table))))
    return scores + table


def of_step(table: Tensor, index: Tensor) -> Tensor:
    """The numbers of a table by step for ints of any shape: the last one beyond its end, NaN below 0."""
    if not table.dim():
        return torch.where(index < 0, float("nan"), table)
    return torch.where(index < 0, float("nan"), table[index.clamp(0, table.shape[0] - 1)])


def cooled(logits: Tensor, temperature: Tensor) -> Tensor:
    """`logits [B, T, V]` as float32, divided by a temperature, 0-d or `[B, 1]`. NaN counts as the least
    temperature.
    """
    x = torch.where(temperature >= COLDEST, temperature.float().clamp(max=HOTTEST), COLDEST)
    return logits.float() / _over_ids(x)


def looked_up(table: Tensor, ids: Tensor) -> Tensor:
    """The numbers `[B, T]` of a table for `ids [B, T]`; NaN for an id outside the table.

    A 0-d table has one number for every id.
    """
    if not table.dim():
        return torch.where(ids >= 0, table, float("nan"))
    return torch.where((ids >= 0) & (ids < len(table)), table[ids.clamp(0, len(table) - 1)], float("nan"))


def _score_at(logits: Tensor, ids: Tensor, raw: bool) -> Tensor:
    """The scores `[B, T]` of ids `[B, T]` in the vocabulary.

    `raw`: whether these are the logits of the denoiser. For transformed logits, a gather in compiled code
    would store all of them in memory.
    """
    if raw or not torch.compiler.is_compiling():
        return logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1).float()
    return torch.where(_ids(logits) == ids.unsqueeze(-1), logits.float(), float("-inf")).amax(-1)


def probability(
    logits: Tensor, ids: Tensor, observations: Mapping[str, Tensor] | None = None, *, raw: bool = True
) -> Tensor:
    """The probability `[B, T]` of the ids `[B, T]`; 0 for an id outside the vocabulary.

    `observations`: the result of `observe` for the same logits, if there is one; it saves a second read of
    the logits. `raw`: see `_score_at`.
    """
    size = logits.shape[-1]
    best, others = _best_and_others(logits, observations)
    score = _score_at(logits, ids.clamp(0, size - 1), raw)
    p = (score - best).exp() / (1 + others)
    return torch.where((ids >= 0) & (ids < size), p, 0.0)


def _best_and_others(logits: Tensor, observations: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
    """`best` and `others` as in `Statistics`."""
    if observations is not None:
        return observations["best"], observations["others"]
    of = _weights(logits.float())
    return of.best.squeeze(-1), of.others


def numbers_kept(vocab_size: int, keep: int) -> int:
    """N, the number of numbers in the result of `log_probabilities` for one position."""
    return vocab_size if keep >= vocab_size else 2 * (max(0, keep) + 1)


def log_probabilities(logits: Tensor, keep: int, observations: Mapping[str, Tensor] | None = None) -> Tensor:
    """Log probabilities `[B, T, N]` float32, in nats, for `divergence` in the next step.

    If `keep` is V or more: of all ids in order. Else of at most `keep` likeliest ids and of all remaining ids
    together, followed by the ids (a float32 is exact for ids up to 2^24) and `NO_ID`. Ids that tie with the
    first omitted id are omitted too, so the result does not depend on how a machine orders ties.
    `observations` as in `probability`.
    """
    if keep >= logits.shape[-1]:
        best, others = _best_and_others(logits, observations)
        return logits.float() - best.unsqueeze(-1) - torch.log1p(others).unsqueeze(-1)
    keep = max(0, keep)
    scores, ids = top(logits, keep + 1)
    kept = torch.where(scores[..., :keep] > scores[..., keep:], ids[..., :keep], NO_ID)
    ids = torch.nn.functional.pad(kept, (0, 1), value=NO_ID)
    return torch.cat([_with_rest(logits, kept, observations), ids.float()], -1)


def _with_rest(logits: Tensor, ids: Tensor, observations: Mapping[str, Tensor] | None) -> Tensor:
    """Log probabilities `[B, T, K + 1]` of `ids [B, T, K]` (-inf for `NO_ID`) and of all remaining ids
    together.

    The probability of the remaining ids is at least `LEAST_REST`.
    """
    best, others = (x.unsqueeze(-1) for x in _best_and_others(logits, observations))
    distance = torch.where(ids >= 0, logits.gather(-1, ids.clamp(min=0)).float() - best, float("-inf"))
    wins = distance == 0
    # As in `_weights`, the sums exclude one best id.
    best_kept = wins.sum(-1, keepdim=True).clamp(max=1)
    kept = torch.where(wins, 0.0, distance.exp()).sum(-1, keepdim=True) + (
        wins.sum(-1, keepdim=True) - best_kept
    )
    rest = (others + (1 - best_kept) - kept) / (1 + others)
    return torch.cat([distance - torch.log1p(others), rest.clamp(min=LEAST_REST).log()], -1)


def divergence(
    logits: Tensor, before: Tensor, keep: int, observations: Mapping[str, Tensor] | None = None
) -> Tensor:
    """KL divergence `[B, T]` in nats from `before [B, T, N]`, the result of `log_probabilities` with the same
    `keep`.

    The sum of p (log p - log q). An id without probability now adds 0; an id with probability now and without
    before gives +inf. The remaining ids count together, so the result is never above the sum over all ids
    (log sum inequality). `observations` as in `probability`.
    """
    log_p, before = _compared(logits, before, keep, observations)
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - before), 0.0).sum(-1)


def jensen_shannon(
    logits: Tensor, before: Tensor, keep: int, observations: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Jensen-Shannon divergence `[B, T]` in nats, from 0 to log 2, with the arguments of `divergence`.

    The sum of (p log(p / m) + q log(q / m)) / 2 with m = (p + q) / 2. The remaining ids count together, so
    the result is never above the sum over all ids (log sum inequality). Their least probability only brings
    the two closer.
    """
    log_p, log_q = _compared(logits, before, keep, observations)
    p, q = log_p.exp(), log_q.exp()
    # log(m / p) = max(log_q - log_p, 0) + log1p(expm1(-|log_q - log_p|) / 2): exactly 0 for p = q, and finite
    # where exp(log_q - log_p) is not.
    apart = log_q - log_p
    near = torch.log1p(torch.expm1(-apart.abs()) / 2)
    of_p = torch.where(p > 0, p * (apart.clamp(min=0) + near), 0.0)
    of_q = torch.where(q > 0, q * ((-apart).clamp(min=0) + near), 0.0)
    return (-(of_p + of_q) / 2).clamp(min=0).sum(-1)


def _compared(
    logits: Tensor, before: Tensor, keep: int, observations: Mapping[str, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """The log probabilities of the outcomes that two steps share, now and in the previous step."""
    if keep >= logits.shape[-1]:
        return log_probabilities(logits, keep, observations), before
    before, ids = before.chunk(2, -1)
    return _with_rest(logits, ids[..., :-1].nan_to_num(NO_ID).long(), observations), before


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
    """A token `[B, T]` drawn at random, never MASK; the likeliest id if the temperature is not above 0.

    `method` is gumbel (all ids) or nucleus (see `_nucleus`). `temperature`, `top_p` and `top_k` are 0-d or
    `[B, 1]`. The draw depends only on the logits, `key [B]`, `step [B]` and `pos [B, T]`, and not on the
    batch.
    """
    if not cpu_tiles.pay(logits):
        return _sampled(logits, mask_id, method, temperature, top_p, top_k, key, step, pos)
    of_position = [x.expand(pos.shape).flatten() for x in (temperature, top_p, top_k)]
    of_position += [x.unsqueeze(1).expand(pos.shape).flatten() for x in (key, step)]
    drawn, begin = [], 0
    for tile in cpu_tiles.tiles(logits, DRAW_TILE):
        here = slice(begin, begin := begin + len(tile))
        numbers = [x[here].unsqueeze(1) for x in of_position[:3]]
        place = (*(x[here] for x in of_position[3:]), pos.reshape(-1, 1)[here])
        drawn.append(_sampled(tile.unsqueeze(1), mask_id, method, *numbers, *place))
    return torch.cat(drawn).view(pos.shape)


def _sampled(
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
    """`sampled` in one piece."""
    best_id, best = likeliest(logits.float(), mask_id)
    token = _with_noise(logits, mask_id, method, temperature, top_p, top_k, key, step, pos).argmax(-1)
    return torch.where((temperature > 0) & (best.squeeze(-1) > float("-inf")), token, best_id)


def perturbed(
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
    """The scores `[B, T, V]` float64 of which `sampled` takes the best one: -inf for ids that it does not
    draw; the logits where it draws nothing.
    """
    scores = logits.float()
    best = torch.where(_ids(scores) == mask_id, float("-inf"), scores).amax(-1, keepdim=True)
    noisy = _with_noise(logits, mask_id, method, temperature, top_p, top_k, key, step, pos)
    return torch.where(_over_ids(temperature > 0) & (best > float("-inf")), noisy, scores.double())


def _with_noise(
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
    scores = logits.float()
    warm = _over_ids(torch.where(temperature > 0, temperature, 1.0).double())
    # The sum of score and Gumbel noise is largest at an id with exactly the id's probability (Gumbel 1954).
    # An id of score -inf stays without a probability at an infinite temperature, where -inf / inf is NaN.
    banned = (_ids(scores) == mask_id) | (scores == float("-inf"))
    heated = torch.where(banned, float("-inf"), scores.double() / warm)
    if method == "nucleus":
        heated = torch.where(_nucleus(heated, _over_ids(top_p), _over_ids(top_k)), heated, float("-inf"))
    place = noise.mixed(key.unsqueeze(1), step.unsqueeze(1), pos, FOR_DRAWS)
    # For one `argmax`: for a maximum and a second pass, a compiler would store the noise of all ids.
    return heated + noise.gumbel(place.unsqueeze(-1), _ids(scores))


def _nucleus(heated: Tensor, top_p: Tensor, top_k: Tensor) -> Tensor:
    """The smallest set of likeliest ids whose total probability is at least `top_p`.

    At most `top_k` ids (no limit if `top_k` is 0 or less), at least one. A probability that is less than
    `top_p` by `NUCLEUS_EDGE` or less counts as enough.
    """
    sorted_, ids = heated.sort(dim=-1, descending=True, stable=True)
    p = sorted_.softmax(-1)
    better = p.cumsum(-1) - p  # the probability of the better ids
    rank = _ids(heated)
    few = (rank < top_k) | (top_k <= 0)
    kept = ((better < top_p.double() - NUCLEUS_EDGE) | (top_p >= 1)) & few
    last = (kept.sum(-1, keepdim=True) - 1).clamp(min=0)
    least, last_id = sorted_.gather(-1, last), ids.gather(-1, last)
    return (heated > least) | ((heated == least) & (rank <= last_id))
