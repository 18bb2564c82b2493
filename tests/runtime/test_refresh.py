"""The statement `refresh` with the caches `prefix` and `dual`: the next forward of the row is whole, and its
keys and values are stored anew.

The oracle is a slow loop of one row with whole forwards, in which keys and values of columns that are not fed
are replaced by the stored ones. Not here: the caches without this statement (`test_cache_approximate`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dsldec
from dsldec.runtime.cached_forward import CachedForward
from dsldec.runtime.decode import DecodingStopped
from dsldec.runtime.step_runner import BatchState

from ..published.rules import best, blocks, masks, write
from .cached_loop import Run, Whole
from .cached_runs import RAGGED, decode, told
from .keeping import Keeper
from .test_cache_approximate import assert_as_alone, assert_lossless, path

CACHES = ("prefix", "dual")
# The condition of `refresh`, from the step's number in the window, the mean confidence of the masks now and
# one step before, and the positions written since the last whole forward.
Asks = Callable[[int, float, float | None, int], bool]
RULES: dict[str, tuple[str, Asks]] = {
    "always": ("refresh", lambda step, now, before, since: True),
    "never": ("refresh when false", lambda step, now, before, since: False),
    "every two steps": (
        "refresh when (steps_in_window + 1) % 2 == 0",
        lambda step, now, before, since: (step + 1) % 2 == 0,
    ),
    "confidence falls": (
        "refresh when mean(conf) < before(mean(conf))",
        lambda step, now, before, since: before is not None and now < before,
    ),
    # As the cache of DSB (lizhuo-luo/DSB, `generate_dsb_cache`): a number of written positions.
    "three positions are written": (
        "refresh when since + count(sure) >= 3",
        lambda step, now, before, since: since >= 3,
    ),
}


def policy(name: str, confidence: float = 0.4, block: int = 6) -> str:
    return (
        f"policy refreshing():\n  window blocks({block})\n  state since: int = 0 per block\n"
        f"  best = masked and conf >= {confidence}\n  sure = best orelse top(masked, 1, by=conf)\n"
        f"  {RULES[name][0]}\n  set since = 0 if since + count(sure) >= 3 else since + count(sure)\n"
        "  commit sure at least 1 by conf\n"
    )


# Its drafts often write what is true, and ask for something else.
LEFTMOST = (
    "policy leftmost():\n  window blocks(9)\n  refresh when mean(conf) < before(mean(conf))\n"
    "  commit top(masked, 1, by=-pos)\n"
)


def slow(whole: Whole, length: int, confidence: float, block: int, asks: Asks) -> Run:
    """Block by block: the first forward of a block is whole, and so is one that the step before asks for."""
    run = Run([None] * length)
    for window in blocks(length, block):
        kept, old, step, since, before = None, [], 0, 0, None
        while m := masks(run.canvas, window):
            fed = whole.fed(run.canvas, window, kept)
            run.fed.append([(kept is None, fed, whole.ids(run.canvas)[slice(*fed)])])
            seen, new = whole.see(run.canvas, fed, old)
            if kept is None:
                kept, old = window, new
            now = sum(seen.conf[i] for i in m) / len(m)
            chosen = [i for i in m if seen.conf[i] >= confidence] or best(m, seen.conf)
            run.canvas = list(run.canvas)
            write(run.canvas, chosen, seen.token)
            run.path.append(run.canvas)
            since += len(chosen)
            if asks(step, now, before, since):
                kept = None
            since = 0 if since >= 3 else since
            before, step = now, step + 1
    return run


def assert_as_the_loop(name: str, cache: str, seed: int) -> int:
    """Ids, every step, and the columns and ids of every input; gives the number of whole forwards."""
    make = lambda: Keeper(seed, None, (0.1, 0.3, 0.8)[seed % 3])  # noqa: E731
    prompt, length, confidence, block = (
        [3, 4, 5][: seed % 4],
        9 + seed % 6,
        0.3 + 0.1 * (seed % 4),
        3 + seed % 5,
    )
    wanted = slow(Whole(make(), prompt, cache), length, confidence, block, RULES[name][1])
    denoiser = make()
    decoded = decode(denoiser, [prompt], policy(name, confidence, block), cache, gen_length=length)
    assert path(decoded, length) == wanted.path
    assert decoded.forwards.tolist() == [len(wanted.fed)]
    (memory,) = denoiser.memories
    fed = [[((part.begin, part.end), list(part.ids)) for part in call] for call in memory.calls]
    assert fed == [[(views, ids) for _, views, ids in forward] for forward in wanted.fed]
    return sum(new for forward in wanted.fed for new, _, _ in forward)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", RULES)
def test_a_row_is_decoded_as_by_the_loop(name: str, cache: str) -> None:
    whole = sum(assert_as_the_loop(name, cache, seed) for seed in range(16))
    never = sum(assert_as_the_loop("never", cache, seed) for seed in range(16))
    assert whole == never if name == "never" else whole > never


@pytest.mark.parametrize("cache", CACHES)
def test_a_refresh_after_every_step_is_as_without_a_cache(cache: str) -> None:
    for seed in range(6):
        make = lambda seed=seed: Keeper(seed, None, 0.8)  # noqa: E731
        texts = [decode(make(), RAGGED, policy("always"), kind) for kind in ("none", cache)]
        ids = [[row.tolist() for row in one.ids] for one in texts]
        assert ids[0] == ids[1]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", RULES)
def test_rows_of_a_batch_refresh_each_on_its_own(name: str, cache: str) -> None:
    for drafts in (1, 3):
        assert_as_alone(
            lambda: Keeper(2, None, 0.3, 9),
            RAGGED,
            policy(name),
            cache,
            lookahead=drafts,
            batch=3,
            gen_length=11,
        )


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", RULES)
def test_drafts_change_nothing(name: str, cache: str) -> None:
    for seed in range(4):
        assert_lossless(
            lambda seed=seed: Keeper(seed, None, (0.1, 0.2, 0.3)[seed % 3]),
            RAGGED[:4],
            policy(name, block=(4, 9)[seed % 2]),
            cache,
            (2, 4),
            gen_length=12,
        )


@pytest.mark.parametrize("name", RULES)
def test_without_such_a_cache_nothing_changes(name: str) -> None:
    """Not the forwards with drafts either."""
    without = "".join(
        line for line in policy(name).splitlines(keepends=True) if not line.lstrip().startswith("refresh")
    )
    for block_length, cache in ((None, "none"), (4, "exact"), (4, "none")):
        for drafts in (1, 3):
            one, other = (
                told(
                    decode(
                        Keeper(1, block_length, 0.3), RAGGED[:4], text, cache, lookahead=drafts, gen_length=11
                    )
                )
                for text in (policy(name), without)
            )
            assert one == other


def test_phases_refresh_each_in_its_own_steps() -> None:
    text = (
        "policy phased():\n  window blocks(4)\n  phase one:\n    commit top(masked, 1, by=conf)\n    refresh\n    next two\n"
        "  phase two:\n    commit top(masked, 1, by=conf)\n    next one\n"
    )
    assert dsldec.check(text)[0] is not None
    for cache in CACHES:
        denoiser = Keeper(3, None, 0.3)
        decode(denoiser, [[1, 2]], text, cache, gen_length=8)
        (memory,) = denoiser.memories
        whole = [part.begin == 0 for call in memory.calls for part in call]
        assert (
            whole == [True, True, False, True] * 2
        )  # the window moves, then phase one asks after each of its steps


# --- mistakes are noticed


def never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CachedForward, "compute_anew", lambda self, rows: None)


def drafts_go_on_behind_a_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.may_draft
    monkeypatch.setattr(CachedForward, "may_draft", lambda self, start, refresh: true(self, start, None))


def a_draft_that_asks_for_something_else_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    true = BatchState.same
    monkeypatch.setattr(BatchState, "same", lambda self, other, **how: true(self, other))


def assert_results(cache: str) -> None:
    make: Any = lambda seed: lambda: Keeper(seed, None, (0.1, 0.2, 0.3)[seed % 3], strict=False)  # noqa: E731
    for seed in range(4):
        assert_as_the_loop("every two steps", cache, seed)
    for seed in range(6):
        for name in ("every two steps", "confidence falls"):
            text = policy(name, block=(4, 9)[seed % 2])
            assert_lossless(make(seed), RAGGED[:4], text, cache, (2, 4), gen_length=12)
        assert_lossless(make(seed), RAGGED, LEFTMOST, cache, (2, 4), gen_length=18)


@pytest.mark.parametrize("cache", CACHES)
def test_no_mistake_changes_nothing(cache: str) -> None:
    assert_results(cache)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(
    "mutation",
    [never_told, drafts_go_on_behind_a_refresh, a_draft_that_asks_for_something_else_is_accepted],
    ids=lambda one: one.__name__,
)
def test_a_mistake_is_noticed(
    mutation: Callable[[pytest.MonkeyPatch], None], cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    with pytest.raises((AssertionError, DecodingStopped)):
        assert_results(cache)
