"""Are grids read as promised, and is each mistake in one a sentence?"""

from __future__ import annotations

import pytest

from dsldec.diagnostics import PolicyError, UsageError
from dsldec.tools.frontier.default_grids import DEFAULTS, default_grids
from dsldec.tools.frontier.grids import grids_of


def values(text: str, policy: str = "threshold", parameter: str = "confidence") -> list[float]:
    (grid,) = grids_of([("policy", policy), ("set", f"{parameter}={text}")])
    return [setting.parameters[parameter] for setting in grid.settings]


def test_a_list_a_range_and_both():
    assert values("0.5,0.7,0.9") == [0.5, 0.7, 0.9]
    assert values(" 0.5 , 0.7 ") == [0.5, 0.7]
    assert values("0.5..0.9/3") == [0.5, 0.7, 0.9]
    assert values("0.9..0.5/3") == [0.9, 0.7, 0.5]
    assert values("0.5..0.9/1") == [0.5]
    assert values("0.3,0.5..0.9/2,0.3") == [0.3, 0.5, 0.9]
    assert values("1..4", "static", "tokens") == [1, 2, 3, 4]
    assert values("1..8/4", "static", "tokens") == [1, 3, 6, 8]
    assert values("1..3/9", "static", "tokens") == [1, 2, 3]


def test_several_grids_make_the_product_and_titles_name_what_was_given():
    (grid,) = grids_of([("policy", "threshold"), ("set", "confidence=0.5,0.9"), ("set", "block=8,16")])
    assert grid.titles == (
        "threshold(confidence=0.5, block=8)", "threshold(confidence=0.5, block=16)",
        "threshold(confidence=0.9, block=8)", "threshold(confidence=0.9, block=16)",
    )  # fmt: skip
    assert (grid.curve, grid.compiled) == ("threshold", ("block",))
    (grid,) = grids_of([("policy", "threshold"), ("set", "confidence=0.5,0.9"), ("set", "block=8")])
    assert (grid.curve, grid.compiled) == ("threshold(block=8)", ())


def test_choices_and_flags_are_lists():
    assert values("entropy,maskgit_plus", "dream", "alg") == ["entropy", "maskgit_plus"]
    assert values("true,false", "dico", "upstream") == [True, False]


def test_policies_keep_their_order_and_their_grids():
    words = [
        ("policy", "static"),
        ("policy", "threshold"),
        ("set", "confidence=0.5,0.6"),
        ("policy", "factor"),
    ]
    assert [(grid.curve, len(grid.settings)) for grid in grids_of(words)] == [
        ("static", 1), ("threshold", 2), ("factor", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("confidence=", "E0512", "has no value"),
        ("confidence=0.5,,0.9", "E0512", "empty value"),
        ("confidence=0.5..0.9", "E0512", "no range"),
        ("confidence=0.5..0.9/0", "E0512", "no range"),
        ("confidence=0.5..0.9/x", "E0512", "no range"),
        ("confidence=..0.9/3", "E0512", "no range"),
        ("confidence=0.5..inf/3", "E0512", "no range"),
        ("confidence", "E0424", "name=values"),
        ("confidence=high", "E0424", "is a number"),
        ("confidence=0.5..0.9/100000", "E0513", "the most"),
        ("confidence=0.5..2/4", "E0402", "confidence"),
        ("confidance=0.5", "E0403", "confidence"),
    ],
)
def test_a_mistake_in_a_grid_is_a_sentence(text, code, says):
    with pytest.raises((UsageError, PolicyError)) as caught:
        grids_of([("policy", "threshold"), ("set", text)])
    assert code in str(caught.value)
    assert says in str(caught.value)


def test_whole_numbers_have_whole_ends():
    for text in ("4..1", "1.5..3", "1..99999999"):
        with pytest.raises(UsageError, match=r"E051[23]"):
            values(text, "static", "tokens")


def test_a_set_before_every_policy_belongs_to_none():
    with pytest.raises(UsageError, match="before every `--policy`"):
        grids_of([("set", "confidence=0.5"), ("policy", "threshold")])


def test_the_default_grids_fit_their_policies():
    grids = default_grids(48)
    assert [len(grid.settings) for grid in grids] == [3] * len(DEFAULTS)
    assert len(grids) == 12
    assert not any(grid.compiled for grid in grids)
    assert all(one.parameters.get("block", 48) == 48 for grid in grids for one in grid.settings)
    assert len({title for grid in grids for title in grid.titles}) == 36
    assert default_grids(None)[0].settings[0].parameters["block"] == 32
