"""Writes the policies that no other one beats as files that people can read.

Not here: which policies these are (`search`), the table of their figures (`report`).
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...diagnostics import Diagnostic, UsageError
from ...files import policies_below
from ...language import syntax
from ...resources import version
from ...terminal import printable
from .. import quoted_path
from ..writing import put
from . import trees
from .candidates import checked
from .journal import FRONT, Journal
from .racing import Contestant

WIDTH = 110
MOST_ANCESTORS = 12


@dataclass(frozen=True, slots=True)
class FrontPolicy:
    """A policy of the front: its name, its text, and the policy as it was measured."""

    name: str
    text: str
    contestant: Contestant


def written_front(
    journal: Journal,
    front: Sequence[Contestant],
    origins: Mapping[str, Contestant],
    titles: Mapping[str, str],
    how: str,
) -> list[FrontPolicy]:
    """Write the files of the front; those of an earlier front go. `origins`: all measured policies by their
    ids; `titles`: the starts by their ids; `how`: the search in words.
    """
    folder = journal.path(FRONT)
    try:
        os.makedirs(folder, exist_ok=True)
        for path in policies_below(folder):
            os.unlink(path)
    except OSError as failure:
        why = (failure.strerror or str(failure)).lower()
        message = f"the folder {quoted_path(folder)} cannot be written: {why}"
        help = "give `--out` the name of a folder of yours"
        raise UsageError(Diagnostic("E0432", message, help=help)) from None
    found = [_found(f"evolved_{at + 1}", one, origins, titles, how) for at, one in enumerate(front)]
    for one in found:
        put(os.path.join(folder, f"{one.name}.policy"), one.text)
    return found


def _found(
    name: str, one: Contestant, origins: Mapping[str, Contestant], titles: Mapping[str, str], how: str
) -> FrontPolicy:
    figures = f"accuracy {one.accuracy():.3f} at {one.forwards():.1f} forwards on {len(one.scores)} calibration prompts"
    doc = syntax.Doc(trees.NOWHERE, f"Found by `dsldec evolve` ({_unquoted(how)}): {figures}.")
    tree = replace(one.individual.tree, identifier=trees.identifier(name), doc=doc)
    body = trees.text_of(tree)
    assert body is not None  # the tree was checked with another name
    comment = "".join(f"# {line}\n" for line in _header(one, origins, titles, how, figures))
    text = comment + body
    checked(text)
    return FrontPolicy(name, text, one)


def _unquoted(text: str) -> str:
    """A text that may stand between quotes: the name of a task is the user's."""
    return " ".join(printable(text).split()).replace('"', "'").replace("\\", "/")


def _header(
    one: Contestant,
    origins: Mapping[str, Contestant],
    titles: Mapping[str, str],
    how: str,
    figures: str,
) -> Iterator[str]:
    """The lineage in words, the policy first, then its ancestors."""
    yield from _wrapped(f"Found by `dsldec evolve` of dsldec {version()}: {how}.")
    yield from _wrapped(
        f"Calibration: {figures}. The figures chose the policy, so other prompts may give less."
    )
    waiting, listed = [one.individual.id], set[str]()
    while waiting and len(listed) < MOST_ANCESTORS:
        id_ = waiting.pop(0)
        if id_ in listed or id_ not in origins:
            continue
        listed.add(id_)
        individual = origins[id_].individual
        parents = " and ".join(individual.parents)
        changes = "; ".join(individual.changes)
        origin = f"made of {parents}: {changes}" if parents else f"the start `{titles.get(id_, id_)}`"
        yield from _wrapped(f"{id_} is {origin}")
        waiting += individual.parents
    if waiting:
        yield "More ancestors are in lineage.jsonl."


def _wrapped(text: str) -> list[str]:
    """Lines of a comment. The text may come from a file, so it has no control characters left."""
    return textwrap.wrap(
        printable(" ".join(text.split())), WIDTH, subsequent_indent="  ", break_long_words=False
    )
