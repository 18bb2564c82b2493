"""The page of a trace inside a notebook's output, and the page of two policies, in Chromium."""

from __future__ import annotations

import pytest

import dsldec
from dsldec.cli import main

CELL = '<!doctype html><html lang="en"><meta charset="utf-8"><title>A cell</title><body>{html}</body></html>'


@pytest.fixture(scope="module")
def decoded() -> dsldec.Decoded:
    return dsldec.decode(
        dsldec.from_pretrained(),
        ["What is 14+18?"],
        "threshold",
        gen_length=24,
        backend="eager",
        trace="values",
    )


def test_the_page_steps_inside_its_frame(new_page, screenshot, decoded):
    page = new_page(width=700, color_scheme="dark")
    page.set_content(CELL.format(html=decoded._repr_html_()))
    page.get_by_text("Each step with its values").click()
    frame = page.frame_locator("iframe")
    frame.get_by_text("Steps of prompt 0").wait_for()
    before = frame.locator("body").inner_text()
    frame.get_by_text("›", exact=True).click()
    frame.get_by_text("before the first step", exact=True).wait_for(state="hidden")
    assert frame.locator("body").inner_text() != before
    screenshot(page, "frame", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 700


@pytest.mark.slow
def test_the_page_of_two_policies_opens_from_the_disk(new_page, screenshot, tmp_path, capsys):
    file = tmp_path / "both.html"
    options = ("--prompt", "What is 14+18?", "--gen-length", "24", "--backend", "eager", "--html", str(file))
    assert main(["compare", "threshold", "static", *options]) == 1
    step = capsys.readouterr().out.split(", step ")[1].split(",")[0]
    page = new_page(color_scheme="light")
    page.goto(file.as_uri())
    page.get_by_text("threshold", exact=False).first.wait_for()
    text = page.inner_text("body")
    assert "static" in text
    assert "difference" in text
    screenshot(page, "both", full_page=True)
    assert int(step) >= 0
