"""The cache `exact`: decoding gives the same result as without a cache, and each written block is at most
once more in the input.

The oracle is the same decoder without a cache, and a hook on the denoiser that sees the input, the attended
columns and the cached columns. Not here: the caches that approximate (`test_cache_approximate`), which are
refused (`test_cache_refused`), real models (`tests/models/test_cached`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pytest
import torch

import dsldec
from dsldec.models.kv_cache import InputRows
from dsldec.runtime.cached_forward import CachedForward
from dsldec.runtime.decode import Decoded, DecodingStopped

from ..backends.policies import random_policy
from .cached_runs import (
    CHANGING,
    EDITING,
    GUIDED,
    LENIENT,
    MORE,
    OWN,
    RAGGED,
    SHIPPED,
    SLIDING,
    TEXTS,
    UNTIL,
    bound,
    decode,
    named,
    told,
    undrafting,
)
from .families import MASK, VOCABULARY, Ids, TinyTransformer, block_causal, everything
from .keeping import Keeper, Memory, Part, begins

# --- the denoiser of these tests


def test_what_is_computed_in_parts_is_what_is_computed_at_once() -> None:
    """The tests' own denoiser: bit for bit, in any parts, for either attention; and nearly what its float32
    model says.
    """
    rng = random.Random(0)
    for seed, block in [(0, None), (1, 4), (2, 1), (3, 5)]:
        denoiser = Keeper(seed, block)
        ids = tuple(rng.randrange(VOCABULARY) for _ in range(19))
        whole = denoiser.of(ids)
        plain = TinyTransformer(seed, everything if block is None else block_causal(block, 0), 0.5)
        assert (whole - plain.of(ids)).abs().max() < 1e-3
        memory = denoiser.kv_cache(2, 24)
        feed(memory, ids, 1, 0, 19, 0, 19)
        memory.store(*torch.tensor([[0, 0], [0, 0], [0, 19]]))
        for begin, end in [(0, 5), (5, 15), (7, 8), (18, 19), (0, 19)]:
            assert torch.equal(feed(memory, ids, 1, begin, end, begin, end), whole[begin:end])
        if block is not None:
            assert torch.equal(feed(memory, ids, 1, 10, 15, 10, 19), whole[10:15]) == (15 % block == 0)
        with pytest.raises(AssertionError, match="never kept"):
            feed(memory, ids, 0, 5, 9, 5, 9)


def feed(memory: Memory, ids: Ids, row: int, begin: int, end: int, left: int, right: int) -> torch.Tensor:
    numbers = torch.tensor([[begin, end - begin, row, left, right, len(ids)]])
    return memory(torch.tensor([ids[begin:end]]), InputRows(*numbers.unbind(1)))[0]


# --- exact: as without a cache


def split(memory: Memory, due: Counter[Ids]) -> tuple[list[list[Part]], list[list[Part]]]:
    """The calls that read whole blocks of prompts, of those that are `due` (and then no more are), and all
    others.
    """
    reading, others = [], []
    for call in memory.calls:
        prompts = Counter(part.ids for part in call if part.begin == 0)
        if prompts.total() == len(call) and prompts <= due:
            due -= prompts
            reading.append(call)
        else:
            others.append(call)
    return reading, others


def assert_fed(
    plain: Keeper, cached: Keeper, prompts: Sequence[Sequence[int]], admissions: int | None = None
) -> list[list[Part]]:
    """Every forward without a cache is one with it, of the same rows in the same order, each from some block
    on; beside them, the whole blocks of each prompt are read once. Gives the forwards.
    """
    block = cached.block_length
    assert block is not None
    assert not cached.calls
    due = Counter(
        tuple(prompt[:begin]) for prompt, begin in zip(prompts, begins(prompts, block), strict=True) if begin
    )
    read, forwards = 0, []
    for memory in cached.memories:
        reading, others = split(memory, due)
        read += len(reading)
        forwards += others
        for part in chain.from_iterable(memory.calls):
            assert part.seen == tuple(range(part.begin))
            assert part.begin % block == 0
        for kept in chain.from_iterable(kept for _, kept in memory.keeps):
            assert len(kept.ids) % block == kept.begin % block == 0
    assert not due
    assert admissions is None or read == admissions
    assert [len(call) for call in forwards] == [len(call) for call in plain.calls]
    for part, canvas in zip(chain.from_iterable(forwards), chain.from_iterable(plain.calls), strict=True):
        assert part.ids == canvas[part.begin : part.end]
        assert part.end % block == 0 or part.end == len(canvas)
    return forwards


def assert_fed_twice(plain: Keeper, cached: Keeper, prompts: Sequence[Sequence[int]]) -> None:
    """With guidance, a forward is a call with the prompt and one without it, each of a memory of its own; and
    so is what is read before.
    """
    read = [
        part
        for memory in cached.memories[::2]
        for call in memory.calls
        for part in call
        if MASK not in part.ids
    ]
    assert sorted(part.ids for part in read) == sorted(
        tuple(p[:n]) for p, n in zip(prompts, begins(prompts, cached.block_length), strict=True) if n
    )
    assert not cached.calls
    for with_prompt, without in zip(cached.memories[::2], cached.memories[1::2], strict=True):
        for one, other in zip(with_prompt.calls, without.calls, strict=True):
            assert [(part.row, part.begin, part.seen, part.end) for part in one] == [
                (part.row, part.begin, part.seen, part.end) for part in other
            ]
            assert all(
                b in (a, MASK)
                for parts in zip(one, other, strict=True)
                for a, b in zip(parts[0].ids, parts[1].ids, strict=True)
            )
        forwards = [
            one + other
            for one, other in zip(with_prompt.calls, without.calls, strict=True)
            if MASK in chain(*(p.ids for p in one))
        ]
        canvases, plain.calls = plain.calls[: len(forwards)], plain.calls[len(forwards) :]
        for call, wanted in zip(forwards, canvases, strict=True):
            assert [part.ids for part in call] == [
                canvas[part.begin : part.end] for part, canvas in zip(call, wanted, strict=True)
            ]
    assert not plain.calls


def assert_exact(
    make: Callable[[], Keeper],
    prompts: Sequence[Sequence[int]],
    policy: dsldec.Policy | str,
    admissions: int | None = None,
    **how: Any,
) -> tuple[Keeper, Keeper, Decoded]:
    """A cache changes nothing that is told, and makes no forward but those that read prompts."""
    plain, cached = make(), make()
    wanted, given = (
        decode(plain, prompts, policy, "none", **how),
        decode(cached, prompts, policy, "exact", **how),
    )
    assert not plain.memories
    for name, value in told(wanted).items():
        assert told(given)[name] == value, name
    if how.get("infill"):
        return plain, cached, given
    if policy == GUIDED:
        assert_fed_twice(plain, cached, prompts)
    else:
        assert_fed(plain, cached, prompts, admissions)
    return plain, cached, given


@dataclass(frozen=True)
class Setting:
    """One random run of a policy."""

    seed: int
    block: int  # the model's
    window: int  # the policy's
    drafts: int
    length: int
    selects_columns: bool
    pads: bool
    eos_id: int | None

    def make(self) -> Keeper:
        context = (0.2, 0.4, 0.8)[self.seed % 3]
        return Keeper(
            self.seed, self.block, context, self.eos_id, pads=self.pads, selects_columns=self.selects_columns
        )


def setting(seed: int) -> Setting:
    rng = random.Random(seed)
    window = (4, 3, 8, 6, 1, 10, 2, 40)[seed % 8]
    return Setting(
        seed,
        rng.choice((4, 4, 4, 2, 3, 5, 1)),
        window,
        (1, 2, 4, 8)[seed // 2 % 4],
        rng.randint(1, 17),
        rng.random() < 0.5,
        rng.random() < 0.7,
        rng.choice((None, 9)),
    )


def assert_policy_exact(name: str, of: Setting) -> None:
    policy, drafts = (
        (name, None if "lookahead" in name else of.drafts)
        if "\n" in name
        else bound(name, of.window, of.drafts)
    )
    how = {"gen_length": of.length, "lookahead": drafts, "batch": 8 if of.seed % 3 else 2}
    assert_exact(of.make, RAGGED, policy, **how)


def test_the_settings_hold_every_kind_of_run() -> None:
    settings = [setting(seed) for seed in range(40)]
    assert {1, 2, 4, 8} == {s.drafts for s in settings}
    for relation in (
        lambda s: s.block == s.window,
        lambda s: s.window % s.block and s.window > s.block,
        lambda s: s.window < s.block,
    ):
        assert any(map(relation, settings))
    assert any(s.window % s.block == 0 and s.window > s.block for s in settings)
    assert {(s.selects_columns, s.pads) for s in settings} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    remainders = {(len(prompt) // 4 > 1, len(prompt) % 4 == 0, len(prompt) >= 4) for prompt in RAGGED}
    assert len(remainders) >= 4


@pytest.mark.parametrize("name", [*SHIPPED, *CHANGING, *OWN], ids=named)
def test_a_policy_decodes_as_without_a_cache(name: str) -> None:
    first = 5 * ([*SHIPPED, *CHANGING, *OWN].index(name))
    for seed in range(first, first + (2 if name in SHIPPED else 1)):
        assert_policy_exact(name, setting(seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHIPPED, *CHANGING, *MORE, *OWN], ids=named)
def test_a_policy_decodes_as_without_a_cache_in_many_more_settings(name: str) -> None:
    for seed in range(1000, 1020):
        assert_policy_exact(name, setting(seed))


# --- exact: own cases


def assert_random_policy_exact(seed: int) -> None:
    of = setting(seed)
    text, drafts = (random_policy(seed)[0], None) if seed % 2 else (undrafting(seed), of.drafts)
    cached = decode(of.make(), RAGGED[:4], text, "exact", gen_length=of.length, lookahead=drafts, batch=3)
    assert told(cached) == told(
        decode(of.make(), RAGGED[:4], text, "none", gen_length=of.length, lookahead=drafts, batch=3)
    )


def test_random_policies_decode_as_without_a_cache() -> None:
    for seed in range(6):
        assert_random_policy_exact(seed)


@pytest.mark.slow
def test_many_random_policies_decode_as_without_a_cache() -> None:
    for seed in range(1000, 1200):
        assert_random_policy_exact(seed)


@pytest.mark.parametrize("backend", ["reference", pytest.param("inductor", marks=pytest.mark.slow)])
def test_other_backends_decode_as_without_a_cache(backend: str) -> None:
    for name, drafts in [("threshold", 3), ("dico", 1)]:
        policy, ahead = bound(name, 6, drafts)
        assert_exact(
            lambda: Keeper(4, 4, 0.4), RAGGED[:3], policy, backend=backend, lookahead=ahead, gen_length=11
        )


@pytest.mark.parametrize("name", ["static", SLIDING, UNTIL, LENIENT, GUIDED, EDITING], ids=named)
def test_masks_between_given_text_are_decoded_as_without_a_cache(name: str) -> None:
    """Whole blocks before the first mask are read once; what stands right of the last one's block is never
    fed.
    """
    for seed, window, drafts in [(1, 4, 1), (2, 6, 3), (3, 3, 4)]:
        policy, ahead = (
            (name, None if name == LENIENT else drafts) if "\n" in name else bound(name, window, drafts)
        )
        cached = assert_exact(
            lambda seed=seed: Keeper(seed, 4, 0.4), TEXTS, policy, infill=True, lookahead=ahead, batch=3
        )[1]
        parts = [part for memory in cached.memories for call in memory.calls for part in call]
        assert cached.memories
        assert all(part.begin % 4 == 0 and part.seen == tuple(range(part.begin)) for part in parts)
    texts = TEXTS[:2]
    plain, cached, _ = assert_exact(lambda: Keeper(5, 4, 0.4), texts, bound("static", 4)[0], infill=True)
    (memory,) = cached.memories
    assert len(memory.calls) == len(plain.calls) + 1  # the second has a whole block before its first mask
    assert {part.end for call in memory.calls[1:] for part in call if part.row == 1} <= {8, 12}
    assert [[(part.row, part.begin, part.end) for part in call] for call in memory.calls[:2]] == [
        [(1, 0, 4)],
        [(0, 0, 4), (1, 4, 8)],
    ]


def test_prompts_that_wait_are_read_when_a_row_is_free() -> None:
    """One call for all that come at once, none where no prompt has a whole block; what the row before kept is
    forgotten.
    """
    prompts = [RAGGED[i] for i in (0, 4, 5, 1, 2, 3, 0)]
    for seed, drafts in [(1, 1), (2, 4)]:
        make = lambda seed=seed: Keeper(seed, 4, 0.4, eos_id=9)  # noqa: E731
        _, cached, together = assert_exact(make, prompts, bound("static", 5)[0], batch=2, lookahead=drafts)
        alone = [
            decode(make(), [prompt], bound("static", 5)[0], "exact", lookahead=drafts)
            for prompt in prompts[:3]
        ]
        assert [one.trace[0] for one in alone] == together.trace[:3]
        (memory,) = cached.memories
        assert memory.rows == 2
    short = [[1, 2], [], [3], [4, 5, 6], [7]]
    assert_exact(lambda: Keeper(3, 4, 0.4), short, bound("static", 4)[0], 0, batch=2)
    assert_exact(lambda: Keeper(3, 4, 0.4), [[1] * 4, [2] * 5, [3] * 8], bound("static", 4)[0], 1, batch=3)
    assert_exact(
        lambda: Keeper(3, 4, 0.4), [[1] * 4, [2] * 4, [3] * 4, [4] * 4], bound("static", 4)[0], 2, batch=2
    )
    assert_exact(
        lambda: Keeper(3, 4, 0.4), [[1] * 4, [2] * 4, [3] * 4, [4] * 4], bound("static", 4)[0], 4, batch=1
    )


def test_forwards_are_those_without_a_cache_and_one_for_the_prompt() -> None:
    """Counted by the denoiser itself, one prompt at a time."""
    for n, name in enumerate(SHIPPED):
        prompt = RAGGED[n % 6]
        policy, drafts = bound(name, 8, 4)
        plain, cached, decoded = assert_exact(lambda: Keeper(6, 4, 0.3), [prompt], policy, lookahead=drafts)
        (memory,) = cached.memories
        assert len(memory.calls) == len(plain.calls) + (len(prompt) >= 4)
        assert decoded.forwards.tolist() == [len(plain.calls)]
        assert int(decoded.rows.sum()) == sum(len(call) for call in plain.calls)


# --- exact: what is fed


def path(decoded: Decoded, row: int, prompt: Sequence[int]) -> list[list[int]]:
    """The canvas before each step of a policy that only writes."""
    ids = decoded.ids[row].tolist()
    canvas, canvases = [*prompt, *[MASK] * (len(ids) - len(prompt))], []
    for step in decoded.trace[row]:
        canvases.append(list(canvas))
        for position in step.committed:
            canvas[len(prompt) + position] = ids[len(prompt) + position]
    return canvases


def window_of(canvas: list[int], begin: int, window: int) -> int:
    """Where the first window with a mask begins."""
    return begin + (canvas.index(MASK) - begin) // window * window


def assert_feeds_no_more_than_it_must(
    prompts: list[list[int]], block: int, window: int, drafts: int, seed: int
) -> None:
    """Fed is what stands from the first block on that was not final in the last canvas that was seen, to the
    block that drafts may reach; no column is fed when it was kept.
    """
    policy, ahead = bound("threshold" if seed % 2 else "static", window, drafts)
    plain, cached, decoded = assert_exact(
        lambda: Keeper(seed, block, 0.3), prompts, policy, lookahead=ahead, gen_length=15
    )
    forwards = assert_fed(plain, cached, prompts)
    (memory,) = cached.memories
    for row, (prompt, begin) in enumerate(zip(prompts, begins(prompts, block), strict=True)):
        length, edge, last = len(prompt) + 15, begin, {}
        for canvas, step in zip(path(decoded, row, prompt), decoded.trace[row], strict=True):
            last[step.forward] = canvas
        again: Counter[int] = Counter()
        for number, call in enumerate(forwards[: int(decoded.forwards[row])]):
            parts = [part for part in call if part.row == row]
            assert {part.begin for part in parts} == {edge}
            canvases = [
                canvas for part, canvas in zip(call, plain.calls[number], strict=True) if part.row == row
            ]
            starts = [window_of(list(canvas), begin, window) for canvas in canvases]
            assert [part.end for part in parts] == [
                min(length, -(-(start + window * drafts) // block) * block) for start in starts
            ]
            again.update(range(edge, starts[0] // block * block))
            edge = window_of(last[number], begin, window) // block * block if number in last else edge
        assert set(again.values()) <= {1}
        kept = [one for _, keeps in memory.keeps for one in keeps if one.row == row]
        columns = list(chain.from_iterable(range(one.begin, one.begin + len(one.ids)) for one in kept))
        assert columns == list(range(edge if decoded.forwards[row] else begin))
        assert [id_ for one in kept for id_ in one.ids] == decoded.ids[row].tolist()[: len(columns)]


@pytest.mark.parametrize(("block", "window"), [(4, 4), (4, 8), (4, 2), (4, 6), (3, 5), (1, 4), (5, 1)])
def test_a_written_block_is_fed_once_more_at_most(block: int, window: int) -> None:
    for drafts in (1, 2, 5):
        assert_feeds_no_more_than_it_must(RAGGED[:3] + RAGGED[4:5], block, window, drafts, seed=drafts)


# --- exact: mistakes are noticed

Mutation = Callable[[pytest.MonkeyPatch], None]
Fed = Any


def fed_as(monkeypatch: pytest.MonkeyPatch, change: Callable[[CachedForward, Fed], Fed]) -> None:
    true = CachedForward._input
    monkeypatch.setattr(
        CachedForward, "_input", lambda self, row, start, end: change(self, true(self, row, start, end))
    )


def one_block_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_as(
        monkeypatch,
        lambda self, fed: replace(
            fed, keeps=((fed.begin, min(fed.end, fed.keeps[0][1] + self.block_length)),)
        ),
    )


def one_block_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_as(
        monkeypatch,
        lambda self, fed: replace(
            fed, keeps=((fed.begin, max(fed.begin, fed.keeps[0][1] - self.block_length)),)
        ),
    )


def one_block_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_as(monkeypatch, lambda self, fed: replace(fed, left=max(0, fed.left - self.block_length)))


def one_block_not_fed(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_as(monkeypatch, lambda self, fed: replace(fed, end=max(fed.begin + 1, fed.end - self.block_length)))


def from_the_next_row(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward._keep
    fed: list[int] = []
    call = CachedForward._call

    def counted(self: CachedForward, parts: Any, *rest: Any) -> Any:
        fed[:] = [len(parts)]
        return call(self, parts, *rest)

    monkeypatch.setattr(CachedForward, "_call", counted)
    monkeypatch.setattr(
        CachedForward,
        "_keep",
        lambda self, taken: true(self, {r: ((n + 1) % fed[0], f) for r, (n, f) in taken.items()}),
    )


def from_the_first_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.keep

    def keep(self: CachedForward, source: torch.Tensor) -> None:
        first = {
            row: next(i for i, fed in enumerate(self.inputs) if fed.row == row)
            for row in {fed.row for fed in self.inputs}
        }
        self.place = {i: first[fed.row] for i, fed in enumerate(self.inputs)}
        true(self, source)

    monkeypatch.setattr(CachedForward, "keep", keep)


def from_the_last_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.keep

    def keep(self: CachedForward, source: torch.Tensor) -> None:
        last = {fed.row: i for i, fed in enumerate(self.inputs)}
        true(self, torch.tensor([last.get(row, i) for row, i in enumerate(source.tolist())]))

    monkeypatch.setattr(CachedForward, "keep", keep)


def never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CachedForward, "keep", lambda self, source: None)


def as_if_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "store", lambda self, source, begin, end: None)


def only_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept later moves the boundary alone."""
    true = Memory.store
    monkeypatch.setattr(
        Memory, "store", lambda self, *how: true(self, *how) if len(self.calls) == 1 else None
    )


def rows_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward._call
    monkeypatch.setattr(
        CachedForward,
        "_call",
        lambda self, fed, canvases, index, at: true(self, fed, canvases, index.flip(0), at),
    )


def rows_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.admit

    def admit(self: CachedForward, rows: Sequence[int]) -> None:
        edges = list(self.edge)
        true(self, rows)
        self.edge = [max(one, other) for one, other in zip(edges, self.edge, strict=True)]

    monkeypatch.setattr(CachedForward, "admit", admit)


def prompts_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def admit(self: CachedForward, rows: Sequence[int]) -> None:
        for row in rows:
            self.edge[row] = self.rows.requests[row].begin

    monkeypatch.setattr(CachedForward, "admit", admit)


def views_share(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.admit

    def admit(self: CachedForward, rows: Sequence[int]) -> None:
        self.views = self.views[:1] * len(self.views)
        true(self, rows)

    monkeypatch.setattr(CachedForward, "admit", admit)


def forwards_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.keep

    def keep(self: CachedForward, source: torch.Tensor) -> None:
        fed = self.inputs[:1]
        self._call(fed, self.rows.start[:1], torch.tensor([fed[0].row]), torch.tensor([[fed[0].begin]]))
        self.place = {}
        true(self, torch.full_like(source, len(self.inputs)))

    monkeypatch.setattr(CachedForward, "keep", keep)


CHANGES_RESULTS = [
    one_block_too_many, one_block_unseen, one_block_not_fed, from_the_next_row, from_the_first_draft, from_the_last_draft, as_if_kept,
    only_the_prompt, rows_see_each_other, rows_are_not_forgotten, prompts_are_not_read, views_share,
]  # fmt: skip
CHANGES_COSTS = [one_block_too_few, never, forwards_to_keep]
SAME_LENGTH = [[3, 4, 5, 6, 7], [8, 9, 0, 1, 2], [5, 5, 5, 5, 5], [22, 21, 20, 19, 18], [6, 3]]
RUNS: list[tuple[int, str | dsldec.Policy, dict[str, Any]]] = [
    (2, bound("static", 2)[0], {"lookahead": 4, "batch": 2}),
    (4, bound("static", 4)[0], {"batch": 2}),
    (4, GUIDED, {"batch": 4}),
]


@pytest.fixture(scope="module")
def wanted() -> list[dict[str, Any]]:
    return [
        told(decode(Keeper(2, block, 0.8), SAME_LENGTH, policy, "none", **how)) for block, policy, how in RUNS
    ]


def assert_runs(wanted: list[dict[str, Any]]) -> None:
    for (block, policy, how), value in zip(RUNS, wanted, strict=True):
        assert told(decode(Keeper(2, block, 0.8, strict=False), SAME_LENGTH, policy, "exact", **how)) == value


@pytest.mark.parametrize("mutation", CHANGES_RESULTS, ids=lambda one: one.__name__)
def test_a_mistake_changes_results(
    mutation: Mutation, wanted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    with pytest.raises((AssertionError, DecodingStopped)):
        assert_runs(wanted)


@pytest.mark.parametrize("mutation", CHANGES_COSTS, ids=lambda one: one.__name__)
def test_a_mistake_changes_what_is_fed(
    mutation: Mutation, wanted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    assert_runs(wanted)  # the results stay
    with pytest.raises(AssertionError):
        assert_feeds_no_more_than_it_must(RAGGED[:3], 2, 2, 2, seed=2)


def test_no_mistake_changes_nothing(wanted: list[dict[str, Any]]) -> None:
    assert_runs(wanted)
