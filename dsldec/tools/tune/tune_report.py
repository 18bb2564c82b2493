"""Prints the result of a search: the chosen setting, its figures, and the line that uses it.

Not here: the figures (`trials`, `held_out`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from ...checks.values import Value
from ...diagnostics import Diagnostic, PolicyError
from ...resources import version
from ...spelling import typed
from .. import quoted
from ..evaluation.problems import encoded
from ..measuring.scores import Measurement
from ..text_table import drawn
from ..writing import put
from .floor import AccuracyFloor
from .held_out import FAILS, HOLDS, HeldOutFigures
from .search import SearchPlan
from .searched import SettingValues
from .trials import TriedSetting, best_of
from .tune_options import SECONDS, TuneOptions

TextRows = list[Sequence[str]]


def pasted(options: TuneOptions, setting: SettingValues) -> str:
    """The command that decodes under a setting."""
    given = [one.partition("=") for one in options.settings]
    written = {name.strip(): text.strip() for name, _, text in given}
    texts = {name: value_text(setting[name]) if name in setting else text for name, text in written.items()}
    model = f" --model {typed(options.model)}" if options.model is not None else ""
    sets = "".join(f" --set {typed(f'{name}={text}')}" for name, text in texts.items())
    return f"dsldec run --policy {typed(options.policy)}{sets}{model}"


def value_text(value: Value) -> str:
    """A value as `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting_text(setting: SettingValues) -> str:
    return ", ".join(f"{name}={value_text(value)}" for name, value in setting.items())


def line_of_round(plan: SearchPlan, tried: Sequence[TriedSetting]) -> str:
    """The best setting after a round."""
    best = best_of(tried)
    so_far = "none reaches the floor yet"
    if best is not None:
        cost = f"{best.seconds:.3f} seconds a prompt" if plan.seconds else f"{best.forwards:.2f} forwards"
        so_far = f"best so far {setting_text(best.setting)}: {cost}, {best.accuracy:.3f} right"
    return f"trial {len(tried)}; {so_far}"


def lines_of_search(plan: SearchPlan, tried: Sequence[TriedSetting]) -> Iterator[str]:
    """The trials, the cheapest ones above the floor first, then those below it."""
    order = sorted(tried, key=lambda one: (one.lacks > 0, one.cost if one.lacks <= 0 else one.lacks))
    rows: TextRows = [("trial", "right", "forwards", *["seconds/prompt"] * plan.seconds, "prompts", "floor")]
    for one in order:
        stopped = one.lacks > 0 and one.prompts < len(plan.problems)
        state = "reached" if one.lacks <= 0 else "not reached, dropped early" if stopped else "not reached"
        rows.append(
            (setting_text(one.setting), f"{one.accuracy:.3f}", f"{one.forwards:.2f}",
             *[f"{one.seconds:.3f}"] * plan.seconds, f"{one.prompts}", state)
        )  # fmt: skip
    yield from drawn(rows)


def lines_of_result(one: TriedSetting, plan: SearchPlan, figures: HeldOutFigures | None) -> Iterator[str]:
    """The chosen setting, on the calibration and on the held-out prompts."""
    yield f"chosen: {setting_text(one.setting)}"
    rows: TextRows = [("", "prompts", "right", "95 %", "forwards", *["seconds/prompt"] * plan.seconds)]
    rows.append(
        ("calibration", f"{one.prompts}", f"{one.accuracy:.3f}", "", f"{one.forwards:.2f}",
         *[f"{one.seconds:.3f}"] * plan.seconds)
    )  # fmt: skip
    if figures is not None:
        low, high = figures.interval
        rows.append(
            ("held out", f"{figures.prompts}", f"{figures.accuracy:.3f}", f"{low:.3f} to {high:.3f}",
             f"{figures.forwards:.2f}", *[f"{figures.seconds:.3f}"] * plan.seconds)
        )  # fmt: skip
        rows.append(
            ("baseline, held out", f"{figures.prompts}", f"{figures.baseline_accuracy:.3f}", "",
             f"{figures.baseline_forwards:.2f}", *[f"{figures.baseline_seconds:.3f}"] * plan.seconds)
        )  # fmt: skip
    yield from drawn(rows)


def lines_of_verdict(figures: HeldOutFigures, floor: AccuracyFloor) -> Iterator[str]:
    """The difference to the baseline, and whether the floor holds."""
    low, high = figures.difference_interval
    p = "" if figures.p is None else f"; p {figures.p:.3g}"
    yield f"difference to the baseline, held out: {figures.difference:+.3f} ({low:+.3f} to {high:+.3f}{p})"
    low, high = figures.above_interval
    why = {
        HOLDS: "the whole interval is at the floor or above it",
        FAILS: "the whole interval is below the floor",
    }.get(figures.verdict, "the interval has the floor inside; more held-out prompts make it narrower")
    least = f"{floor.share:g} times the baseline's" if floor.relative else f"{floor.share:g}"
    yield (
        f"floor, held out: {figures.verdict} (accuracy minus {least}: {figures.above:+.3f}, "
        f"{low:+.3f} to {high:+.3f}; {why})"
    )


def require_answers(found: Sequence[Measurement]) -> None:
    """Raise `PolicyError` (E0537) where a prompt has no answer: its setting has no accuracy to compare."""
    for one in found:
        failed = [score.error for score in one.scores if score.error]
        if failed:
            several = f"{len(failed)} of {len(one.scores)} prompts have no answer under {quoted(one.title)}"
            help = "the answers so far are stored where `--out` is given: the same command tries the others again"
            raise PolicyError([Diagnostic("E0537", f"{several}: {failed[0]}", help=help)])


def require_right_answers(baseline: Measurement, floor: AccuracyFloor) -> None:
    """Raise `PolicyError` (E0536) for a baseline whose accuracy makes a floor of 0."""
    if floor.relative and not baseline.accuracy:
        message = f"the baseline {quoted(baseline.title)} has no right answer to the calibration prompts, so the floor would be 0"
        help = "give an absolute floor, or another `--baseline`"
        raise PolicyError([Diagnostic("E0536", message, help=help)])


def none_reaches(plan: SearchPlan, tried: Sequence[TriedSetting]) -> Diagnostic:
    """The diagnostic (E0534) where no trial has the accuracy of the floor."""
    number = f"{len(tried)} setting{'s' * (len(tried) != 1)}"
    near = min(tried, key=lambda one: one.lacks)
    message = f"none of {number} has an accuracy of {plan.floor:.3f} on the calibration prompts"
    help = f"lower the floor, or widen a range: {quoted(setting_text(near.setting))} has {near.accuracy:.3f}"
    return Diagnostic("E0534", message, help=help)


def write_json(
    file: str, options: TuneOptions, plan: SearchPlan, tried: Sequence[TriedSetting],
    baseline: TriedSetting, figures: HeldOutFigures | None,
) -> None:  # fmt: skip
    """Write every figure. Raises `UsageError` (E0432)."""
    best = best_of(tried)
    whole = {
        "dsldec": version(), "policy": options.policy, "task": options.task, "model": options.model,
        "seed": options.decode.seed, "minimise": SECONDS if plan.seconds else options.minimise,
        "floor": {"text": options.floor, "accuracy": plan.floor}, "calibration": len(plan.problems),
        "baseline": {name: value for name, value in asdict(baseline).items() if name not in ("lacks", "setting")},
        "trials": [one.line(number) for number, one in enumerate(tried, 1)],
        "chosen": None if best is None else best.line([*tried].index(best) + 1),
        "command": None if best is None else pasted(options, best.setting),
        "report": options.report, "held_out": None if figures is None else figures.as_json(),
    }  # fmt: skip
    put(file, encoded(whole).decode() + "\n")
