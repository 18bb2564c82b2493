"""`dsldec list`: a few lines for each shipped policy, or one JSON object with the whole records.

Not here: the record of a policy (`entry`).
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from ...library import FAMILIES, by_family, rule_of, shipped_policies, source_of
from ...policy import load
from ...terminal import data
from .entry import GEN_LENGTH, record_of, signature_of

JSON_VERSION = 1
WIDTH = 100


def list_policies(family: str | None, *, as_json: bool) -> int:
    """Print the shipped policies, and return the exit status. Raises `UsageError` (E0556) for an unknown
    family.
    """
    names = shipped_policies(family)
    if as_json:
        from .hosts import hosts_of

        families = [{"name": one, "description": FAMILIES[one]} for one in by_family(names)]
        policies = [record_of(name) | {"hosts": hosts_of(load(name))} for name in names]
        whole = {"version": JSON_VERSION, "families": families, "policies": policies}
        print(json.dumps(whole, ensure_ascii=False), file=data())
        return 0
    for one, members in by_family(names).items():
        print(f"{one}: {FAMILIES[one]}", end="\n\n")
        for name in members:
            print("\n".join(_lines(name)), end="\n\n")
    print(_end(names))
    return 0


def _lines(name: str) -> list[str]:
    policy = load(name)
    most = policy.plan(GEN_LENGTH).max_forwards
    bound = f"at most {most} forward{'s' * (most != 1)} for {GEN_LENGTH} tokens"
    about = [f"{rule_of(policy.doc)}.", "; ".join(one for one in (bound, source_of(policy.doc)) if one)]
    return [
        *_wrapped(signature_of(policy), "  ", "    "),
        *(line for text in about for line in _wrapped(text, "    ", "    ")),
    ]


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)


def _end(names: Sequence[str]) -> str:
    return f"{len(names)} policies. `dsldec explain NAME` prints what was proved; `dsldec list --json` prints all of it."
