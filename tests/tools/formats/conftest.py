"""A policy with a mistake, in a folder of its own that is the current one."""

from __future__ import annotations

from pathlib import Path

import pytest

BAD = "policy bad(unused: int = 1):\n  window blocks(32)\n  commit masked and cnf > 0.9\n"


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bad.policy"
    file.write_text(BAD)
    return file
