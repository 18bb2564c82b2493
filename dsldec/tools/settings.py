"""Which policy did the user choose, and with which parameter values?

Not here: whether a value fits its parameter (`policy`).
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..files import LARGEST_TABLE, NotJSON, Unreadable, read_json, whole_number
from ..language.words import TABLES, Kind
from ..networks.network import LearnedNetwork
from ..parameter_values import pattern_text
from ..policy import Policy, load
from ..spelling import LONGEST_SHOWN
from . import quoted


def chosen(name: str, settings: Sequence[str]) -> Policy:
    """The policy of this name or file, with each `name=value` bound. Raises `PolicyError` and `UsageError`
    (E0424).
    """
    return with_settings(load(name), settings)


def with_settings(policy: Policy, settings: Sequence[str], folder: str = "") -> Policy:
    """The policy with each `name=value` bound; raises as `chosen` does. `folder`: the paths of files count
    from there.
    """
    values: dict[str, Value] = {}
    for setting in settings:
        name, text = name_and_text(setting, "value", "`--set confidence=0.8`")
        kind = policy.parameter_kinds.get(name)
        values[name] = _read(name, kind, text, folder)
    return policy.bind(**values) if values else policy


def name_and_text(setting: str, form: str, help: str) -> tuple[str, str]:
    """The two sides of `name=value`, without spaces around them. Raises `UsageError` (E0424). `form`: what
    the user should write on the right.
    """
    name, equals, text = (part.strip() for part in setting.partition("="))
    if not equals or not name:
        message = f"`--set` takes name={form}, not {quoted(setting)}"
        raise UsageError(Diagnostic("E0424", message, help=help))
    return name, text


def _read(name: str, kind: str | None, text: str, folder: str) -> Value:
    """The value of a text. An unknown parameter passes: `bind` has the diagnostic for it."""
    is_file = kind in (*TABLES, "network") and text.startswith("@")
    if kind is None or kind == "choice":
        return text
    if kind == "pattern":
        return pattern_text(
            f"@{os.path.join(folder, text[1:])}" if text.startswith("@") else text, files=True
        )
    if kind == "network":
        if not is_file:
            example = shlex.quote(f"{name}=@{text}" if text else f"{name}=@net.safetensors")
            message = f"the parameter `{name}` is a network, not {quoted(text)}"
            raise UsageError(Diagnostic("E0424", message, help=f"name its file: `--set {example}`"))
        return os.path.join(folder, text[1:])
    if is_file:
        return _table(name, kind, os.path.join(folder, text[1:]))
    is_list = kind in TABLES and ("," in text or text.startswith("["))
    if is_list:
        message = f"the parameter `{name}` takes a list from a file, not {quoted(text)}"
        raise UsageError(Diagnostic("E0424", message, help=_of_a_table(name, kind)))
    return _value(name, kind, text)


def _of_a_table(name: str, kind: str) -> str:
    """The help for a table that cannot be read."""
    index = "step" if kind == Kind.STEP_TABLE else "id"
    return f"`--set {name}=@{name}.json`, a file such as `[0.1, 0.02]` with a number for each {index}"


def _table(name: str, kind: str, file: str) -> Value:
    """The numbers of a JSON file, one for each id or step."""
    help_ = _of_a_table(name, kind)
    try:
        table = read_json(file, LARGEST_TABLE)
    except Unreadable as error:
        raise UsageError(
            Diagnostic("E0424", f"the table {quoted(file)} cannot be read: {error.why}", help=help_)
        ) from None
    except NotJSON as error:
        raise UsageError(Diagnostic("E0424", f"the table {quoted(file)} {error.why}", help=help_)) from None
    # A value that is not a list of numbers is diagnosed by `bind`.
    return (
        tuple(float(one) if type(one) is int else one for one in table) if isinstance(table, list) else table
    )


def _value(name: str, kind: str, text: str) -> Value:
    wanted = {"int": "a whole number", "token": "a whole number", "bool": "`true` or `false`"}.get(
        kind, "a number, or `@` and a JSON file of numbers" if kind in TABLES else "a number"
    )
    value = _read_as(kind, text)
    if value is None or math.isnan(value):
        help = f"for example `--set {name}={ {'int': '4', 'token': '4', 'bool': 'true'}.get(kind, '0.5') }`"
        raise UsageError(
            Diagnostic("E0424", f"the parameter `{name}` is {wanted}, not {quoted(text)}", help=help)
        )
    return value


def _read_as(kind: str, text: str) -> int | float | None:
    if kind == "bool":
        return {"true": True, "false": False}.get(text.lower())
    if kind in ("int", "token"):
        return whole_number(text)
    try:
        return float(text)
    except ValueError:
        return None


def title(policy: Policy) -> str:
    """The policy's name and parameter values, in one line."""
    return f"{policy.name}({', '.join(shown(name, value) for name, value in policy.parameters.items())})"


def short_title(policy: Policy) -> str:
    """The policy's name, with the parameters that differ from their defaults."""
    parameters = policy.program.parameters
    changed = [
        f"{name}={str(value).lower()}" if isinstance(value, bool) else shown(name, value)
        for name, value in policy.parameters.items()
        if value != parameters[name].default
    ]
    return f"{policy.name}({', '.join(changed)})" if changed else policy.name


def shown(name: str, value: Value) -> str:
    """A parameter and its value, in a few characters."""
    if isinstance(value, LearnedNetwork):
        return f"{name}={value.digest[:12]}"
    if isinstance(value, tuple):  # a number for each id
        return f"{name}=..."
    if isinstance(value, str):  # a pattern, which may be a long schema
        return f"{name}={value[:LONGEST_SHOWN]}{'...' * (len(value) > LONGEST_SHOWN)}"
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
