"""The trials of a study: settings with their measured figures, and the file that stores them.

The first line of the file says which study it is; each other line is a trial. Not here: the results of
prompts (`measuring`), the next settings (`proposals`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...files import json_of
from .. import quoted, quoted_path
from ..differences import differences
from ..lines_file import LinesFile
from .searched import Searched, SettingValues

STUDY_FILE = "study.jsonl"


@dataclass(frozen=True, slots=True)
class TriedSetting:
    """A setting and its figures on the calibration prompts.

    `prompts`: how many were decoded: all, or fewer if it could not reach the floor any more. `cost`: of a
    prompt, in forwards or in seconds. `lacks`: how far the accuracy is below the floor; 0 or less where
    it is not.
    """

    setting: SettingValues
    prompts: int
    accuracy: float
    forwards: float
    seconds: float
    cost: float
    lacks: float

    def line(self, number: int) -> dict[str, Any]:
        """The object written to the file."""
        return {
            "trial": number, "set": self.setting, "prompts": self.prompts, "accuracy": self.accuracy,
            "forwards": self.forwards, "seconds": self.seconds, "cost": self.cost, "lacks": self.lacks,
        }  # fmt: skip


def best_of(tried: Sequence[TriedSetting]) -> TriedSetting | None:
    """The setting above the floor with the least cost; of several the most accurate, then the first."""
    above = [one for one in tried if one.lacks <= 0]
    return min(above, key=lambda one: (one.cost, -one.accuracy), default=None)


class TrialsFile(LinesFile):
    """The file of a study. Inside `with`, `append` adds trials.

    `tried`: the trials of the file that is continued. Raises `UsageError` (E0434, E0437) where the file is of
    another study or of another program.
    """

    what, flag, example = "study", "--out", STUDY_FILE

    def __init__(self, name: str, run: Mapping[str, Any], searched: Sequence[Searched]) -> None:
        self._run, self._searched = dict(run), searched
        self.tried: list[TriedSetting] = []
        self._is_new = True
        super().__init__(name, resume=True)

    def _stays(self, data: bytes) -> bytes:
        lines = data.split(b"\n")
        if not data.strip(b"\0"):
            return b""
        self._require_same_study(_object(lines[0]))
        self._is_new = False
        whole = [lines[0]]
        for number, line in enumerate(lines[1:], 1):
            trial = self._trial(_object(line), number)
            if trial is None:
                if number < len(lines) - 1:
                    raise UsageError(self._foreign(number, line))
                break  # the last line is empty, or was cut short
            whole.append(line)
            self.tried.append(trial)
        return b"".join(line + b"\n" for line in whole)

    def __enter__(self) -> TrialsFile:
        super().__enter__()
        if self._is_new:
            self.write(json.dumps({"study": self._run}).encode() + b"\n")
            self._is_new = False
        return self

    def append(self, trials: Sequence[TriedSetting]) -> None:
        """Write the lines of a round: all of them or none, because the next round depends on all."""
        lines = [json.dumps(one.line(len(self.tried) + at)) for at, one in enumerate(trials, 1)]
        self.write("".join(f"{line}\n" for line in lines).encode())
        self.tried += trials

    def _require_same_study(self, first: Any) -> None:
        before = first.get("study") if isinstance(first, dict) else None
        if not isinstance(before, dict) or not isinstance(before.get("digest"), str):
            raise UsageError(self._foreign(0, json.dumps(first).encode()))
        if before["digest"] == self._run["digest"]:
            return
        changes = differences(before, self._run)
        what = f" ({'; '.join(changes)})" if changes else ""
        message = f"{quoted_path(self.name)} is the study of another policy, model, task or option{what}"
        help = "give `--out` another folder, or use the same policy and options as before"
        raise UsageError(Diagnostic("E0437", message, help=help))

    def _trial(self, line: Any, number: int) -> TriedSetting | None:
        """The trial in a line, None where it is none of this study."""
        if not isinstance(line, dict) or line.get("trial") != number or not isinstance(line.get("set"), dict):
            return None
        setting, names = line["set"], [one.name for one in self._searched]
        if sorted(setting) != sorted(names) or not all(one.has(setting[one.name]) for one in self._searched):
            return None
        figures = [line.get(name) for name in ("accuracy", "forwards", "seconds", "cost", "lacks")]
        if not all(_is_finite(one) for one in figures) or type(line.get("prompts")) is not int:
            return None
        ordered = {name: setting[name] for name in names}
        return TriedSetting(ordered, line["prompts"], *map(float, figures))  # type: ignore[arg-type]

    def _foreign(self, number: int, line: bytes) -> Diagnostic:
        shown = quoted(line.decode("utf-8", "replace"))
        message = f"line {number + 1} of {quoted_path(self.name)} is no line of a study: {shown}"
        return Diagnostic("E0434", message, help="give `--out` another folder")


def _object(line: bytes) -> Any:
    try:
        return json_of(line.decode("utf-8"))
    except ValueError:
        return None


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
