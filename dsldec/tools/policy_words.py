"""Reads `--policy NAME --set name=value ...` in the order of the command line, and gives policies titles.

Not here: the values (`settings`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ..diagnostics import Diagnostic, UsageError
from ..policy import Policy
from ..spelling import typed
from . import quoted
from .settings import shown

EXAMPLE = "threshold"


def policies_with_settings(
    words: Sequence[tuple[str, str]], option: str = "policy", default: str | None = None
) -> list[tuple[str, list[str]]]:
    """Each policy with the texts of its `--set`, from `(option, name)` and `("set", text)` in order.

    `default`: the policy of the settings where no policy is named. Raises `UsageError` (E0423) for a `--set`
    before every policy.
    """
    names = [text for kind, text in words if kind == option]
    groups: list[tuple[str, list[str]]] = [(default, [])] if default is not None and not names else []
    for kind, text in words:
        if kind == option:
            groups.append((text, []))
        elif groups:
            groups[-1][1].append(text)
        else:
            message = f"{quoted(f'--set {text}')} comes before every `--{option}`, and belongs to none"
            name = typed(names[0] if names else EXAMPLE)
            help = f"write it after its policy: `--{option} {name} --set {typed(text)}`"
            raise UsageError(Diagnostic("E0423", message, help=help))
    return groups


def names_of(settings: Iterable[str]) -> set[str]:
    """The names of parameters in texts `name=value`."""
    return {one.partition("=")[0].strip() for one in settings}


def title_of(name: str, policy: Policy, given: Iterable[str]) -> str:
    """The name of a policy or of its file, and the parameters `given`."""
    stem = stem_of(name, policy)
    given = set(given)
    values = ", ".join(shown(one, value) for one, value in policy.parameters.items() if one in given)
    return f"{stem}({values})" if values else stem


def stem_of(name: str, policy: Policy) -> str:
    """The name in a title: of a file without its folder, of a policy's text the name in it."""
    return policy.name if "\n" in name else os.path.basename(name).removesuffix(".policy")
