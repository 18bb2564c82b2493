"""A headless Chromium for the tests of pages: it stays off the network, and an error of a page is a failure.

Skipped where Playwright or Chromium is missing. Screenshots go to `$DSLDEC_SCREENSHOTS`, else to the folder
of the test.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

LOCAL = ("127.0.0.1", "localhost", "")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="these tests need Playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("these tests need the program chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a context of its own: `new_page(width=360, color_scheme="dark")`.

    At the end of the test, an error in the console, an uncaught error and a request to another machine fail
    the test. A test that expects an error removes it from `page.errors_seen`.
    """
    contexts, errors = [], []

    def open_page(width: int = 1280, height: int = 900, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        context.set_default_timeout(10_000)
        context.route(re.compile("^(https?|wss?):"), lambda route: _only_local(route, errors))
        page = context.new_page()
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.errors_seen = errors
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    """A page of the width of a desktop, in light colours."""
    return new_page(color_scheme="light")


@pytest.fixture
def screenshot(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Keeps a picture of a page: `screenshot(page, "dark")`."""
    folder = Path(os.environ.get("DSLDEC_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page: Any, name: str, **settings: Any) -> Path:
        path = folder / f"{request.node.name}-{name}.png"
        page.screenshot(path=path, **settings)
        return path

    return keep


def _only_local(route: Any, errors: list[str]) -> None:
    address = route.request.url
    if urlsplit(address).hostname in LOCAL:
        route.continue_()
    else:
        errors.append(f"a request to the network: {address}")
        route.abort()
