"""Are changed policies correct, are their kinds kept, and are they read back as they were written?"""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import pytest

import dsldec
from dsldec.language import syntax
from dsldec.language.fmt import formatted, skeleton
from dsldec.language.walk import statements
from dsldec.language.words import NUMBERS, UNITS, WORDS, Extent, Kind, Polarity, Type
from dsldec.source import Source
from dsldec.tools.evolution import trees
from dsldec.tools.evolution.breeding import Breeder, KnownPolicies
from dsldec.tools.evolution.candidates import (
    Individual,
    NotSearchable,
    SizeLimits,
    accepted,
    checked,
    require_searchable,
    start_of,
)
from dsldec.tools.evolution.crossing import crossed
from dsldec.tools.evolution.generator import Generator
from dsldec.tools.evolution.lexicon import CannotWrite, usable_words
from dsldec.tools.evolution.mutations import mutated
from dsldec.tools.evolution.places import NameScope, places
from dsldec.tools.evolution.usage import usage

WIDE = SizeLimits(nodes=400, statements=60, forwards=10_000)
SCOPE = NameScope({"tau": Type(Kind.PROB, Extent.RUN)})


@cache
def starts() -> tuple[Individual, ...]:
    """The shipped policies that a search can start from."""
    found = []
    for name in dsldec.shipped_policies():
        try:
            text, policy = start_of(dsldec.load(name), WIDE)
        except NotSearchable:
            continue
        found.append(Individual(name, text, (), (), policy))
    return tuple(found)


def test_most_shipped_policies_can_be_started_from() -> None:
    assert {"threshold", "factor", "static", "klass", "dico", "entropy_bounded"} <= {s.id for s in starts()}
    refused = {"freedave", "lopa", "info_gain", "diffusion_gemma"} & set(dsldec.shipped_policies())
    assert not refused & {one.id for one in starts()}


@pytest.mark.parametrize("name", ["threshold", "factor", "klass", "dico", "lopa", "diffusion_gemma"])
def test_a_tree_is_written_as_it_was(name: str) -> None:
    tree = trees.without_functions(dsldec.load(name).facts.bound.resolved.policy)
    text = trees.text_of(tree)
    assert text is not None
    policy, diagnostics = dsldec.check(text)
    assert policy is not None
    assert diagnostics == []
    assert skeleton(policy.facts.bound.resolved.policy) == skeleton(tree)
    assert formatted(Source(text)) == (text, [])


def test_changed_policies_are_correct() -> None:
    """Each policy that the search keeps is checked, in its canonical form, and small. The grammar writes few
    others: most changes need no second try.
    """
    rng, found, refused = random.Random(5), 0, Counter[str]()
    while found < 120:
        start = rng.choice(starts())
        changed = mutated(start, rng) if rng.random() < 0.75 else crossed(start, rng.choice(starts()), rng)
        if changed is None:
            continue
        try:
            text, policy = accepted(changed[0], WIDE)
        except NotSearchable as why:
            refused[str(why)] += 1
            continue
        found += 1
        again, diagnostics = dsldec.check(text)
        assert again is not None
        assert {one.code for one in diagnostics} <= {"W0301"}
        assert formatted(Source(text)) == (text, [])
        assert policy.plan(48).max_forwards <= WIDE.forwards
        assert changed[1]
    # A mistake of kinds is a mistake of the grammar. A step that may commit nothing is none.
    of_kinds = sum(number for code, number in refused.items() if code[:3] in ("E02", "E01"))
    assert of_kinds <= 15, refused


@pytest.mark.parametrize("seed", range(3))
def test_a_written_expression_has_the_wanted_kind(seed: int) -> None:
    rng = random.Random(seed)
    wrong = 0
    for _ in range(40):
        kind = rng.choice([Kind.MASK, Kind.BOOL, Kind.PROB, Kind.NATS, Kind.REAL, Kind.INT])
        try:
            written = trees.spelled(Generator(rng, SCOPE).of(Type(kind, Extent.POSITION)))
        except CannotWrite:
            continue
        used = {
            Kind.MASK: f"masked and ({written})",
            Kind.BOOL: f"masked and ({written})",
            Kind.INT: f"masked and pos > ({written})",
            Kind.NATS: f"masked and entropy > ({written})",
        }.get(kind, f"masked and conf > ({written})")
        text = (
            f"policy x(tau: prob = 0.5):\n  window all\n  commit {used} and conf > tau at least 1 by conf\n"
        )
        _, diagnostics = dsldec.check(text)
        wrong += any(one.code.startswith("E") for one in diagnostics)
    assert wrong <= 3


def test_a_score_is_never_low_when_sure() -> None:
    rng = random.Random(0)
    for _ in range(60):
        score = trees.spelled(Generator(rng, SCOPE).score(1))
        text = f"policy x(tau: prob = 0.5):\n  window all\n  commit top(masked and conf > tau, 1, by={score}) at least 1 by conf\n"
        _, diagnostics = dsldec.check(text)
        assert "E0206" not in {one.code for one in diagnostics}, score


def test_each_place_has_the_type_of_its_expression() -> None:
    for start in starts()[:20]:
        for place in places(start.resolved):
            assert place.type == start.resolved.type_of(place.expression)
            if place.scores:
                assert place.type.kind in NUMBERS
                assert place.type.polarity is not Polarity.LOW


def test_the_grammar_has_the_words_of_the_table() -> None:
    words = {word.name for word in usable_words()}
    assert {"conf", "entropy", "top", "prefix", "cumsum", "eos", "progress", "dilate", "kl"} <= words
    assert not words & {word.name for word in WORDS.values() if word.random}
    assert "learned" not in words
    assert UNITS <= NUMBERS


def test_words_that_people_use_are_chosen_more_often() -> None:
    assert usage()["conf"] > usage()["density"] > 0


def test_names_without_a_use_are_removed() -> None:
    text = (
        "policy x(tau: prob = 0.5, level: real = 1.0):\n  window all\n  state s: int = 0 per sequence\n"
        "  high = conf > tau\n  set s = s + 1\n  commit masked and conf > 0.5 at least 1 by conf\n"
    )
    policy, _ = dsldec.check(text)
    assert policy is not None
    tidy = trees.tidied(policy.facts.bound.resolved.policy)
    assert tidy.parameters == ()
    assert [type(one) for one in statements(tidy)] == [syntax.Window, syntax.Commit]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("commit top(masked, 1, by=conf)\n  lookahead 2 accept exact", "several rows"),
        ("commit masked and conf > 0.5", "E0301"),
        ("commit masked and conf > 2 at least 1 by conf", "W0303"),
        ("commit sample(masked, 1, by=conf) at least 1 by conf", "it draws at random"),
        ("commit top(masked, 1, by=conf) at most 0 by conf", "E"),
    ],
)
def test_other_policies_are_refused(text: str, why: str) -> None:
    with pytest.raises(NotSearchable, match=why):
        require_searchable(checked(f"policy x():\n  window all\n  {text}\n"))


def test_a_policy_without_progress_gets_its_least() -> None:
    threshold = next(one for one in starts() if one.id == "threshold")
    commit = threshold.tree.statements[-1]
    assert isinstance(commit, syntax.Commit)
    bare = trees.with_statement(threshold.tree, commit, (trees.commit(commit.mask),))
    made = Breeder(WIDE, KnownPolicies())._checked((bare, "bare"), starts()[0], "g001-00")
    assert made is not None
    assert "at least 1 by conf" in made.text
