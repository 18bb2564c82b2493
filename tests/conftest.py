"""Options and fixtures for every test."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock  # torch brings it
from hypothesis import settings

from dsldec.cli import main

# No time limit for one example: the first may compile, and a busy machine is not a bug.
settings.register_profile("dsldec", deadline=None, print_blob=True)
settings.load_profile("dsldec")

os.environ["DSLDEC_VERIFY"] = "1"  # every program that a test lowers is verified
# A compiled step is compiled when a test asks for it. The tests of all processes share the packages.
os.environ["DSLDEC_BACKGROUND"] = "0"
os.environ.setdefault("DSLDEC_STEPS", str(Path(tempfile.gettempdir()) / f"dsldec-steps-{getpass.getuser()}"))

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
    """The package of the `dsldec build` of docs/artefacts.md, built once for all tests of all processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    printed = folder.with_suffix(".json")
    with FileLock(folder.with_suffix(".lock")):
        if not printed.exists():
            folder.mkdir()
            printed.write_text(json.dumps(_built_in(folder)), encoding="utf-8")
    return Built(folder / "step.pt2", *json.loads(printed.read_text(encoding="utf-8")))


def _built_in(folder: Path) -> tuple[str, str]:
    """Build the package in a folder; returns what the command printed."""
    page = (Path(__file__).parent.parent / "docs" / "artefacts.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^dsldec (build .*)", page, re.MULTILINE)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(shlex.split(command)) == 0, err.getvalue()
    assert [path.name for path in folder.iterdir()] == ["step.pt2"]
    return out.getvalue(), err.getvalue()
