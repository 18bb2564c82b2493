"""The trajectory of one prompt: every step of its decoding with the ids, from which each intermediate canvas
follows.

`decode(..., trace=True).trajectories` has them, and `dsldec run --trace FILE.jsonl` writes one a line. Needs
no torch. Not here: the form of a line (`trajectory_lines`; of recorded values `explained.record_lines`), how
steps are recorded (`runtime.trace`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from .diagnostics import Diagnostic, UsageError
from .files import (
    LARGEST_TRACE,
    LONGEST_TRACE_LINE,
    MOST_TRACE_LINES,
    NotJSON,
    Unreadable,
    json_of,
    lines,
    opened,
)
from .shown_in_notebooks import ShownInNotebooks
from .spelling import shown
from .terminal import printable
from .trace_step import Logprobs, TraceStep, logprobs_of
from .trajectory_lines import LineFields, WrongLine, fields_of, line_of

log = logging.getLogger("dsldec")

HELP = "`dsldec run --trace FILE.jsonl` writes trace files"


@dataclass(frozen=True, slots=True, repr=False)
class Trajectory(ShownInNotebooks):
    """The steps of one prompt, or of one of its samples. Positions count from 0, the first one after the
    prompt.

    Attributes:
        prompt_ids: The ids before the first position. Of an infilling, those before its first mask.
        length: The number of positions.
        ids: The generated ids of the result, at most `length`. After the end of the text they are not those
            of the last canvas, see `Row.ids`; a failed row has MASK where nothing was written.
        mask_id: The id of MASK.
        eos_id: The id of the end-of-text token, `None` if there is none.
        steps: The steps in order.
        given: The ids of an infilling that are given, by position.
        id: The id of the prompt in its file.
        sample: The number of the sample of its prompt, `None` in a file with one sample a prompt.
        prompt: With recorded values, the text of the prompt; `None` if it was given as ids.
        tokens: With recorded values, the texts of the ids that occur, for a reader without a tokenizer.
    """

    prompt_ids: list[int]
    length: int
    ids: list[int]
    mask_id: int
    eos_id: int | None
    steps: list[TraceStep]
    given: Mapping[int, int] = field(default_factory=dict)
    id: str | int | None = None
    sample: int | None = None
    prompt: str | None = None
    tokens: Mapping[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Its size. The steps would be pages of text."""
        named = "" if self.id is None else f" {self.id!r},"
        return f"<Trajectory:{named} {self.length} positions, {len(self.steps)} steps>"

    def canvases(self) -> Iterator[list[int]]:
        """Every canvas, prompt and positions: before the first step, and after each step."""
        begin = len(self.prompt_ids)
        masked = [self.mask_id] * self.length
        canvas = [*self.prompt_ids, *masked]
        for at, id_ in self.given.items():
            canvas[begin + at] = id_
        yield list(canvas)
        for step in self.steps:
            for at in step.revoked:
                canvas[begin + at] = self.mask_id
            for at, id_ in step.ids.items():
                canvas[begin + at] = id_
            yield list(canvas)

    @property
    def logprobs(self) -> Logprobs:
        """The confidence of each of `ids` when it was written, and its step."""
        return logprobs_of(self.steps, self.ids)

    @property
    def step_map(self) -> list[int]:
        """For each of `ids` the step that wrote it, from 0 on; -1 if no step did (given text, ids after the
        end of the text). `canvases()` has the canvas after step k at place k + 1.
        """
        return self.logprobs.step

    @property
    def confidence(self) -> list[float | None]:
        """For each of `ids` the denoiser's probability in the step that wrote it; `None` if no step did."""
        return self.logprobs.confidence

    @property
    def padded_step_map(self) -> list[int]:
        """`step_map` with the number of steps in place of -1, for training code that orders ids by their
        step: these ids come last.
        """
        return [len(self.steps) if step < 0 else step for step in self.step_map]

    @property
    def recorded(self) -> bool:
        """Whether a step has recorded values."""
        return any(step.record is not None for step in self.steps)

    def why(self, step: int, position: int) -> Any:
        """Why a step wrote a position, or did not: an `explained.why.Why`. Raises `UsageError` for a step
        that is not there (E0566), and for one without recorded values (E0560).
        """
        if type(step) is not int or not 0 <= step < len(self.steps):
            message = f"there is no step {shown(step)}: the trajectory has {len(self.steps)} steps, from 0 on"
            raise UsageError(
                Diagnostic("E0566", message, help="`trajectory.why(0, 0)` explains the first step")
            )
        return self.steps[step].why(position)

    # --- files

    def to_json(self, **more: Any) -> str:
        """The trajectory as one line of JSON without its end. `more`: further fields, at the end.

        A confidence is rounded to 4 significant digits. Other observations are left out. Recorded values are
        in the field `values`; where they are too many for a line, a warning (W0561) says so.
        """
        line = line_of(LineFields(*(getattr(self, name) for name in LineFields._fields)))
        line |= self._recorded()
        return json.dumps(line | more, ensure_ascii=True, separators=(",", ":"))

    def _recorded(self) -> dict[str, Any]:
        """The fields of the recorded values, empty without values."""
        if not self.recorded:
            return {}
        from .explained.line_texts import text_fields
        from .explained.record_lines import TooManyValues, values_field

        try:
            values = values_field(self.steps)
        except TooManyValues as error:
            help = "record fewer steps: `--gen-length 64`"
            log.warning("%s", Diagnostic("W0561", f"a line of the trace has no values: {error}", help=help))
            return {}
        return {} if values is None else {**text_fields(self.prompt, self.tokens), "values": values}

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The trajectory of one line. Raises `UsageError` (E0460) for another text."""
        try:
            return cls._parsed(text)
        except WrongLine as wrong:
            message = f"the text is no trajectory: it {wrong}"
            raise UsageError(Diagnostic("E0460", message, help=HELP)) from None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Iterator[Self]:
        """The trajectories of a trace file, read one by one. Raises `UsageError` (E0460) for a file that
        cannot be read, and at a line that is no trajectory.
        """
        name = f"`{printable(os.fspath(path))}`"
        try:
            with opened(path) as stream:
                read = lines(stream, LONGEST_TRACE_LINE, LARGEST_TRACE, MOST_TRACE_LINES)
                for number, line in enumerate(read, 1):
                    try:
                        yield cls._parsed(line.decode("utf-8"))
                    except (WrongLine, UnicodeDecodeError) as wrong:
                        why = wrong if isinstance(wrong, WrongLine) else "is not UTF-8 text"
                        message = f"line {number} of the trace file {name} is no trajectory: it {why}"
                        raise UsageError(Diagnostic("E0460", message, help=HELP)) from None
        except Unreadable as failure:
            message = f"the trace file {name} cannot be read: {failure.why}"
            raise UsageError(Diagnostic("E0460", message, help=HELP)) from None

    @classmethod
    def _parsed(cls, text: str) -> Self:
        if not isinstance(text, str):
            raise WrongLine(f"is {shown(text)}")
        try:
            line = json_of(text, strict=True)
            fields = fields_of(line)
            return cls(**fields._asdict(), **(_with_values(fields, line) if "values" in line else {}))
        except NotJSON as wrong:
            raise WrongLine(printable(wrong.why)) from None

    @staticmethod
    def columns(trajectories: Iterable[Trajectory | None], *, padded: bool = False) -> dict[str, list[Any]]:
        """Trajectories as columns, one entry each, for `datasets.Dataset.from_dict`.

        `padded`: `step_map` without -1, see `padded_step_map`. Ids of prompts are texts, because a column has
        one type. Raises `UsageError` (E0448) for an entry that is no trajectory: a row without a trace.
        """
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for place, one in enumerate(trajectories):
            if not isinstance(one, Trajectory):
                message = f"entry {place} of the trajectories is no `Trajectory`, but {shown(one)}"
                raise UsageError(Diagnostic("E0448", message, help="decode with `trace=True`"))
            logprobs = one.logprobs
            row = {
                "id": None if one.id is None else str(one.id),
                "sample": one.sample or 0,
                "prompt_ids": list(one.prompt_ids),
                "prompt_length": len(one.prompt_ids),
                "ids": list(one.ids),
                "step_map": one.padded_step_map if padded else logprobs.step,
                "confidence": logprobs.confidence,
                "steps": len(one.steps),
                "mask_id": one.mask_id,
                "eos_id": one.eos_id,
            }
            for name, value in row.items():
                columns[name].append(value)
        return columns


def _with_values(fields: LineFields, line: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the steps their records; the texts of the line."""
    from .explained.line_texts import texts_of_line
    from .explained.record_lines import CanvasReplay, read_values
    from .explained.recorded_run import end_of, link

    canvas = [*fields.prompt_ids, *[fields.mask_id] * fields.length]
    begin = len(fields.prompt_ids)
    for at, id_ in fields.given.items():
        canvas[begin + at] = id_
    read_values(line["values"], fields.steps, CanvasReplay(canvas, begin, fields.mask_id))
    prompt, tokens = texts_of_line(line)
    link(fields.steps, tokens, end_of(fields.ids, fields.length, fields.eos_id))
    return {"prompt": prompt, "tokens": tokens}


COLUMNS = (
    "id", "sample", "prompt_ids", "prompt_length", "ids", "step_map", "confidence", "steps", "mask_id",
    "eos_id",
)  # fmt: skip
