"""A line of a trace file: the steps of one prompt as a JSON object, and back.

The writes that last are in lists with one entry for each id of the result; `undone` has the writes that a
revoke, an edit or the end of the text took away. docs/trajectories.md has the table of the fields. The lines
may come from anyone, so every value is checked. Needs no torch. Not here: the trajectory as a value
(`trajectory`), the file (`tools`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from .trace_step import NEVER, TraceStep, Write, rounded

FORMAT = 1
MOST_STEPS = 2**18  # a short line could name any number
MOST_POSITIONS = 2**22
LARGEST_ID = 2**63 - 1


class WrongLine(ValueError):
    """A line that is no trajectory; the text can follow "it ": `has no field ...`."""


class LineFields(NamedTuple):
    """The fields of a trajectory, as in `Trajectory`."""

    prompt_ids: list[int]
    length: int
    ids: list[int]
    mask_id: int
    eos_id: int | None
    steps: list[TraceStep]
    given: dict[int, int]
    id: str | int | None
    sample: int | None


# --- to a line


def line_of(fields: LineFields) -> dict[str, Any]:
    """The object of a line."""
    last, undone = _writes(fields.steps, fields.ids)
    places = range(len(fields.ids))
    forwards = [step.forward for step in fields.steps]
    phases = [[phase, len(list(run))] for phase, run in groupby(step.phase for step in fields.steps)]
    name = {} if fields.id is None else {"id": fields.id}
    sample = {} if fields.sample is None else {"sample": fields.sample}
    return {
        **name,
        **sample,
        "format": FORMAT,
        "mask_id": fields.mask_id,
        "eos_id": fields.eos_id,
        "prompt_ids": list(fields.prompt_ids),
        "length": fields.length,
        "ids": list(fields.ids),
        **({"given": _runs(sorted(fields.given))} if fields.given else {}),
        "step_map": [last[at].step if at in last else NEVER for at in places],
        "confidence": [rounded(last[at].confidence) if at in last else None for at in places],
        "phases": phases,
        **({"forwards": forwards} if forwards != list(range(len(forwards))) else {}),
        **({"undone": undone} if undone else {}),
    }


def _writes(steps: Sequence[TraceStep], ids: Sequence[int]) -> tuple[dict[int, Write], list[list[Any]]]:
    """The write of each id that lasted; and the writes that did not, `[step, until, position, id,
    confidence]` each. `until` is the number of steps where the end of the text took it away.
    """
    last: dict[int, Write] = {}
    undone: list[list[Any]] = []

    def undo(at: int, until: int) -> None:
        write = last.pop(at)
        undone.append([write.step, until, at, write.id, rounded(write.confidence)])

    for number, step in enumerate(steps):
        for at in sorted(step.removed):
            undo(at, number)
        for at, id_ in step.ids.items():
            last[at] = Write(number, id_, step.confidence.get(at))
    for at in [at for at, write in last.items() if at >= len(ids) or ids[at] != write.id]:
        undo(at, len(steps))
    return last, undone


def _runs(places: Iterable[int]) -> list[list[int]]:
    """Sorted places as runs, `[first, count]` each."""
    runs: list[list[int]] = []
    for at in places:
        if runs and at == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([at, 1])
    return runs


# --- from a line


def fields_of(line: object) -> LineFields:
    """The trajectory of a line. Raises `WrongLine`."""
    if not isinstance(line, dict):
        raise WrongLine("is not an object")
    if line.get("format") != FORMAT:
        raise WrongLine(f"has no `format` {FORMAT}")
    ids = _ints(line, "ids", 0, LARGEST_ID)
    length = _int(line, "length", len(ids), MOST_POSITIONS)
    phases = _phases(line)
    count = len(phases)
    forwards = _ints(line, "forwards", 0, MOST_STEPS) if "forwards" in line else list(range(count))
    if len(forwards) != count or any(one > other for one, other in pairwise(forwards)):
        raise WrongLine("has `forwards` that are not one a step, in order")
    given = {at: ids[at] for at in _places(line, len(ids))}
    steps = [TraceStep(phase, [], [], [], forward) for phase, forward in zip(phases, forwards, strict=True)]
    _fill(steps, _of_positions(line, ids, length, count), given)
    eos_id, name, sample = line.get("eos_id"), line.get("id"), line.get("sample")
    require(name is None or isinstance(name, str) or is_int(name), "has an `id` that is no string or int")
    require(sample is None or is_int(sample, 0), "has a `sample` that is no whole number from 0 on")
    require(eos_id is None or is_int(eos_id), "has an `eos_id` that is no int")
    prompt_ids = _ints(line, "prompt_ids", 0, LARGEST_ID)
    return LineFields(prompt_ids, length, ids, _int(line, "mask_id"), eos_id, steps, given, name, sample)


def _of_positions(
    line: Mapping[str, Any], ids: Sequence[int], length: int, count: int
) -> dict[int, list[list[Any]]]:
    """The writes at each of `length` positions, `[step, until, id, confidence]` each. `count`: of steps,
    which is `until` where no step took the write away.
    """
    step_map = _ints(line, "step_map", NEVER, count - 1)
    confidence = _list(line, "confidence", lambda one: one is None or _is_share(one))
    if not len(step_map) == len(confidence) == len(ids):
        raise WrongLine("has lists `ids`, `step_map` and `confidence` of different lengths")
    writes: dict[int, list[list[Any]]] = defaultdict(list)
    for entry in _list(line, "undone", _is_entry) if "undone" in line else []:
        step, until, at, id_, sure = entry
        require(
            at < length and step < until <= count, "has an entry of `undone` outside the steps or positions"
        )
        writes[at].append([step, until, id_, sure])
    for at, step in enumerate(step_map):
        if step != NEVER:
            writes[at].append([step, count, ids[at], confidence[at]])
    return writes


def _fill(steps: list[TraceStep], writes: Mapping[int, list[list[Any]]], given: Mapping[int, int]) -> None:
    """Puts the writes into the steps. Raises `WrongLine` for writes that overlap."""
    observed: list[dict[int, float]] = [{} for _ in steps]
    ids: list[dict[int, int]] = [{} for _ in steps]
    removed: list[dict[int, int]] = [{} for _ in steps]
    for at in sorted(writes):
        require(at not in given, f"writes position {at}, which is given")
        own = sorted(writes[at], key=lambda write: write[0])
        free_from = 0  # the step that takes the write before away
        for (step, until, id_, sure), following in zip(own, [*own[1:], None], strict=True):
            require(step >= free_from, f"has writes at position {at} that overlap")
            (steps[step].edited if step == free_from > 0 else steps[step].committed).append(at)
            ids[step][at] = id_
            if sure is not None:
                observed[step][at] = float(sure)
            if until < len(steps):
                removed[until][at] = id_
                if following is None or following[0] != until:
                    steps[until].revoked.append(at)
            free_from = until
    for one, written, gone, conf in zip(steps, ids, removed, observed, strict=True):
        one.ids, one.removed, one.observations = written, gone, {"conf": conf}


def _phases(line: Mapping[str, Any]) -> list[str]:
    """The phase of each step."""
    runs = _list(line, "phases", lambda one: isinstance(one, list) and len(one) == 2)
    require(
        all(isinstance(name, str) and is_int(count, 1, MOST_STEPS) for name, count in runs),
        "has `phases` that are no pairs of a name and a count",
    )
    require(sum(count for _, count in runs) <= MOST_STEPS, f"has more than {MOST_STEPS} steps")
    return [name for name, count in runs for _ in range(count)]


def _places(line: Mapping[str, Any], length: int) -> list[int]:
    """The given positions."""
    runs = (
        _list(line, "given", lambda one: isinstance(one, list) and len(one) == 2) if "given" in line else []
    )
    end = 0
    for first, count in runs:
        require(
            is_int(first, end, length) and is_int(count, 1, length - first),
            "has `given` that are no runs of positions in order",
        )
        end = first + count
    return [at for first, count in runs for at in range(first, first + count)]


def _int(line: Mapping[str, Any], name: str, least: int = -LARGEST_ID, most: int = LARGEST_ID) -> int:
    value = line.get(name)
    if not is_int(value, least, most):
        raise WrongLine(f"has no valid `{name}`")
    return int(value or 0)


def _ints(line: Mapping[str, Any], name: str, least: int, most: int) -> list[int]:
    return _list(line, name, lambda one: is_int(one, least, most))


def _list(line: Mapping[str, Any], name: str, is_valid: Callable[[Any], bool]) -> list[Any]:
    values = line.get(name)
    if not isinstance(values, list):
        raise WrongLine(f"has no list `{name}`")
    wrong = next((place for place, one in enumerate(values) if not is_valid(one)), None)
    if wrong is not None:
        raise WrongLine(f"has an invalid entry {wrong} in `{name}`")
    return values


def _is_entry(entry: Any) -> bool:
    """Whether it is an entry of `undone`."""
    if not isinstance(entry, list) or len(entry) != 5:
        return False
    *numbers, id_, sure = entry
    return all(is_int(one, 0, LARGEST_ID) for one in (*numbers, id_)) and (sure is None or _is_share(sure))


def is_int(value: Any, least: int = -LARGEST_ID, most: int = LARGEST_ID) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise WrongLine(otherwise)
