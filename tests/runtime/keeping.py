"""A tiny transformer that caches keys and values, with a list of columns for each row, and records every
call: its input, the attended columns and the cached columns.

Every row of the input is computed alone, in float64, and logits are rounded to multiples of 1/4096. So they
have the same bits for any number of columns, and two runs can be compared exactly. Not here: decoding.
Shapes: R input rows, W input columns of each, L canvas length, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dsldec.models.kv_cache import InputRows

from .families import VOCABULARY, WIDTH, Ids, TinyTransformer, block_causal, everything

GRID = 4096
HURTS = 1000.0  # the logit of id 0 where nothing was fed

Layers = list[tuple[Tensor, Tensor]]  # keys and values of each layer, [columns, WIDTH]


@dataclass(frozen=True)
class Part:
    """One row of a call: of batch row `row` the ids from column `begin` on, which saw what was kept at the
    columns `seen`.
    """

    row: int
    begin: int
    ids: Ids
    seen: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.begin + len(self.ids)


@dataclass(frozen=True)
class Kept:
    """What a row kept after a call: the ids from column `begin` on, of the part `source` of that call."""

    row: int
    source: int
    begin: int
    ids: Ids


class Keeper(TinyTransformer):
    """Full attention, or causal between blocks of `block_length`. `calls`: the canvases of each plain call."""

    def __init__(
        self,
        seed: int,
        block_length: int | None = None,
        context: float = 0.5,
        eos_id: int | None = None,
        *,
        pads: bool = True,
        selects_columns: bool = False,
        strict: bool = True,
        wide: bool = False,
    ) -> None:
        super().__init__(
            seed, everything if block_length is None else block_causal(block_length, 0), context, eos_id
        )
        self.block_length, self.pads, self.selects_columns, self.strict = (
            block_length,
            pads,
            selects_columns,
            strict,
        )
        self.tokens, self.places, self.head = self.tokens.double(), self.places.double(), self.head.double()
        self.layers = [[weights.double() for weights in layer] for layer in self.layers]
        self.wide = wide  # whether the input may have more columns than tokens
        self.calls: list[list[Ids]] = []
        self.given: list[Memory] = []

    def __call__(
        self, ids: Tensor, lengths: list[int] | None = None, columns: Tensor | None = None
    ) -> Tensor:
        assert self.pads == (lengths is not None)
        assert self.selects_columns or columns is None
        lengths = [ids.shape[1]] * len(ids) if lengths is None else lengths
        assert max(lengths) == ids.shape[1]
        rows = [tuple(row[:length]) for row, length in zip(ids.tolist(), lengths, strict=True)]
        self.calls.append(rows)
        logits = hurting(len(rows), ids.shape[1])
        for i, row in enumerate(rows):
            logits[i, : len(row)] = self.of(row)
        return (
            logits if columns is None else logits.gather(1, columns.unsqueeze(-1).expand(-1, -1, VOCABULARY))
        )

    def row(self, ids: Ids) -> Tensor:
        columns = torch.arange(len(ids))
        return self.computed(ids, columns, self.nothing(), self.sees(len(ids)))[0]

    def nothing(self) -> Layers:
        return [(torch.empty(0, WIDTH, dtype=torch.float64),) * 2 for _ in self.layers]

    def computed(self, ids: Ids, columns: Tensor, others: Layers, sees: Tensor) -> tuple[Tensor, Layers]:
        """Logits `[W, V]` of ids at some columns and their own keys and values; `sees [W, others + W]`: may
        it look at those?
        """
        own: Layers = []
        hidden = even(self.places[columns])
        tokens = self.context * self.tokens[list(ids)]
        for (query, key, value, out, up, down), (keys, values) in zip(self.layers, others, strict=True):
            with_tokens = hidden + tokens
            own.append((with_tokens @ key, with_tokens @ value))
            scores = (with_tokens @ query) @ torch.cat([keys, own[-1][0]]).T / math.sqrt(WIDTH)
            attention = scores.masked_fill(~sees, -math.inf).softmax(-1)
            hidden = even(hidden + attention @ torch.cat([values, own[-1][1]]) @ out)
            hidden = even(hidden + torch.nn.functional.gelu(hidden @ up) @ down)
        return (hidden @ self.head * GRID).round().float() / GRID, own

    def kv_cache(self, rows: int, length: int) -> Memory:
        self.given.append(Memory(self, rows, length))
        return self.given[-1]

    @property
    def memories(self) -> list[Memory]:
        """Those that were called: some are asked for to see whether they may be had."""
        return [memory for memory in self.given if memory.calls]


@dataclass
class Memory:
    """Keys and values of some rows. `calls`: the parts of each call; `keeps`: after how many calls what was
    kept.

    A `strict` denoiser's fails where a column is seen that was never kept; another's has only zeros there.
    """

    denoiser: Keeper
    rows: int
    length: int
    calls: list[list[Part]] = field(default_factory=list)
    keeps: list[tuple[int, list[Kept]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.columns: list[dict[int, Layers]] = [{} for _ in range(self.rows)]
        self.last: list[tuple[Part, Layers]] = []

    def __call__(
        self,
        ids: Tensor,
        inputs: InputRows,
        columns: Tensor | None = None,
    ) -> Tensor:
        numbers = torch.stack(inputs, 1)
        assert numbers.dtype == ids.dtype == torch.int64
        assert numbers.shape == (len(ids), 6)
        assert ids.shape[1] == int(inputs.tokens.max()) or self.denoiser.wide
        logits, self.last = hurting(*ids.shape), []
        for i, (begin, size, row, seen_left, seen_right, length) in enumerate(numbers.tolist()):
            assert 0 <= seen_left <= begin < begin + size <= seen_right <= length <= self.length
            seen = tuple(column for column in range(length) if column < seen_left or column >= seen_right)
            part = Part(row, begin, tuple(ids[i, :size].tolist()), seen)
            logits[i, :size], own = self._computed(part)
            self.last.append((part, own))
        self.calls.append([part for part, _ in self.last])
        if columns is None:
            return logits
        assert (columns >= inputs.first.unsqueeze(1)).all()
        assert (columns < (inputs.first + inputs.tokens).unsqueeze(1)).all()
        return logits.gather(
            1, (columns - inputs.first.unsqueeze(1)).unsqueeze(-1).expand(-1, -1, VOCABULARY)
        )

    def _computed(self, part: Part) -> tuple[Tensor, Layers]:
        kept = self.columns[part.row]
        missing = [column for column in part.seen if column not in kept]
        assert not (missing and self.denoiser.strict), (
            f"columns {missing} of row {part.row} are seen and were never kept"
        )
        zeros: Layers = [(torch.zeros(WIDTH, dtype=torch.float64),) * 2 for _ in self.denoiser.layers]
        others = self.denoiser.nothing()
        if part.seen:
            found = [kept.get(column, zeros) for column in part.seen]
            others = [
                (torch.stack([one[i][0] for one in found]), torch.stack([one[i][1] for one in found]))
                for i in range(len(zeros))
            ]
        columns = torch.arange(part.begin, part.end)
        at = torch.cat([torch.tensor(part.seen, dtype=torch.int64), columns])
        sees = torch.ones(len(columns), len(at), dtype=torch.bool)
        if (block := self.denoiser.block_length) is not None:
            sees = at // block <= (columns // block).unsqueeze(1)
        return self.denoiser.computed(part.ids, columns, others, sees)

    def store(self, source: Tensor, begin: Tensor, end: Tensor) -> None:
        assert source.shape == begin.shape == end.shape == (self.rows,)
        kept = []
        for row, (i, start, stop) in enumerate(torch.stack([source, begin, end], 1).tolist()):
            if start >= stop:
                continue
            part, own = self.last[i]
            assert part.begin <= start < stop <= part.end, "what is kept was not fed"
            for column in range(start, stop):
                self.columns[row][column] = [(k[column - part.begin], v[column - part.begin]) for k, v in own]
            kept.append(Kept(row, i, start, part.ids[start - part.begin : stop - part.begin]))
        self.keeps.append((len(self.calls), kept))


def hurting(rows: int, length: int) -> Tensor:
    """Logits that are meant to hurt whoever reads what was not fed."""
    logits = torch.zeros(rows, length, VOCABULARY)
    logits[:, :, 0] = HURTS
    return logits


def even(hidden: Tensor) -> Tensor:
    """Of mean 0 and size 1 at every position."""
    return torch.nn.functional.layer_norm(hidden, hidden.shape[-1:])


def begins(prompts: Sequence[Sequence[int]], block: int) -> list[int]:
    """Where each prompt's generation region begins: with the model's block that the first mask is in."""
    return [len(prompt) // block * block for prompt in prompts]
