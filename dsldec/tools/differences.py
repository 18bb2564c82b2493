"""The settings of a run that decide its answers, and the differences between two runs.

Not here: the results file that stores them (`results`), the list of options (`cli`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..checks.values import Value
from ..networks.network import LearnedNetwork
from ..policy import Policy
from ..spelling import flag
from . import quoted

# A longer value, such as a table, is stored as a digest.
LONGEST_VALUE = 80


def noted(policy: Policy, options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a results file: the policy's name, a digest of its steps, its parameters, the given
    options.
    """
    options_set = {name: value for name, value in options.items() if value is not None and value is not False}
    parameters = {name: _short(value) for name, value in policy.parameters.items()}
    return {
        "policy": policy.name,
        "steps": digest(str(policy.program)),
        "set": parameters,
        "options": options_set,
    }


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _short(value: Value) -> Any:
    if isinstance(value, LearnedNetwork):
        return f"a network, {value.digest[:12]}"
    text = json.dumps(value)
    return (
        value if len(text) <= LONGEST_VALUE and not isinstance(value, tuple) else f"a table, {digest(text)}"
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences between two runs, each in a few words. Parameters are compared only where both runs
    have one policy.
    """
    if before.get("policy") != now["policy"]:
        changes = [
            f"`{flag('policy', quoted(str(before.get('policy'))).strip('`'))}`, and now `{flag('policy', now['policy'])}`"
        ]
    elif before.get("steps") != now["steps"]:
        changes = [f"the text of the policy `{now['policy']}`"]
    else:
        changes = list(_of(before.get("set"), now["set"], "set "))
    return [*changes, *_of(before.get("options"), now["options"], "")]


def _of(before: Any, now: Mapping[str, Any], prefix: str) -> Iterator[str]:
    before = before if isinstance(before, Mapping) else {}
    for name in dict.fromkeys([*before, *now]):
        was, is_ = before.get(name), now.get(name)
        if was != is_:
            yield f"{_written(prefix, name, was)}, and now {_written(prefix, name, is_)}"


def _written(prefix: str, name: str, value: Any) -> str:
    if value is None:
        return f"no `--{name.replace('_', '-')}`"
    shown = quoted(str(value)).strip("`")
    return (
        f"`--set {name}={shown}`"
        if prefix
        else f"`{flag(name, value if isinstance(value, bool) else shown)}`"
    )
