"""The ends of texts in a batch: the ids that end a row, and the ids that may not come early.

An end-of-text id and a stop id end a row in the same way. The words `after_eos` and `eos_closed` of a policy
are about the end-of-text id alone: a step does not know the stop ids of a request. Shapes: B rows, C canvas
columns, T window positions, V vocabulary. Not here: stop strings (`stops`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..backends.on_device import on_device
from .requests import Request


class Ends:
    """The ends of the requests of a batch. Most runs have no stop ids and no least length: then a step has no
    work for them.

    Attributes:
        stop_ids: `[B, S]`, -1 where a request has fewer; `None` if no request has any.
        early: Ids that are not written early `[B, E]`, and the number of early positions `[B]`; `None` if no
            request has a least length.
    """

    def __init__(
        self, requests: Sequence[Request], mask_id: int, eos_id: int | None, device: torch.device
    ) -> None:
        self.mask_id, self.eos_id, self.device = mask_id, eos_id, device
        self.stop_ids: Tensor | None = None
        self.early: tuple[Tensor, Tensor] | None = None
        if any(request.stop_ids for request in requests):
            self.stop_ids = self._rectangular([(*request.stop_ids, -1) for request in requests])
        if any(request.min_length for request in requests):
            ends = [self.ids_of(request) if request.min_length else () for request in requests]
            least = [request.min_length if ids else 0 for request, ids in zip(requests, ends, strict=True)]
            self.early = self._rectangular([ids or (0,) for ids in ends]), self._int64(least)

    def _rectangular(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """`[B, most]`: a short row repeats its last id."""
        most = max(map(len, ids))
        return self._int64([[*row, *[row[-1]] * (most - len(row))] for row in ids])

    def _int64(self, values: Sequence[object]) -> Tensor:
        return on_device(values, self.device, torch.int64)

    def ids_of(self, request: Request) -> tuple[int, ...]:
        """The ids at which the text of a request ends."""
        own = () if self.eos_id is None else (self.eos_id,)
        return tuple(dict.fromkeys((*own, *request.stop_ids, *request.text_ends)))

    def without_early(self, logits: Tensor, positions: Tensor) -> Tensor:
        """Logits `[B, T, V]` at generated positions `[B, T]`: -inf at the ends of a text where the least
        length of the request is not reached.
        """
        if self.early is None:
            return logits
        ends, least = self.early
        ids = ends.unsqueeze(1).expand(-1, positions.shape[1], -1)
        early = (positions < least.unsqueeze(1)).unsqueeze(2)
        return logits.scatter(2, ids, logits.gather(2, ids).masked_fill(early, float("-inf")))

    def on(self, canvas: Tensor, at_eos: bool) -> Tensor | None:
        """`[B, C]` bool: the columns with a stop id, or with `at_eos` an end-of-text id; `None` if there
        cannot be any.
        """
        end = canvas == self.eos_id if at_eos and self.eos_id is not None else None
        if self.stop_ids is None:
            return end
        stop = (canvas.unsqueeze(2) == self.stop_ids.unsqueeze(1)).any(2)
        return stop if end is None else end | stop

    def content(self, ids: Sequence[int], request: Request) -> Sequence[int]:
        """Generated ids before the first end-of-text or stop id."""
        ends = {self.eos_id, *request.stop_ids}
        return ids[: next((at for at, id_ in enumerate(ids) if id_ in ends), len(ids))]

    def closed(
        self, generated: list[int], request: Request, stopped: int | None
    ) -> tuple[list[int], int, str]:
        """The generated ids of a row that has ended, the number of content tokens, and its `finish_reason`,
        as `Row` has them. `stopped`: the ids up to a stop string.
        """
        if stopped is not None:
            return self._filled(generated, stopped, everything=True), stopped, "stop"
        content = len(self.content(generated, request))
        if not any(id_ in self.ids_of(request) for id_ in generated):
            return generated, content, "length"
        if content < len(generated) and self.mask_id not in generated[:content]:
            generated = self._filled(generated, content + 1)
        return generated, content, "stop"

    def _filled(self, generated: list[int], end: int, everything: bool = False) -> list[int]:
        """The ids with the end-of-text id in place of the masks, or of everything, from `end` on. Without an
        end-of-text id, only the ids before `end`.
        """
        rest, eos_id = generated[end:], self.eos_id
        if eos_id is None:
            return generated[:end]
        return [*generated[:end], *[eos_id if everything or id_ == self.mask_id else id_ for id_ in rest]]
