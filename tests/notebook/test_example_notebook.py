"""Does each cell of the example notebook run, and does its last value show itself?"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[2] / "examples" / "look_inside.ipynb"


def value_of(cell: str, names: dict[str, Any]) -> Any:
    """Runs a cell, and gives the value of the expression at its end."""
    *statements, last = ast.parse(cell).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(statements, []), "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


def test_the_example_runs_and_each_cell_shows_its_value():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in codes), "clear the outputs"
    names: dict[str, Any] = {}
    shown = [value_of("".join(cell["source"]), names)._repr_html_() for cell in codes]
    assert len(shown) == 7
    assert "<iframe " in shown[2]
    assert "committed" in shown[4]
    assert "unchanged" in shown[5]
    assert "E0301" in shown[6]
