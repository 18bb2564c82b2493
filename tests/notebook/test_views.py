"""Do values show themselves in a notebook: with IPython's formatters, with hostile texts, in a bounded size?"""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser

import pytest

import dsldec
from dsldec.checks.facts import Facts
from dsldec.explained.why import Why, WhyLine
from dsldec.notebook import html_of
from dsldec.notebook.facts_view import FACTS, PLAN
from dsldec.plan import Plan
from dsldec.source import Source, Span
from dsldec.trace_step import TraceStep

from .samples import HOSTILE, MASK, decoded, failed, trajectory

ALLOWED = frozenset(
    "div strong p table thead tbody tr th td code pre span em br ul li details summary sub mark iframe".split()
)
VOID = frozenset({"br"})
ATTRIBUTES = frozenset("style scope title open sandbox loading srcdoc".split())
LARGEST = 200_000  # characters of a view


class Checker(HTMLParser):
    """Fails on an element or an attribute that no view needs, and on elements that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.shown = ""

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES, attrs
        assert not any("url(" in (value or "") for name, value in attrs if name == "style")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.shown += data


def shown(value) -> str:
    """The text of a view, whose HTML is sound."""
    html = value._repr_html_()
    assert len(html) < LARGEST
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.stack == []
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", html)
    html.encode("utf-8")
    return checker.shown


def policy(text: str) -> dsldec.Policy:
    made, diagnostics = dsldec.check(text)
    assert made is not None, diagnostics
    return made


@pytest.mark.parametrize("name", dsldec.shipped_policies())
def test_every_shipped_policy_and_its_facts(name):
    made = dsldec.load(name)
    text = shown(made)
    assert made.name in text
    for parameter in made.parameters:
        assert parameter in text
    assert made.facts.source.split("\n")[0] in text
    assert made.facts.forwards_formula in text
    assert made.facts.forwards_formula in shown(made.facts)
    if made.constrains is None and "network" not in made.parameter_kinds.values():
        assert str(made.plan(64).max_forwards) in shown(made.plan(64))


def test_a_policy_has_the_comments_of_its_parameters():
    text = shown(dsldec.load("klass", patience=3))
    assert "patience3int" in text
    assert "1..65536is" in text
    assert "for a block, where nothing is calm" in text


def test_every_fact_and_every_number_of_a_plan_has_a_sentence():
    hidden = {"bound", "guided_by"}
    assert {one.name for one in fields(Facts)} - hidden | {"caches"} == set(FACTS)
    assert {one.name for one in fields(Plan) if one.repr} == set(PLAN)


def test_texts_are_data():
    quoted = HOSTILE.replace('"', "'").replace("\x1b", "").replace("\u202e", "")
    made = policy(
        f'# {quoted}\npolicy x(a: int = 3 in 1..8):  # {quoted}\n  "{quoted}"\n  window blocks(32)\n  commit top(masked, a, by=conf)\n'
    )
    tokens = {3: HOSTILE, 5: HOSTILE}
    values = [
        made,
        made.facts,
        dsldec.Diagnostic("E0410", HOSTILE, help=HOSTILE),
        dsldec.Diagnostic("E0410", "m", Span(Source(HOSTILE, HOSTILE), 0, 9), HOSTILE),
        dsldec.PolicyError([failed(HOSTILE, HOSTILE)] * 2),
        dsldec.UsageError(failed(HOSTILE)),
        trajectory(tokens, id=HOSTILE),
        TraceStep(HOSTILE, [0], [], [], 0, {}, {0: 3}),
        decoded([HOSTILE, None], [None, failed(HOSTILE, HOSTILE)], [trajectory(tokens), None]),
        Why(0, 1, HOSTILE, HOSTILE, (WhyLine(0, "{}", (HOSTILE,), None, Span(Source(HOSTILE), 0, 9)),)),
    ]
    for value in values:
        assert "<img" in shown(value) or isinstance(value, Facts)


def test_sizes_have_a_bound():
    long = "x = 3 " * 20_000
    many = decoded([long] * 3000, [None, *[failed(long, long)] * 2999], [trajectory()] * 3000)
    text = shown(many)
    assert "2,980 more prompts follow, from decoded.text[20] on. 2,980 of them failed: 20, 21, " in text
    assert text.count("How prompt") == 3
    lines = "\n".join(f"  # a comment, number {n} <b>" for n in range(4000))
    big = policy(f"policy big():\n  window blocks(32)\n  commit masked\n{lines}\n")
    assert "These are the first 160 of 4,004 lines." in shown(big)
    steps = [TraceStep("", [0], [], [], n, {}, {0: 3}) for n in range(3000)]
    assert "2,936 more steps" in shown(trajectory(steps=steps))
    assert "1,936 more positions follow" in shown(TraceStep("", list(range(2000)), [], [], 0))
    why = Why(0, 0, "", "unchanged", tuple(WhyLine(n, long) for n in range(500)))
    assert "420 more lines" in shown(why)
    assert "There are 490 more" in shown(dsldec.PolicyError([failed(long)] * 500))


def test_a_trace_is_readable_without_colours():
    text = shown(decoded(["Ja"], trajectories=[trajectory({3: "Ja", 5: " ", 6: "!", 8: "<end>"})]))
    assert "Ja0  1 !2 <end>2 " in text
    assert "2 ids of the end of the text are left out." in text
    steps = shown(trajectory())
    assert "#30 #51 #62 #82 " in steps
    assert "These are ids" in steps


def test_an_unfinished_answer_shows_its_masks():
    unfinished = trajectory(length=2, steps=[TraceStep("", [0], [], [], 0, {}, {0: 3})])
    unfinished.ids[1] = MASK
    assert "#30 MASK " in shown(unfinished)


def test_why_marks_the_place_that_decided():
    filler = "".join(f"  # line {n}\n" for n in range(100))
    text = f"policy x():\n  window blocks(32)\n{filler}  commit masked\n{filler}"
    source, at = Source(text), text.index("commit masked")
    why = Why(
        3, 1, "", "committed", (WhyLine(0, "commit masked -> {}", ("yes",), True, Span(source, at, at + 13)),)
    )
    html = why._repr_html_()
    marked = "".join(re.findall(r"<mark[^>]*>(.*?)</mark>", html))
    assert re.sub("<[^>]*>", "", marked) == "commit masked"
    assert "Line 103 of the policy" in html
    assert "# line 99<" in html
    assert "# line 7<" in html
    assert "# line 50<" not in html
    short = Source("policy x():\n  window all\n  commit masked\n")
    start = short.text.index("window")
    whole = Why(0, 0, "", "unchanged", (WhyLine(0, "no", (), False, Span(short, start, start + 10)),))
    assert "policy x():" in shown(whole)


def test_recorded_values_come_with_the_page():
    denoiser = dsldec.from_pretrained()
    result = dsldec.decode(
        denoiser, ["What is 14+18?"], "threshold", gen_length=16, backend="eager", trace="values"
    )
    html = result._repr_html_()
    assert html.count("<iframe ") == 1
    assert 'sandbox="allow-scripts"' in html
    assert "<script" not in html
    assert "step.why(" in shown(result.trace[0][0])
    why = result.trace[0][0].why(result.trace[0][0].committed[0])
    assert "<mark" in why._repr_html_()
    assert "commit" in shown(why)
    plain = dsldec.decode(
        denoiser, ["What is 14+18?"], "threshold", gen_length=16, backend="eager", trace=True
    )
    assert "<iframe" not in plain._repr_html_()


def test_a_page_that_is_too_large_is_a_sentence(monkeypatch):
    monkeypatch.setattr("dsldec.notebook.page_frame.LARGEST_PAGE", 10)
    result = dsldec.decode(
        dsldec.from_pretrained(), ["2+2"], "static", gen_length=4, backend="eager", trace="values"
    )
    assert "too much for a notebook" in shown(result)


def test_a_trace_that_is_too_large_for_a_page_is_a_sentence(monkeypatch):
    def refuse(runs):
        raise dsldec.UsageError(failed("too large <b>", "record fewer"))

    monkeypatch.setattr("dsldec.notebook.page_frame.page_of", refuse)
    result = dsldec.decode(
        dsldec.from_pretrained(), ["2+2"], "static", gen_length=4, backend="eager", trace="values"
    )
    assert "too large <b> (record fewer)" in shown(result)


def test_no_view_for_other_values():
    assert html_of(3) is None


def test_the_text_of_values_stays_short():
    assert repr(trajectory(id="a")) == "<Trajectory: 'a', 6 positions, 3 steps>"
    many = repr(decoded(["x"] * 5000))
    assert many.startswith("<Decoded: 5000 prompts, 0 failed, errors=none, forwards=[4, 4, ")
    assert many.endswith(", ...]>")
    assert len(many) < 300


def test_errors_are_still_copied_and_sent():
    error = dsldec.UsageError(failed())
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(other) == str(error)
        assert other._repr_html_() == error._repr_html_()


def test_a_policy_is_shown_without_torch():
    program = "import sys, dsldec; dsldec.load('threshold')._repr_html_(); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr) == ("False", "")


def test_ipython_shows_html_and_text():
    formatters = pytest.importorskip("IPython.core.formatters", reason="this test needs IPython")
    formatter = formatters.DisplayFormatter()
    for value in (dsldec.load("threshold"), failed(), decoded(["x"]), dsldec.UsageError(failed())):
        data, _ = formatter.format(value)
        assert data["text/html"] == value._repr_html_()
        assert data["text/plain"].endswith(repr(value))
    data, _ = formatter.format(dsldec.load("threshold").plan(8))
    assert data["text/plain"].startswith("Plan(")
