"""The requests of an engine that shows one block of each at a time, and the blocks that it decodes.

`RequestRecords` stores the state of each request between its blocks, by the engine's id, a bounded number.
Not here: the steps (`hosted_blocks`).
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...backends import noise
from ...checks.values import Value
from ...diagnostics import Diagnostic
from ...policy import Policy
from ...runtime.block_host import carried_between_blocks
from ...runtime.session import SlotState

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
        stop_ids: More ids that end the text.
        min_length: The positions at whose start no id that ends the text is written.
        alive: Whether the engine still has the request. The state of other requests is dropped.
    """

    id: str
    prompt_length: int
    max_new_tokens: int
    seed: int | None = None
    parameters: Mapping[str, Value] | None = None
    ignores_eos: bool = False
    stop_ids: tuple[int, ...] = ()
    min_length: int = 0
    alive: Callable[[], bool] = lambda: True

    def length(self, block_length: int) -> int:
        """The positions to generate. The engine decodes whole blocks, so the last block counts whole."""
        end = self.prompt_length + self.max_new_tokens
        return -(-end // block_length) * block_length - self.prompt_length

    def key(self, seed: int) -> int:
        """The start of its random numbers: `dsldec.decode` of one prompt with the request's seed draws the
        same ones. Without a seed, they follow from `seed` and the id, on every machine alike.
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


@dataclass(slots=True, eq=False)
class RequestRecords:
    """The records of an engine's requests, by id. `most`: the number that is stored; above it, the oldest one
    without a slot is dropped.
    """

    policy: Policy
    block_length: int
    most: int = MOST_RECORDS
    carried: tuple[str, ...] = field(init=False)
    _by_id: OrderedDict[str, RequestRecord] = field(init=False, default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.carried = carried_between_blocks(self.policy)

    def __len__(self) -> int:
        return len(self._by_id)

    def at_block(self, run: BlockRun, start: int) -> RequestRecord | None:
        """The record of a request whose next block begins at `start`; `None`, with an error in `run`, where
        the state of the blocks before is not stored and the policy reads it.
        """
        request, record = run.request, self._by_id.get(run.request.id)
        if record is not None and record.request is request:
            self._by_id.move_to_end(request.id)
            goes_on = record.full and record.start + self.block_length == start
            if goes_on or record.ended:
                record.start, record.full = start, False
                record.ended |= start >= request.prompt_length + request.length(self.block_length)
                return record
        first = start <= request.prompt_length
        if not first and (self.carried or request.ignores_eos):
            run.error = _state_lost(self, start - request.prompt_length)
            return None
        if record is not None:  # of another request with this id, or of a block that was begun
            record.ended, record.taken = True, None
        self._by_id[request.id] = record = RequestRecord(request, start)
        self._drop()
        return record

    def _drop(self) -> None:
        """Drops the records of requests that the engine no longer has, and the oldest ones above the limit. A
        block that is open stays open.
        """
        idle = [one for one in self._by_id.values() if one.slot is None]
        for record in idle[:-1]:
            if not record.request.alive() or len(self._by_id) > self.most:
                del self._by_id[record.request.id]


def most_steps(policy: Policy, block_length: int, requests: Sequence[HostedRequest]) -> int:
    """The most steps of a block of any of these requests, with the step that only reports it as done."""
    own = {(request.length(block_length), _values(request)) for request in requests}
    return 1 + max((_bound(policy, block_length, *one) for one in own), default=1)


@functools.lru_cache(maxsize=4096)
def _bound(policy: Policy, block_length: int, length: int, values: tuple[tuple[str, Value], ...]) -> int:
    return policy.bind(**dict(values)).plan(max(1, length)).max_forwards_of_block(block_length)


def _values(request: HostedRequest) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted((request.parameters or {}).items()))


def _state_lost(records: RequestRecords, position: int) -> Diagnostic:
    fields = ", ".join(f"`{name}`" for name in records.carried) or "`eos_before`"
    message = (
        f"the policy `{records.policy.name}` carries {fields} from block to block, and the state of this "
        f"request is not stored at generated position {position}"
    )
    help = f"send the request again; at most {records.most} requests are stored between their blocks"
    return Diagnostic("E0455", message, help=help)
