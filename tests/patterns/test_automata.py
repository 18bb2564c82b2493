"""Do the automata of random expressions accept the texts that Python's `re` accepts, and no others?"""

from __future__ import annotations

import random

import numpy as np
import pytest

from dsldec.patterns.automaton import DEAD, NEVER, TokenAutomaton
from dsldec.patterns.byte_automaton import as_shown, byte_automaton
from dsldec.patterns.minimal import distances, minimal
from dsldec.patterns.over_ids import TooLarge, over_ids, shortest

from .slow import accepts, accepts_ids, distinguishable, is_shown, matches, random_regex, random_text

pytest.importorskip("outlines_core")
MASK, EOS = 0, 1


def vocabulary(draw: random.Random) -> list[bytes | None]:
    """Random pieces of texts, also parts of letters, twice the same, and ids without text."""
    pieces: list[bytes | None] = [None, b"<eos>", None, b""]
    whole = "".join(draw.choices("abc7 é語\n", k=60)).encode()
    for _ in range(40):
        at = draw.randrange(len(whole) - 4)
        pieces.append(whole[at : at + draw.randint(1, 4)])
    return [*pieces, b"a", b"b", b"a", b" ", "é".encode()]


@pytest.mark.parametrize("seed", range(40))
def test_an_automaton_accepts_as_python_does(seed: int) -> None:
    draw = random.Random(seed)
    regex = random_regex(draw)
    automaton = byte_automaton(regex)
    shown = as_shown(automaton)
    spaced = as_shown(automaton, space_first=True)
    for text in (random_text(draw) for _ in range(200)):
        assert accepts(automaton, text.encode()) == matches(regex, text), (regex, text)
        assert accepts(shown, text.encode()) == is_shown(regex, text), (regex, text)
        rest = text[1:]
        spaced_match = text.startswith(" ") and rest == rest.strip() and matches(regex, rest)
        # Without a word there is no space either.
        assert accepts(spaced, text.encode()) == (spaced_match or (text == "" and matches(regex, ""))), (
            regex,
            text,
        )
    for one in (automaton, shown, spaced):
        assert distinguishable(one.by_byte().tolist(), one.final.tolist())


@pytest.mark.parametrize("seed", range(40))
def test_any_ids_that_spell_a_match_are_accepted(seed: int) -> None:
    draw = random.Random(seed)
    regex, texts = random_regex(draw), vocabulary(draw)
    automaton = over_ids(byte_automaton(regex), texts, EOS)
    ids = range(len(texts))
    accepted = 0
    for _ in range(400):
        some = draw.choices(ids, k=draw.randint(0, 4)) + [EOS] * draw.choice([0, 0, 1, 2])
        wanted = spells(regex, texts, some)
        accepted += wanted
        assert (automaton is not None and accepts_ids(automaton, some)) == wanted, (regex, some)
    if automaton is not None:
        require_contract(automaton)


def spells(regex: str, texts: list[bytes | None], ids: list[int]) -> bool:
    """The slow definition: the texts of the ids up to the first end of text match, and only ends follow."""
    end = ids.index(EOS) if EOS in ids else len(ids)
    if any(id_ != EOS for id_ in ids[end:]) or not all(texts[id_] for id_ in ids[:end]):
        return False
    try:
        return matches(regex, b"".join(texts[id_] or b"" for id_ in ids[:end]).decode())
    except UnicodeDecodeError:
        return False


def require_contract(automaton: TokenAutomaton) -> None:
    """What the step relies on."""
    table, final = automaton.next_state, automaton.final
    assert table.dtype == automaton.class_of.dtype == np.int32
    assert final.dtype == bool
    assert (table[:, NEVER] == DEAD).all()
    assert automaton.class_of[MASK] == NEVER
    assert len({column.tobytes() for column in table.T}) == automaton.classes  # no two classes are equal
    assert (distances(table, final) >= 0).all()  # a final state can be reached from every state
    assert set(automaton.class_of.tolist()) | {NEVER} == set(range(automaton.classes))
    end = automaton.class_of[EOS]
    after = table[final, end]
    assert (after == automaton.states - 1).all()  # final states go on with the end of text
    assert (table[~final, end] == DEAD).all()
    assert (np.delete(table[-1], end) == DEAD).all()  # and then only with it
    texts = np.delete(table[:-1], end, axis=1)
    assert distinguishable(texts.tolist(), final[:-1].tolist())


def test_repeats_that_overlap_need_few_states() -> None:
    """Exponentially many where the library looks for a match at every place of a text."""
    assert byte_automaton(r'"(?:[^"\\\x00-\x1f]|\\.){0,60}"').states < 1000
    assert byte_automaton("(?s:.){1,20}[^a]{1,20}").states < 1000


def test_the_shortest_match_counts_ids() -> None:
    texts = [None, b"<eos>", b"a", b"aa", b"b"]
    found = over_ids(byte_automaton("a{5}b?"), texts, EOS)
    assert found is not None
    assert shortest(found) == 3  # aa aa a


def test_without_an_end_of_text_a_match_ends_with_the_last_id() -> None:
    found = over_ids(byte_automaton("a+"), [None, None, b"a"], None)
    assert found is not None
    assert found.next_state.tolist() == [[DEAD, 1], [DEAD, 1]]
    assert found.final.tolist() == [False, True]


def test_a_vocabulary_that_cannot_spell_a_match_has_no_automaton() -> None:
    assert over_ids(byte_automaton("[xy]+"), [None, b"<eos>", b"a"], EOS) is None
    assert byte_automaton("a\\x00").states == 0  # the byte that ends a text inside
    assert as_shown(byte_automaton(" +")).states == 0


def test_a_table_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsldec.patterns.over_ids.MOST_STATES", 20)
    with pytest.raises(TooLarge, match="31 states"):
        over_ids(byte_automaton("[ab]{29}"), [None, b"<eos>", b"a", b"b"], EOS)
    monkeypatch.setattr("dsldec.patterns.over_ids.MOST_STATES", 8192)
    monkeypatch.setattr("dsldec.patterns.over_ids.MOST_BYTES", 100)
    with pytest.raises(TooLarge, match="MiB"):
        over_ids(byte_automaton("[ab]{29}"), [None, b"<eos>", b"a", b"b", b"ab"], EOS)


def test_states_with_equal_matches_become_one() -> None:
    table = np.array([[1, 2], [3, DEAD], [3, DEAD], [DEAD, DEAD], [3, 3], [5, 5]], np.int32)
    smaller, final = minimal(table, np.array([False, False, False, True, False, False]))
    assert smaller.tolist() == [[1, 1], [2, DEAD], [DEAD, DEAD]]
    assert final.tolist() == [False, False, True]
