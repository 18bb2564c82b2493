"""The calls that `dsldec bench step` times: their names, shapes and dtypes.

Not here: measuring (`bench_step`), the report (`bench_report`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

READ = "one read"
FLOAT64 = "float64 softmax, argmax, gather"
STATISTICS = "conf, token, margin, entropy"


class CaseKey(NamedTuple):
    """One timed call: a baseline, the statistics, or a policy's step or its rule; and the backend."""

    what: str
    backend: str = "eager"
    part: str = "whole"  # or "rule"

    def __str__(self) -> str:
        return f"{self.what}{' (rule alone)' if self.part == 'rule' else ''}, {self.backend}"


@dataclass(frozen=True, slots=True)
class BenchCase:
    """One shape and dtype: seconds of each call, by round. `phases`: the number of phases of each policy;
    `conf_only`: the policies that read nothing but confidences.
    """

    shape: tuple[int, int, int]
    dtype: str
    seconds: dict[CaseKey, list[float]] = field(repr=False)
    phases: dict[str, int]
    conf_only: frozenset[str]

    @property
    def name(self) -> str:
        return f"{'x'.join(map(str, self.shape))} {self.dtype}"
