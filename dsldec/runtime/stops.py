"""Stop strings: the rows whose final text contains one, and the place where it ends.

The loop of a batch asks after each true step. Only final positions are read: no later step can change them.
A policy that neither revokes nor edits never changes a written position, so the positions before the first
mask are final. A sliding window begins at the first mask, so no later window reaches the positions before it:
they are final under every policy. Under another policy that revokes or edits, the positions of finished
windows are final, and all positions of a row that has ended.

An answer ends with the first token after which the text of the final ids contains a stop string. So it is the
answer of a decode without stop strings that is read token by token and cut there; it depends on no other
row, and on no draft. The text is decoded from the start at each time, because a token may join the one before
it. Shapes: B rows. Not here: stop ids (`rows`), the end of a row (`decode_loop`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..diagnostics import Diagnostic
from ..ir.protocol import INSIDE, WINDOW_START
from .decoded import unread
from .rows import Rows
from .step_runner import BatchState

INCOMPLETE = "\ufffd"  # in place of bytes that are no whole character yet


@dataclass(frozen=True, slots=True)
class TextEnd:
    """The end of a row at a stop string: the number of generated ids up to it, and the text before it; or the
    tokenizer's error.
    """

    tokens: int
    text: str
    error: Diagnostic | None = None


class StopStrings:
    """Finds stop strings in the rows of a batch. `revises`: whether the policy may change a written
    position.
    """

    def __init__(self, rows: Rows, denoiser: Any, *, revises: bool) -> None:
        self.rows, self.revises = rows, revises
        # Spaces at the ends of a text count: a stop string may be two line feeds. Answers are without them.
        self.strips = hasattr(denoiser, "unstripped_text")
        self.read: Callable[[Sequence[int]], str] = (
            denoiser.unstripped_text if self.strips else denoiser.decode_text
        )
        self.seen = [0] * len(rows.requests)  # by row: final positions that have been read
        self.ends: dict[int, TextEnd] = {}  # by row

    def admit(self, rows: Iterable[int]) -> None:
        """New requests take these rows."""
        for row in rows:
            self.seen[row] = 0
            self.ends.pop(row, None)

    def after(self, state: BatchState, rows: Iterable[int]) -> BatchState:
        """The state after a true step in some rows: those whose text has a stop string are finished."""
        asked = [row for row in rows if self.rows.requests[row].stop and row not in self.ends]
        if not asked:
            return state
        final, failed = self._final(state).tolist(), state.failed.tolist()
        stopped = []
        for row in asked:
            if failed[row] or final[row] <= self.seen[row]:
                continue
            begin = self.rows.requests[row].begin
            ids = state.canvas[row, begin : begin + final[row]].tolist()
            if (end := self._end(row, self.rows.ends.content(ids, self.rows.requests[row]))) is not None:
                self.ends[row] = end
                stopped.append(row)
            self.seen[row] = final[row]
        return self._finished(state, stopped) if stopped else state

    def _final(self, state: BatchState) -> Tensor:
        """`[B]` int64: the positions from the first generated one that no step can change."""
        written = self.rows.first(self.rows.masks(state.canvas), self.rows.lengths)
        if not self.revises or INSIDE in state.state:
            return written
        return torch.where(state.finished, written, written.minimum(state.window_start))

    def _end(self, row: int, ids: Sequence[int]) -> TextEnd | None:
        """The end of a row's text, if its final ids have one."""
        stops = self.rows.requests[row].stop
        try:
            if _first(self._text(ids), stops) is None:
                return None
            for count in range(self.seen[row] + 1, len(ids) + 1):
                text = self._text(ids[:count])
                if (at := _first(text, stops)) is not None:
                    return TextEnd(count, text[:at].strip() if self.strips else text[:at])
            return None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as failure:  # a panic of a tokenizer in Rust is no `Exception`
            return TextEnd(len(ids), "", unread(failure))

    def _text(self, ids: Sequence[int]) -> str:
        return self.read(ids).rstrip(INCOMPLETE)

    def _finished(self, state: BatchState, rows: Sequence[int]) -> BatchState:
        """The state with these rows finished. Their windows go back to the start, as after a step."""
        here = torch.zeros_like(state.finished)
        here[list(rows)] = True
        start = torch.where(here, self.rows.home, state.window_start)
        return replace(state, state=state.state | {WINDOW_START: start}, finished=state.finished | here)


def _first(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop string of a text begins."""
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return min(found, default=None)
