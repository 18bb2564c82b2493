"""Do steps and decodes still take as long, relative to their baselines, as `expected.json` says?

    python benchmarks/check.py             measure, compare, exit with 1 if a ratio is too large
    python benchmarks/check.py --update    measure, and write the table; tolerances stay

A ratio may be `tolerance` times as large as the expected one. Smaller is better for every ratio. The numbers
of forwards do not depend on the machine and must be equal. Not here: measuring (`dsldec bench`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "expected.json"
TOLERANCE = 3.0  # of a new row: the first table was measured under load
COMMANDS = {
    "step": (
        "bench step --shape 1x64x32000 --dtype float32 --policy static --policy threshold --policy factor "
        "--backend eager --backend inductor --rounds 5 --threads 1"
    ),
    "loop": (
        "bench loop --policy static --policy threshold --backend eager --prompts 4 --rounds 3 --threads 1"
    ),
    **{
        name: f"bench {name} --rounds 3 --threads 1"
        for name in ("overhead", "peers", "compile", "start", "growth")
    },
}

Found = dict[str, dict[str, Any]]


def ratios_of_steps(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The time of each computation, in reads of the logits."""
    for case in results["cases"]:
        for row in case["timed"]:
            if row["part"] == "whole" and row["what"] != "one read":
                shape = "x".join(map(str, case["shape"]))
                yield f"step {shape} {case['dtype']}: {row['what']}, {row['backend']}", row["reads"]


def ratios_of_loops(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The time of each policy's decodes, in times of the plain loop's."""
    for row in results["timed"]:
        if row["policy"] != "plain loop":
            yield f"loop: {row['policy']}, {row['backend']}", 1 / row["rate"]


def ratios_of_goals(results: Mapping[str, Any], name: str) -> Iterator[tuple[str, float]]:
    """The ratios of a benchmark with goals."""
    for row in results["goals"]:
        yield f"{name}: {row['name']}", row["ratio"]


def forwards_of_loops(results: Mapping[str, Any]) -> dict[str, int]:
    return {f"loop: {row['policy']}, {row['backend']}": row["forwards"] for row in results["timed"]}


def measured() -> Found:
    """What `dsldec bench` finds on this machine."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, command in COMMANDS.items():
            file = Path(folder) / f"{name}.json"
            subprocess.run(
                [sys.executable, "-m", "dsldec", *command.split(), "--json", str(file)], check=True
            )
            results[name] = json.loads(file.read_text(encoding="utf-8"))
    return {
        "machine": results["step"]["machine"],
        "ratios": dict(
            [
                *ratios_of_steps(results["step"]),
                *ratios_of_loops(results["loop"]),
                *(
                    one
                    for name in results
                    if "goals" in results[name]
                    for one in ratios_of_goals(results[name], name)
                ),
            ]
        ),
        "forwards": forwards_of_loops(results["loop"]),
    }


def differences(expected: Found, found: Found) -> list[str]:
    """A line for each ratio that is too large, number of forwards that differs, or row without a partner."""
    wrong = []
    for name, row in expected["ratios"].items():
        now = found["ratios"].get(name)
        if now is None:
            wrong.append(f"{name}: not measured")
        elif now > row["ratio"] * row["tolerance"]:
            wrong.append(
                f"{name}: {now:.3g}, expected {row['ratio']:.3g}, at most {row['tolerance']:g} times that"
            )
    wrong += [f"{name}: not in the table" for name in found["ratios"] if name not in expected["ratios"]]
    for name in sorted(expected["forwards"] | found["forwards"]):
        before, now = expected["forwards"].get(name), found["forwards"].get(name)
        if before != now:
            wrong.append(f"{name}: {now} forwards, expected {before}")
    return wrong


def updated(expected: Found, found: Found) -> Found:
    """The table with the ratios of this measurement; each row keeps its tolerance."""
    rows = {
        name: {
            "ratio": float(f"{ratio:.3g}"),
            "tolerance": expected.get("ratios", {}).get(name, {}).get("tolerance", TOLERANCE),
        }
        for name, ratio in found["ratios"].items()
    }
    load = [round(load, 1) for load in os.getloadavg()]
    about = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "load_average": load}
    return {"measured": about | found["machine"], "ratios": rows, "forwards": found["forwards"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the table instead of comparing with it")
    options = parser.parse_args()
    expected: Found = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    found = measured()
    if options.update:
        TABLE.write_text(json.dumps(updated(expected, found), indent=1) + "\n", encoding="utf-8")
        print(f"wrote {TABLE}")
        return 0
    wrong = differences(expected, found)
    print(*wrong, sep="\n")
    print(f"{len(found['ratios'])} ratios, {len(wrong)} outside of what {TABLE.name} expects")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
