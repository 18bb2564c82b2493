"""Which policies are evaluated? Each `--policy` with the `--set` after it.

Not here: parsing of values (`settings`), the files of the results (`answers_file`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...diagnostics import Diagnostic, UsageError
from ...policy import Policy
from .. import quoted
from ..differences import digest
from ..policy_words import names_of, policies_with_settings, stem_of, title_of
from ..settings import chosen

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
    groups = policies_with_settings(words, default=DEFAULT_POLICY)
    found = [_chosen(name, settings) for name, settings in groups]
    for place, one in enumerate(found):
        if one.file in [other.file for other in found[:place]]:
            message = f"the policy {quoted(one.title)} is given twice"
            help = "leave one out, set its parameters to other values, or give one file another name"
            raise UsageError(Diagnostic("E0423", message, help=help))
    return found


def _chosen(name: str, settings: Sequence[str]) -> ChosenPolicy:
    policy = chosen(name, settings)
    parts = [
        stem_of(name, policy),
        *sorted({one.partition("=")[0].strip(): "".join(one.split()) for one in settings}.values()),
    ]
    whole = ",".join(parts)
    # The name of a table's file, for example, has characters that a file's name should not have.
    plain = re.sub(r"[^\w.,=+-]", "_", whole)
    if plain != whole or len(plain) > LONGEST_FILE:
        plain = f"{plain[:LONGEST_FILE]}-{digest(whole)}"
    return ChosenPolicy(policy, title_of(name, policy, names_of(settings)), f"{plain}.jsonl")
