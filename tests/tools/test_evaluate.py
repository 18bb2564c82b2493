"""`dsldec evaluate`: the table of shipped policies, also for a model with its own code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsldec.cli import main
from dsldec.models.tasks import TASKS
from dsldec.tools.evaluate import settings

from ..models import tiny


@pytest.fixture(autouse=True)
def modules(tmp_path: Path) -> Iterator[None]:
    with tiny.code_copied_to(tmp_path / "modules"):
        yield


def test_a_model_of_own_code_is_measured_when_it_is_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.saved(tmp_path / "model", "llada", mask=False, vary={"max_sequence_length": 512})
    given = ["evaluate", "--count", "1", "--model", str(folder), "--device", "cpu"]
    assert main(given) == 2
    assert "to run it write `--trust-remote-code`" in capsys.readouterr().err
    assert main([*given, "--trust-remote-code"]) == 2
    assert "`--mask-id N`" in capsys.readouterr().err
    assert main([*given, "--trust-remote-code", "--mask-id", "2"]) == 0
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("| task | policy | answer right")
    assert set(rule) == {"|", "-"}
    assert len(rows) == sum(len(list(settings(task))) for task in TASKS)
    assert all(row.count("|") == 8 for row in rows)
