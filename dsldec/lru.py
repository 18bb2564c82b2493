"""A dict of limited size. When it is full, the least recently used entry is removed.

Not here: the contents (`policy`: steps; `backends`: compiled code for the shapes of a step's inputs).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """At most `size` values by key. Threads may share one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return LRUCache, (self.size,)  # a copy is empty: a lock cannot be copied

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """The value of `key`. If there is none, `make` creates it. Two threads may both create one; then one
        of the two is stored.
        """
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        made = make()  # takes long, and may raise: then nothing is stored
        dropped: list[V] = []  # freed after the lock is released: a destructor may use this cache
        with self._lock:
            value = self._entries.setdefault(key, made)
            self._entries.move_to_end(key)
            while len(self._entries) > self.size:
                dropped.append(self._entries.popitem(last=False)[1])
        return value

    def drop(self, key: K) -> None:
        """Remove the value of `key`, if there is one."""
        with self._lock:
            dropped = self._entries.pop(key, None)
        del dropped  # as above: freed after the lock is released
