"""Which policy did the user choose, and with which parameter values?

Not here: whether a value fits its parameter (`policy`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..policy import Policy, load
from . import quoted


def chosen(name: str, settings: Sequence[str]) -> Policy:
    """The policy of this name or file, with each `name=value` bound. Raises `PolicyError` and `UsageError` (E0424)."""
    return with_settings(load(name), settings)


def with_settings(policy: Policy, settings: Sequence[str]) -> Policy:
    """The policy with each `name=value` bound; raises as `chosen` does."""
    values: dict[str, Value] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name:
            raise UsageError(Diagnostic("E0424", f"`--set` takes name=value, not {quoted(setting)}", help="`--set confidence=0.8`"))
        kind = policy.parameter_kinds.get(name)
        # A name that the policy lacks goes on: `bind` has the sentence for it.
        is_file = kind == "table" and text.startswith("@")
        values[name] = cast(Value, text) if kind is None else _table(name, text[1:]) if is_file else _value(name, kind, text)
    return policy.bind(**values) if values else policy


def _table(name: str, file: str) -> Value:
    """The numbers of a JSON file, one for each id."""
    try:
        table = json.loads(Path(file).read_text(encoding="utf-8"))
        return tuple(float(number) for number in table)
    except (OSError, ValueError, TypeError) as error:
        why = getattr(error, "strerror", None) or "it is no list of numbers in JSON"
        help_ = f"`--set {name}=@frequency.json`, a file such as `[0.1, 0.02]` with a number for each id"
        raise UsageError(Diagnostic("E0424", f"the table {quoted(file)} cannot be read: {why.lower()}", help=help_)) from None


def _value(name: str, kind: str, text: str) -> Value:
    wanted = {"int": "a whole number", "token": "a whole number", "bool": "`true` or `false`"}.get(kind, "a number")
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        value = int(text) if kind in ("int", "token") else float(text)
        if math.isnan(value):
            raise ValueError
    except (ValueError, KeyError):
        help = f"`--set {name}={ {'int': '4', 'token': '4', 'bool': 'true'}.get(kind, '0.5') }`, say"
        raise UsageError(Diagnostic("E0424", f"the parameter `{name}` is {wanted}, not {quoted(text)}", help=help)) from None
    return value
