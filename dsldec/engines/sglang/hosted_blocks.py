"""How does a policy run in an engine that shows one block of each request at a time, in batches that change?

`HostedBlocks` stores the state of each request by its id, from its first block to its last. It joins the
states of a batch in a `Session`, makes the step, and tells the engine which blocks are done. A block is done
one forward after its last tokens are written, so that the engine can store their keys and values. Positions
and random numbers depend only on the request, never on the batch, so every rank of an engine gets the same
tokens. Shapes: B rows of the engine's batch, C positions of a block, V vocabulary. Not here: the classes of an
engine (`algorithm`), the policy's configuration (`served_policy`).
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...backends import noise
from ...checks.values import Value
from ...diagnostics import Diagnostic
from ...policy import Policy
from ...runtime.block_host import carried_between_blocks
from ...runtime.requests import Request, block_shown
from ...runtime.session import Session, SlotState
from ...runtime.shape_buckets import rows_compiled

MOST_RECORDS = 4096  # requests whose state is stored between their blocks


@dataclass(frozen=True, slots=True, eq=False)
class HostedRequest:
    """A request of an engine.

    Attributes:
        id: The engine's id of the request; its random numbers follow from it, unless there is a `seed`.
        prompt_length: The number of ids before the first generated position.
        max_new_tokens: The most tokens to generate.
        seed: The request's own seed, if it has one.
        parameters: The values that replace those of the policy.
        ignores_eos: Whether the text goes on after an end-of-text token.
        alive: Whether the engine still has the request. The state of other requests is dropped.
    """

    id: str
    prompt_length: int
    max_new_tokens: int
    seed: int | None = None
    parameters: Mapping[str, Value] | None = None
    ignores_eos: bool = False
    alive: Callable[[], bool] = lambda: True

    def length(self, block_length: int) -> int:
        """The positions to generate. The engine decodes whole blocks, so the last block counts whole."""
        end = self.prompt_length + self.max_new_tokens
        return -(-end // block_length) * block_length - self.prompt_length

    def key(self, seed: int) -> int:
        """The start of its random numbers: `dsldec.decode` of one prompt with the request's seed draws the
        same ones. Without a seed of its own, they follow from `seed` and the id, on every machine alike.
        """
        if self.seed is not None:
            return noise.key(self.seed, 0)
        digest = hashlib.blake2b(self.id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return noise.key(seed, int.from_bytes(digest, "big"))


@dataclass(slots=True, eq=False)
class RequestRecord:
    """The state of a request between two forwards: in a slot of the session, or taken out of it.

    `start`: the first position of the block shown last, counted from the first one of the prompt; `full`:
    nothing is left to write in that block; `ended`: nothing is left to write at all.
    """

    request: HostedRequest
    start: int
    full: bool = False
    ended: bool = False
    slot: int | None = None
    taken: SlotState | None = None


@dataclass(slots=True, eq=False)
class BlockRun:
    """One block of a request, from its first forward to its last. `record` is `None` before the first step,
    and for a block with nothing to write. `done`: the next step reports the block as done.
    """

    request: HostedRequest
    record: RequestRecord | None = None
    fresh: bool = True
    done: bool = False
    error: Diagnostic | None = None


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
    session: Session = field(init=False)
    _records: OrderedDict[str, RequestRecord] = field(init=False, default_factory=OrderedDict)
    _seated: list[RequestRecord] = field(init=False, default_factory=list)
    _carried: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.session = Session.of(
            self.policy,
            slots=self.slots,
            columns=self.block_length,
            mask_id=self.mask_id,
            vocab_size=self.vocab_size,
            eos_id=self.eos_id,
            backend=self.backend,
            device=self.device,
        )
        self._carried = carried_between_blocks(self.policy)

    def step(self, shown: ShownBlocks, logits: Tensor, runs: Sequence[BlockRun]) -> list[bool]:
        """One step in every block that is not done: `logits [B, C, V]`. Writes the new ids into `shown.ids`.

        Returns whether each block is done: nothing was written in it, and its keys and values are those of
        its ids. A block whose `error` is set by this step is done at once; the other rows go on.
        """
        blocks = self._open(shown, runs) if any(run.fresh for run in runs) else {}
        done = [run.done for run in runs]
        self._seat(runs, blocks)
        rows = [row for row, run in enumerate(runs) if not run.done and not _ended(run)]
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
                run.record = self._record_of(run, starts[row])
            else:
                run.done = True
        return blocks

    def _without_given_masks(self, ids: list[int], masks: list[bool]) -> list[int]:
        """The ids of a block, where a mask id that is given becomes another id: it is a token of the text."""
        other = 1 if self.mask_id == 0 else 0
        return [
            other if id_ == self.mask_id and not mask else id_ for id_, mask in zip(ids, masks, strict=True)
        ]

    def _record_of(self, run: BlockRun, start: int) -> RequestRecord | None:
        """The record of a request whose block begins at `start`; `None`, with an error in `run`, where the
        state of the blocks before is not stored and the policy reads it.
        """
        request, record = run.request, self._records.get(run.request.id)
        if record is not None and record.request is request:
            self._records.move_to_end(request.id)
            goes_on = record.full and record.start + self.block_length == start
            if goes_on or record.ended:
                record.start, record.full = start, False
                record.ended |= start >= request.prompt_length + request.length(self.block_length)
                return record
        first = start <= request.prompt_length
        if not first and (self._carried or request.ignores_eos):
            run.error = _state_lost(self.policy, start - request.prompt_length, self._carried)
            return None
        if record is not None:  # of another request with this id, or of a block that was begun
            record.ended, record.taken = True, None
        self._records[request.id] = record = RequestRecord(request, start)
        self._drop_records()
        return record

    def _drop_records(self) -> None:
        """Drops the records of requests that the engine no longer has, and the oldest ones above the limit. A
        block that is open stays open.
        """
        idle = [one for one in self._records.values() if one.slot is None]
        for record in idle[:-1]:
            if not record.request.alive() or len(self._records) > self.most_records:
                del self._records[record.request.id]

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
        return replace(made, parameters=request.parameters, infills=request.ignores_eos)

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
        session.step(logits, source=torch.tensor(source, device=logits.device), only=only)
        done, ended, failed = torch.stack([session.done, session.ended, session.state.failed]).tolist()
        for row, slot, record in zip(rows, slots, records, strict=True):
            runs[row].done = record.full = done[slot]
            record.ended = ended[slot]
            if failed[slot]:
                runs[row].error = session.error(slot)
        self._write(shown, rows, slots)

    def _write(self, shown: ShownBlocks, rows: Sequence[int], slots: Sequence[int]) -> None:
        """The ids of the slots in the rows of the engine. Given ids stay."""
        ids, new = shown.ids, self.session.canvas
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


def most_steps(policy: Policy, block_length: int, requests: Sequence[HostedRequest]) -> int:
    """The most steps of a block of any of these requests, with the step that only reports it as done."""
    own = {(request.length(block_length), _values(request)) for request in requests}
    return 1 + max((_bound(policy, block_length, *one) for one in own), default=1)


@functools.lru_cache(maxsize=4096)
def _bound(policy: Policy, block_length: int, length: int, values: tuple[tuple[str, Value], ...]) -> int:
    return policy.bind(**dict(values)).plan(max(1, length)).max_forwards_of_block(block_length)


def _values(request: HostedRequest) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted((request.parameters or {}).items()))


def _ended(run: BlockRun) -> bool:
    return run.record is not None and run.record.ended


def _slot(record: RequestRecord) -> int:
    assert record.slot is not None
    return record.slot


def _places(places: Sequence[int], beside: Tensor) -> Tensor:
    return torch.tensor(places, device=beside.device)


def _state_lost(policy: Policy, position: int, carried: Sequence[str]) -> Diagnostic:
    fields = ", ".join(f"`{name}`" for name in carried) or "`eos_before`"
    message = (
        f"the policy `{policy.name}` carries {fields} from block to block, and the state of this request is no "
        f"longer stored at generated position {position}"
    )
    help = f"send the request again; at most {MOST_RECORDS} requests are stored between their blocks"
    return Diagnostic("E0455", message, help=help)
