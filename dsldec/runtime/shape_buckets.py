"""The shapes that steps are compiled for: few, so that a ragged workload compiles few times.

B rows are rounded up to a power of two, or to the whole batch; T window positions only where the text to
generate is shorter than a window of the policy, by at most a quarter, or to 8. The additional rows have
ended, and no step may write the additional positions: results are the same. Not here: compiling (`backends`).
"""

from __future__ import annotations

FEWEST_POSITIONS = 8


def rows_compiled(rows: int, batch: int) -> int:
    """B for a number of rows, at most `batch`: 1, 2, 4, ... or `batch`."""
    return min(batch, 1 << (rows - 1).bit_length())


def positions_compiled(window: int, gen_length: int) -> int:
    """T for a window: the length itself for a full window of the policy, else rounded up to one of four sizes
    in each doubling.
    """
    if window < gen_length:
        return window
    step = max(FEWEST_POSITIONS, (1 << (window - 1).bit_length()) // 8)
    return -(-window // step) * step
