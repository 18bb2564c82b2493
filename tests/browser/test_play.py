"""Can a person write a policy in `dsldec play`: see a mistake at its place, mend it, and watch it decode?

Not here: the server without a browser (`tests/tools/playing`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# The rules of the page forbid `wait_for_function`, which evaluates a text in it.
expect = pytest.importorskip("playwright.sync_api", reason="these tests need Playwright").expect

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"playground: (http://127\.0\.0\.1:(\d+)/\S+/) ")


@dataclass
class Running:
    """A process of `dsldec play`."""

    process: subprocess.Popen[str]
    address: str
    port: str

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(30)


def start(port: str = "0") -> Running:
    command = [sys.executable, "-m", "dsldec", "play", "--no-open", "--port", port]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    found = LINE.match(process.stdout.readline())
    assert found is not None
    return Running(process, found[1], found[2])


@pytest.fixture(scope="module")
def playground() -> Iterator[Running]:
    running = start()
    yield running
    running.end()
    assert running.process.returncode == 0


def opened(page: Any, address: str) -> Any:
    page.goto(address)
    decoded(page)
    return page


def decoded(page: Any) -> None:
    status_is(page, "^Decoded")


def status_is(page: Any, pattern: str) -> None:
    expect(page.locator("#status")).to_have_text(re.compile(pattern), timeout=15_000)


def figures_are_whole(page: Any) -> None:
    expect(page.locator("[data-figure=right]")).to_have_text(re.compile("of 20$"), timeout=15_000)


def write(page: Any, text: str) -> None:
    """Replaces the text as a person does: selects everything and types. The editor indents lines."""
    editor = page.get_by_test_id("editor")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    for number, line in enumerate(text.splitlines()):
        if number:
            page.keyboard.press("Enter")
        page.keyboard.type(line)
        page.keyboard.press("Escape")  # closes the completions


def text_of(page: Any) -> str:
    lines = page.locator(".cm-line").all_inner_texts()
    return "\n".join("" if line == "\n" else line for line in lines)


def test_write_a_policy_see_its_error_mend_it_and_watch_it_decode(
    playground: Running, page: Any, screenshot: Callable[..., Path]
) -> None:
    opened(page, playground.address)
    write(page, "policy mine(sure: prob = 0.9):\nwindow all\ncommit masked and cnf > sure at least 1 by conf")
    page.wait_for_selector(".mistake .code")
    assert text_of(page).splitlines()[1] == "  window all"
    assert page.locator(".mistake .code").all_inner_texts() == ["E0201"]
    assert page.locator(".cm-lintRange-error").all_inner_texts() == ["cnf"]  # at its place
    page.get_by_role("button", name="line 3").click()
    assert page.locator(".cm-activeLine").inner_text().startswith("  commit")
    screenshot(page, "mistake")
    page.get_by_role("button", name="replace `cnf` with `conf`").click()
    decoded(page)
    assert page.locator(".mistake").count() == 0
    assert "#### 14" in page.locator("#answer").inner_text()
    assert page.locator("#trace").get_by_text("Steps of mine").count() == 1
    screenshot(page, "decoded", full_page=True)


def test_a_slider_decodes_again(playground: Running, page: Any) -> None:
    opened(page, playground.address)
    before = page.locator("#status").inner_text()
    slider = page.get_by_role("slider", name="confidence", exact=True)
    slider.focus()
    for _ in range(4):
        page.keyboard.press("PageDown")
    assert slider.input_value() == "0.5"
    assert page.get_by_label("confidence, as a number").input_value() == "0.5"
    status_is(page, f"^Decoded(?!{re.escape(before.removeprefix('Decoded'))})")
    page.get_by_label("confidence, as a number").fill("3")
    status_is(page, "`confidence` is of kind `prob`")


@pytest.mark.slow
def test_figures_of_held_out_prompts_beside_those_of_the_last_change(playground: Running, page: Any) -> None:
    opened(page, playground.address)
    figures_are_whole(page)
    figures = page.locator("[data-figure=forwards]").inner_text()
    assert page.locator("#before").is_hidden()
    page.get_by_label("confidence, as a number").fill("0.5")
    expect(page.locator("#before")).to_be_visible()
    figures_are_whole(page)
    assert page.locator("[data-before=forwards]").inner_text() == figures
    assert float(page.locator("[data-figure=forwards]").inner_text()) < float(figures)


@pytest.mark.slow
def test_a_pinned_run_stays_beside_the_next_ones(
    playground: Running, page: Any, screenshot: Callable[..., Path]
) -> None:
    opened(page, playground.address)
    figures_are_whole(page)
    figures = page.locator("[data-figure=forwards]").inner_text()
    page.get_by_role("button", name="Pin this run").click()
    expect(page.locator("#trace .run")).to_have_count(2)
    for value in ("0.7", "0.5"):
        page.get_by_label("confidence, as a number").fill(value)
        expect(page.locator("#trace .parameters").nth(1)).to_contain_text(f"confidence = {value}")
    expect(page.locator("#trace .parameters").nth(0)).to_contain_text("confidence = 0.9")
    figures_are_whole(page)
    expect(page.locator("#before")).to_contain_text("pinned run")
    assert page.locator("[data-before=forwards]").inner_text() == figures
    screenshot(page, "pinned", full_page=True)
    page.locator("#example").select_option("1")
    status_is(page, "The pinned run has another prompt")
    page.get_by_role("button", name="Unpin").click()
    expect(page.locator("#trace .run")).to_have_count(1)
    expect(page.get_by_role("button", name="Pin this run")).to_be_visible()


@pytest.mark.slow
def test_a_link_brings_text_and_settings_to_another_page(
    playground: Running, new_page: Callable[..., Any]
) -> None:
    page = opened(new_page(), playground.address)
    page.get_by_label("confidence, as a number").fill("0.25")
    page.locator("#prompt").fill("Eva has 3 pens. Eva gets 4 more pens. How many pens does Eva have now?")
    page.get_by_role("button", name="Copy a link").click()
    expect(page.locator("#link")).to_have_value(re.compile("#policy=1[.]"))
    link = page.locator("#link").input_value()
    assert link.startswith(f"http://127.0.0.1:{playground.port}/#policy=1.")
    assert playground.address not in link  # no token

    other = new_page()
    other.goto(playground.address)
    other.get_by_role("button", name="Open a link").click()
    other.locator("#link").fill(link)
    other.get_by_role("button", name="Open", exact=True).click()
    expect(other.get_by_label("confidence, as a number")).to_have_value("0.25")
    assert other.locator("#prompt").input_value().startswith("Eva has 3 pens")
    third = new_page()
    third.goto(playground.address + link[link.index("#") :])
    expect(third.get_by_label("confidence, as a number")).to_have_value("0.25")
    assert "#" not in third.url
    for damaged in ("#policy=1.AAAA", link[:-9], "#policy=1.%%%", "nonsense"):
        other.locator("#link").fill(damaged)
        other.get_by_role("button", name="Open", exact=True).click()
        expect(other.locator("#told")).to_contain_text("damaged")
        other.evaluate("document.getElementById('told').textContent = ''")


def test_a_link_is_text_and_no_markup(playground: Running, page: Any) -> None:
    opened(page, playground.address)
    evil = "<img src=x onerror=alert(1)>"
    fragment = page.evaluate(
        "state => dsldecShare.fragmentOf(state)", {"text": evil, "values": {"a": evil}, "prompt": evil}
    )
    page.evaluate("fragment => { location.hash = fragment }", fragment)
    page.wait_for_selector(".mistake .code")
    assert page.locator("img").count() == 0
    assert evil in text_of(page)
    expect(page.locator("#earlier")).to_be_visible()  # the steps of the text before
    many = "Array.from({length: 900}, () => crypto.randomUUID()).join('')"
    assert page.evaluate(f"dsldecShare.fragmentOf({{text: {many}}})") is None  # too long for a link
    bomb = page.evaluate("dsldecShare.fragmentOf({text: 'a'.repeat(1000000)})")
    assert page.evaluate("fragment => dsldecShare.stateOf(fragment)", bomb) is None
    polluting = page.evaluate(
        """async () => {
        const state = await dsldecShare.fragmentOf(JSON.parse('{"text": "", "values": {"__proto__": 1, "a b": 1, "b": []}}'));
        return [Object.keys((await dsldecShare.stateOf(state)).values), {}.polluted === undefined];
    }"""
    )
    assert polluting == [[], True]


@pytest.mark.slow
def test_a_dead_server_leaves_the_text(new_page: Callable[..., Any]) -> None:
    running = start()
    page = opened(new_page(), running.address)
    write(page, "policy mine():\nwindow all\ncommit top(masked, 2, by=conf)")
    decoded(page)
    running.end(signal.SIGKILL)
    page.get_by_role("button", name="Decode again").click()
    expect(page.get_by_role("alert")).to_contain_text("The server has stopped")
    status_is(page, "^Not decoded[.]$")
    assert "top(masked, 2, by=conf)" in text_of(page)
    page.errors_seen[:] = [one for one in page.errors_seen if "ERR_CONNECTION_REFUSED" not in one]

    again = start(running.port)  # with another token
    page.get_by_role("button", name="Decode again").click()
    expect(page.get_by_role("alert")).to_contain_text("The address of this page is too old")
    page.errors_seen[:] = [
        one for one in page.errors_seen if "403" not in one and "ERR_CONNECTION" not in one
    ]
    opened(page, again.address)
    assert "top(masked, 2, by=conf)" in text_of(page)  # the page of the new address brings it back
    again.end()


@pytest.mark.slow
def test_a_long_decode_shows_how_far_it_is_and_stops(playground: Running, page: Any) -> None:
    opened(page, playground.address)
    page.locator("#prompt").fill("word " * 150)
    page.locator("#gen-length").fill("128")
    write(page, "policy slow():\nwindow all\ncommit top(masked, 1, by=conf)")
    status_is(page, "^Decoding: step [0-9]+, [0-9]+ of 128 positions are written")
    page.get_by_role("button", name="Stop").click()
    status_is(page, "^You stopped the decode. Written until then: [0-9]+ tokens")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator("#earlier")).to_be_visible()


@pytest.mark.slow
def test_two_pages_decode_side_by_side(playground: Running, new_page: Callable[..., Any]) -> None:
    pages = [opened(new_page(), playground.address) for _ in range(2)]
    slow = "policy slow():\n  window all\n  commit top(masked, 1, by=conf)\n"
    for page in pages:
        page.get_by_role("button", name="Open a link").click()
        state = {"text": slow, "gen_length": 64}
        page.locator("#link").fill(page.evaluate("state => dsldecShare.fragmentOf(state)", state))
        page.locator("#link").press("Enter")
    for page in pages:
        status_is(page, "in [0-9]+ forwards [(]at most 64[)]")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_has_no_sideways_scrolling(
    playground: Running, new_page: Callable[..., Any], scheme: str, screenshot: Callable[..., Path]
) -> None:
    page = opened(new_page(width=360, height=740, color_scheme=scheme), playground.address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    screenshot(page, "narrow", full_page=True)


def test_every_control_has_a_name_and_keys_reach_it(playground: Running, page: Any) -> None:
    page.goto(playground.address)
    page.get_by_role("slider", name="confidence", exact=True).wait_for()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("main input, main select, main textarea, main button")].filter(
            one => one.offsetParent && !one.labels?.length && !one.ariaLabel && !one.textContent.trim()).map(one => one.outerHTML)"""
    )
    assert nameless == []
    page.get_by_test_id("editor").click()
    page.keyboard.press("Tab")  # leaves the editor
    assert page.evaluate("document.activeElement.closest('#editor')") is None


@pytest.mark.slow
def test_completion_hover_and_format(playground: Running, page: Any) -> None:
    opened(page, playground.address)
    write(page, "policy mine():\nwindow all\ncommit   top(masked,1,by=conf)")
    page.keyboard.press("Shift+Alt+F")
    expect(page.get_by_test_id("editor")).to_contain_text("commit top(masked, 1, by=conf)")
    page.locator(".cm-line").nth(2).get_by_text("commit", exact=True).hover()
    page.locator(".cm-hover").get_by_text("write the token").first.wait_for()
    page.keyboard.press("Control+End")
    page.keyboard.press("Enter")
    page.keyboard.type("fi")
    page.locator(".cm-tooltip-autocomplete").get_by_text("finish").first.wait_for()


@pytest.mark.slow
def test_a_shipped_policy_with_a_network_gets_a_sentence(playground: Running, page: Any) -> None:
    opened(page, playground.address)
    page.get_by_label("Start from a shipped policy").select_option("learn2pd")
    status_is(page, "the playground reads no files")
    page.get_by_label("Start from a shipped policy").select_option("dream")
    decoded(page)
    page.get_by_label("alg", exact=True).select_option("topk_margin")
    decoded(page)
