"""Options and fixtures for every test."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from dsldec.cli import main

# No time limit for one example: the first may compile, and a busy machine is not a bug.
settings.register_profile("dsldec", deadline=None, print_blob=True)
settings.load_profile("dsldec")

os.environ["DSLDEC_VERIFY"] = "1"  # every program that a test lowers is verified

GOLDEN = Path(__file__).parent / "golden"
Accepted = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept",
        action="store_true",
        help="write the golden texts anew; look at what `git diff` says of them",
    )


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


@dataclass(frozen=True)
class Built:
    """A package, and what the command that built it printed."""

    file: Path
    out: str
    err: str


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """What the README's `dsldec build` gives, built once for all tests."""
    (command,) = re.findall(
        r"^dsldec (build .*)",
        (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    folder, out, err = tmp_path_factory.mktemp("built"), io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(shlex.split(command)) == 0, err.getvalue()
    assert [path.name for path in folder.iterdir()] == ["step.pt2"]
    return Built(folder / "step.pt2", out.getvalue(), err.getvalue())
