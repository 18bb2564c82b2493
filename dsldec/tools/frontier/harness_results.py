"""Points out of result files of lm-evaluation-harness.

A file of the model class `dsldec` has the policy, its parameters and the forwards of each task under
`config.dsldec`. Files of other models have no forwards: such a point is in the table, and not in the picture.
Not here: the model class (`engines.lm_eval`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...files import LARGEST_RESULTS, NotJSON, Unreadable, read_json
from .. import quoted_path
from .points import Point

Z = 1.959963984540054
# The metrics of generative tasks, the strictest first; a file may have others.
METRICS = ("exact_match", "pass@1", "pass_at_1", "acc", "acc_norm", "math_verify")
STANDARD_ERROR = "standard error of the harness"


def points_of_file(name: str) -> list[Point]:
    """A point for each task of a result file. Raises `UsageError` (E0514) for another file."""
    try:
        whole = read_json(name, LARGEST_RESULTS)
    except Unreadable as failure:
        raise _wrong(name, f"it cannot be read: {failure.why}") from None
    except NotJSON:
        raise _wrong(name, "it is no JSON") from None
    results = whole.get("results") if isinstance(whole, dict) else None
    if not isinstance(results, dict):
        raise _wrong(name, "it has no `results`")
    config = _object(whole.get("config"))
    points = [*_points(name, results, _object(whole.get("n-samples")), config)]
    if not points:
        raise _wrong(name, f"no task of it has one of the metrics {', '.join(METRICS)}")
    return points


def _points(
    name: str, results: Mapping[str, Any], samples: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[Point]:
    ours = _object(config.get("dsldec"))
    policy = ours.get("policy")
    curve = policy if isinstance(policy, str) else str(config.get("model") or "model")
    parameters = _object(ours.get("parameters"))
    shown = ", ".join(f"{one}={value}" for one, value in parameters.items() if _short(value))
    for task, figures in results.items():
        found = _metric(_object(figures))
        if found is None:
            continue
        accuracy, error = found
        of_task = _object(_object(ours.get("tasks")).get(task))
        tokens, seconds = _number(of_task.get("tokens")), _number(of_task.get("seconds"))
        count = _number(_object(samples.get(task)).get("effective")) or _number(of_task.get("answers")) or 0.0
        interval = (max(0.0, accuracy - Z * error), min(1.0, accuracy + Z * error))
        title = f"{curve}({shown})" if shown else curve
        yield Point(
            curve, f"{title} on {task}" if len(results) > 1 else title, parameters, int(count), int(count), accuracy,
            interval, STANDARD_ERROR,
            forwards=_number(of_task.get("forwards_per_answer")),
            tokens_per_forward=_number(of_task.get("tokens_per_forward")) or 0.0,
            tokens_per_second=tokens / seconds if tokens and seconds else 0.0,
            failed=int(_number(of_task.get("failed")) or 0), source=name,
        )  # fmt: skip


def _metric(figures: Mapping[str, Any]) -> tuple[float, float] | None:
    """The first known metric of a task, and its standard error. Of several filters the first counts."""
    for metric in METRICS:
        for key, value in figures.items():
            metric_of, _, filter_ = str(key).partition(",")
            number = _number(value)
            if metric_of == metric and number is not None and 0 <= number <= 1:
                error = _number(figures.get(f"{metric}_stderr,{filter_}"))
                return number, error or 0.0
    return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    """A finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _short(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) and len(str(value)) < 40


def _wrong(name: str, why: str) -> UsageError:
    message = f"{quoted_path(name)} is no result file of lm-evaluation-harness: {why}"
    help = "`python -m dsldec.engines.lm_eval --tasks ... --output_path results` writes such files"
    return UsageError(Diagnostic("E0514", message, help=help))
