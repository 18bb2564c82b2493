"""What `dsldec bench step` times: by which names, and for which shape and dtype.

Not here: measuring (`bench_step`), what is made of it (`bench_report`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

READ = "one read"
FLOAT64 = "float64 softmax, argmax, gather"
STATISTICS = "conf, token, margin, entropy"


class CaseKey(NamedTuple):
    """What is timed: a baseline, the statistics, or a policy's step or its rule, and on which backend."""

    what: str
    backend: str = "eager"
    part: str = "whole"  # or "rule"

    def __str__(self) -> str:
        return f"{self.what}{' (rule alone)' if self.part == 'rule' else ''}, {self.backend}"


@dataclass(frozen=True, slots=True)
class BenchCase:
    """One shape and dtype: seconds a call, by round. `phases` and `conf_only` (it observes no more than that)
    of each policy.
    """

    shape: tuple[int, int, int]
    dtype: str
    seconds: dict[CaseKey, list[float]] = field(repr=False)
    phases: dict[str, int]
    conf_only: frozenset[str]

    @property
    def name(self) -> str:
        return f"{'x'.join(map(str, self.shape))} {self.dtype}"
