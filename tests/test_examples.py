"""Every example runs and prints the promised text."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "decode_prompts": ["forwards)"],
    "json_answers": ['threshold: {"answer": ', 'static: {"answer": '],
    "infill": ["3*6=18. 14+18=32. The answer is 32. #### 32"],
    "own_policy": ["error[E0301]", "calm takes at most 48 forwards", "step 1 wrote ["],
    "in_transformers": ["14=32. It is 32. #### 32\n", "3*6=18. 18+14=32. It is 32. #### 32\n" * 2],
    "own_loop": ["forwards, step on "],
    "draft_cost": ["| `static` | 8 | 2 | ", "| `dico` | 1 | 2 | "],
    "live_view": ["<svg", "</svg>"],
    "own_artefact": ["policy threshold(", "2 rows of 32 positions in "],
}


def test_all_examples_are_listed() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_example(
    name: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "own_artefact":
        monkeypatch.chdir(request.getfixturevalue("built").file.parent)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # where transformers 5.3 looks for the source of a class
    spec.loader.exec_module(module)
    if name == "draft_cost":
        monkeypatch.setattr(module, "DRAFTS", (1, 2))  # more of them take most of a minute
    module.main()
    printed = capsys.readouterr().out
    for part in SAYS[name]:
        assert part in printed
