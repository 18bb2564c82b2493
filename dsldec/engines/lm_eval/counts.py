"""Forwards, tokens and failures of each task: an accuracy means little without them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ...diagnostics import Diagnostic
from ...runtime.rows import Row


@dataclass(slots=True)
class TaskCounts:
    """The totals of a task's requests.

    `answers`: decoded answers; `tokens`: their content tokens, without filler after the end of text; `rows`:
    rows of the denoiser's input, with drafts; `seconds`: from the first to the last answer of a call.
    `failed`: requests without an answer. `scored`, `scored_rows`: answers whose likelihood was bounded, and
    the rows of the input for it.
    """

    answers: int = 0
    forwards: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0
    failed: int = 0
    scored: int = 0
    scored_rows: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        self.answers += 1
        self.forwards += int(row.forwards)
        self.rows += int(row.rows)
        self.tokens += int(row.tokens)

    def fail(self, why: Diagnostic) -> None:
        self.failed += 1
        text = f"{why.code}: {why.message}"
        self.reasons[text] = self.reasons.get(text, 0) + 1

    def line(self) -> dict[str, Any]:
        """The totals and the means, as JSON can hold them."""
        means = {
            "forwards_per_answer": round(self.forwards / self.answers, 4) if self.answers else None,
            "tokens_per_forward": round(self.tokens / self.forwards, 4) if self.forwards else None,
        }
        seconds = {"seconds": round(self.seconds, 3)}
        return {name: value for name, value in (asdict(self) | seconds | means).items() if value}

    def sentence(self) -> str:
        """The totals for the log."""
        if not self.answers:
            return "no answer was decoded"
        rate = f", {self.tokens / self.seconds:.1f} tokens/s" if self.seconds else ""
        drafts = f", {self.rows / self.answers:.1f} rows per answer" if self.rows > self.forwards else ""
        return (
            f"{self.answers} answers, {self.forwards / self.answers:.1f} forwards per answer, "
            f"{self.tokens / max(1, self.forwards):.2f} tokens per forward{rate}{drafts}"
        )
