"""The recorded values in a line of a trace file: the field `values`, and back.

The columns of all steps are one block of bytes, little endian, compressed, in base64: for each step its
columns, where it may write, and the likeliest ids. The canvas follows from the steps. The lines may come from
anyone: every number is checked, and a line never unpacks to more than `MOST_BYTES`. Needs no torch. Not here:
the policy in a line (`policy_lines`), the other fields (`trajectory_lines`).
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..trace_step import TraceStep
from ..trajectory_lines import MOST_POSITIONS, WrongLine, is_int, require
from .policy_lines import RecordedPolicy, policy_fields, policy_of_fields
from .reasons import ExplainedStep
from .recorded_values import INT, REAL, SIZES, ColumnLayout, OfEachPosition, RecordedValues
from .step_record import Candidates, StepRecord
from .watched_operations import layouts_of

MOST_BYTES = 256 * 1024**2  # of the columns of a line
MOST_PACKED = 48 * 1024**2  # of the columns in base64: a line has at most 64 MiB
MOST_RECORDS = 2**16
MOST_CANDIDATES = 64
INFINITE = ("inf", "-inf")  # scores that JSON cannot write as numbers
ID = "i"  # the format of the id of a candidate
ID_SIZE = array(ID).itemsize


class TooManyValues(ValueError):
    """The values do not fit into a line."""


# --- to a line


def values_field(steps: Sequence[TraceStep]) -> dict[str, Any] | None:
    """The field of a line for these steps; `None` if no step has a record. Raises `TooManyValues`."""
    each = [step.record if isinstance(step.record, ExplainedStep) else None for step in steps]
    records = {number: record for number, record in enumerate(each) if record is not None}
    if not records:
        return None
    explained = next(iter(records.values())).explained
    policy = RecordedPolicy(explained, layouts_of(explained.watched))
    most = max(_candidates_of(record) for record in records.values())
    windows = [[0, 0] if one is None else [one.start, len(one.canvas)] for one in each]
    return {
        **policy_fields(policy),
        "windows": [[*window, len(list(run))] for window, run in groupby(windows)],
        "candidates": most,
        **_choices(records),
        "columns": _packed(records.values(), most),
    }


def _candidates_of(record: StepRecord) -> int:
    return len(record.candidates.ids[0]) if record.candidates is not None and len(record.canvas) else 0


def _choices(records: Mapping[int, StepRecord]) -> dict[str, Any]:
    """The fields of drafts, of candidates and of rounding, where there are any."""
    fields = {
        "drafts": [
            [number, record.dropped, [list(one) for one in record.refused.items()]]
            for number, record in records.items()
            if record.refused or record.dropped
        ],
        "taken": [
            [number, 0, [list(one) for one in record.taken.items()]]
            for number, record in records.items()
            if record.taken is not None
        ],
        "scores": [
            [number, [_score_in_line(one) for one in record.scores]]
            for number, record in records.items()
            if record.scores
        ],
        "recomputed": [number for number, record in records.items() if record.recomputed],
    }
    return {name: entries for name, entries in fields.items() if entries}


def _score_in_line(score: float) -> float | str | None:
    """A score as JSON has it; `None` stands for no score."""
    return None if math.isnan(score) else score if math.isfinite(score) else str(score)


def _packed(records: Iterable[StepRecord], most: int) -> str:
    pack, parts, size = zlib.compressobj(6), [], 0
    for record in records:
        for part in _bytes_of(record, most):
            parts.append(pack.compress(part))
            size += len(part)
            if size > MOST_BYTES:
                raise TooManyValues(f"the values of the steps need more than {MOST_BYTES // 1024**2} MiB")
    packed = base64.b64encode(b"".join([*parts, pack.flush()]))
    if len(packed) > MOST_PACKED:
        raise TooManyValues(f"the packed values of the steps need more than {MOST_PACKED // 1024**2} MiB")
    return packed.decode("ascii")


def _bytes_of(record: StepRecord, most: int) -> Iterator[bytes]:
    values = record.values
    assert isinstance(values, RecordedValues)
    yield from (values.data[form] for form in SIZES)
    yield bytes(record.editable)
    positions = range(len(record.canvas))
    candidates = record.candidates
    ids, shares = ([], []) if candidates is None else (candidates.ids, candidates.probabilities)
    yield array(ID, [ids[at][n] if ids else 0 for n in range(most) for at in positions]).tobytes()
    yield array(REAL, [shares[at][n] if shares else 0.0 for n in range(most) for at in positions]).tobytes()


# --- from a line


@dataclass(slots=True)
class CanvasReplay:
    """The canvas before the next step, prompt and positions."""

    canvas: list[int]
    begin: int
    mask_id: int

    def window(self, start: int, size: int) -> array[int]:
        return array(INT, self.canvas[self.begin + start : self.begin + start + size])

    def pass_on(self, step: TraceStep) -> None:
        """The canvas after a step."""
        for at in step.revoked:
            self.canvas[self.begin + at] = self.mask_id
        for at, id_ in step.ids.items():
            self.canvas[self.begin + at] = id_


def read_values(field: object, steps: Sequence[TraceStep], replay: CanvasReplay) -> None:
    """Gives the steps their records. `replay`: before the first step. Raises `WrongLine`, and `UsageError`
    (E0561) for values of another version.
    """
    if not isinstance(field, dict):
        raise WrongLine("has `values` that are no object")
    policy = policy_of_fields(field)
    windows = _windows(field, len(steps), replay)
    phases = _phases(policy, steps)
    most = field.get("candidates")
    if not is_int(most, 0, MOST_CANDIDATES):
        raise WrongLine("has an invalid number of `candidates`")
    layouts = [policy.layouts[phase] for phase in phases]
    sizes = [
        _size(layout, size, int(most or 0)) if size else 0
        for layout, (_, size) in zip(layouts, windows, strict=True)
    ]
    data, first = memoryview(_unpacked(field.get("columns"), sum(sizes))), 0
    drafts, taken = (_drafts(field, windows, name) for name in ("drafts", "taken"))
    scores, recomputed = _scores(field, windows), _recomputed(field, windows)
    for number, (step, (start, size), length) in enumerate(zip(steps, windows, sizes, strict=True)):
        if size:
            part = _StepBytes(data[first : first + length])
            values = RecordedValues(
                layouts[number],
                size,
                {form: part.take(layouts[number].bytes_of(form, size)) for form in SIZES},
            )
            refused, dropped = drafts.get(number, ({}, 0))
            step.record = ExplainedStep(
                policy.explained, number, phases[number], start,
                canvas=replay.window(start, size), editable=[one != 0 for one in part.take(size)],
                values=values, mask_id=replay.mask_id, candidates=_candidates(part, size, int(most or 0)),
                refused=refused, dropped=dropped, recomputed=number in recomputed,
                scores=scores.get(number, ()), taken=taken[number][0] if number in taken else None,
            )  # fmt: skip
        first += length
        replay.pass_on(step)


class _StepBytes:
    """Takes bytes off the columns of a step, one part after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        return bytes(self.data[self.at - count : self.at])


def _size(layout: ColumnLayout, positions: int, most: int) -> int:
    """The bytes of a step."""
    columns = sum(layout.bytes_of(form, positions) for form in SIZES)
    return columns + positions * (1 + most * (ID_SIZE + SIZES[REAL]))


def _unpacked(columns: object, size: int) -> bytes:
    require(size <= MOST_BYTES, f"has values of more than {MOST_BYTES // 1024**2} MiB")
    if not isinstance(columns, str):
        raise WrongLine("has values without `columns`")
    unpack = zlib.decompressobj()
    try:
        data = unpack.decompress(base64.b64decode(columns, validate=True), size + 1)
    except (binascii.Error, ValueError, zlib.error):
        raise WrongLine("has damaged `columns`") from None
    require(len(data) == size and unpack.eof and not unpack.unused_data, "has `columns` of another size")
    return data


def _candidates(part: _StepBytes, size: int, most: int) -> Candidates | None:
    if not most:
        return None
    narrow: array[int] = array(ID)
    shares: array[float] = array(REAL)
    narrow.frombytes(part.take(size * most * ID_SIZE))
    shares.frombytes(part.take(size * most * SIZES[REAL]))
    require(all(one >= 0 for one in narrow), "has a candidate with an invalid id")
    require(all(0 <= one <= 1 for one in shares), "has a candidate with an invalid probability")
    return Candidates(OfEachPosition(array(INT, narrow), size), OfEachPosition(shares, size))


def _phases(policy: RecordedPolicy, steps: Sequence[TraceStep]) -> list[int]:
    """The index of the phase of each step."""
    names = {name: number for number, name in enumerate(policy.explained.watched.program.phases)}
    require(
        all(step.phase in names for step in steps), "has a phase that the policy of its values does not have"
    )
    return [names[step.phase] for step in steps]


def _windows(field: Mapping[str, Any], steps: int, replay: CanvasReplay) -> list[tuple[int, int]]:
    """The first position and the size of each step's window; the size is 0 for a step without a record."""
    runs = _entries(field, "windows")
    windows: list[tuple[int, int]] = []
    last = len(replay.canvas) - replay.begin
    for run in runs:
        is_run = isinstance(run, list) and len(run) == 3 and is_int(run[0], -replay.begin, last)
        require(
            is_run and is_int(run[1], 0, last - run[0]) and is_int(run[2], 1, steps - len(windows)),
            "has `windows` outside the steps or positions",
        )
        windows += [(run[0], run[1])] * run[2]
    require(len(windows) == steps, "has `windows` that are not one a step")
    require(
        sum(size > 0 for _, size in windows) <= MOST_RECORDS, f"has values of more than {MOST_RECORDS} steps"
    )
    return windows


StepWindows = Sequence[tuple[int, int]]


def _drafts(
    field: Mapping[str, Any], windows: StepWindows, name: str
) -> dict[int, tuple[dict[int, int], int]]:
    drafts = {}
    for entry in _entries(field, name, optional=True):
        valid = isinstance(entry, list) and len(entry) == 3 and _is_recorded(entry[0], windows)
        valid = valid and is_int(entry[1], 0, MOST_CANDIDATES**2) and isinstance(entry[2], list)
        require(valid and all(_is_write(one) for one in entry[2]), f"has an invalid entry in `{name}`")
        drafts[entry[0]] = dict(entry[2]), entry[1]
    return drafts


def _is_write(entry: Any) -> bool:
    """Whether it is a position and an id."""
    is_pair = isinstance(entry, list) and len(entry) == 2
    return is_pair and is_int(entry[0], 0, MOST_POSITIONS) and is_int(entry[1])


def _scores(field: Mapping[str, Any], windows: StepWindows) -> dict[int, tuple[float, ...]]:
    scores = {}
    for entry in _entries(field, "scores", optional=True):
        valid = isinstance(entry, list) and len(entry) == 2 and _is_recorded(entry[0], windows)
        valid = valid and isinstance(entry[1], list) and len(entry[1]) <= MOST_CANDIDATES**2
        require(valid and all(_is_score(one) for one in entry[1]), "has an invalid entry in `scores`")
        scores[entry[0]] = tuple(math.nan if one is None else float(one) for one in entry[1])
    return scores


def _is_score(value: Any) -> bool:
    is_number = is_int(value) or (isinstance(value, float) and math.isfinite(value))
    return value is None or is_number or (isinstance(value, str) and value in INFINITE)


def _recomputed(field: Mapping[str, Any], windows: StepWindows) -> frozenset[int]:
    steps = _entries(field, "recomputed", optional=True)
    require(all(_is_recorded(one, windows) for one in steps), "has an invalid entry in `recomputed`")
    return frozenset(steps)


def _is_recorded(step: Any, windows: StepWindows) -> bool:
    return is_int(step, 0, len(windows) - 1) and windows[step][1] > 0


def _entries(field: Mapping[str, Any], name: str, *, optional: bool = False) -> list[Any]:
    entries = field.get(name, [] if optional else None)
    if not isinstance(entries, list):
        raise WrongLine(f"has values without a list `{name}`")
    return entries
