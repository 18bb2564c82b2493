"""The file of one setting: a line with its identity, then a line for each prompt, written when it is finished.

A file is named by the policy and a digest of the identity. Lines cut off by a crash are removed, and lines of
failed prompts: those are decoded again. Not here: what decides a result (`identity`), locks (`owned`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...files import json_of
from .. import quoted_path
from ..lines_file import LinesFile
from .identity import digest_of
from .scores import PromptScore

FIELDS = {"right": float, "forwards": int, "tokens": int, "seconds": float}


class ScoresFile(LinesFile):
    """The scores of one setting. `scores`: by the digest of the prompt; `torn`: whether a line was cut off.

    Raises `UsageError`: E0510 for a file of another setting, E0511 for a line that is no score, E0432 and
    E0438 where it cannot be written.
    """

    what, flag, example = "results file", "--out", "results"

    def __init__(self, folder: str, policy: str, identity: Mapping[str, Any]) -> None:
        self.scores: dict[str, PromptScore] = {}
        self.torn = False
        self._identity = dict(identity)
        name = os.path.join(folder, f"{policy}-{digest_of(identity)}.jsonl")
        try:
            super().__init__(name, resume=True)
        except UsageError as wrong:
            raise _without_resume(wrong) from None
        assert self._file is not None
        self._is_empty = not self._file.size or self._remaining == b""

    def _stays(self, data: bytes) -> bytes:
        *whole, last = data.split(b"\n")
        remaining = []
        for number, line in enumerate(whole):
            if number == 0:
                self._require_identity(line)
            elif (found := self._score(line, number)) is None:
                continue
            else:
                key, score = found
                self.scores[key] = score
            remaining.append(line + b"\n")
        self.torn = bool(last)
        return b"".join(remaining)

    def _require_identity(self, line: bytes) -> None:
        entry = _parsed(line)
        if not isinstance(entry, dict) or entry.get("setting") != self._identity:
            message = f"{quoted_path(self.name)} has the results of another setting, and its name says these"
            help = "delete it, or give `--out` another folder"
            raise UsageError(Diagnostic("E0510", message, help=help))

    def _score(self, line: bytes, number: int) -> tuple[str, PromptScore] | None:
        """The digest of a prompt and its score; `None` for a failed prompt."""
        entry = _parsed(line)
        if isinstance(entry, dict) and isinstance(entry.get("prompt"), str):
            if isinstance(entry.get("error"), str):
                return None
            if (score := _checked(entry)) is not None:
                return entry["prompt"], score
        message = f"line {number + 1} of {quoted_path(self.name)} is not a result of this setting"
        help = "delete the line, or give `--out` another folder"
        raise UsageError(Diagnostic("E0511", message, help=help))

    def append(self, id_: str | int, key: str, score: PromptScore, text: str) -> None:
        """Write the line of a prompt, with its answer `text`."""
        if self._is_empty:
            self.write(_line({"setting": self._identity}))
            self._is_empty = False
        fields: dict[str, Any] = {"id": id_, "prompt": key}
        if score.error:
            fields["error"] = score.error
        else:
            fields |= {"right": score.right, "forwards": score.forwards, "tokens": score.tokens}
            fields |= {"seconds": round(score.seconds, 5), "text": text}
        self.write(_line(fields))
        self.scores[key] = replace(score)


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _parsed(line: bytes) -> Any:
    try:
        return json_of(line.decode("utf-8"))
    except ValueError:
        return None


def _checked(entry: Mapping[str, Any]) -> PromptScore | None:
    """The score in a line; `None` where a number is missing or impossible."""
    values: dict[str, Any] = {name: entry.get(name) for name in FIELDS}
    for value in values.values():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            return None
    if values["right"] > 1:
        return None
    return PromptScore(**{name: kind(values[name]) for name, kind in FIELDS.items()})


def _without_resume(wrong: UsageError) -> UsageError:
    """The diagnostic for a command that always continues what is there."""
    if wrong.diagnostic.code != "E0438":
        return wrong
    help = "wait for its end, and repeat the command; or give `--out` another folder"
    return UsageError(replace(wrong.diagnostic, help=help))
