"""`python -m tests.fuzz --seconds 3600 --seed 7`: texts for an hour; what fails is shrunk, printed and saved.
Exit status 1 if any.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .shrink import shrunk
from .texts import text_of
from .worker import POLICY, Text, Worker


def faults(
    seconds: float, seed: int, first: int = 0, most: int | None = None
) -> Iterator[tuple[int, Text, str]]:
    """Tries texts one after the other and gives those that fail, each kind of failure once; the last value
    counts the texts.
    """
    worker, ends, number, known = Worker(), time.monotonic() + seconds, first, set[str]()
    while time.monotonic() < ends and (most is None or number - first < most):
        text = text_of(seed, number)
        if (fault := worker.fault(text)) and fault not in known:
            known.add(fault)
            yield number, smaller(text, fault, worker), fault
        number += 1
    worker.close()
    print(
        f"{number - first} texts of seed {seed} tried, {len(known)} faults; the slowest took {worker.slowest:.2f} s",
        flush=True,
    )


def smaller(text: Text, fault: str, worker: Worker) -> Text:
    """Shrunk, unless every try takes seconds."""
    if "slow" in fault or "process ended" in fault:
        return text
    return Text(text.kind, shrunk(text.text, lambda some: worker.fault(Text(text.kind, some)) == fault))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first text, to try one again")
    parser.add_argument("--texts", type=int, default=None, help="how many at most")
    parser.add_argument("--save", type=Path, default=Path(".fuzz"), help="folder for texts that fail")
    given = parser.parse_args()
    found = 0
    for number, text, fault in faults(given.seconds, given.seed, given.first, given.texts):
        found += 1
        given.save.mkdir(exist_ok=True)
        file = given.save / f"{given.seed}-{number}.{'policy' if text.kind == POLICY else 'cases'}"
        file.write_text(text.text, encoding="utf-8", errors="surrogatepass", newline="")
        print(
            f"seed {given.seed}, text {number} ({text.kind}): {fault}\n{file}:\n{text.text[:500]!r}\n",
            flush=True,
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
