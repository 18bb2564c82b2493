"""Prints the figures of an evaluation, and writes its JSON file.

Not here: the figures (`figures`), the columns (`table`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...resources import version
from ...terminal import data
from ..process import say
from ..writing import put
from .evaluate_options import EvaluateOptions
from .figures import Figures, difference_of
from .problems import encoded
from .scorers import Scorer
from .table import table

REASONS_SHOWN = 3


def report(figures: Sequence[Figures], options: EvaluateOptions, scorer: Scorer) -> None:
    """Print the table, and write the JSON file."""
    known = [one for one in figures if one.prompts or one.unscored]
    differences = [difference_of(one, known[0]) for one in known[1:] if one.scores and known[0].scores]
    if known:
        for line in table(known, differences, options.markdown):
            print(line, file=data())
        data().flush()
    for line in [line for one in known for line in _reasons(one)]:
        say(line)
    if options.json is not None:
        whole = {
            "dsldec": version(), "task": options.task, "split": options.split, "scorer": scorer.name, "model": options.model,
            "seed": options.decode.seed, "policies": [one.as_json() for one in figures],
            "differences": [one.as_json() for one in differences],
        }  # fmt: skip
        put(options.json, encoded(whole).decode() + "\n")


def _reasons(one: Figures) -> Iterator[str]:
    """The most frequent reasons of zeros, apart from a wrong answer."""
    for why, answers in one.reasons[:REASONS_SHOWN]:
        yield f"{one.policy}: {answers} answer{'s' * (answers != 1)} scored 0: {why}"
    if (hidden := len(one.reasons) - REASONS_SHOWN) > 0:
        yield f"{one.policy}: and {hidden} other reason{'s' * (hidden != 1)}, in the field `why` of the results"


def interrupted(figures: Sequence[Figures], out: str | None) -> str:
    counts = "; ".join(f"{one.policy}: {one.prompts + one.unscored} of {one.of} prompts" for one in figures)
    if out is None:
        return f"interrupted: {counts}\n  = help: with `--out results` an evaluation can be continued by `--resume`"
    return f"interrupted: {counts}\n  = help: the same command with `--resume` continues"
