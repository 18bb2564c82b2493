"""Does every keyword of the grammar and every word of the language have its group?"""

from __future__ import annotations

import re
from collections import Counter

from dsldec.checks.names import TAKEN
from dsldec.editors.word_groups import word_groups
from dsldec.language.words import KEYWORDS, PARAMETER_KINDS, RESERVED, SHAPES, STATE_KINDS, WORDS, Kind
from dsldec.resources import grammar_file

GROUPS = word_groups()
GROUPED = Counter(word for group, words in GROUPS.items() if group != "kinds" for word in words)
# Every text in quotes in the grammar that is letters: lark reads them as keywords.
GRAMMAR = {
    word
    for line in grammar_file().read_text(encoding="utf-8").splitlines()
    if not line.startswith("//")
    for word in re.findall(r'"([a-z_]+)"', line)
}


def test_the_groups_are_the_ones_that_editors_know():
    assert set(GROUPS) == set("statements clauses operators constants observations words kinds".split())


def test_the_grammar_has_the_keywords_of_the_table():
    assert {"policy", "exact", "each", "true", "visits"} <= GRAMMAR
    assert GRAMMAR - {"visits"} == KEYWORDS  # `visits` is a word of expressions too


def test_each_keyword_of_the_grammar_is_in_one_group():
    assert {word: GROUPED[word] for word in GRAMMAR} == dict.fromkeys(GRAMMAR, 1)


def test_each_word_is_in_one_group():
    words = {*WORDS, *(name for table in SHAPES.values() for name in table)}
    assert {word: GROUPED[word] for word in words} == dict.fromkeys(words, 1)


def test_no_group_has_a_word_that_the_language_lacks():
    assert set(GROUPED) == TAKEN - RESERVED


def test_kinds_are_all_that_a_declaration_may_name():
    several = {kind for kind in PARAMETER_KINDS | STATE_KINDS if " " in kind}
    assert several == {Kind.STEP_TABLE}
    assert {*GROUPS["kinds"]} == (PARAMETER_KINDS | STATE_KINDS) - several - {Kind.CHOICE}
    assert {*GROUPS["kinds"]} & {*GROUPED} == {"int", "token"}


def test_the_groups_are_what_their_names_say():
    assert GROUPS["statements"][:3] == ("policy", "window", "noise")
    assert "least" in GROUPS["clauses"]
    assert "conf" in GROUPS["observations"]
    assert "kl" in GROUPS["observations"]
    assert "top" in GROUPS["words"]
    assert "sliding" in GROUPS["words"]
    assert {"true", "eos"} <= {*GROUPS["constants"]}
