"""How does a policy run in an engine that shows one block of each request at a time, in batches that change?

`HostedBlocks` joins the states of the requests of a batch in a `Session`, makes the step, and returns which
blocks are done. A block is done one forward after its last tokens are written, so that the engine can store
their keys and values. Positions and random numbers depend only on the request, never on the batch, so every
rank of an engine gets the same tokens. Shapes: B rows of the engine's batch, C positions of a block, V
vocabulary. Not here: the classes of an engine (`algorithm`), the requests (`hosted_requests`), the policy's
configuration (`served_policy`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...policy import Policy
from ...runtime.requests import Request, block_shown
from ...runtime.session import Session
from ...runtime.shape_buckets import rows_compiled
from .hosted_requests import MOST_RECORDS, BlockRun, RequestRecord, RequestRecords


@dataclass(frozen=True, slots=True)
class ShownBlocks:
    """The blocks of the engine's batch.

    `ids [B, C]` int64, which a step changes; `starts`: the first position of each block, counted from the
    first one of the prompt; read only where a block is new; `given [B, C]` bool: ids that are never written,
    also where they are the mask id; `None` if every mask id is to be written.
    """

    ids: Tensor
    starts: Callable[[], Sequence[int]]
    given: Tensor | None = None


@dataclass(slots=True, eq=False)
class HostedBlocks:
    """The steps of one policy in an engine.

    `slots`: the requests that the engine decodes at a time; a larger batch works too. `seed`: of the requests
    without a seed. Raises `UsageError` (E0404) for a backend that cannot run.
    """

    policy: Policy
    block_length: int
    mask_id: int
    vocab_size: int
    eos_id: int | None = None
    backend: str = "eager"
    device: torch.device | str = "cpu"
    seed: int = 0
    slots: int = 8
    most_records: int = MOST_RECORDS
    bos_id: int | None = None
    pad_id: int | None = None
    session: Session = field(init=False)
    _records: RequestRecords = field(init=False)
    _seated: list[RequestRecord] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.session = Session.of(
            self.policy,
            slots=self.slots,
            columns=self.block_length,
            mask_id=self.mask_id,
            vocab_size=self.vocab_size,
            eos_id=self.eos_id,
            bos_id=self.bos_id,
            pad_id=self.pad_id,
            backend=self.backend,
            device=self.device,
        )
        self._records = RequestRecords(self.policy, self.block_length, self.most_records)

    def step(self, shown: ShownBlocks, logits: Tensor, runs: Sequence[BlockRun]) -> list[bool]:
        """One step in every block that is not done: `logits [B, C, V]`. Writes the new ids into `shown.ids`.

        Returns whether each block is done: nothing was written in it, and its keys and values are those of
        its ids. A block whose `error` is set by this step is done at once; the other rows go on.
        """
        blocks = self._open(shown, runs) if any(run.fresh for run in runs) else {}
        done = [run.done for run in runs]
        self._seat(runs, blocks)
        rows = [row for row, run in enumerate(runs) if not (run.done or run.error or _ended(run))]
        if rows:
            self._advance(shown, logits, runs, rows)
        over = [row for row, run in enumerate(runs) if not done[row] and (_ended(run) or run.error)]
        if over:
            self._end_text(shown, over)
        for row in over:
            runs[row].done = True
        return [before or run.error is not None for before, run in zip(done, runs, strict=True)]

    # --- blocks that are new

    def _open(self, shown: ShownBlocks, runs: Sequence[BlockRun]) -> dict[int, list[int]]:
        """Finds the records of the rows whose block is new, and returns the ids of the blocks among them that
        have something to write.
        """
        ids, starts = shown.ids.tolist(), shown.starts()
        given = [[False] * self.block_length] * len(runs) if shown.given is None else shown.given.tolist()
        blocks: dict[int, list[int]] = {}
        for row, run in enumerate(runs):
            if not run.fresh:
                continue
            run.fresh = False
            masks = [
                id_ == self.mask_id and not fixed for id_, fixed in zip(ids[row], given[row], strict=True)
            ]
            if any(masks):
                blocks[row] = self._without_given_masks(ids[row], masks)
                run.record = self._records.at_block(run, starts[row])
            else:
                run.done = True
        return blocks

    def _without_given_masks(self, ids: list[int], masks: list[bool]) -> list[int]:
        """The ids of a block, where a mask id that is given becomes another id: it is a token of the text."""
        other = 1 if self.mask_id == 0 else 0
        return [
            other if id_ == self.mask_id and not mask else id_ for id_, mask in zip(ids, masks, strict=True)
        ]

    # --- slots

    def _seat(self, runs: Sequence[BlockRun], blocks: Mapping[int, list[int]]) -> None:
        """Every request with something to write gets a slot, and its block is shown there."""
        here = {run.record: row for row, run in enumerate(runs) if run.record and not run.record.ended}
        if not here:
            return
        starting = [record for record in here if record.slot is None and record.taken is None]
        if any(record.slot is None for record in here) or self._size(len(here)) != len(self.session.ended):
            self._join(list(here), {record: blocks[here[record]] for record in starting})
        again = {
            record.slot: (blocks[row], record.start - record.request.prompt_length)
            for record, row in here.items()
            if row in blocks and record not in starting and record.slot is not None
        }
        if again:
            self.session.show_all(again)

    def _size(self, count: int) -> int:
        self.session.slots = max(self.session.slots, count)
        return rows_compiled(count, self.session.slots)

    def _join(self, here: Sequence[RequestRecord], starting: Mapping[RequestRecord, list[int]]) -> None:
        """Puts the session's batch together again: these records, those in a slot first."""
        leaving = [one for one in self._seated if one not in here and not one.ended and one.request.alive()]
        for one, state in zip(leaving, self.session.take([_slot(one) for one in leaving]), strict=True):
            one.taken = state
        stay = [one for one in here if one.slot is not None]
        waiting = [one for one in here if one.slot is None and one.taken is not None]
        requests = [self._request(one, ids) for one, ids in starting.items()]
        states = [one.taken for one in waiting if one.taken is not None]
        self._size(len(here))
        states += self.session.opened(requests) if requests else []
        self.session.join(states, stay=[_slot(one) for one in stay])
        for one in self._seated:
            one.slot = None
        self._seated = [*stay, *waiting, *starting]
        for slot, one in enumerate(self._seated):
            one.slot, one.taken = slot, None

    def _request(self, record: RequestRecord, ids: Sequence[int]) -> Request:
        request = record.request
        made = block_shown(
            0,
            ids,
            record.start - request.prompt_length,
            request.length(self.block_length),
            self.mask_id,
            request.key(self.seed),
        )
        # An end-of-text token does not end an infilling.
        return replace(
            made,
            parameters=request.parameters,
            infills=request.ignores_eos,
            stop_ids=request.stop_ids,
            min_length=request.min_length,
        )

    # --- the step

    def _advance(
        self, shown: ShownBlocks, logits: Tensor, runs: Sequence[BlockRun], rows: Sequence[int]
    ) -> None:
        """One step in these rows, and its ids in the engine's tensor."""
        session = self.session
        records = [record for row in rows if (record := runs[row].record) is not None]
        slots = [_slot(record) for record in records]
        source = [0] * len(session.ended)
        for row, slot in zip(rows, slots, strict=True):
            source[slot] = row
        unfinished = sum(not (one.full or one.ended) for one in self._seated)
        only = None if unfinished == len(slots) else slots
        # The window of an open row is its block then; copying all logits takes longer than a simple step.
        whole = source == list(range(len(logits))) and session.rows.positions == self.block_length
        places = None if whole else torch.tensor(source, device=logits.device)
        session.step(logits, source=places, only=only, of_windows=whole)
        done, ended, failed = torch.stack([session.done, session.ended, session.state.failed]).tolist()
        for row, slot, record in zip(rows, slots, records, strict=True):
            runs[row].done = record.full = done[slot]
            record.ended = ended[slot]
            if failed[slot]:
                runs[row].error = session.error(slot)
        self._write(shown, rows, slots)

    def _write(self, shown: ShownBlocks, rows: Sequence[int], slots: Sequence[int]) -> None:
        """The ids of the slots in the rows of the engine. Given ids stay."""
        ids, new = shown.ids, self.session.written
        every = list(range(len(ids)))
        if rows == every == slots:
            new = new[: len(ids)]
        else:
            new = ids.index_copy(
                0, _places(rows, ids), new.index_select(0, _places(slots, new)).to(ids.dtype)
            )
        ids.copy_(new if shown.given is None else torch.where(shown.given, ids, new))

    def _end_text(self, shown: ShownBlocks, rows: Sequence[int]) -> None:
        """Writes the end-of-text token to every mask that is left in these rows: nothing else will be written
        there.
        """
        if self.eos_id is None:
            return
        ids = shown.ids
        masks = (ids == self.mask_id) & torch.zeros_like(ids, dtype=torch.bool).index_fill(
            0, _places(rows, ids), True
        )
        ids.masked_fill_(masks if shown.given is None else masks & ~shown.given, self.eos_id)


def _ended(run: BlockRun) -> bool:
    return run.record is not None and run.record.ended


def _slot(record: RequestRecord) -> int:
    assert record.slot is not None
    return record.slot


def _places(places: Sequence[int], beside: Tensor) -> Tensor:
    return torch.tensor(places, device=beside.device)
