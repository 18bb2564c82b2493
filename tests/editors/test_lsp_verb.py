"""Does `dsldec lsp` say what to type where it cannot serve: without its packages, and at a terminal?"""

from __future__ import annotations

import io
import sys

import pytest

from dsldec.cli import main
from dsldec.diagnostics import UsageError
from dsldec.tools.language_server import PACKAGES, lsp


@pytest.mark.parametrize(("module", "package"), PACKAGES.items())
def test_a_missing_package_names_the_line_to_type(
    module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in PACKAGES.keys() - {module}:
        pytest.importorskip(other)  # the first package that is missing is named
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError) as error:
        lsp()
    found = error.value.diagnostic
    assert (found.code, found.message) == ("E0585", f"`{package}` is not installed")
    assert found.help == '`pip install "dsldec[lsp]"`'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), None])
def test_at_a_terminal_it_says_who_starts_it(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", stream)
    assert main(["lsp"]) == 2
    assert capsys.readouterr().err.startswith("error[E0586]: `dsldec lsp` talks to an editor")


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lsp", "--help"]) == 0
    assert "--stdio" in capsys.readouterr().out
    assert main(["lsp", "--tcp"]) == 2
    assert "E0420" in capsys.readouterr().err
