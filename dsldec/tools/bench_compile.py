"""The time to the first compiled step: compiled now, and in a second process with the cache of the first.

All times are those of new processes, in multiples of the import of torch in the same process. Not here: the
time of a compiled step (`bench_step`), of the loop around it (`bench_overhead`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..backends import step_cache
from .bench_goals import Goal, GoalOptions, Report
from .rounds import Ratio

POLICIES = ("static", "threshold", "klass")
SHAPE = (1, 32, 818)  # B, T, V: the embedded model
# 0.3 s where the import of torch takes 1.2 s.
AT_MOST_WARM = 0.25

# Prints JSON: the seconds of the import of torch, until the policy is loaded, and of the first step and the
# second one; the processor's seconds of the import and of the first step, with those of the compiler.
PROCESS = """
import json, os, sys, time
def used():
    here = os.times()
    return here.user + here.system + here.children_user + here.children_system
began, before = time.perf_counter(), used()
import torch
imported, by_import = time.perf_counter(), used()
name, threads, B, T, V = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
import dsldec
policy = dsldec.load(name)
inputs = torch.zeros(B, T, V), torch.full((B, T), V - 1), torch.ones(B, T, dtype=torch.bool)
loaded, by_load = time.perf_counter(), used()
step = policy.compile("inductor", mask_id=V - 1)
state = step.start(B, T, vocab_size=V)
step(*inputs, state)
first, by_first = time.perf_counter(), used()
step(*inputs, state)
second = time.perf_counter()
print(json.dumps({
    "import": imported - began, "load": loaded - imported, "first": first - loaded, "second": second - first,
    "import used": by_import - before, "first used": by_first - by_load,
}))
"""


def goals(options: GoalOptions, report: Report) -> list[Goal]:
    """The ratios for a few policies; each is compiled once, in an empty cache."""
    found: list[Goal] = []
    for policy in POLICIES:
        names = {
            "warm": f"warm {policy}: the first compiled step of a second process",
            "loaded": f"loaded {policy}: the same with the import of dsldec and the policy's check",
            "cold": f"cold {policy}: processor time to compile, with empty caches",
        }
        wanted = {which: name for which, name in names.items() if options.wants(name)}
        if wanted:
            found += _of_policy(policy, wanted, options, report)
    return found


def _of_policy(policy: str, wanted: Mapping[str, str], options: GoalOptions, report: Report) -> list[Goal]:
    with tempfile.TemporaryDirectory(prefix="dsldec-") as folder:
        report(f"compiling {policy} with empty caches")
        cold = _process(policy, Path(folder), options)
        warm: list[dict[str, float]] = []
        for number in range(1, options.rounds + 1):
            report(f"{policy}: round {number} of {options.rounds}")
            warm.append(_process(policy, Path(folder), options))
    of_import = [one["import"] for one in warm]
    ratios = {
        "warm": (Ratio.between([one["first"] for one in warm], of_import), AT_MOST_WARM),
        "loaded": (Ratio.between([one["load"] + one["first"] for one in warm], of_import), None),
        "cold": (Ratio.of([cold["first used"] / cold["import used"]]), None),
    }
    seconds = statistics.median(one["first"] for one in warm)
    report(
        f"{policy}: {cold['first used']:.1f} s of the processor to compile, {seconds:.3f} s from the cache"
    )
    return [Goal(name, *ratios[which]) for which, name in wanted.items()]


def _process(policy: str, folder: Path, options: GoalOptions) -> dict[str, float]:
    """The times of one new process with its caches in a folder."""
    path = os.pathsep.join(one for one in sys.path if one)
    caches = {
        step_cache.VARIABLE: str(folder / "steps"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"),
        "TMPDIR": str(folder),  # torch stores precompiled headers beside it
        "PYTHONPATH": path,
    }
    arguments = [policy, str(options.threads or 1), *map(str, SHAPE)]
    ran = subprocess.run(
        [sys.executable, "-c", PROCESS, *arguments],
        env=os.environ | caches,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    times: dict[str, float] = json.loads(ran.stdout)
    return times
