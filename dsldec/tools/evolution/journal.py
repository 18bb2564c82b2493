"""The folder of a search: its settings, its generations, the lineage, the front.

A generation is one file, written when it is finished, so that a search goes on after an interruption. The
files may come from elsewhere: their texts are checked like those of a user, and no text becomes a path. Not
here: the search (`search`), the policies of the front (`front`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...files import LARGEST_CONFIG, NotJSON, Unreadable, read_json
from .. import quoted, quoted_path
from ..measuring.scores import PromptScore
from ..writing import put
from .candidates import Individual, NotSearchable, checked
from .racing import Contestant

SETTINGS, GENERATIONS, LINEAGE, SCORES, FRONT = (
    "search.json",
    "generations",
    "lineage.jsonl",
    "scores",
    "front",
)
LARGEST_GENERATION = 64 * LARGEST_CONFIG
MOST_GENERATIONS = 9999
ID = re.compile(r"g\d{3,4}-\d{2,4}", re.ASCII)
LONGEST_NOTES = 2000
WEIGHTS = "weights"
# Another number of these makes no other search.
MAY_CHANGE = ("generations",)


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """A finished generation. `contestants`: all its new policies, with the losers; `population`: the
    ids of the policies that go on.
    """

    number: int
    contestants: tuple[Contestant, ...]
    population: tuple[str, ...]


class Journal:
    """The files of one search in the folder `out`. Raises `UsageError` where they cannot be read or
    written.
    """

    def __init__(self, out: str) -> None:
        self.out = out

    def path(self, *parts: str) -> str:
        return os.path.join(self.out, *parts)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, or check that it belongs to the same search (E0432, E0437, E0540)."""
        if os.path.exists(self.out) and not os.path.isdir(self.out):
            message = f"`--out` is a folder, and {quoted_path(self.out)} is a file"
            raise UsageError(Diagnostic("E0432", message, help="for example `--out evolved`"))
        try:
            os.makedirs(self.path(GENERATIONS), exist_ok=True)
            others = [name for name in os.listdir(self.out) if name != GENERATIONS]
        except (OSError, ValueError) as failure:
            why = ((isinstance(failure, OSError) and failure.strerror) or str(failure)).lower()
            message = f"the folder {quoted_path(self.out)} cannot be made: {why}"
            help = "name a folder of yours: `--out evolved`"
            raise UsageError(Diagnostic("E0432", message, help=help)) from None
        before: Mapping[str, Any] = {}
        if SETTINGS in others:
            before = self._require_same(settings)
        elif others:
            message = f"the folder {quoted_path(self.out)} is not empty, and has no search"
            raise UsageError(Diagnostic("E0540", message, help="give `--out` the name of a new folder"))
        put(self.path(SETTINGS), json.dumps({**before, **settings}, indent=1) + "\n")

    def require_weights(self, digest: str) -> None:
        """Note the weights of the model, or raise `UsageError` (E0437) for a search with other ones."""
        before = self._json(SETTINGS, LARGEST_CONFIG)
        if WEIGHTS in before:
            self._require_same({WEIGHTS: digest})
        put(self.path(SETTINGS), json.dumps({**before, WEIGHTS: digest}, indent=1) + "\n")

    def _require_same(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings of the folder, which equal all settings given."""
        before = self._json(SETTINGS, LARGEST_CONFIG)
        if not isinstance(before, dict):
            raise UsageError(self._damaged(SETTINGS, "it is no object"))
        for name, value in settings.items():
            if name not in MAY_CHANGE and before.get(name) != value:
                was, now = (quoted(json.dumps(one)) for one in (before.get(name), value))
                message = f"{quoted_path(self.out)} has a search with another `{name}`: {was}, and now {now}"
                help = "repeat the options of that search, or give `--out` the name of a new folder"
                raise UsageError(Diagnostic("E0437", message, help=help))
        return before

    def _json(self, name: str, most: int) -> Any:
        try:
            return read_json(self.path(name), most)
        except (Unreadable, NotJSON) as wrong:
            raise UsageError(self._damaged(name, str(wrong.why))) from None

    def _damaged(self, name: str, why: str) -> Diagnostic:
        message = f"{quoted_path(self.path(name))} cannot be read: {why}"
        help = "delete this file and all later generations, or give `--out` the name of a new folder"
        return Diagnostic("E0542", message, help=help)

    # --- generations

    def write(self, generation: GenerationRecord) -> None:
        content = {
            "generation": generation.number,
            "population": list(generation.population),
            "policies": [_record(one) for one in generation.contestants],
        }
        put(self.path(GENERATIONS, _file(generation.number)), json.dumps(content) + "\n")

    def read(self) -> list[GenerationRecord]:
        """The finished generations in their order, up to the first one that is missing."""
        found: list[GenerationRecord] = []
        while len(found) <= MOST_GENERATIONS:
            name = os.path.join(GENERATIONS, _file(len(found)))
            if not os.path.exists(self.path(name)):
                break
            try:
                found.append(_generation(self._json(name, LARGEST_GENERATION), len(found)))
            except (KeyError, TypeError, ValueError, NotSearchable) as wrong:
                why = (
                    "a policy in it has a mistake"
                    if isinstance(wrong, NotSearchable)
                    else "it is no generation"
                )
                raise UsageError(self._damaged(name, why)) from None
        return found

    def write_lineage(self, generations: Sequence[GenerationRecord]) -> None:
        """One line for each policy that was ever measured, with its parents, changes and figures."""
        lines = [json.dumps(line) for each in generations for line in _lineage(each)]
        put(self.path(LINEAGE), "".join(f"{line}\n" for line in lines))


def _file(number: int) -> str:
    return f"{number:04}.json"


def _record(one: Contestant) -> dict[str, Any]:
    return {
        "id": one.individual.id,
        "parents": list(one.individual.parents),
        "changes": list(one.individual.changes),
        "text": one.individual.text,
        "scores": [[score.right, score.forwards, score.tokens] for score in one.scores],
        "out": one.out,
    }


def _generation(content: Any, number: int) -> GenerationRecord:
    """A generation of JSON. Another value raises `KeyError`, `TypeError`, `ValueError` or
    `NotSearchable`.
    """
    contestants = tuple(_contestant(record) for record in content["policies"])
    return GenerationRecord(number, contestants, tuple(_id(one) for one in content["population"]))


def _contestant(record: Any) -> Contestant:
    text, out = _text(record["text"]), _text(record["out"])
    parents, changes = tuple(map(_id, record["parents"])), tuple(map(_text, record["changes"]))
    scores = tuple(
        PromptScore(float(right), int(forwards), int(tokens)) for right, forwards, tokens in record["scores"]
    )
    policy = checked(text)
    return Contestant(Individual(_id(record["id"]), text, parents, changes, policy), scores, out)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _id(value: Any) -> str:
    if ID.fullmatch(_text(value)) is None:
        raise ValueError(value)
    return str(value)


def _lineage(generation: GenerationRecord) -> Iterator[dict[str, Any]]:
    for one in generation.contestants:
        prompts = len(one.scores)
        yield {
            "id": one.individual.id,
            "generation": generation.number,
            "parents": list(one.individual.parents),
            "changes": [change[:LONGEST_NOTES] for change in one.individual.changes],
            "prompts": prompts,
            "accuracy": round(one.accuracy(), 4) if prompts else None,
            "forwards": round(one.forwards(), 4) if prompts else None,
            "size": one.individual.size,
            "stays": one.individual.id in generation.population,
            "out": one.out,
            "policy": one.individual.text,
        }
