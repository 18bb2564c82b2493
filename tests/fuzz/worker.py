"""A process that tries texts under limits: processor time (not the clock's, so that a busy machine changes
nothing) and memory.

A text far above the limits ends the process, and the parent process notices. Not here: the texts (`texts`),
the rules (`holds`).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

HOPELESS = 20  # seconds of processor time after which the process ends
MOST_BYTES = 1024**3
ROOT = Path(__file__).parents[2]
POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Text:
    """Something to try: the text of a policy, or of cases for the policy named by `kind`."""

    kind: str
    text: str


class Worker:
    """Two processes, each started when it is needed and again when it ended: cases need torch, whose address
    space is no measure.
    """

    def __init__(self) -> None:
        self.processes: dict[bool, subprocess.Popen[str]] = {}
        self.slowest = 0.0

    def fault(self, text: Text) -> str:
        """What is wrong with what the package makes of a text; empty where nothing is."""
        limited = text.kind == POLICY
        if limited not in self.processes:
            command = [sys.executable, "-m", "tests.fuzz.worker"]
            self.processes[limited] = subprocess.Popen(
                command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        process = self.processes[limited]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([text.kind, text.text]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            process.wait()
            del self.processes[limited]
            return f"the process ended: more than {HOPELESS} s of processor time, or more memory than there may be"
        fault, seconds = json.loads(answer)
        self.slowest = max(self.slowest, seconds)
        return str(fault)

    def close(self) -> None:
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        self.processes = {}


def tried(kind: str, text: str) -> tuple[str, float]:
    """What is wrong, by the place that raised it, and the processor time that its slowest stage took."""
    from . import holds

    holds.slowest = 0.0
    try:
        if kind == POLICY:
            holds.policy_holds(text)
        else:
            holds.cases_hold(kind, text)
        fault = ""
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__} in {Path(last.filename).name}: {error}"[:300]
        fault = str(error) if isinstance(error, holds.Fault) else fault
    return fault, holds.slowest


def main() -> None:
    from dsldec import policy

    policy.check("policy p():\n  fill\n")  # builds the parser, which is not measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in sys.stdin:
        kind, text = json.loads(line)
        if kind == POLICY:
            resource.setrlimit(resource.RLIMIT_AS, (2 * MOST_BYTES, -1))
        used = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + HOPELESS, -1))
        fault, seconds = tried(kind, text)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if not fault and kind == POLICY and grown > MOST_BYTES:
            fault = "large: it took more memory than a text may"
        print(json.dumps([fault, seconds]), flush=True)


if __name__ == "__main__":
    main()
