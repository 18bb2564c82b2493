"""The place that is explained, its values as texts, and the lines so far.

Not here: which lines an expression has (`expression_reasons`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..ir.watched import WatchedPart
from ..language import syntax
from ..language.words import Kind
from .line_list import LineList
from .part_values import PartValues
from .step_record import RecordedValue, StepRecord
from .value_texts import compared_texts, id_text, number_text, positions_text

MOST_BEFORE = 1024  # steps that are looked through for the one that set a state or wrote a token
YES = {True: "-> yes", False: "-> no", None: "-> not recorded"}


class LineWriter:
    """Writes lines about one place of the window.

    `at`: this place, `None` for the row; `texts`: of ids; `earlier`: the steps before, each at the place of
    its number, for the states that they set and the tokens that they wrote.
    """

    def __init__(
        self,
        values: PartValues,
        at: int | None,
        texts: Mapping[int, str],
        earlier: Sequence[StepRecord | None] = (),
    ) -> None:
        self.values, self.at, self.texts, self.earlier = values, at, texts, earlier
        self.lines = LineList()
        self.reader = len(values.statements)  # the place of the statement that reads the states
        self.shown: set[tuple[syntax.Statement, int | None, int]] = set()

    @contextmanager
    def elsewhere(self, at: int) -> Iterator[None]:
        """Explains another place of the window."""
        before, self.at = self.at, at
        yield
        self.at = before

    @contextmanager
    def read_by(self, statement: syntax.Statement) -> Iterator[None]:
        """Explains the values that this statement reads. States have their values at this statement."""
        before, self.reader = self.reader, self.values.places[statement]
        yield
        self.reader = before

    @contextmanager
    def step_of(self, record: StepRecord) -> Iterator[None]:
        """Explains the end of an earlier step."""
        before = self.values, self.at, self.reader
        moved = self.values.record.start - record.start
        self.values = PartValues(record)
        self.at = None if self.at is None else self.at + moved
        self.reader = len(self.values.statements)
        yield
        self.values, self.at, self.reader = before

    def before(self) -> Iterator[StepRecord]:
        """The records of the steps before this one, the last one first, up to a step without a record."""
        last = self.values.record.step
        for record in reversed(self.earlier[max(0, last - MOST_BEFORE) : last]):
            if record is None or record.step != (last := last - 1):
                return
            yield record

    def holds(self, part: WatchedPart) -> bool | None:
        return self.values.holds(part.operation, self.at)

    def value(self, part: WatchedPart) -> RecordedValue | None:
        return self.values.value(part.operation, self.at)

    def kind(self, part: WatchedPart) -> Kind:
        return self.values.operation(part.operation).kind

    def position(self, at: int) -> str:
        return str(self.values.record.start + at)

    def positions(self, places: Sequence[int]) -> str:
        return positions_text([self.values.record.start + at for at in places])

    def text(self, part: WatchedPart) -> str:
        """The value of a part as text."""
        return self.texts_of([part])[0]

    def texts_of(self, parts: Sequence[WatchedPart]) -> list[str]:
        """The values of the sides of a comparison."""
        values = [self.value(part) for part in parts]
        if any(self.kind(part) is Kind.TOKEN for part in parts):
            return [self.id(value) for value in values]
        known = [value for value in values if value is not None]
        texts = iter(compared_texts(known))
        return ["not recorded" if value is None else next(texts) for value in values]

    def id(self, value: RecordedValue | None) -> str:
        if value is None or isinstance(value, float):
            return "not recorded" if value is None else number_text(value)
        return id_text(int(value), self.values.record.mask_id, self.texts)

    def line(
        self, depth: int, template: str, node: syntax.Node, holds: bool | None, decides: bool, *arguments: str
    ) -> bool:
        return self.lines.add(depth, template, *arguments, holds=holds, span=node.span, decides=decides)
