"""The library of shipped policies: its families, and the rule and the source of a policy.

Not here: the files (`resources`), the proved facts of a policy (`checks.facts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from . import resources
from .diagnostics import Diagnostic, UsageError, did_you_mean
from .spelling import LONGEST_SHOWN, shown

# The families in the order of the pages: a folder in `policies`, and what decides in its policies.
FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "schedule": "the number of positions that a step writes, or their order, does not depend on a threshold",
        "threshold": "a bound on confidence, entropy or error decides how many positions a step writes",
        "stability": "a position is written when its prediction no longer changes",
        "position": "the place of a position counts: its distance to written text, to seeds, or to a frontier",
        "window": "the window moves, grows, or chooses its end; or several blocks are open at once",
        "revision": "a step may mask written positions again, or replace their ids",
        "candidates": "the next forward verifies several drafts, or chooses among several canvases",
        "learned": "a small network, trained for this, scores the positions",
    }
)
SHORT_LIST = "`dsldec list` prints the shipped policies"

# A parenthesis that names a source: an id of arXiv, a pull request, an address, a class of an engine.
_PARENTHESIS = re.compile(r" ?\(((?:[^()]|\([^()]*\))*)\)")
_OF_A_SOURCE = re.compile(
    r"arXiv:\d{4}\.\d{4,5}|pull request \d+|https?://\S+|github\.com/\S+|(?:SGLang|vLLM|transformers), \w"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def shipped_policies(family: str | None = None) -> list[str]:
    """The names of the shipped policies, sorted; with `family`, those of one family (`FAMILIES`).

    Raises `UsageError` (E0556) for an unknown family.
    """
    names = resources.shipped_policies()
    if family is None:
        return names
    require_family(family)
    return [name for name in names if resources.family_of(name) == family]


def require_family(family: object) -> None:
    """Raises `UsageError` (E0556) for anything but the name of a family."""
    if isinstance(family, str) and family in FAMILIES:
        return
    near = did_you_mean(family, FAMILIES) if isinstance(family, str) else None
    help = f"did you mean `{near}`? " if near else ""
    help += f"the families are {', '.join(f'`{one}`' for one in FAMILIES)}"
    name = f"`{family[:LONGEST_SHOWN]}`" if isinstance(family, str) else shown(family)
    raise UsageError(Diagnostic("E0556", f"no family of policies is called {name}", help=help))


def rule_of(doc: str) -> str:
    """The first sentence of a doc string, without its source and without a full stop."""
    plain = " ".join(doc.split())
    source = _source_in(plain)
    if source is not None:
        plain = plain[: source.start()] + plain[source.end() :]
    return _SENTENCE_END.split(plain.strip())[0].removesuffix(".")


def source_of(doc: str) -> str:
    """The source that a doc string names: its last parenthesis with an id of arXiv, a pull request or an
    address; else its last parenthesis. Empty without one.
    """
    plain = " ".join(doc.split())
    source = _source_in(plain)
    return "" if source is None else source[1]


def names_source(doc: str) -> bool:
    """Whether a doc string names its source so that a reader can find it."""
    return _OF_A_SOURCE.search(source_of(doc)) is not None


def _source_in(doc: str) -> re.Match[str] | None:
    found = [*_PARENTHESIS.finditer(doc)]
    named = [one for one in found if _OF_A_SOURCE.search(one[1])] or found
    return named[-1] if named else None


def by_family(names: Iterable[str]) -> dict[str, list[str]]:
    """Shipped policies by their family, both in the order of the pages. Families without one are left out."""
    chosen = {family: [n for n in names if resources.family_of(n) == family] for family in FAMILIES}
    return {family: members for family, members in chosen.items() if members}
