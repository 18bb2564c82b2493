"""4x4 sudoku: fill the empty cells (`0`) so that rows, columns and 2x2 boxes hold 1 to 4.

A puzzle may have several solutions, and any of them is right. Then cells depend on each other: a decoder that
writes all cells from one forward mixes solutions. This is the simplest example of why the decoding order
matters.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import permutations

from .example import Example, Score

SIDE = 4
CELLS = SIDE * SIDE
FEWEST_CLUES, MOST_CLUES = 4, 10
WORDINGS = (
    "Solve this sudoku: {grid}",
    "Fill in the sudoku {grid}",
    "Sudoku, 0 is empty: {grid}",
    "Complete the grid {grid}",
)


def _groups() -> list[list[int]]:
    rows = [[SIDE * r + c for c in range(SIDE)] for r in range(SIDE)]
    columns = [[SIDE * r + c for r in range(SIDE)] for c in range(SIDE)]
    boxes = [[SIDE * (r + i) + c + j for i in (0, 1) for j in (0, 1)] for r in (0, 2) for c in (0, 2)]
    return rows + columns + boxes


GROUPS = _groups()


def is_solution(grid: str) -> bool:
    """Whether 16 digits are a filled 4x4 sudoku."""
    return len(grid) == CELLS and all(sorted(grid[i] for i in group) == list("1234") for group in GROUPS)


@cache
def solutions() -> tuple[str, ...]:
    """All 288 filled grids."""
    rows = ["".join(p) for p in permutations("1234")]
    grids = [""]
    for _ in range(SIDE):
        grids = [
            grid + row
            for grid in grids
            for row in rows
            if all(a not in grid[i::SIDE] for i, a in enumerate(row))
        ]
    return tuple(grid for grid in grids if is_solution(grid))


def in_rows(grid: str) -> str:
    """16 cells as four groups of four."""
    return " ".join(grid[i : i + SIDE] for i in range(0, CELLS, SIDE))


def make(rng: random.Random) -> Example:
    """A random grid with 4 to 10 random clues."""
    grid = rng.choice(solutions())
    clues = set(rng.sample(range(CELLS), rng.randint(FEWEST_CLUES, MOST_CLUES)))
    puzzle = "".join(cell if i in clues else "0" for i, cell in enumerate(grid))
    prompt = rng.choice(WORDINGS).format(grid=in_rows(puzzle))
    return Example("sudoku", prompt, in_rows(grid), puzzle)


def score(example: Example, response: str) -> Score:
    """Right when the response is a filled grid that keeps every clue. There are no steps before it."""
    cells = response.strip().split(" ")
    grid = "".join(cells)
    shaped = [len(row) for row in cells] == [SIDE] * SIDE
    keeps = shaped and all(clue in ("0", cell) for clue, cell in zip(example.answer, grid, strict=True))
    right = keeps and is_solution(grid)
    return Score(right, right)
