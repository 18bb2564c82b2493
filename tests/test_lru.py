"""A dict of limited size."""

from __future__ import annotations

import threading

import pytest

from dsldec.lru import LRUCache


def test_what_was_used_least_recently_goes() -> None:
    kept, made = LRUCache[str, str](2), []

    def get(key: str) -> str:
        return kept.get_or_make(key, lambda: made.append(key) or key.upper())

    assert [get(key) for key in "abacab"] == list("ABACAB")
    assert made == ["a", "b", "c", "b"]
    assert len(kept) == 2
    assert "a" in kept
    assert "c" not in kept
    kept.drop("a")
    kept.drop("never there")
    assert len(kept) == 1


def test_what_cannot_be_made_is_not_kept() -> None:
    kept = LRUCache[str, int](2)
    with pytest.raises(ZeroDivisionError):
        kept.get_or_make("a", lambda: 1 // 0)
    assert kept.get_or_make("a", lambda: 1) == 1


def test_a_value_may_use_the_cache_while_it_goes() -> None:
    """As what frees compiled code may: no lock is held then."""

    class Goes:
        def __del__(self) -> None:
            seen.append(len(kept))

    kept, seen = LRUCache[int, Goes](1), []
    for key in range(3):
        kept.get_or_make(key, Goes)
    assert seen == [1, 1]


def test_threads_get_one_value() -> None:
    kept, start, got = LRUCache[int, object](4), threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        got.append(kept.get_or_make(0, object))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in got}) == 1
