"""Does every prompt get one result, whatever workers die? And is a run refused that the cluster cannot hold?

The pool is a model of Ray's: workers that die where a prompt says so. Not here: Ray itself (`test_batch`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsldec.diagnostics import Diagnostic, UsageError
from dsldec.tools.batch_events import Begun, CannotDecode, Chunk, Finished, Ready, WorkerEvent, WorkerSaid
from dsldec.tools.batch_passes import FRUITLESS, TRIES, Passes, chunked
from dsldec.tools.batch_pool import Reserved, require_room
from dsldec.tools.prompts import Prompt
from dsldec.tools.results import Result


class Workers:
    """Runs chunks one after another. The worker dies at a prompt of `deadly` each time, and at one of `unlucky`
    the first time. A lost chunk ends the pass after `workers` others, as Ray does.
    """

    def __init__(self, workers: int = 2, deadly: Sequence[str] = (), unlucky: Sequence[str] = ()) -> None:
        self.actor = "Workers"
        self.workers, self.deadly, self.unlucky = workers, deadly, [*unlucky]
        self.decoded: Counter[int] = Counter()
        self.passes: list[list[int]] = []
        self.deaths = 0

    def run(self, chunks: Sequence[Chunk], retries: int) -> Iterator[WorkerEvent]:
        self.passes.append([len(chunk) for chunk in chunks])
        lost = 0
        for chunk in chunks:
            if lost > self.workers:
                return
            for _ in range(retries + 1):
                if (yield from self._whole(chunk)):
                    break
            else:
                lost += 1

    def _whole(self, chunk: Chunk) -> Iterator[WorkerEvent]:
        yield Ready(0.1)
        yield Begun(tuple(place for place, _ in chunk))
        for place, prompt in chunk:
            if prompt.text in self.deadly or prompt.text in self.unlucky:
                self.unlucky = [text for text in self.unlucky if text != prompt.text]
                self.deaths += 1
                return False
            self.decoded[place] += 1
            yield Finished(place, Result(prompt, prompt.text.upper()))
        return True


def prompts(count: int) -> list[Prompt]:
    return [Prompt(number, number, f"p{number}") for number in range(count)]


def finished(passes: Passes) -> dict[int, Result]:
    found = [event for event in passes.events() if isinstance(event, Finished)]
    assert len({event.place for event in found}) == len(found)
    return {event.place: event.result for event in found}


@given(
    count=st.integers(1, 60),
    workers=st.integers(1, 5),
    batch=st.integers(1, 9),
    deadly=st.sets(st.integers(0, 59), max_size=4),
    unlucky=st.sets(st.integers(0, 59), max_size=8),
)
def test_every_prompt_gets_one_result(count, workers, batch, deadly, unlucky):
    dead = sorted(f"p{number}" for number in deadly if number < count)
    pool = Workers(workers, dead, [f"p{number}" for number in unlucky])
    results = finished(Passes(pool, prompts(count), batch))
    assert sorted(results) == list(range(count))
    failed = {place: result.error for place, result in results.items() if result.error is not None}
    assert {f"p{place}" for place in failed} == set(dead)
    assert {error.code for error in failed.values()} <= {"E0474"}
    assert len(pool.passes) <= 3 + TRIES + 2 * (len(dead) + len(unlucky))


def test_a_deadly_prompt_is_soon_alone():
    pool = Workers(2, ["p7"])
    results = finished(Passes(pool, prompts(40), 8))
    assert str(results[7].error).startswith("error[E0474]: the worker died each time it decoded this prompt")
    assert [place for place, result in results.items() if result.error is None] != []
    assert pool.deaths == 5  # one retry, and once in each of three further passes
    assert max(pool.passes[0]) == 10
    assert [max(sizes) for sizes in pool.passes[1:]] == [3, 1, 1]


def test_one_death_needs_no_further_pass():
    pool = Workers(2, unlucky=["p7"])
    finished(Passes(pool, prompts(40), 8))
    assert len(pool.passes) == 1


def test_chunks_hold_the_prompts_in_order_and_get_shorter():
    chunks = chunked([*enumerate(prompts(100))], 2, 8, 64)
    assert [len(chunk) for chunk in chunks] == [25, 19, 14, 11, 8, 8, 8, 7]
    assert [place for place, _ in itertools.chain(*chunks)] == list(range(100))
    assert {len(chunk) for chunk in chunked([*enumerate(prompts(9))], 2, 8, 1)} == {1}


class Dies(Workers):
    def run(self, chunks: Sequence[Chunk], retries: int) -> Iterator[WorkerEvent]:
        self.passes.append([])
        yield WorkerSaid("loading")


def test_workers_that_never_begin_end_the_run():
    pool = Dies()
    with pytest.raises(UsageError, match="E0472") as raised:
        list(Passes(pool, prompts(4), 8).events())
    assert len(pool.passes) == FRUITLESS
    assert "--workers" in raised.value.diagnostic.help


class CannotLoad(Workers):
    def run(self, chunks: Sequence[Chunk], retries: int) -> Iterator[WorkerEvent]:
        yield CannotDecode(UsageError(Diagnostic("E0405", "no such model")))
        raise AssertionError("nothing is read after that")


def test_the_error_of_a_worker_ends_the_run():
    with pytest.raises(UsageError, match="E0405"):
        list(Passes(CannotLoad(), prompts(4), 8).events())


ROOM = [
    ([{"CPU": 2}], 2, Reserved(1, 0), None, ""),
    ([{"CPU": 2}], 4, Reserved(0.5, 0), None, ""),
    ([{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 2}], 8, Reserved(1, 0.5), None, ""),
    ([{"CPU": 8, "GPU": 2}], 3, Reserved(1, 0.7), "3 workers with 1 CPU and 0.7 GPUs each", "`--workers 2`"),
    ([{"CPU": 2}], 3, Reserved(1, 0), "one machine with 2 CPUs and 0 GPUs", "`--workers 2`, or `--cpus-per-worker 0.5`"),
    ([{"CPU": 2}], 1, Reserved(1, 1), "1 worker with 1 CPU and 1 GPU", "no machine has a GPU: `--gpus-per-worker 0`"),
    ([{"CPU": 8, "GPU": 1}] * 3, 2, Reserved(1, 2), "3 machines with 24 CPUs and 3 GPUs", "must fit into one machine"),
    ([], 1, Reserved(1, 0), "0 machines", "one machine"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "workers", "each", "says", "help"), ROOM)
def test_workers_without_room_are_refused(nodes, workers, each, says, help):
    if says is None:
        require_room(nodes, workers, each)
        return
    with pytest.raises(UsageError, match="E0471") as raised:
        require_room(nodes, workers, each)
    assert says in raised.value.diagnostic.message
    assert help in raised.value.diagnostic.help
