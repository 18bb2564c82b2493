"""Are the answers about a text right, also where the text is half written? Without an editor."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import time

import pytest

import dsldec
from dsldec.editors.analysis import analysed, diagnostics
from dsldec.editors.completion import completion
from dsldec.editors.hover import hover
from dsldec.editors.inlays import inlays
from dsldec.editors.json_objects import completion_of, diagnostics_of, hover_of
from dsldec.editors.markdown import code, plain
from dsldec.editors.navigation import RenameRefused, changed, definition, references, rename, renamed_span
from dsldec.editors.outline import folds, symbols
from dsldec.editors.places import EditorText, Units
from dsldec.editors.signatures import call_signature
from dsldec.language.fmt import skeleton
from dsldec.language.parse import parse
from dsldec.language.words import KEYWORDS, SHAPES, STATEMENTS, WORDS
from dsldec.policy import read
from dsldec.resources import shipped_policies
from dsldec.source import Source

POLICY = """policy explore(likely: prob = 0.9, hint: prob = 0.3, rounds: int = 6 in 1..64):
  "Commit *sure* positions <b>first</b>."
  window blocks(64)
  state reach: real = 0 per sequence
  def sure(level) = masked and conf >= level

  phase look at most rounds visits else write:
    a = sure(likely)
    commit a
    set reach = max(reach, last(masked and conf > hint)) if any(masked and conf > hint) else reach
    next write when idle or steps_in_phase >= 2

  phase write:
    a = masked and pos <= reach
    commit a and conf > hint at least 1 by conf
    next look when not any(a)
"""
HEAD = POLICY[: POLICY.index("    next look")]


def at(part: str, inside: int = 0, text: str = POLICY) -> int:
    return text.index(part) + inside


# --- hover --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "inside", "said"),
    [
        ("explore", 2, ["at most 280 for 256 tokens", "deterministic", "states: `reach`", "phase `look`"]),
        ("likely", 0, ["likely: prob = 0.9", "default `0.9`", "dynamic", "used once"]),
        ("rounds", 0, ["from `1` to `64`"]),
        ("reach:", 0, ["state reach: real", "one value for each row", "reset per `sequence`"]),
        ("a = sure", 0, ["*mask, one value for each position*", "line 8"]),
        ("level)", 0, ["argument of line 5"]),
        ("sure(likely", 0, ["def sure(level)", "function of line 5"]),
        ("write:", 0, ["phase look at most", "phase of line 13"][1:]),
        ("conf >=", 1, ["prob, one value for each position, high when sure", "probability of the token"]),
        ("commit", 3, ["commit MASK", "write the token"]),
        ("blocks", 0, ["window blocks(n)"]),
        ("real", 0, ["kind", "a plain number"]),
        ("least", 0, ["at least N by SCORE"]),
    ],
)
def test_hover(part: str, inside: int, said: list[str]) -> None:
    found = hover(POLICY, at(part, inside))
    assert found is not None
    assert [one for one in said if one not in found.markdown] == []
    assert POLICY[found.span.start : found.span.end] in part or part in found.span.text


def test_hover_says_nothing_about_numbers_comments_and_quotes() -> None:
    text = POLICY + "# conf\n"
    assert [hover(text, at(part, text=text)) for part in ("0.9", "sure*", "# conf")] == [None, None, None]


def test_hover_of_named_arguments_and_of_words_with_two_meanings() -> None:
    text = (
        "policy p():\n  window until(3, max=8)\n  logits temperature(0.5)\n  commit top(masked, 1, by=conf)\n"
    )
    assert "ranks positions" in hover(text, at("by=", text=text)).markdown
    assert "divides the logits" in hover(text, at("temperature", text=text)).markdown
    assert "int" in hover(text, at("max=", text=text)).markdown


def test_the_names_that_a_parameter_may_be() -> None:
    text = "policy p(how: sure | fast = sure):\n  commit top(masked, 1, by=conf if how == fast else margin)\n"
    for part in ("| fast", "fast else", "sure):"):
        shown = hover(text, at(part, part.index("sure" if "sure" in part else "fast"), text=text)).markdown
        assert "a choice of `how`" in shown
        assert "how: sure | fast = sure" in shown
    half = text[: text.index("fast else")]
    assert [one.label for one in completion(half, len(half))][:2] == ["sure", "fast"]


def test_text_of_a_user_is_no_markup() -> None:
    markdown = hover(POLICY, at("explore")).markdown
    assert r"\*sure\* positions \<b\>first\</b\>" in markdown
    assert plain("[x](javascript:1) \x1b[31m ![](y)\n# h") == (
        r"\[x\]\(javascript\:1\) \\x1b\[31m \!\[\]\(y\) \# h"
    )
    assert code("a ` b `` c") == "```a ` b `` c```"
    assert code("`") == "`` ` ``"


def test_every_word_of_the_language_has_a_hover() -> None:
    words = {*WORDS, *KEYWORDS, *(name for words in SHAPES.values() for name in words)}
    silent = []
    for word in sorted(words):
        head = next((f"  {head} {word}" for head, names in SHAPES.items() if word in names), None)
        line = f"  {word}" if word in STATEMENTS else head or f"  x = {word}"
        text = "policy" if word == "policy" else f"policy p():\n{line}"
        if hover(text, len(text)) is None:
            silent.append(word)
    assert silent == []


# --- completion ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["", "\n    next look when not any(a)\n", "\n\n  phase last:\n    fill\n"])
@pytest.mark.parametrize(
    ("line", "first", "never"),
    [
        ("    ", ["commit", "next"], ["conf"]),
        ("    co", ["commit"], ["conf"]),
        ("    commit top(masked, 1, ", ["by=", "hint", "a"], ["at least"]),
        ("    commit top(masked, 1, by=", ["conf", "margin"], ["by="]),
        ("    commit top(masked, 1, by=co", ["conf"], []),
        ("    commit top(masked, 1, by=conf, ", ["each="], ["by="]),
        ("    commit masked at ", ["least", "most"], ["conf"]),
        ("    commit masked ", ["at least", "as", "and"], ["conf", "when"]),
        ("    commit masked at least 1 by ", ["conf", "margin"], ["least"]),
        ("    next ", ["look", "write"], ["conf", "reach"]),
        ("    next look ", ["when"], ["conf"]),
        ("    set ", ["reach"], ["likely", "a"]),
        ("    x = prefix(masked, by=conf, while=ra", ["rank", "cumsum"], []),
        ("    x = 1 + ", ["a", "likely", "reach", "sure", "conf"], ["rank", "draft", "level"]),
        ("  state y: ", ["prob", "int"], ["pattern", "conf"]),
        ("  state y: int = 0 per ", ["block", "sequence", "look"], ["conf"]),
        ("  window ", ["blocks", "all"], ["conf"]),
        ("  draw ", ["gumbel"], ["blocks"]),
        ("  window until(max=", ["likely"], ["max="]),
        ("    fill ", ["when"], ["conf", "and"]),
        ("    finish ", ["when"], ["conf", "and"]),
        ("  pick ", ["by"], ["conf"]),
        ("    commit chance(masked, likely * most ", ["if", "and"], ["conf"]),
        ("  def time(n, m) = 1 - (1 - likely) * ", ["n", "m", "likely"], ["def"]),
    ],
)
def test_completion_in_a_line_that_is_being_written(
    line: str, first: list[str], never: list[str], after: str
) -> None:
    text = HEAD + line + after
    found = completion(text, len(HEAD + line))
    labels = [one.label for one in found]
    assert [one for one in first if one not in labels] == []
    assert [one for one in never if one in labels] == []
    typed = re.search(r"\w*$", line).group()
    assert {one.span.text for one in found} == {typed}
    if line.endswith("1, by="):
        assert labels[:2] == ["conf", "margin"]


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("    commit ", ["a", "same", "masked"]),
        ("    x = top(", ["a", "same", "masked"]),
        ("    commit top(masked, ", ["rounds"]),
        ("    revoke committed at most 1 by ", ["doubt", "entropy"]),
        ("    commit masked as ", ["token"]),
        ("    commit masked at least 1 by ", ["conf", "margin"]),
        ("    next look when ", ["a"]),
    ],
)
def test_values_that_the_place_wants_come_first(line: str, first: list[str]) -> None:
    text = HEAD + line
    labels = [one.label for one in completion(text, len(text)) if one.kind != "argument"]
    assert labels[: len(first)] == first


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", ["policy"]),
        ("pol", ["policy"]),
        ("policy p(a: pr", ["prob", "nats"]),
        ("policy p(a: x | y = ", ["x", "y"]),
        ("policy p(a: bool = ", ["true", "false"]),
        ("policy p(a: int = 1 ", ["in"]),
        ("policy p():\n  ", ["window"]),
    ],
)
def test_completion_in_a_header_and_before_it(text: str, labels: list[str]) -> None:
    assert [one.label for one in completion(text, len(text))][: len(labels)] == labels


@pytest.mark.parametrize("text", ["# co", '  "co', "  x = 1", "  x = 0.", "  phase ", "  def f"])
def test_no_completion_where_something_new_is_written(text: str) -> None:
    assert completion(POLICY + text, len(POLICY + text)) == []


def test_names_of_one_phase_do_not_stand_in_another() -> None:
    text = POLICY.replace("    a = masked and pos <= reach\n", "    commit \n").replace(
        "commit a and", "commit x and"
    )
    labels = [one.label for one in completion(text, at("commit \n", 7, text))]
    assert "a" not in labels
    assert "reach" in labels


def test_each_suggestion_has_a_documentation() -> None:
    for line in ("    ", "    commit ", "    next ", "    commit top(masked, 1, "):
        text = HEAD + line
        assert [one.label for one in completion(text, len(text)) if not one.markdown] == []


# --- names --------------------------------------------------------------------------------------------------


def test_definition_and_references() -> None:
    def lines(offset: int) -> list[int]:
        return [span.line for span in references(POLICY, offset)]

    assert definition(POLICY, at("commit a\n", 7)).start == at("a = sure")
    assert lines(at("a = sure")) == [8, 9]
    assert lines(at("a = masked")) == [14, 15, 16]  # the same name in another phase is another one
    assert lines(at("write:\n    a", 0)) == [13, 7, 11]
    assert lines(at("level)")) == [5, 5]
    assert lines(at("sure(level")) == [5, 8]
    assert lines(at("reach")) == [4, 10, 10, 10, 14]
    assert next(span.line for span in references(POLICY, at("reach"), declaration=False)) == 10
    assert definition(POLICY, at("conf")) is None
    broken = POLICY.replace("commit a\n", "commit top(a,\n")
    assert definition(broken, at("hint)) if", text=broken)).line == 1


def test_rename_changes_every_use_and_nothing_else() -> None:
    for part in ("likely", "reach", "sure(level", "level)", "look", "a = masked", "a = sure", "explore"):
        changes = rename(POLICY, at(part), "other_name")
        text = changed(POLICY, changes)
        assert [d.message for d in diagnostics(text)] == []
        old = renamed_span(POLICY, at(part)).text
        before, after = (json.dumps(skeleton(parse(Source(one))[0])) for one in (POLICY, text))
        assert before.count(f'"{old}"') - after.count(f'"{old}"') == after.count('"other_name"')
        assert after.count('"other_name"') == len(changes)


@pytest.mark.parametrize(
    ("part", "new", "why"),
    [
        ("likely", "3x", "is made of"),
        ("likely", "näme", "is made of"),
        ("likely", "", "is made of"),
        ("likely", "conf", "`conf` is a word of the language"),
        ("likely", "reach", "line 4 has the name `reach` already"),
        ("look", "block", "word of the language"),
        ("sure(level", "least", "word of the language"),
        ("explore", "commit", "word of the language"),
        ("conf", "x", "only names that the policy declares"),
    ],
)
def test_rename_refuses_with_a_sentence(part: str, new: str, why: str) -> None:
    with pytest.raises(RenameRefused, match=re.escape(why)):
        rename(POLICY, at(part), new)


def test_rename_refuses_in_a_text_that_cannot_be_parsed() -> None:
    with pytest.raises(RenameRefused, match="mend the mistakes"):
        rename(POLICY + "  commit (", at("likely"), "x")
    assert rename(POLICY, at("likely"), "likely") == []
    assert rename(POLICY, at("likely"), "least")  # a keyword that may be the name of a value


# --- outline, inlays, signatures ----------------------------------------------------------------------------


def test_outline_and_folds() -> None:
    (policy,) = symbols(POLICY)
    names = {one.name: [child.name for child in one.inside] for one in policy.inside}
    assert names == {
        "likely": [], "hint": [], "rounds": [], "reach": [], "sure": [], "look": ["a"], "write": ["a"],
    }  # fmt: skip
    for entry in (policy, *policy.inside):
        assert entry.span.start <= entry.name_span.start
        assert entry.name_span.end <= entry.span.end
    assert [span.line for span in folds(POLICY)] == [1, 7, 13]
    assert symbols("x") == []


def test_inlays_show_what_is_proved_and_nothing_after_an_error() -> None:
    notes = [(POLICY[one.offset - 3 : one.offset], one.label) for one in inlays(POLICY)]
    assert notes == [
        ("4):", "≤ 280 forwards for 256 tokens"),
        ("  a", ": mask"),
        ("  a", ": mask"),
        ("onf", "≥ 1 a step"),
    ]
    assert inlays(POLICY.replace("at least 1 by conf", "")) == []


@pytest.mark.parametrize("name", shipped_policies()[::6])
def test_the_bound_of_the_header_is_the_bound_of_the_policy(name: str) -> None:
    policy = dsldec.load(name) if not dsldec.check(read(name)[0])[0].facts.networks else None
    if policy is None:
        return
    label = next(one.label for one in inlays(read(name)[0]) if "forwards" in one.label)
    assert label == f"≤ {policy.plan(256).max_forwards} forwards for 256 tokens"


@pytest.mark.parametrize(
    ("line", "label", "active"),
    [
        ("x = top(", "top(mask, k, by=, [each=])", 0),
        ("x = top(masked, ", "top(mask, k, by=, [each=])", 1),
        ("x = top(masked, 1, each=run(masked), by=", "top(mask, k, by=, [each=])", 2),
        ("x = top(masked, min(1, ", "min(x, over=masked, [each=])", 1),
        ("x = sure(", "sure(level)", 0),
    ],
)
def test_signature_of_the_call_that_is_being_written(line: str, label: str, active: int) -> None:
    text = HEAD + "    " + line
    found = call_signature(text, len(text))
    assert (found.label, found.active) == (label, active)
    assert found.arguments[active] in found.label
    assert call_signature(POLICY, 0) is None


# --- places, JSON, limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "mark", "face", "accent"),
    [(Units.UTF8, 3, 4, 2), (Units.UTF16, 1, 2, 1), (Units.UTF32, 1, 1, 1)],
)
def test_places_count_in_the_units_of_the_editor_and_back(
    units: Units, mark: int, face: int, accent: int
) -> None:
    editor = EditorText("\ufeffa😀b\r\né\nx\ry", units)
    assert editor.policy == "a😀b\r\né\nx\ry"
    places = {
        0: (0, mark),
        2: (0, mark + 1 + face),
        5: (1, 0),
        6: (1, accent),
        8: (2, 1),
        9: (3, 0),
        10: (3, 1),
    }
    assert {offset: editor.place(offset) for offset in places} == places
    assert {editor.offset(*place): place for place in places.values()} == places
    assert editor.offset(99, 0) == len(editor.policy)
    assert editor.offset(0, 99) == 3
    assert editor.offset(-1, 0) == 0
    assert [editor.offset_after(editor.units_before(one)) for one in range(11)] == [*range(11)]


def test_a_place_inside_of_a_character_is_its_start() -> None:
    assert EditorText("😀x").offset(0, 1) == 0


def test_objects_for_a_page_count_as_javascript_does() -> None:
    text = "\ufeff# 😀\n" + POLICY.replace("conf >=", "cnf >=")
    (one,) = [one for one in diagnostics_of(text) if one["code"] == "E0201"]
    units = text.encode("utf-16-le")
    assert units[2 * one["start"] : 2 * one["end"]].decode("utf-16-le") == "cnf"
    assert (one["line"], one["severity"], one["message"]) == (6, "error", "nothing is called `cnf`")
    (fix,) = one["fixes"]
    assert (fix["title"], fix["text"]) == ("replace `cnf` with `conf`", "conf")
    assert (fix["start"], fix["end"]) == (one["start"], one["end"])
    start = len(text[: text.index("likely")].encode("utf-16-le")) // 2
    found = hover_of(text, start)
    assert (found["start"], found["end"]) == (start, start + 6)
    assert hover_of(text, 0) is None
    assert {"label", "kind", "start", "end", "insert", "detail", "markdown"} == set(
        completion_of("policy p():\n  ", 14)[0]
    )
    json.dumps([diagnostics_of(text), found, completion_of(text, start)])


@pytest.mark.parametrize(
    "text",
    ["", "\ufeff", "\x00", "\ud800", "policy", "policy p(", "(" * 3000, "x" * 300_000, "a = 1\n" * 3000, "\r\r", "\t\tx"],
    ids=range(11),
)  # fmt: skip
def test_odd_texts_get_answers(text: str) -> None:
    began = time.perf_counter()
    for offset in (0, len(text)):
        hover(text, offset)
        completion(text, offset)
        definition(text, offset)
        call_signature(text, offset)
    assert isinstance(diagnostics_of(text), list)
    assert inlays(text) == []
    symbols(text)
    folds(text)
    assert time.perf_counter() - began < 10


def test_names_of_a_text_with_broken_lines_are_known() -> None:
    broken = {
        "commit a\n": "commit top(a, 1, by=\n",
        "in 1..64):": "in 1..64, more: ",
        " rounds visits else write:": " rounds visits els",
        "64):": "64",
    }
    for old, new in broken.items():
        found = analysed(POLICY.replace(old, new))
        assert not found.whole
        assert {"likely", "hint", "reach", "sure", "write"} <= {one.name for one in found.names}, new


def test_diagnostics_of_every_shipped_policy_take_less_than_100_milliseconds() -> None:
    """Processor time, the worst of all: without the searches for garbage, as in the server (`gc.freeze`)."""
    diagnostics("policy p():\n  window all\n  fill\n")  # the parser reads its tables
    seconds = {}
    gc.collect()
    gc.disable()
    try:
        for name in shipped_policies():
            text = read(name)[0]
            for typed in ("# typed\n", "  commit ("):
                began = time.process_time()
                diagnostics(text + typed)
                seconds[name, typed] = time.process_time() - began
    finally:
        gc.enable()
    assert len(seconds) > 120
    assert max(seconds.values()) < 0.1, max(seconds, key=seconds.__getitem__)


def test_the_server_never_loads_torch() -> None:
    pytest.importorskip("pygls")
    program = (
        "import sys, dsldec.tools.language_server\n"
        "from dsldec.editors import language_server, json_objects, inlays\n"
        "from dsldec.policy import read\n"
        "from dsldec.resources import shipped_policies\n"
        "for name in shipped_policies():\n"
        "    text = read(name)[0]\n"
        "    inlays.inlays(text), json_objects.hover_of(text, text.index('policy ') + 8)\n"
        "language_server.made(dsldec.tools.language_server._check_cases)\n"
        "print(*sorted({'torch', 'transformers', 'numpy', 'safetensors', 'tokenizers'} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []
