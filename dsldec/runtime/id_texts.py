"""The text of each id that occurs in recorded steps, for a reader without a tokenizer.

Not here: the text of an answer (`decoded`), the form in a file (`explained.line_texts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..explained.reasons import ExplainedStep
from ..explained.recorded_values import RecordedValues
from ..language.words import Kind
from ..trace_step import TraceStep


class IdTexts:
    """The texts of single ids, of one denoiser."""

    def __init__(self, denoiser: Any) -> None:
        self.tokenizer = getattr(denoiser, "tokenizer", None)
        self.read = getattr(denoiser, "decode_text", None)
        self.known: dict[int, str | None] = {}

    def of(self, steps: Sequence[TraceStep], ids: Iterable[int]) -> dict[int, str]:
        """The texts of these ids and of all ids in the steps. An id that the tokenizer cannot read has none."""
        if self.tokenizer is None and self.read is None:
            return {}
        occur = sorted({*ids, *(id_ for step in steps for id_ in _ids_of(step))})
        texts = {id_: self._text(id_) for id_ in occur if id_ >= 0}
        return {id_: text for id_, text in texts.items() if text is not None}

    def _text(self, id_: int) -> str | None:
        if id_ not in self.known:
            try:
                self.known[id_] = self._spelled(id_)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # a panic of a tokenizer in Rust is no `Exception`
                self.known[id_] = None
        return self.known[id_]

    def _spelled(self, id_: int) -> str:
        """The text of an id, with the space before it that the decoding of a single id would lose."""
        if self.tokenizer is None:
            return str(self.read([id_])) if self.read is not None else ""
        text = str(self.tokenizer.decode([id_]))
        begins_word = str(self.tokenizer.convert_ids_to_tokens(id_)).startswith("▁")
        return " " + text if begins_word and not text.startswith(" ") else text


def _ids_of(step: TraceStep) -> Iterator[int]:
    yield from step.ids.values()
    yield from step.removed.values()
    record = step.record
    if not isinstance(record, ExplainedStep):
        return
    yield from record.canvas
    yield from record.refused.values()
    for ids in record.candidates.ids if record.candidates is not None else ():
        yield from ids
    values, operations = record.values, record.explained.watched.program.operations
    if isinstance(values, RecordedValues):
        for number, column in values.layout.columns.items():
            if operations[number].kind is Kind.TOKEN:
                of_column: Any = values[number]
                yield from of_column if column.wide else (of_column,)
