"""The explanations of a few shipped cases, as they are printed.

`python -m tests.explained.test_why_goldens` writes the files anew: read every line that changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsldec.tools.explaining.case_run import of_case
from dsldec.tools.explaining.explained_run import ExplainedRun
from dsldec.tools.test import cases_of

FOLDER = Path(__file__).parent / "why"
# The cases of each policy, by their place in its file.
GOLDEN = {
    "dico": (1,), "dilated_spacing": (0,), "entropy_bounded": (0,), "factor": (0,), "freedave": (0,),
    "frechet": (0,), "hierarchy_block": (0,), "klass": (0,), "local_leap": (0,), "lopa": (0,), "multi_block": (0,),
    "prophet": (0,), "remdm": (0,), "saber": (0,), "threshold": (0,), "token_to_mask": (0,), "wino_plain": (1,),
}  # fmt: skip


def lines_of(run: ExplainedRun) -> Iterator[str]:
    yield f"case {run.title.removeprefix('case ')}"
    for step, record in enumerate(run.records):
        for position in range(run.length):
            yield f"\n{run.why(step, position)}"
        yield f"\nstep {step}"
        assert record is not None
        yield from ("  " * (line.depth + 1) + line.text for line in record.why_phase())


def explained(name: str) -> str:
    policy, cases = cases_of(name)
    return "\n".join(line for place in GOLDEN[name] for line in lines_of(of_case(cases[place], policy))) + "\n"


@pytest.mark.parametrize("name", GOLDEN)
def test_the_explanations_are_those_of_the_file(name: str) -> None:
    assert explained(name) == (FOLDER / f"{name}.txt").read_text()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in GOLDEN:
        (FOLDER / f"{name}.txt").write_text(explained(name))
