"""Do threads that read texts at the same time get the trees of their own texts?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import dsldec

TEXT = "policy p():\n  window all\n  commit masked and (conf > 0.9 or (entropy < 0.2)) at least 1 by conf\n"
WRONG = "policy p(:\n  window all\n  commit top(masked, 1, by=(conf\n"


@pytest.fixture
def eager_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_read_at_the_same_time(eager_switches: None) -> None:
    def codes(text: str) -> list[str]:
        return [found.code for found in dsldec.check(text)[1]]

    alone = {text: codes(text) for text in (TEXT, WRONG)}
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(codes, [TEXT, WRONG] * 20)) == [alone[TEXT], alone[WRONG]] * 20
