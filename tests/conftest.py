"""What holds for every test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# No time limit for one example: the first may compile, and a busy machine is not a bug.
settings.register_profile("dsldec", deadline=None, print_blob=True)
settings.load_profile("dsldec")

GOLDEN = Path(__file__).parent / "golden"
Accepted = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="write the golden texts anew; look at what `git diff` says of them")


@pytest.fixture
def accepted(request: pytest.FixtureRequest) -> Accepted:
    """Asserts that a text is the one of a file below `golden/`; with `--accept` it becomes the one."""

    def compare(file: str, text: str) -> None:
        golden = GOLDEN / file
        if request.config.getoption("--accept"):
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_text(text, encoding="utf-8")
        assert text == golden.read_text(encoding="utf-8"), "`pytest --accept` takes the new text"

    return compare
