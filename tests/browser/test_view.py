"""The page of a trace in a real browser: it loads from a disk, steps, explains, compares, and shows every text
as data.

The explanations on the page are those of Python, for each position of each step. Not here: the data of the
page without a browser (`tests/tools/viewing`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.tools.viewing.page import page_of
from dsldec.tools.viewing.page_data import ViewedRun
from dsldec.trajectory import Trajectory

from ..toy import ToyDenoiser

HOSTILE = {
    3: "</script><script>document.title='broken'</script>",
    4: "<img src=x onerror=\"document.title='broken'\">",
    5: "\u202egnp.exe\x1b[31m\x00",
    6: "\ud83d lone",
    7: "x" * 10_000,
    8: "<!--<script>",
    9: "😀 &amp; é",
    10: " ",
    11: "\n",
}


@cache  # a trajectory is never changed
def decoded(
    policy: str, length: int = 24, trace: Any = "values", seed: int = 3, **settings: Any
) -> Trajectory:
    chosen = dsldec.load(policy, **settings)
    run = dsldec.decode(
        ToyDenoiser(seed, 2.0), [[1, 2, 3, 4]], chosen, gen_length=length, trace=trace, stop_at_eos=False
    )
    trajectory = run.trajectories[0]
    assert trajectory is not None
    return replace(trajectory, tokens={id_: f"t{id_}" for id_ in range(40)}, prompt="How many?")


def opened(page: Any, folder: Path, runs: Sequence[ViewedRun]) -> Any:
    file = folder / "trace.html"
    file.write_text(page_of(runs), encoding="utf-8")
    page.goto(file.as_uri())
    page.wait_for_selector(".controls")
    return page


def status(page: Any) -> str:
    return str(page.inner_text(".status"))


def test_it_steps_by_keys_and_by_the_slider(page: Any, tmp_path: Path, screenshot: Any) -> None:
    trace = decoded("threshold", confidence=0.9)
    opened(page, tmp_path, [ViewedRun("threshold", trace)])
    last = len(trace.steps)
    assert status(page) == "before the first step"
    page.keyboard.press("ArrowRight")
    assert status(page) == f"step 0 (1 of {last})"
    page.keyboard.press("End")
    assert status(page) == f"step {last - 1} ({last} of {last})"
    assert page.locator(".cell.masked:not(.example)").count() == 0
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(",")
    assert status(page) == f"step {last - 3} ({last - 2} of {last})"
    page.keyboard.press("Home")
    assert page.locator(".cell.masked:not(.example)").count() == trace.length
    page.focus("input[type=range]")
    page.keyboard.press("ArrowRight")
    assert status(page) == f"step 0 (1 of {last})"
    assert f"1 of {last} steps" in page.inner_text(".facts")
    screenshot(page, "first-step")


def test_it_plays_to_the_end(page: Any, tmp_path: Path) -> None:
    trace = decoded("threshold", confidence=0.5)
    opened(page, tmp_path, [ViewedRun("threshold", trace)])
    page.get_by_label("Speed").select_option("40")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    last = len(trace.steps)
    page.wait_for_selector(f".status:has-text('step {last - 1} ')")
    page.wait_for_selector("button[aria-label=play]")


@pytest.mark.parametrize("policy", ["threshold", "dico", "freedave", "remdm"])
def test_its_explanations_are_those_of_python(page: Any, tmp_path: Path, policy: str) -> None:
    trace = decoded(policy, length=12, **({"steps": 24} if policy == "remdm" else {}))
    opened(page, tmp_path, [ViewedRun(policy, trace)])
    texts = page.evaluate(
        "([steps, length]) => Array.from({length: steps}, (_, step) => Array.from({length}, (_, at) =>"
        " dsldecView.explanation(0, step, at)))",
        [len(trace.steps), trace.length],
    )
    for number, step in enumerate(trace.steps):
        for at in range(trace.length):
            assert texts[number][at] == str(step.why(at))


def test_a_click_explains_and_lights_the_policy(page: Any, tmp_path: Path, screenshot: Any) -> None:
    trace = decoded("threshold", confidence=0.9)
    opened(page, tmp_path, [ViewedRun("threshold", trace)])
    page.keyboard.press("ArrowRight")
    at = sorted(trace.steps[0].ids)[0]
    page.click(f'[data-position="{at}"]')
    why = trace.steps[0].why(at)
    assert page.inner_text(".why .head") == str(why).split("\n")[0]
    assert page.locator(".why-line").all_inner_texts() == [line.text for line in why.lines]
    lit = "".join(page.locator(".lit-yes, .lit-no").all_text_contents())
    deciding = [line.span.text for line in why.lines if line.decides and line.span is not None]
    assert deciding
    assert all(part in lit for part in deciding)
    page.locator(".why-line button").last.click()
    assert page.locator(".lit-pointed").count() > 0
    assert page.locator(".candidates tbody tr").count() > 0
    screenshot(page, "explained")


def test_the_keyboard_alone_is_enough(page: Any, tmp_path: Path) -> None:
    trace = decoded("threshold", length=40, confidence=0.9)
    opened(page, tmp_path, [ViewedRun("threshold", trace)])
    page.keyboard.press("ArrowRight")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "gridcell":
            break
    assert page.evaluate("document.activeElement.dataset.position") == "0"
    assert page.locator('[role=gridcell][tabindex="0"]').count() == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.position") == "17"
    assert page.locator(".peek").is_visible()
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.dataset.position") == "16"
    page.keyboard.press("Control+End")
    assert page.evaluate("document.activeElement.dataset.position") == "39"
    page.keyboard.press(".")
    assert status(page).startswith("step 1 ")
    page.keyboard.press("Enter")
    assert "position 39, step 1" in page.inner_text(".why .head")
    assert "position 39, step 1" in page.text_content("[role=status]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.position") != "38"


def test_a_cell_says_what_it_shows(page: Any, tmp_path: Path) -> None:
    trace = decoded("threshold", confidence=0.9)
    opened(page, tmp_path, [ViewedRun("threshold", trace)])
    page.keyboard.press("ArrowRight")
    at = sorted(trace.steps[0].ids)[0]
    label = page.get_attribute(f'[data-position="{at}"]', "aria-label")
    assert label.startswith(f"position {at}, 't{trace.steps[0].ids[at]}', committed at step 0, confidence 0.")
    assert page.locator("main h1").count() == 1
    assert page.get_by_role("grid").count() == 1
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == status(page)


def test_each_colour_has_a_legend_or_a_sentence(page: Any, tmp_path: Path) -> None:
    opened(page, tmp_path, [ViewedRun("dico", decoded("dico"))])
    page.keyboard.press("End")
    for colour in ("confidence", "entropy", "step", "phase", "none"):
        page.get_by_label("Colour").select_option(colour)
        tinted = page.locator(".grid .tinted, .grid .phased").count()
        assert (tinted > 0) == (colour != "none")
        assert bool(page.inner_text(".legend")) == (colour != "none")


def test_the_explanation_is_in_sight_beside_the_lines_that_decided(page: Any, tmp_path: Path) -> None:
    opened(page, tmp_path, [ViewedRun("dico", decoded("dico", length=64))])
    number = next(at for at, step in enumerate(decoded("dico", length=64).steps) if step.phase == "finalize")
    page.evaluate(f"dsldecView.go({number + 1})")
    assert "phase finalize" in page.locator(".line.running").first.inner_text()
    for place in (".line.running >> nth=0", ".row-values h3", ".marks"):
        assert page.locator(place).bounding_box()["y"] < 880
    at = min(decoded("dico", length=64).steps[number].ids)
    page.evaluate(f"dsldecView.select({at})")
    policy, head = page.locator(".policy").bounding_box(), page.locator(".why .head").bounding_box()
    lit = page.locator(".lit-yes, .lit-no").first.bounding_box()
    assert policy["y"] <= lit["y"] < min(900, policy["y"] + policy["height"])
    assert head["y"] < 880
    assert head["x"] > policy["x"] + policy["width"]


def test_rows_fit_and_cells_stay_in_their_places(new_page: Any, tmp_path: Path) -> None:
    trace = replace(decoded("threshold", length=64), tokens={id_: "x" * (1 + id_ % 5) for id_ in range(40)})
    places = """() => [...document.querySelectorAll(".grid .cell")].map((one) => [one.offsetLeft, one.offsetTop])"""
    rows = """() => [...document.querySelectorAll(".grid .tokens")].map((one) =>
      [one.children.length, one.lastElementChild.offsetTop > one.firstElementChild.offsetTop + 4])"""
    for width, sizes in ((1280, {16}), (360, {4, 8})):
        page = new_page(width=width)
        opened(page, tmp_path, [ViewedRun("threshold", trace)])
        before = page.evaluate(places)
        shown = page.evaluate(rows)
        assert {size for size, _ in shown} <= sizes
        assert sum(wraps for _, wraps in shown) * 8 <= len(shown)
        for key in (".", ".", "End"):
            page.keyboard.press(key)
            assert page.evaluate(places) == before


def test_the_keyboard_comes_back_from_the_explanation(page: Any, tmp_path: Path) -> None:
    opened(page, tmp_path, [ViewedRun("threshold", decoded("threshold", confidence=0.9))])
    page.keyboard.press("ArrowRight")
    page.focus('[data-position="0"]')
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator(".why-line button").first.evaluate("one => one === document.activeElement")
    page.keyboard.press(".")
    assert page.evaluate("document.activeElement.textContent") == "Why"
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.position") == "1"
    assert page.text_content("[role=status]") == "explanation closed"


def test_two_runs_step_together_and_their_difference_is_marked(
    page: Any, tmp_path: Path, screenshot: Any
) -> None:
    runs = [
        ViewedRun("threshold", decoded("threshold", confidence=0.9)),
        ViewedRun("factor", decoded("factor")),
    ]
    opened(page, tmp_path, runs)
    first = status(page)  # it opens at the first difference
    page.keyboard.press("End")
    page.locator("button.difference").click()
    assert status(page) == first
    step = next(
        at
        for at, (one, other) in enumerate(zip(*(run.trajectory.steps for run in runs), strict=False))
        if dict(one.ids) != dict(other.ids)
    )
    assert status(page).startswith(f"step {step} ")
    assert page.locator(".grid .differs").count() > 0
    assert page.locator(".why .head").count() == 2
    page.get_by_label("Step by").select_option("forward")
    assert status(page).startswith("forward ")
    page.keyboard.press("Escape")
    screenshot(page, "pair", full_page=True)


def test_drafts_are_drawn(page: Any, tmp_path: Path, screenshot: Any) -> None:
    trace = decoded("freedave", length=48)
    opened(page, tmp_path, [ViewedRun("freedave", trace)])
    shared = next(
        at for at in range(1, len(trace.steps)) if trace.steps[at].forward == trace.steps[at - 1].forward
    )
    page.evaluate(f"dsldecView.go({shared + 1})")
    assert page.locator(".grid .accepted").count() == len(trace.steps[shared].ids)
    refused = next(at for at, step in enumerate(trace.steps) if step.record.refused)
    page.evaluate(f"dsldecView.go({refused + 1})")
    assert page.locator(".grid .refused del").count() == len(trace.steps[refused].record.refused)
    outside = """(steps) => Array.from({length: steps + 1}, (_, at) => at).filter((at) => {
      dsldecView.go(at);
      return [...document.querySelectorAll(".grid .cell")].some((one) => one.scrollWidth > one.clientWidth + 1);
    })"""
    assert page.evaluate(outside, len(trace.steps)) == []
    marks = page.inner_text(".marks")
    assert "from an accepted draft" in marks
    assert "a refused draft" in marks
    assert "given text" not in marks
    assert page.locator(".band.drafts span").count() > 0
    screenshot(page, "drafts")


def test_revoked_positions_are_drawn(page: Any, tmp_path: Path) -> None:
    trace = decoded("remdm", length=12, steps=24, eta=0.3)
    revoked = next(at for at, step in enumerate(trace.steps) if step.revoked)
    opened(page, tmp_path, [ViewedRun("remdm", trace)])
    page.evaluate(f"dsldecView.go({revoked + 1})")
    assert page.locator(".grid .now-revoked del").count() == len(trace.steps[revoked].revoked)


def test_text_is_never_markup(page: Any, tmp_path: Path) -> None:
    trace = decoded("threshold", confidence=0.3)
    hostile = {id_: HOSTILE[3 + id_ % 9] for id_ in range(40)}
    prompt = "</script><script>document.title='broken'</script>\u202e"
    run = ViewedRun("<b>t</b>", replace(trace, tokens=hostile, prompt=prompt))
    opened(page, tmp_path, [run])
    page.keyboard.press("End")
    page.click('[data-position="2"]')
    assert page.title() == "<b>t</b>: steps of dsldec"
    assert page.locator("main img, main script, main b").count() == 0
    text = page.inner_text("main")
    assert "</script>" in text
    assert not any(one in page.text_content("main") for one in "\u202e\x1b\x00")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_the_whole_page_is_one_file_with_a_strict_policy(tmp_path: Path) -> None:
    text = page_of([ViewedRun("threshold", decoded("threshold"))])
    assert "default-src 'none'" in text
    assert "unsafe" not in text.split("</head>")[0].split("<style>")[0]
    assert not any(part in text for part in ("http://", "https://", " src=", "<link", "@import"))


def test_a_trace_without_values_is_shown_with_a_sentence(page: Any, tmp_path: Path) -> None:
    trace = replace(decoded("threshold", trace=True), tokens={}, prompt=None)
    opened(page, tmp_path, [ViewedRun("old", trace)])
    page.keyboard.press("End")
    page.click('[data-position="2"]')
    assert "--values" in page.inner_text(".note")
    assert "position 2, '#" in page.inner_text(".why .head")
    assert page.locator(".policy").count() == 0


def test_given_text_looks_otherwise(page: Any, tmp_path: Path) -> None:
    mask = ToyDenoiser.mask_id
    run = dsldec.decode(
        ToyDenoiser(3, 2.0), [[1, mask, mask, 5, mask, 6]], "threshold", infill=True, trace="values"
    )
    opened(page, tmp_path, [ViewedRun("threshold", run.trajectories[0])])
    given = run.trajectories[0].given
    assert page.locator(".grid .given").count() == len(given) == 2
    label = page.get_attribute(f'[data-position="{min(given)}"]', "aria-label")
    assert label.startswith(f"position {min(given)}, '#5', given text")


def test_a_long_trace_explains_its_changes(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = decoded("threshold")
    monkeypatch.setattr("dsldec.tools.viewing.step_data.MOST_EXPLAINED", 1)
    opened(page, tmp_path, [ViewedRun("threshold", trace)])
    at = min(trace.steps[0].ids)
    assert page.evaluate(f"dsldecView.explanation(0, 0, {at})") == str(trace.steps[0].why(at))
    other = next(one for one in range(trace.length) if one not in trace.steps[0].ids)
    assert page.evaluate(f"dsldecView.explanation(0, 0, {other})") is None
    assert "dsldec why" in page.inner_text(".note")


def test_new_data_takes_the_place_of_the_old(page: Any, tmp_path: Path) -> None:
    from dsldec.tools.viewing.page_data import page_data

    opened(page, tmp_path, [ViewedRun("threshold", decoded("threshold"))])
    page.keyboard.press("End")
    page.evaluate("data => dsldecView.update(data)", page_data([ViewedRun("factor", decoded("factor"))]))
    steps = len(decoded("factor").steps)
    assert status(page) == f"step {steps - 1} ({steps} of {steps})"
    assert "factor" in page.inner_text("h1")


def test_it_fits_a_phone(new_page: Any, tmp_path: Path, screenshot: Any) -> None:
    page = new_page(width=360, height=740, color_scheme="dark")
    runs = [ViewedRun("threshold", decoded("threshold")), ViewedRun("dico", decoded("dico"))]
    for shown in (runs[1:], runs):
        opened(page, tmp_path, shown)
        page.keyboard.press("ArrowRight")
        page.click('[data-position="3"] >> nth=0')
        page.locator(".help summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    screenshot(page, "phone", full_page=True)


# The colours that a browser gives an element and its background, as numbers; alpha is blended.
CONTRASTS = """() => {
  const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) known.set(colour, painted(colour));
    return known.get(colour);
  };
  const painted = (colour) => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility() || element.closest(".only-read, script, style, option")) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push([element.className, text.data.slice(0, 20), ratio.toFixed(2)]);
  }
  return low;
}"""


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_text_has_contrast(new_page: Any, tmp_path: Path, screenshot: Any, colours: str) -> None:
    page = new_page(color_scheme=colours, reduced_motion="reduce")
    opened(page, tmp_path, [ViewedRun("dico", decoded("dico"))])
    page.locator(".help summary").click()
    assert "[object" not in page.inner_text("main")
    page.click('[data-position="3"]')
    for colour in ("confidence", "step", "phase"):
        page.get_by_label("Colour").select_option(colour)
        for step in (2, 99):
            page.evaluate(f"dsldecView.go({step})")
            assert page.evaluate(CONTRASTS) == []
    screenshot(page, "contrast")


def test_axe_finds_no_violation(page: Any, tmp_path: Path) -> None:
    modules = Path(os.environ.get("NODE_PATH") or Path(__file__).parents[2] / "node_modules")
    axe = modules / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("axe-core is not in node_modules")
    opened(page, tmp_path, [ViewedRun("dico", decoded("dico"))])
    page.keyboard.press("ArrowRight")
    page.click('[data-position="3"]')
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert [[one["id"], [node["target"] for node in one["nodes"][:3]]] for one in found["violations"]] == []
