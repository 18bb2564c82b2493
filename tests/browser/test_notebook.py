"""Notebook views in Chromium: light and dark, in the width of a cell, with hostile texts."""

from __future__ import annotations

import pytest

import dsldec
from dsldec.explained.why import Why, WhyLine
from tests.notebook.samples import HOSTILE, decoded, failed, trajectory

WIDTH = 700
CELL = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A cell</title>
<body style="margin:0;font-family:sans-serif;font-size:14px;{colours}">{html}</body></html>"""
COLOURS = {
    "light": "background:#fff;color:#111;color-scheme:light",
    "dark": "background:#111;color:#eee;color-scheme:dark",
}


def a_why() -> Why:
    policy = dsldec.load("klass")
    commit = next(one for one in policy.facts.policy.statements if "commit" in one.span.text)
    lines = (
        WhyLine(0, "commit (masked and conf > confidence) -> {}", ("yes",), True, commit.span),
        WhyLine(1, "conf {} > confidence {}", ("0.93", "0.9"), True, commit.span),
        WhyLine(1, "writes {}", (HOSTILE,)),
    )
    return Why(3, 1, "", "committed", lines)


def values() -> dict[str, object]:
    tokens = {3: HOSTILE, 5: " blue", 6: "\n", 8: "<end>"}
    long = "eine_sehr_lange_Antwort_ohne_Leerzeichen" * 20
    return {
        "policy": dsldec.load("klass"),
        "long policy": dsldec.load("remdm"),
        "facts": dsldec.load("freedave").facts,
        "plan": dsldec.load("freedave").plan(64),
        "why": a_why(),
        "diagnostic": dsldec.check(f"policy x():\n  window blocks(32)\n  commit masked {HOSTILE!r}\n")[1][0],
        "trajectory": trajectory(tokens, id=HOSTILE),
        "step": trajectory().steps[1],
        "decoded": decoded(
            ["The answer is 32.", long, None, HOSTILE, *["x"] * 20],
            [None, None, failed(HOSTILE, HOSTILE), *[None] * 21],
            [trajectory(tokens), trajectory()],
        ),
    }


@pytest.mark.parametrize("scheme", COLOURS)
def test_views_fit_a_cell_and_run_nothing(new_page, screenshot, scheme):
    page = new_page(width=WIDTH, color_scheme=scheme)
    html = "<hr>".join(str(value._repr_html_()) for value in values().values())
    page.on("dialog", lambda dialog: pytest.fail("a text of a model ran as a script"))
    page.set_content(CELL.format(colours=COLOURS[scheme], html=html))
    for details in page.query_selector_all("details"):
        details.evaluate("one => { one.open = true; }")
    screenshot(page, scheme, full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    assert page.locator("img, script").count() == 0
    assert "onerror=alert(1)" in page.inner_text("body")
