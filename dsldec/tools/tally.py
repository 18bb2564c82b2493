"""The totals of a run, and the sentences about them.

Not here: the results (`results`), where the sentences are printed (`run`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from . import quoted, quoted_path
from .results import Result
from .results_file import STANDARD_OUTPUT

ERRORS_SHOWN = 5
DEPTHS_SHOWN = 8


class Tally:
    """The totals of a run, and the sentences about them. `noun`: one of the things that are decoded."""

    def __init__(self, prompts: int, earlier: int = 0, noun: str = "prompt") -> None:
        self._noun = noun
        self._prompts, self._earlier = prompts, earlier
        self._decoded = self._forwards = self._rows = self._tokens = 0
        self._drafts: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self._failures: list[Result] = []
        self._started = self._stopped = 0.0

    @property
    def failed(self) -> bool:
        return bool(self._failures)

    @property
    def decoded(self) -> int:
        return self._decoded

    def start(self) -> None:
        self._started = time.monotonic()

    def stop(self) -> None:
        self._stopped = time.monotonic()

    def add(self, result: Result) -> None:
        if result.error is not None:
            self._failures.append(result)
            return
        self._decoded += 1
        self._forwards += result.forwards
        self._rows += result.rows
        self._drafts += [(result.proposed, result.accepted)] if result.proposed else []
        self._tokens += result.tokens

    def errors(self) -> Iterator[str]:
        """Each different failure once, with its prompts: a model that runs out of memory fails in the same
        way on all of them.
        """
        alike: dict[str, list[str]] = {}
        for failure in self._failures:
            alike.setdefault(str(failure.error), []).append(quoted(str(failure.prompt.id)))
        for error, (first, *others) in list(alike.items())[:ERRORS_SHOWN]:
            yield f"prompt {first}{f' and {len(others)} more' * bool(others)}: {error}"
        if (hidden := len(alike) - ERRORS_SHOWN) > 0:
            yield f"and {_count(hidden, 'other failure')}"

    def summary(self) -> str:
        decoded = (
            f"{self._decoded} of {self._prompts} {self._noun}s"
            if self.failed
            else _count(self._prompts, self._noun)
        )
        if not self._decoded:
            return f"{decoded} decoded"
        seconds = max(1e-9, self._stopped - self._started)
        if not self._forwards:  # an engine that does not count them
            return f"{decoded}, {_rate(self._tokens / seconds)} tokens/s"
        return (
            f"{decoded}, {self._forwards / self._decoded:.1f} forwards per {self._noun}, "
            f"{self._tokens / max(1, self._forwards):.2f} tokens per forward, {_rate(self._tokens / seconds)} tokens/s{self._of_drafts()}"
        )

    def _of_drafts(self) -> str:
        """The input rows per prompt, and the share of accepted drafts one step ahead, two steps, ..."""
        if not self._drafts:
            return ""
        proposed, accepted = (
            [sum(column) for column in zip(*rows, strict=True)] for rows in zip(*self._drafts, strict=True)
        )
        shares = [f"{100 * some / all_:.0f} %" for some, all_ in zip(accepted, proposed, strict=True) if all_]
        by_depth = f", drafts accepted by depth: {' '.join(shares[:DEPTHS_SHOWN])}" if shares else ""
        return f", {self._rows / self._decoded:.1f} rows per {self._noun}{by_depth}"

    def interrupted(self, out: str | None) -> str:
        done, total = self._decoded + self._earlier, self._prompts + self._earlier
        text = f"interrupted: {done} of {total} {self._noun}s are decoded"
        if out is None or out == STANDARD_OUTPUT:
            return f"{text}\n  = help: with `--out results.jsonl` a run can be continued by `--resume`"
        return f"{text} and stored in {quoted_path(out)}\n  = help: the same command with `--resume` decodes the other {total - done}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _rate(rate: float) -> str:
    """A rate in full numbers, or with one decimal below ten."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
