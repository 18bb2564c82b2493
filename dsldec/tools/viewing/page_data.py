"""The data of a page: the policy, the texts and the steps of one run, or of two runs of the same prompt.

The texts of models and users are data, with visible control codes. Needs no torch. Not here: the steps
(`step_data`), the explanations (`why_data`), the HTML (`page`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...editors.roles import roles
from ...explained.explained_policy import ExplainedPolicy
from ...explained.reasons import ExplainedStep
from ...trajectory import Trajectory
from .shown_text import ShownText, shown_prompt, shown_token
from .step_data import StepTable, shown_number
from .why_data import WhyTable

FORMAT = 1
LONGEST_TABLE = 12  # of the numbers of a parameter
# A trace file may come from anyone, and a browser has to draw the page.
MOST_POSITIONS = 2**14
MOST_STEPS = 2**15
MOST_VALUES = 2**21  # positions of all windows with values


@dataclass(frozen=True, slots=True)
class ViewedRun:
    """One decoded prompt, to be viewed.

    `title`: the name of the run; `prompt`: the text of the prompt, if the trajectory does not have it;
    `texts`: the texts of ids, if the trajectory does not have them.
    """

    title: str
    trajectory: Trajectory
    prompt: str | None = None
    texts: Mapping[int, str] | None = None


def page_data(runs: Sequence[ViewedRun]) -> dict[str, Any]:
    """The data of one run, or of two to be compared, as an object for JSON. Raises `ValueError` for another
    number of runs, `UsageError` (E0573) for a trace that is too large.
    """
    if len(runs) not in (1, 2):
        raise ValueError(f"a page has one or two runs, not {len(runs)}")
    for run in runs:
        _require_size(run.trajectory)
    return {
        "format": FORMAT,
        "runs": [_run(run) for run in runs],
        **(_difference(*(run.trajectory for run in runs)) if len(runs) == 2 else {}),
    }


def _require_size(trace: Trajectory) -> None:
    windows = sum(len(step.record.canvas) for step in trace.steps if isinstance(step.record, ExplainedStep))
    for count, most, noun in (
        (trace.length, MOST_POSITIONS, "positions"),
        (len(trace.steps), MOST_STEPS, "steps"),
        (windows, MOST_VALUES, "positions with values"),
    ):
        if count > most:
            message = f"the trace has {count} {noun}, and a page shows at most {most}"
            help = "`dsldec why` explains one position of one step"
            raise UsageError(Diagnostic("E0573", message, help=help))


def _run(run: ViewedRun) -> dict[str, Any]:
    trajectory = run.trajectory
    explained = next(
        (step.record.explained for step in trajectory.steps if isinstance(step.record, ExplainedStep)), None
    )
    policy = None if explained is None else ShownText.of(explained.source.text)
    whys = WhyTable(policy)
    table = StepTable(trajectory.steps, trajectory.length, whys)
    steps = table.data()
    prompt = run.prompt if trajectory.prompt is None else trajectory.prompt
    return {
        "title": shown_token(run.title),
        "policy": None if explained is None or policy is None else _policy(explained, policy),
        "prompt": None if prompt is None else shown_prompt(prompt),
        "promptTokens": len(trajectory.prompt_ids),
        "length": trajectory.length,
        "mask": trajectory.mask_id,
        "eos": trajectory.eos_id,
        "texts": _texts(run, steps),
        "given": sorted([at, id_] for at, id_ in trajectory.given.items()),
        "phases": [shown_token(name) for name in dict.fromkeys(step.phase for step in trajectory.steps)],
        "steps": steps,
        "names": table.names,
        "allExplained": table.all_explained,
        **whys.data(),
    }


def _policy(explained: ExplainedPolicy, shown: ShownText) -> dict[str, Any]:
    pieces = roles(explained.source.text)
    return {
        "name": shown_token(explained.source.name),
        "text": shown.text,
        "roles": [
            [shown.place(piece.start), shown.place(piece.start + len(piece.text)), str(piece.role)]
            for piece in pieces
        ],
        "parameters": [[name, shown_parameter(value)] for name, value in explained.parameters.items()],
    }


def shown_parameter(value: object) -> str:
    """The value of a parameter as a policy spells it, with few numbers of a table."""
    if isinstance(value, bool | int | float):
        number = shown_number(value)
        return {True: "true", False: "false"}[number] if isinstance(number, bool) else str(number)
    if isinstance(value, str):
        return shown_token(value)
    if isinstance(value, tuple) and len(value) <= LONGEST_TABLE:
        return "[" + ", ".join(shown_parameter(one) for one in value) + "]"
    return f"a table of {len(value)} numbers" if isinstance(value, tuple) else f"a {type(value).__name__}"


def _texts(run: ViewedRun, steps: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The texts of the ids that the page shows."""
    known = run.trajectory.tokens or run.texts or {}
    ids = set(run.trajectory.given.values())
    for step in steps:
        for write in step["writes"]:
            ids.update((write[1], *write[4:]))
        ids.update(id_ for _, id_ in (*step["revoked"], *step.get("refused", ())))
        for pairs in step.get("candidates", ()):
            ids.update(pairs[::2])
    return {str(id_): shown_token(known[id_]) for id_ in ids if id_ in known}


def _difference(first: Trajectory, second: Trajectory) -> dict[str, Any]:
    """The first step with other writes, and its positions; `None` where all steps are equal."""
    same_prompt = first.prompt_ids == second.prompt_ids and first.given == second.given
    both = [[(dict(step.ids), set(step.revoked)) for step in one.steps] for one in (first, second)]
    shorter, longer = sorted(map(len, both))
    step = next((at for at in range(shorter) if both[0][at] != both[1][at]), shorter)
    if step == longer:
        return {"samePrompt": same_prompt, "difference": None}
    (ids, revoked), (others, other_revoked) = (
        one[step] if step < len(one) else ({}, set[int]()) for one in both
    )
    places = {at for at in {*ids, *others} if ids.get(at) != others.get(at)} | (revoked ^ other_revoked)
    return {"samePrompt": same_prompt, "difference": [step, sorted(places)]}
