"""Which policies are evaluated? Each `--policy` with the `--set` after it.

Not here: parsing of values (`settings`), the files of the results (`answers_file`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...diagnostics import Diagnostic, UsageError
from ...policy import Policy
from ...spelling import typed
from .. import quoted
from ..differences import digest
from ..settings import chosen, shown

DEFAULT_POLICY = "threshold"
LONGEST_FILE = 120


@dataclass(frozen=True, slots=True)
class ChosenPolicy:
    """A policy with its parameter values. `title`: its name, and the parameters that were set; `file`: the
    name of its results, likewise.
    """

    policy: Policy
    title: str
    file: str


def chosen_policies(words: Sequence[tuple[str, str]]) -> list[ChosenPolicy]:
    """The policies of `("policy", name)` and `("set", "name=value")` in the order of the command line.

    Raises `PolicyError` and `UsageError`: E0423 for a `--set` before every `--policy`, and for a policy that
    is given twice.
    """
    groups: list[tuple[str, list[str]]] = []
    for kind, text in words:
        if kind == "policy":
            groups.append((text, []))
        elif groups:
            groups[-1][1].append(text)
        elif any(one == "policy" for one, _ in words):
            message = f"`--set {text}` comes before every `--policy`, and belongs to none"
            after = next(name for one, name in words if one == "policy")
            help = f"write it after its policy: `--policy {typed(after)} --set {typed(text)}`"
            raise UsageError(Diagnostic("E0423", message, help=help))
        else:
            groups.append((DEFAULT_POLICY, [text]))
    found = [_chosen(name, settings) for name, settings in groups or [(DEFAULT_POLICY, [])]]
    for place, one in enumerate(found):
        if one.file in [other.file for other in found[:place]]:
            message = f"the policy {quoted(one.title)} is given twice"
            help = "leave one out, set its parameters to other values, or give one file another name"
            raise UsageError(Diagnostic("E0423", message, help=help))
    return found


def _chosen(name: str, settings: Sequence[str]) -> ChosenPolicy:
    policy = chosen(name, settings)
    stem = os.path.basename(name).removesuffix(".policy")
    given = {one.partition("=")[0].strip() for one in settings}
    values = ", ".join(shown(name, policy.parameters[name]) for name in policy.parameters if name in given)
    parts = [
        stem,
        *sorted({one.partition("=")[0].strip(): "".join(one.split()) for one in settings}.values()),
    ]
    whole = ",".join(parts)
    # The name of a table's file, for example, has characters that a file's name should not have.
    plain = re.sub(r"[^\w.,=+-]", "_", whole)
    if plain != whole or len(plain) > LONGEST_FILE:
        plain = f"{plain[:LONGEST_FILE]}-{digest(whole)}"
    return ChosenPolicy(policy, f"{stem}({values})" if values else stem, f"{plain}.jsonl")
