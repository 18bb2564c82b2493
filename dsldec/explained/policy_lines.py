"""The policy of recorded values in a line of a trace file: its text, its parameters, and its program.

Parsing and checking a policy run no code, and open no file. Needs no torch. Not here: the values of the steps
(`record_lines`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..files import LARGEST_POLICY_FILE
from ..ir.watched import watched
from ..language.words import Kind
from ..lru import LRUCache
from ..parameter_values import misfit
from ..policy import Policy, check
from ..resources import version
from ..trajectory_lines import WrongLine, require
from .explained_policy import ExplainedPolicy
from .recorded_values import ColumnLayout
from .watched_operations import layouts_of

MOST_NUMBERS = 4096  # of a table in a line; a longer one is left out
LONGEST_NAME = 1000
_VERSION = re.compile(r"[\w.+-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RecordedPolicy:
    """A policy, and the columns of its steps in each phase."""

    explained: ExplainedPolicy
    layouts: Sequence[ColumnLayout]

    @property
    def digest(self) -> str:
        """Which columns belong to the policy: another version of dsldec may have others."""
        columns = [sorted(layout.columns.items()) for layout in self.layouts]
        return hashlib.sha256(f"{self.explained.watched.program}\n{columns}".encode()).hexdigest()[:16]


# The lines of a file have the same policy, and share it in memory.
_READ: LRUCache[tuple[str, str, str], RecordedPolicy] = LRUCache(8)


def policy_fields(recorded: RecordedPolicy) -> dict[str, Any]:
    """The fields of a line."""
    explained = recorded.explained
    return {
        "dsldec": version(),
        "program": recorded.digest,
        "name": explained.source.name,
        "policy": explained.source.text,
        "parameters": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in explained.parameters.items()
            if isinstance(value, bool | int | float | str)
            or (isinstance(value, tuple) and len(value) <= MOST_NUMBERS)
        },
    }


def policy_of_fields(line: Mapping[str, Any]) -> RecordedPolicy:
    """The policy of a line. Raises `WrongLine`, and `UsageError` (E0561) for values of another version."""
    text, name, parameters = line.get("policy"), line.get("name"), line.get("parameters")
    if not isinstance(text, str) or len(text) > LARGEST_POLICY_FILE:
        raise WrongLine("has values without the text of a policy")
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise WrongLine("has values without the name of a policy")
    if not isinstance(parameters, dict):
        raise WrongLine("has values without the parameters of a policy")
    key = text, name, json.dumps(parameters)
    recorded = _READ.get_or_make(key, lambda: _parsed(line, text, name, parameters))
    if recorded.digest != line.get("program"):
        raise UsageError(_of_another_version(line))
    return recorded


def _parsed(line: Mapping[str, Any], text: str, name: str, parameters: Mapping[str, Any]) -> RecordedPolicy:
    policy, _ = check(text, name)
    if policy is None:  # another version may have another language
        if line.get("dsldec") != version():
            raise UsageError(_of_another_version(line))
        raise WrongLine("has values of a policy that has a mistake")
    values = _values(policy, parameters)
    explained = ExplainedPolicy(policy.checked, watched(policy.checked, values), values)
    return RecordedPolicy(explained, layouts_of(explained.watched))


def _values(policy: Policy, parameters: Mapping[str, Any]) -> dict[str, Value]:
    """The values of the parameters. A network or a long table has none in a line."""
    values = policy.parameters
    for name, given in parameters.items():
        value = tuple(given) if isinstance(given, list) else given
        known = policy.program.parameters.get(name)
        fits = known is not None and known.kind is not Kind.NETWORK
        numbers = not isinstance(value, tuple) or all(type(one) in (int, float) for one in value)
        require(
            fits and numbers and misfit(policy.program, values, name, value) is None,
            "has values with a parameter that the policy does not take",
        )
        values[name] = value
    return values


def _of_another_version(line: Mapping[str, Any]) -> Diagnostic:
    by = line.get("dsldec")
    message = "the recorded values belong to another version of dsldec"
    if isinstance(by, str) and _VERSION.fullmatch(by) and by != version():
        return Diagnostic("E0561", f"{message}, {by}", help=f"read them with it: `pip install dsldec=={by}`")
    return Diagnostic("E0561", message, help="record them again: `dsldec run --trace FILE --values`")
