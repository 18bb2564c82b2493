"""The likeliest full text of each window that can still become a match of the row's pattern, with torch.

Shapes: B rows, T window positions, V vocabulary, P patterns of a batch, S states, C classes, N chunks of ids.
One read of the logits gives the best id of each class at each position; a pass from the last position to the
first gives the best sum from each state on (Viterbi 1967), and a pass back gives the ids. On a CPU each row
is computed alone (`row_paths`). Not here: the meaning (`reference_paths`), the tables
(`dsldec.patterns.tables`), the rows (`runtime.request_patterns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..ir.protocol import NO_PATH
from . import vocabulary
from .inputs import Inputs
from .pattern_inputs import CHUNKS, CLASSES, ENDS, FOLLOWING, GROUPS, TOPS, WIDE
from .reference_paths import LEAST, NONE
from .row_paths import PatternArrays, row_path

DrawArguments = Any  # temperature, top_p, top_k, key, step as a tuple; empty without a draw


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The tables of a batch: for each pattern, and the pattern of each row `row [B]`."""

    row: Tensor
    following: Tensor
    class_of: Tensor
    chunks: Tensor
    groups: Tensor
    tops: Tensor
    wide: Tensor
    ends: Tensor

    def at(self, place: int) -> PatternArrays:
        """The tables of one pattern, in the memory of a CPU."""
        names = ("following", "class_of", "chunks", "wide")
        return PatternArrays(*(getattr(self, name)[place].numpy() for name in names))

    @classmethod
    def of(cls, inputs: Inputs, name: str) -> _Patterns:
        params: Mapping[str, Tensor] = inputs.params
        ends = params[name + ENDS]
        return cls(
            inputs.of_row(params[name]),
            params[name + FOLLOWING],
            params[name + CLASSES],
            params[name + CHUNKS],
            params[name + GROUPS],
            params[name + TOPS],
            params[name + WIDE],
            ends.expand(inputs.canvas.shape[0], ends.shape[-1]),
        )


def path(
    inputs: Inputs,
    name: str,
    logits: Tensor,
    canvas: Tensor,
    pos: Tensor,
    end: Tensor,
    state: Tensor,
    *draw: Tensor,
) -> Tensor:
    """The ids `[B, T]` of the path of each row; in a row without a pattern, the ids of a policy without
    one. `NO_PATH` in a row in which no path exists.
    """
    patterns, end = _Patterns.of(inputs, name), inputs.of_row(end)
    state = inputs.of_row(state).clamp(max=patterns.ends.shape[1])
    inside = (pos >= 0) & (pos < end.unsqueeze(1))
    method = ("gumbel" if len(draw) == 3 else "nucleus") if draw else "argmax"
    drawn = _draw(inputs, method, draw)
    by_row = logits.device.type == "cpu" and type(logits) is Tensor and not torch.compiler.is_compiling()
    if by_row:
        return _by_rows(patterns, logits, canvas, pos, inside, state, inputs.mask_id, method, drawn)
    scores = _scores(logits, inputs.mask_id, method, drawn, pos)
    free = _free(logits, inputs.mask_id, method, drawn, pos)
    found = _whole(patterns, scores, canvas, inside, state, inputs.mask_id)
    return torch.where((state < 0).unsqueeze(1), free, found)


def _draw(inputs: Inputs, method: str, draw: tuple[Tensor, ...]) -> DrawArguments:
    """temperature, top_p, top_k (`[B, 1]` each), key and step (`[B]` each)."""
    if method == "argmax":
        return ()
    temperature, *limits, key, step = draw
    top_p, top_k = limits or (torch.ones_like(temperature), torch.zeros_like(temperature))
    rows = inputs.canvas.shape[0]
    numbers = (x.expand(rows, 1) for x in (temperature, top_p, top_k))
    return (*numbers, inputs.of_row(key), inputs.of_row(step))


def _free(logits: Tensor, mask_id: int | Tensor, method: str, draw: DrawArguments, pos: Tensor) -> Tensor:
    """The ids that are chosen without a pattern."""
    if not draw:
        return vocabulary.likeliest(logits.float(), mask_id)[0]
    place: Any = (*draw, pos)
    return vocabulary.sampled(logits, mask_id, method, *place)


def _scores(logits: Tensor, mask_id: int | Tensor, method: str, draw: DrawArguments, pos: Tensor) -> Tensor:
    """The scores whose sum a path maximises: the logits, or with noise as a draw takes them."""
    place: Any = (*draw, pos)
    return vocabulary.perturbed(logits, mask_id, method, *place) if draw else logits.float()


# --- all rows at once


def _first(x: Tensor) -> Tensor:
    """The first place of the maximum of the last dimension."""
    places = torch.arange(x.shape[-1], device=x.device)
    return torch.where(x == x.amax(-1, keepdim=True), places, x.shape[-1] - 1).amin(-1)


def _at(x: Tensor, index: Tensor) -> Tensor:
    """`x [B, T, N]` at places `[B, ...]`, the same ones at every position."""
    rows, positions, _ = x.shape
    return x.gather(2, index.flatten(1).unsqueeze(1).expand(-1, positions, -1)).view(
        rows, positions, *index.shape[1:]
    )


def _classwise(patterns: _Patterns, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best score of each class at each position, `[B, T, C]`, and its id, the lower of equal ones."""
    ids, groups, tops = (x[patterns.row] for x in (patterns.chunks, patterns.groups, patterns.tops))
    of_chunks = _at(scores, ids).amax(-1)
    of_groups = _at(of_chunks, groups).amax(-1)
    candidates = _at(of_groups, tops)
    rows, positions = scores.shape[:2]
    best = candidates.amax(-1)

    def chosen(table: Tensor, places: Tensor) -> Tensor:
        """The rows `[B, T, C, 64]` of a table `[B, N, 64]` at places `[B, T, C]`."""
        wide = places.flatten(1).unsqueeze(2).expand(-1, -1, table.shape[2])
        return table.gather(1, wide).view(rows, positions, -1, table.shape[2])

    group = (
        tops.unsqueeze(1).expand(-1, positions, -1, -1).gather(3, _first(candidates).unsqueeze(3)).squeeze(3)
    )
    chunks = chosen(groups, group)
    of_these = of_chunks.gather(2, chunks.flatten(2)).view(chunks.shape)
    chunk = chunks.gather(3, _first(of_these).unsqueeze(3)).squeeze(3)
    last = chosen(ids, chunk)
    of_last = scores.gather(2, last.flatten(2)).view(last.shape)
    return best, last.gather(3, _first(of_last).unsqueeze(3)).squeeze(3)


def _gains(best: Tensor) -> Tensor:
    """The gain of each class in a path's sum, as float64 (`reference_paths`)."""
    best = best.double()
    top = best.amax(-1, keepdim=True)
    far = (best - torch.where(top > float("-inf"), top, 0.0)).clamp(min=LEAST)
    return torch.where(best > float("-inf"), far.nan_to_num(LEAST), NONE)


def _whole(
    patterns: _Patterns, scores: Tensor, canvas: Tensor, inside: Tensor, state: Tensor, mask_id: int | Tensor
) -> Tensor:
    best, ids = _classwise(patterns, scores)
    following, class_of = patterns.following[patterns.row], patterns.class_of[patterns.row]
    written, size = canvas != mask_id, class_of.shape[1]
    here = canvas.clamp(0, size - 1)
    known = (canvas >= 0) & (canvas < size)
    given = torch.where(known, class_of.gather(1, here), 0).unsqueeze(2)
    classes = torch.arange(best.shape[2], device=canvas.device)
    gains = torch.where(written.unsqueeze(2), torch.where(classes == given, 0.0, float("-inf")), _gains(best))
    ids = torch.where(written.unsqueeze(2), here.unsqueeze(2), ids)
    dead = patterns.ends.new_zeros((canvas.shape[0], 1))
    rest = torch.where(torch.cat([patterns.ends, dead], 1), 0.0, float("-inf")).double()
    sums, flat = [rest], following.flatten(1)
    for t in range(canvas.shape[1] - 1, -1, -1):
        ahead = gains[:, t].unsqueeze(2) + rest.gather(1, flat).view(following.shape)
        rest = torch.where(inside[:, t : t + 1], ahead.amax(1), rest)
        sums.append(rest)
    sums = sums[::-1]
    now, path = state.clamp(min=0).unsqueeze(1), []
    exists = sums[0].gather(1, now) > float("-inf")
    for t in range(canvas.shape[1]):
        to = following.gather(2, now.unsqueeze(2).expand(-1, following.shape[1], 1)).squeeze(2)
        ties = gains[:, t] + sums[t + 1].gather(1, to) == sums[t].gather(1, now)
        id_ = torch.where(ties, ids[:, t], size - 1).amin(1, keepdim=True)
        after = to.gather(1, torch.where(written[:, t : t + 1], given[:, t], class_of.gather(1, id_)))
        now = torch.where(inside[:, t : t + 1], after, now)
        path.append(torch.where(inside[:, t : t + 1], id_, here[:, t : t + 1]))
    return torch.where(exists, torch.cat(path, 1), NO_PATH)


# --- on a CPU, row by row


def _by_rows(
    patterns: _Patterns,
    logits: Tensor,
    canvas: Tensor,
    pos: Tensor,
    inside: Tensor,
    state: Tensor,
    mask_id: int | Tensor,
    method: str,
    draw: DrawArguments,
) -> Tensor:
    states, of_row = state.tolist(), patterns.row.tolist()
    found = torch.empty_like(canvas)
    without = [row for row, one in enumerate(states) if one < 0]
    if without:
        at = torch.tensor(without)
        rows = [x if len(without) == len(states) else x[at] for x in (logits, pos, *draw)]
        found[at] = _free(rows[0], mask_id, method, tuple(rows[2:]), rows[1])
    for row, begin in enumerate(states):
        if begin >= 0:
            place = of_row[row]
            one = row_path(patterns.chunks, place, int(mask_id), partial(patterns.at, place))
            read = partial(_read, logits, mask_id, method, draw, pos, row)
            ids = one(read, canvas[row].numpy(), inside[row].numpy(), patterns.ends[row].numpy(), begin)
            found[row] = torch.from_numpy(ids)
    return found


def _read(
    logits: Tensor,
    mask_id: int | Tensor,
    method: str,
    draw: DrawArguments,
    pos: Tensor,
    row: int,
    first: int,
    end: int,
) -> Tensor:
    """The scores `[n, V]` of some positions. Logits keep their dtype: float32 has the same order."""
    here = logits[row : row + 1, first:end]
    if not draw:
        return here[0]
    of_row = tuple(x[row : row + 1] for x in draw)
    return _scores(here, mask_id, method, of_row, pos[row : row + 1, first:end])[0]
