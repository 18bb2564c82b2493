"""How often do the shipped policies use a word? The search prefers words that people have found useful.

Not here: the grammar (`generator`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import cache

from ...files import LARGEST_POLICY_FILE, read_text
from ...language import syntax
from ...language.parse import parse
from ...language.walk import walk
from ...language.words import WORDS
from ...resources import policy_file, shipped_policies
from ...source import Source
from .trees import all_expressions


def words_of(policy: syntax.PolicyDefinition) -> set[str]:
    """The words of the language in the expressions of a policy. A name of the policy may hide a word."""
    return {one for outer in all_expressions(policy) for part in walk(outer) for one in _word(part)}


def _word(part: syntax.Expression) -> Iterator[str]:
    text = ""
    if isinstance(part, syntax.Call):
        text = part.function.text
    elif isinstance(part, syntax.Name):
        text = part.identifier
    if text in WORDS:
        yield text


@cache
def usage() -> Counter[str]:
    """For each word, the number of shipped policies that use it."""
    found: Counter[str] = Counter()
    for name in shipped_policies():
        tree, _ = parse(Source(read_text(policy_file(name), LARGEST_POLICY_FILE), name))
        if tree is not None:
            found.update(words_of(tree.policy))
    return found


def weight(word: str) -> float:
    """The weight of a word among its alternatives. A word that nobody uses keeps a chance."""
    return math.sqrt(usage()[word] + 1)
