"""The recorded values of a step, from tensors of all rows to the bytes of each row, in one copy.

Shapes: B rows, R rows that are recorded, T window positions, V vocabulary, K columns. Not here: the values
themselves (`recorder`), their meaning (`explained`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..explained.recorded_values import (
    BOOL,
    INT,
    REAL,
    SIZES,
    ColumnLayout,
    OfEachPosition,
    RecordedValues,
    values_in,
)
from ..explained.step_record import Candidates

MOST_CANDIDATES = 4
CHUNK = 2**22  # logits that are copied at once for the candidates
TORCH_TYPES = {BOOL: torch.bool, INT: torch.int64, REAL: torch.float32}


class RecordedRows:
    """The values of the recorded rows, on the host. `layout`: of `values`, which are `[]`, `[B, 1]` or
    `[B, T]` by their number; `places [R]`: the rows, `None` for all rows.
    """

    def __init__(
        self,
        layout: ColumnLayout,
        values: Mapping[int, Tensor],
        shape: tuple[int, int],
        likeliest: tuple[Tensor, Tensor],
        places: Tensor | None,
    ) -> None:
        self.layout, self.positions, self.most = layout, shape[1], likeliest[0].shape[1]
        segments = [whole if places is None else whole[places] for whole in _segments(layout, values, shape)]
        parts = _on_host_at_once([*segments, *likeliest])
        self.parts = dict(
            zip(((form, wide) for form in SIZES for wide in (False, True)), parts, strict=False)
        )
        self.ids, self.shares = parts[-2:]

    def single(self, row: int, number: int) -> Any:
        """The value of a column that is not wide. `row`: among the recorded ones."""
        return values_in(self.bytes_of(row, number, 0), self.layout.columns[number].format)[0]

    def bytes_of(self, row: int, number: int, size: int) -> memoryview:
        """The bytes of a column at the first `size` positions, or of its single value."""
        column = self.layout.columns[number]
        width, length = SIZES[column.format], self.positions if column.wide else 1
        first = (row * self.layout.counts[column.format, column.wide] + column.place) * length * width
        part = self.parts[column.format, column.wide]
        return part[first : first + (size if column.wide else 1) * width]

    def values(self, row: int, layout: ColumnLayout, size: int) -> RecordedValues:
        """The values of a row in another layout, that of a phase."""
        data = {}
        for form in SIZES:
            of_form = [
                (one.wide, one.place, number) for number, one in layout.columns.items() if one.format == form
            ]
            data[form] = b"".join(self.bytes_of(row, number, size) for _, _, number in sorted(of_form))
        return RecordedValues(layout, size, data)

    def candidates(self, row: int, size: int) -> Candidates:
        """The likeliest ids of a row."""
        return Candidates(
            self._of_each(self.ids, array(INT), row, size), self._of_each(self.shares, array(REAL), row, size)
        )

    def _of_each(self, part: memoryview, into: array[Any], row: int, size: int) -> OfEachPosition[Any]:
        for number in range(self.most):
            first = (row * self.most + number) * self.positions * into.itemsize
            into.frombytes(part[first : first + size * into.itemsize])
        return OfEachPosition(into, size)


def _segments(layout: ColumnLayout, values: Mapping[int, Tensor], shape: tuple[int, int]) -> Iterator[Tensor]:
    """For each format the single values `[B, K, 1]`, then the values for positions `[B, K, T]`."""
    device = next(iter(values.values())).device
    for form in SIZES:
        for wide in (False, True):
            size = shape if wide else (shape[0], 1)
            columns = [
                values[number].to(TORCH_TYPES[form]).expand(size)
                for number, column in layout.columns.items()
                if (column.format, column.wide) == (form, wide)
            ]
            nothing = torch.zeros(shape[0], 0, 1, dtype=TORCH_TYPES[form], device=device)
            yield torch.stack(columns, 1) if columns else nothing


def likeliest(logits: Tensor, mask_id: int, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The likeliest ids other than MASK `[R, 4, T]` int64, best first, and their probabilities in the whole
    vocabulary, float32. A probability is 0 where the logits are not finite.
    """
    positions, vocab = logits.shape[1:]
    has_mask = 0 <= mask_id < vocab
    most = min(MOST_CANDIDATES, vocab - has_mask)
    step = max(1, CHUNK // vocab)
    ids, shares = [], []
    for row in rows:
        for first in range(0, positions, step):
            part = logits[row, first : first + step].float()
            total = part.logsumexp(1, keepdim=True)
            # One more than needed, because MASK may be among them: this needs no copy of the logits.
            best = part.topk(most + has_mask, 1)
            kept = (best.indices == mask_id).byte().argsort(dim=1, stable=True)[:, :most]
            ids.append(best.indices.gather(1, kept))
            shares.append((best.values.gather(1, kept) - total).exp().nan_to_num(0.0).clamp(0, 1))
    shape = (len(rows), positions, most)
    return torch.cat(ids).view(shape).transpose(1, 2), torch.cat(shares).view(shape).transpose(1, 2)


def _on_host_at_once(tensors: Sequence[Tensor]) -> list[memoryview]:
    """The bytes of several tensors, copied from a device at once."""
    parts = [one.contiguous().view(-1).view(torch.uint8) for one in tensors]
    buffer: Any = torch.cat(parts).cpu().numpy()
    whole, views, first = memoryview(buffer), [], 0
    for part in parts:
        views.append(whole[first : first + len(part)])
        first += len(part)
    return views
