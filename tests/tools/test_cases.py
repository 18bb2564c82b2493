"""Files of cases: their contents, and a message at the place of every mistake with the text to type."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsldec
from dsldec.source import Source
from dsldec.tools.cases import AMOUNTS, LARGEST_TEXT, MOST_FORWARDS, MOST_POSITIONS, ROWS, SHARES, read_cases
from dsldec.tools.verdict import outcome_of


def test_what_a_case_says() -> None:
    text = (
        "# a file\n\ncase two blocks  # told apart\n  set a=1 b=.5\n  gen 3\n  start _ 7 eos\n"
        "  conf .5 . 1e-3\n  token 4 . eos\n  commit 2 0\n  revoke\n  edit -\n  phase wide\n"
        "  entropy 2 inf 0\n  done\n\ncase b\nkl 1\ncommit\n"
    )
    (first, second), wrong = read_cases(Source(text))
    assert wrong == []
    assert (first.title, first.length, [span.text for span in first.settings]) == (
        "two blocks",
        3,
        ["a=1", "b=.5"],
    )
    assert first.start is not None
    assert first.start.cells == ("_", 7, "eos")
    one, two = first.forwards
    assert {name: row.cells for name, row in one.observed.items()} == {
        "conf": (0.5, None, 0.001),
        "token": (4, None, "eos"),
    }
    assert {name: row.cells for name, row in one.expected.items()} == {
        "commit": (0, 2),
        "revoke": (),
        "edit": (),
        "phase": (),
    }
    assert one.expected["phase"].words[0].text == "wide"
    assert two.observed["entropy"].cells == (2.0, float("inf"), 0.0)
    assert (second.title, second.length, len(second.forwards)) == ("b", 1, 1)


def test_special_tokens_and_the_small_words() -> None:
    """The ids of the model are written by their words; choices and tables are set as parameters."""
    text = "policy c(mode: conf | margin = conf, taus: table by step = 0.9, block: int = 4 in 1..64):\n"
    text += "  window blocks(block)\n  score = conf if mode == conf else margin\n"
    text += "  enough = masked and score >= of(taus, steps_in_window)\n"
    text += "  commit enough and token == pad as bos\n"
    text += "  commit enough and token != eos at least 1 by shift(score, 1)\n"
    cases = "case all\n set mode=margin taus=0.5\n margin .95 .40 .91 .20\n token pad 7 eos 9\n commit 0 1\n"
    cases += " canvas bos 7 _ _\n margin . . .6 .7\n token . . eos 9\n commit 3\n"
    (case,), wrong = read_cases(Source(cases))
    assert wrong == []
    assert outcome_of(case, dsldec.load(text), "").diagnostics == ()
    (other,), _ = read_cases(Source(cases.replace("canvas bos", "canvas pad")))
    outcome = outcome_of(other, dsldec.load(text), "")
    assert [one.code for one in outcome.diagnostics] == ["E0446"]
    assert "bos" in str(outcome)


ABOUT = "case a\n"
MISTAKES = [
    ("", "E0442", "", "begin with a line `case NAME`"),
    ("# nothing\n", "E0442", "", "begin with a line `case NAME`"),
    ("conf .5\n", "E0442", "conf", "begin with a line `case NAME`"),
    ("case\n conf .5\n commit 0\n", "E0442", "case", "describe it"),
    ("case a\n", "E0442", "case a", "add a row of what is observed"),
    (ABOUT + "cnof .5\n commit\n", "E0441", "cnof", "did you mean `conf`?"),
    (ABOUT + "conf .5\n comit 0\n commit\n", "E0441", "comit", "did you mean `commit`?"),
    (ABOUT + "conf .5\n comit 0\n conf .6\n commit\n", "E0441", "comit", "did you mean `commit`?"),
    (ABOUT + "conf .5\n comit 0\n", "E0441", "comit", "did you mean `commit`?"),
    (ABOUT + "conf .5 .6\n", "E0442", "conf .5 .6", "add a line `commit`"),
    (ABOUT + "commit 0\n conf .5\n commit\n", "E0442", "commit 0", "write the observations first"),
    (ABOUT + "conf .5\n set a=1\n commit\n", "E0442", "set a=1", "move it up"),
    (ABOUT + "conf .5\n conf .6\n commit\n", "E0442", "conf .6", "between two forwards: a line `commit`"),
    (ABOUT + "conf .5\n commit 0\n commit 0\n", "E0442", "commit 0", "in one row"),
    (
        ABOUT + "conf .5\n commit 0\n done\n conf .5\n commit\n",
        "E0442",
        "conf .5",
        "leave `done` to the last forward",
    ),
    (ABOUT + "start _\n start _\n conf .5\n commit\n", "E0442", "start _", "leave one `start` row"),
    (ABOUT + "gen 1\n gen 1\n conf .5\n commit\n", "E0442", "gen 1", "let one `gen` stand first"),
    (ABOUT + "gen many\n conf .5\n commit\n", "E0443", "gen many", "write `gen 8`"),
    (ABOUT + "gen 99999999999\n conf .5\n commit\n", "E0443", "gen 99999999999", "write `gen 8`"),
    (ABOUT + "set a\n conf .5\n commit\n", "E0443", "a", "write `set confidence=0.9`"),
    (ABOUT + "conf\n commit\n", "E0443", "conf", "for example `conf 0.5`"),
    (ABOUT + "conf .5 .6\n entropy .5\n commit\n", "E0443", "entropy .5", "`.` where there is no value"),
    (ABOUT + "conf .5 .6\n entropy .5 .5 .7\n commit\n", "E0443", ".7", "one for each position"),
    (ABOUT + "start 7 _\n conf .5\n commit\n", "E0443", "conf .5", "one for each position"),
    (ABOUT + "conf 1.5\n commit\n", "E0443", "1.5", "write a number such as `0.5`, or `.`"),
    (ABOUT + "entropy -1\n commit\n", "E0443", "-1", "write a number such as `0.5`"),
    (ABOUT + "conf nan\n commit\n", "E0443", "nan", "write a number such as `0.5`"),
    (ABOUT + "conf _\n commit\n", "E0443", "_", "or `.` where the position is written"),
    (ABOUT + "token _\n commit\n", "E0443", "_", "write an id like `7`, `eos`, or `.`"),
    (ABOUT + "start .\n conf .5\n commit\n", "E0443", ".", "`_` for a masked position"),
    (ABOUT + "conf .5\n commit 1\n", "E0443", "1", "write positions from 0 to 0"),
    (ABOUT + "conf .5\n commit 0 -\n", "E0443", "-", "`commit -` for none"),
    (ABOUT + "conf .5\n commit 0 0\n", "E0443", "0", "leave it once"),
    (ABOUT + "conf .5\n phase\n", "E0443", "phase", "write `phase` and the name of one"),
    (ABOUT + "conf .5\n done now\n", "E0443", "done now", "write `done` alone"),
    (ABOUT + f"conf {'.5 ' * (MOST_POSITIONS + 1)}\n commit\n", "E0445", ".5", ""),
    (ABOUT + "conf .5\n commit\n" * (MOST_FORWARDS + 1), "E0445", "conf .5", "split it"),
    ("#" * (LARGEST_TEXT + 1), "E0445", "#", "split it"),
]


@pytest.mark.parametrize(("text", "code", "marked", "help"), MISTAKES)
def test_a_mistake_is_told_at_its_place(text: str, code: str, marked: str, help: str) -> None:
    cases, (first, *more) = read_cases(Source(text, "a.cases"))
    assert cases == []
    assert more == []
    assert first.span is not None
    assert (first.code, first.span.text) == (code, marked)
    assert help in first.help


def test_all_mistakes_are_told_and_right_cases_kept() -> None:
    text = "case a\n conf 2\n commit 5\ncase b\n conf .5\n commit 0\ncase c\n cnf 1\n"
    cases, wrong = read_cases(Source(text))
    assert [case.title for case in cases] == ["b"]
    assert [(d.code, d.span.line) for d in wrong if d.span] == [("E0443", 2), ("E0443", 3), ("E0441", 8)]


WORDS = st.sampled_from(
    [
        *ROWS,
        "0",
        "1",
        "2",
        ".5",
        "0.9",
        "1",
        ".",
        "_",
        "-",
        "eos",
        "k=1",
        "block=2",
        "k=x",
        "=",
        "one",
        "two",
        "#",
        "é\x00",
    ]
)
LINES = st.lists(WORDS, max_size=5).map(" ".join)
POLICIES = [
    "policy p(k: int = 1 in 1..9, block: int = 3 in 1..9):\n  window blocks(block)\n  commit top(masked, k, by=conf)\n",
    "policy p():\n  window sliding(max_masks=2, max_length=3)\n  commit masked and kl(before) < 0.5 at least 1 by -entropy\n"
    "  revoke committed and p(canvas) < 0.5 at most committed_now - 1 by doubt\n",
    "policy p():\n  window until(1, 2, min=1, max=3)\n"
    "  phase one at most 1 visits else two:\n    commit masked and conf > 0.8\n    next two when idle\n"
    "  phase two:\n    commit top(masked, 1, by=margin)\n    next one\n",
]


@given(st.lists(LINES, max_size=8).map("\n".join), st.text(max_size=40))
def test_no_text_is_too_strange(lines: str, text: str) -> None:
    for strange in (text, f"case a\n{lines}\n{text}", lines):
        _, wrong = read_cases(Source(strange))
        assert all(str(diagnostic) for diagnostic in wrong)


@st.composite
def whole_cases(draw: st.DrawFn) -> str:
    """Cases with no mistake of form, of any sense."""
    width = draw(st.integers(1, 4))

    def row(*cells: str) -> str:
        return " ".join(draw(st.lists(st.sampled_from(cells), min_size=width, max_size=width)))

    lines = ["case any"] + ([f"start {row('_', '_', '7', 'eos')}"] if draw(st.booleans()) else [])
    for _ in range(draw(st.integers(1, 4))):
        names = draw(st.sets(st.sampled_from([*SHARES, *AMOUNTS]), min_size=1))
        lines += [f"{name} {row('.', '0', '.5', '.9', '1')}" for name in sorted(names)]
        lines += [f"token {row('.', '0', '1', '5', 'eos')}"] if draw(st.booleans()) else []
        lines.append(
            draw(st.sampled_from(["commit", "commit 0", "revoke 0\ncommit 0", f"canvas {'_ ' * width}"]))
        )
    return "\n".join(lines)


@given(whole_cases(), st.sampled_from(POLICIES))
def test_whatever_a_case_says_a_policy_can_be_stepped(text: str, policy: str) -> None:
    cases, wrong = read_cases(Source(text))
    assert wrong == []
    loaded = dsldec.load(policy)
    for case in cases:
        assert isinstance(str(outcome_of(case, loaded, "")), str)


def test_what_is_run_is_bounded_by_positions_and_forwards() -> None:
    forward = f"  conf {' '.join(['.5'] * 512)}\n  commit 0\n"
    found, diagnostics = read_cases(Source("case a\n" + forward * 4))
    assert (len(found), diagnostics) == (1, [])
    found, diagnostics = read_cases(Source("case a\n" + forward * 4 + "case b\n" + forward * 9))
    assert [case.title for case in found] == ["a"]
    assert [diagnostic.code for diagnostic in diagnostics] == ["E0445"]


def test_a_long_row_of_positions_is_one_mistake_and_read_soon() -> None:
    text = "case a\n  conf .5 .5\n  commit " + " ".join(["0", "1"] * 50_000) + "\n"
    began = time.process_time()
    _, diagnostics = read_cases(Source(text))
    assert time.process_time() - began < 1
    assert [diagnostic.code for diagnostic in diagnostics] == ["E0445"]
