"""The points of a frontier: settings with their figures, which of them no other one beats, and the curves.

Not here: measuring (`measuring`), intervals (`resampling`), drawing (`chart`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...terminal import printable
from ..evaluation.figures import Interval
from ..measuring.scores import Measurement
from .aup import aup
from .resampling import accuracy_interval, mean_interval

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Point:
    """One setting. `curve`: the policy whose points are joined; `prompts`: with a result, `of`: of the task.

    Means are over prompts. `method`: of `interval`. `forwards`: None where a source does not give them;
    `tokens_per_second`: 0 where it is not known. `source`: the file of other points. `on_front`: no other
    point has at least its accuracy in fewer forwards, or more accuracy in at most as many; `on_speed_front`:
    the same with tokens a second.
    """

    curve: str
    title: str
    parameters: Mapping[str, Any]
    prompts: int
    of: int
    accuracy: float
    interval: Interval
    method: str
    forwards: float | None
    tokens_per_forward: float
    tokens_per_second: float = 0.0
    forwards_interval: Interval | None = None
    failed: int = 0
    source: str = ""
    on_front: bool = False
    on_speed_front: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one policy, and their AUP; None without tokens per forward."""

    name: str
    points: tuple[Point, ...]
    aup: float | None = None


@dataclass(frozen=True, slots=True)
class Frontier:
    """All points, with the fronts marked, and the curves, the one with the best AUP first."""

    points: tuple[Point, ...]
    curves: tuple[Curve, ...] = field(default=())


def point_of(curve: str, title: str, parameters: Mapping[str, Any], measured: Measurement, of: int) -> Point:
    """The point of a measurement of some of the `of` prompts of a task."""
    scores = [one.right for one in measured.scores]
    interval, method = accuracy_interval(scores)
    forwards = [float(one.forwards) for one in measured.scores if not one.error]
    return Point(
        curve, title, dict(parameters), len(scores), of, measured.accuracy, interval, method,
        forwards=measured.forwards if forwards else None,
        tokens_per_forward=measured.tokens_per_forward,
        tokens_per_second=measured.tokens_per_second,
        forwards_interval=mean_interval(forwards) if forwards else None,
        failed=measured.failed,
    )  # fmt: skip


def frontier_of(points: Sequence[Point]) -> Frontier:
    """The points with their fronts marked, and their curves. Their names are plain text."""
    points = [replace(one, curve=plain(one.curve), title=plain(one.title)) for one in points]
    by_forwards = _front([(one.accuracy, _negated(one.forwards)) for one in points])
    by_speed = _front([(one.accuracy, one.tokens_per_second or None) for one in points])
    marked = tuple(
        replace(one, on_front=place in by_forwards, on_speed_front=place in by_speed)
        for place, one in enumerate(points)
    )
    names = dict.fromkeys(one.curve for one in marked)
    best = 100 * max((one.accuracy for one in marked), default=0.0)
    curves = [_curve(name, [one for one in marked if one.curve == name], best) for name in names]
    return Frontier(marked, tuple(sorted(curves, key=lambda one: -(one.aup or 0.0))))


def plain(text: str) -> str:
    """A text from outside that any file can hold: control codes and halves of characters are made visible.
    The program that draws ends the whole process at some of them.
    """
    whole = text.encode("utf-8", "backslashreplace").decode("utf-8")
    shown = printable(whole.replace("\n", " ").replace("\t", " "))
    return "".join("�" if ord(one) & 0xFFFE == 0xFFFE else one for one in shown[:LONGEST_NAME])


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _front(pairs: Sequence[tuple[float, float | None]]) -> set[int]:
    """The places of the pairs that no other pair dominates: at least as good in both, and better in one. A
    pair with None is on no front. Equal pairs are on it together.
    """
    known = [(place, accuracy, gain) for place, (accuracy, gain) in enumerate(pairs) if gain is not None]
    ordered = sorted(known, key=lambda one: (-one[2], -one[1]))
    front: set[int] = set()
    highest, at = -1.0, 0.0
    for place, accuracy, gain in ordered:
        if accuracy > highest:
            highest, at = accuracy, gain
            front.add(place)
        elif accuracy == highest and gain == at:
            front.add(place)
    return front


def _curve(name: str, points: Iterable[Point], best: float) -> Curve:
    of_curve = sorted(points, key=lambda one: (one.forwards is None, one.forwards or 0.0))
    known = [one for one in of_curve if one.tokens_per_forward > 0]
    if not known:
        return Curve(name, tuple(of_curve))
    area = aup([one.tokens_per_forward for one in known], [100 * one.accuracy for one in known], best)
    return Curve(name, tuple(of_curve), area)
