"""The results of `decode`, in the order of the prompts.

An exception that stops `decode` carries the results that are finished. Not here: decoding (`decode`), when a
row is finished (`decode_loop`).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..diagnostics import Diagnostic, PicklableError, PolicyError, UsageError
from ..renamed import former
from ..shown_in_notebooks import ShownInNotebooks
from ..trace_step import Logprobs, TraceStep
from ..trajectory import Trajectory
from .forward import DenoiserFailed
from .rows import Row

UNFINISHED = Diagnostic("E0410", "decoding stopped before this prompt was finished")
ERRORS_SHOWN, FORWARDS_SHOWN = 3, 32


@dataclass(frozen=True, slots=True, repr=False)
class Decoded(ShownInNotebooks):
    """All results of a `decode`, in the order of the prompts; the samples of a prompt are side by side.

    A prompt has an answer only where `errors` is `None`: check `errors` first, or `failed`, the places of the
    other prompts.

    Attributes:
        ids: 1-D int64 tensors, prompt and generated ids. A prompt that failed has MASK where nothing was
            written.
        text: The generated texts if the denoiser has a tokenizer, else `None` each. For an infilling given as
            text, the whole text.
        forwards: `[prompts]` int64. A forward of several drafts of a row counts once.
        rows: `[prompts]` int64: rows of the denoiser's input, with drafts.
        wasted_rows: `[prompts]` int64: input rows after a row's end, before the host learned of it (0 on a
            CPU). `rows` does not count them.
        proposed: For each row the number of drafts one step ahead of the next one, two steps, ...
        accepted: For each row the number of accepted drafts, by the same distance.
        tokens: `[prompts]` int64: content tokens.
        trace: For each row its steps in order, empty unless traced.
        errors: For each row the reason why it has no answer, or `None`.
        finish_reason: For each row `stop`, `length` or `error`, see `Row`.
        trajectories: For each row its steps with the prompt and the ids, `None` unless traced.
        logprobs: For each row the confidence of each generated token, `None` without `logprobs=True`.
    """

    ids: list[Tensor]
    text: list[str | None]
    forwards: Tensor
    rows: Tensor
    wasted_rows: Tensor
    proposed: list[list[int]]
    accepted: list[list[int]]
    tokens: Tensor
    trace: list[list[TraceStep]]
    errors: list[Diagnostic | None]
    finish_reason: list[str] = field(default_factory=list)
    trajectories: list[Trajectory | None] = field(default_factory=list)
    logprobs: list[Logprobs | None] = field(default_factory=list)
    surplus = former("wasted_rows")

    @property
    def failed(self) -> list[int]:
        """The places of the prompts that have no answer."""
        return [place for place, error in enumerate(self.errors) if error is not None]

    def __repr__(self) -> str:
        """The number of prompts and the failed ones. The tensors would hide these."""
        failed = self.failed
        shown = ", ".join(f"{place}: {self.errors[place].code}" for place in failed[:ERRORS_SHOWN])  # type: ignore[union-attr]
        more = ", ..." * (len(failed) > ERRORS_SHOWN)
        errors = f"errors={{{shown}{more}}}" if failed else "errors=none"
        forwards = ", ".join(map(str, self.forwards[:FORWARDS_SHOWN].tolist()))
        rest = ", ..." * (len(self.forwards) > FORWARDS_SHOWN)
        return f"<Decoded: {len(self.errors)} prompts, {len(failed)} failed, {errors}, forwards=[{forwards}{rest}]>"


class DecodingStopped(PicklableError, RuntimeError):
    """Decoding failed half-way. `decoded` has the finished results; other rows have an error instead."""

    def __init__(self, decoded: Decoded, cause: BaseException) -> None:
        finished = len(decoded.errors) - len(decoded.failed)
        text = str(cause) if isinstance(cause, UsageError | PolicyError) else _type_and_text(cause)
        super().__init__(f"decoding stopped after {finished} of {len(decoded.errors)} prompts: {text}")
        self.decoded = decoded


class DecodingWarning(UserWarning):
    """Some prompts of a `decode` have no answer; `decoded.errors` has the reasons. With `-W error` it is an
    exception that still has `decoded`.
    """

    def __init__(self, decoded: Decoded) -> None:
        super().__init__(decoded)  # pickle calls the class with these arguments
        self.decoded = decoded

    def __str__(self) -> str:
        return _failures_text(self.decoded)


def _failures_text(decoded: Decoded) -> str:
    """The text of the warning: how many prompts failed, and why the first ones did."""
    failed = decoded.failed
    each = [f"prompt {place}: {decoded.errors[place]}" for place in failed[:ERRORS_SHOWN]]
    more = [f"and {len(failed) - ERRORS_SHOWN} more"] if len(failed) > ERRORS_SHOWN else []
    return "\n".join(
        [f"{len(failed)} of {len(decoded.errors)} prompts have no answer (see `errors`)", *each, *more]
    )


def warn_of_failures(decoded: Decoded) -> None:
    """Warn of prompts that failed, at the caller's line outside of this library."""
    if not decoded.failed:
        return
    level, frame = 1, sys._getframe()
    while (
        frame.f_back is not None
        and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(DecodingWarning(decoded), stacklevel=level)


class Results:
    """Collects the finished rows of one `decode`, and adds them to an exception that stops it."""

    def __init__(
        self, denoiser: Any, prompts: Sequence[Any], encoded: Sequence[Sequence[int]], infill: bool
    ) -> None:
        self.denoiser, self.prompts, self.encoded, self.infill = denoiser, prompts, encoded, infill
        self.rows: list[Row | None] = [None] * len(encoded)
        self.texts: dict[int, str | Diagnostic | None] = {}  # by place: the text, or the tokenizer's error

    def add(self, row: Row) -> None:
        self.rows[row.index] = row

    @contextmanager
    def survive(self) -> Iterator[None]:
        """An exception inside gets the finished results as `decoded`."""
        try:
            yield
        except (UsageError, PolicyError) as mistake:
            if not any(self.rows):
                raise
            raise DecodingStopped(self.decoded(), mistake) from mistake
        except Exception as failure:
            cause = failure.__cause__ if _wraps(failure) else failure
            raise DecodingStopped(self.decoded(), failure) from cause
        except BaseException as stop:  # Ctrl-C, `sys.exit`: passes unchanged
            with suppress(AttributeError):
                stop.decoded = self._decoded_in_haste()  # type: ignore[attr-defined]
            raise

    def _decoded_in_haste(self) -> Decoded:
        """The results after Ctrl-C; a second Ctrl-C leaves the texts out."""
        try:
            return self.decoded()
        except BaseException:
            return self.decoded(read=False)

    def decoded(self, *, read: bool = True) -> Decoded:
        """All rows; unfinished ones have an error. `read`: with their texts."""
        for place, row in enumerate(self.rows):
            if read and row is not None and place not in self.texts:
                self.texts[place] = self._text(row)
        rows = [row or self._unfinished(place) for place, row in enumerate(self.rows)]
        texts = [self.texts.get(place) for place in range(len(rows))]
        return Decoded(
            ids=[row.ids for row in rows],
            text=[text if isinstance(text, str) else None for text in texts],
            forwards=torch.tensor([row.forwards for row in rows], dtype=torch.int64),
            rows=torch.tensor([row.rows for row in rows], dtype=torch.int64),
            wasted_rows=torch.tensor([row.wasted_rows for row in rows], dtype=torch.int64),
            proposed=[list(row.proposed) for row in rows],
            accepted=[list(row.accepted) for row in rows],
            tokens=torch.tensor([row.tokens for row in rows], dtype=torch.int64),
            trace=[row.trace or [] for row in rows],
            errors=[
                row.error or (text if isinstance(text, Diagnostic) else None)
                for row, text in zip(rows, texts, strict=True)
            ],
            finish_reason=[
                "error" if isinstance(text, Diagnostic) else row.finish_reason
                for row, text in zip(rows, texts, strict=True)
            ],
            trajectories=[self._trajectory(row) for row in rows],
            logprobs=[row.logprobs for row in rows],
        )

    def _trajectory(self, row: Row) -> Trajectory | None:
        """A row's trajectory; with recorded values, it has the text of its prompt."""
        trajectory, prompt = row.trajectory, self.prompts[row.index]
        if trajectory is None or not trajectory.recorded or not isinstance(prompt, str):
            return trajectory
        return replace(trajectory, prompt=prompt)

    def _unfinished(self, place: int) -> Row:
        return Row(
            place,
            len(self.encoded[place]),
            torch.tensor(self.encoded[place]),
            error=UNFINISHED,
            finish_reason="error",
        )

    def _text(self, row: Row) -> str | Diagnostic | None:
        """A row's text, if the denoiser has a tokenizer. A tokenizer is third-party code: its exception is an
        error of this row alone.
        """
        if row.error is not None:
            return None
        prompt = self.prompts[row.index]
        try:
            if self.infill and isinstance(prompt, str) and hasattr(self.denoiser, "filled"):
                return str(self.denoiser.filled(prompt, row.ids.tolist()))
            return text_of(self.denoiser, row)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as failure:  # a panic of a tokenizer in Rust is no `Exception`
            return unread(failure)


def text_of(denoiser: Any, row: Row) -> str | None:
    """The generated text of a row that has an answer, `None` if the denoiser has no tokenizer. It ends before
    a stop string or a stop id. Raises the errors of the tokenizer.
    """
    read = getattr(denoiser, "decode_text", None)
    if row.text is not None or read is None:
        return row.text
    ids = row.generated.tolist()
    return str(read(ids[: next((at for at, id_ in enumerate(ids) if id_ in row.stop_ids), len(ids))]))


def as_diagnostic(failure: BaseException) -> Diagnostic:
    """The exception that stopped decoding, as a diagnostic."""
    return Diagnostic(
        "E0410", f"decoding failed: {_type_and_text(failure)}", help="`DSLDEC_DEBUG=1 dsldec run` shows where"
    )


def unread(failure: BaseException) -> Diagnostic:
    """The diagnostic about ids that the tokenizer cannot decode."""
    message = f"the tokenizer failed to make a text of the generated ids: {_type_and_text(failure)}"
    return Diagnostic("E0410", message, help="the ids themselves are there: read them with another tokenizer")


def _wraps(failure: Exception) -> bool:
    return isinstance(failure, DenoiserFailed) and failure.__cause__ is not None


def _type_and_text(failure: BaseException) -> str:
    """An exception's type and text. `DenoiserFailed` holds both already."""
    if isinstance(failure, DenoiserFailed):
        return str(failure)
    text = str(failure)
    return f"{type(failure).__name__}{': ' * bool(text)}{text}"
