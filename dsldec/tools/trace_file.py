"""The file of a run's traces: one trajectory a line, for each answer as it is finished.

A trace is written before its answer. So a run that stops in between leaves a trace without an answer; the
next run removes it and decodes the prompt again. Not here: the form of a line (`trajectory_lines`), the file
itself (`lines_file`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ..diagnostics import Diagnostic, UsageError
from . import quoted_path
from .lines_file import STANDARD_OUTPUT, LinesFile
from .prompts import Prompt
from .results import Result
from .resumed import resumed_traces


class TraceFile(LinesFile):
    """A trace file. Inside `with`, each `append` adds one line.

    `answered`: the answers that the results file has, each an id and the number of a sample; `missing`: the
    number of these without a trace; `torn`: the number of damaged lines, which are removed; `plain`,
    `recorded`: the number of traces without and with recorded values. `run`: the digest of the settings that
    decide an answer.
    """

    what, flag, example = "trace file", "--trace", "traces.jsonl"

    def __init__(
        self,
        name: str,
        prompts: Sequence[Prompt],
        answered: Collection[tuple[str | int, int]],
        *,
        run: str,
        resume: bool = False,
    ) -> None:
        if name in (STANDARD_OUTPUT, "/dev/stdout"):
            help = f"name a file: `{self.flag} {self.example}`"
            raise UsageError(Diagnostic("E0423", "traces are not written to standard output", help=help))
        self._prompts, self._answered, self._run = prompts, answered, run
        self.torn = self.missing = self.plain = self.recorded = 0
        super().__init__(name, resume=resume)

    def _stays(self, data: bytes) -> bytes:
        before = resumed_traces(data, self.name, self._prompts, self._answered, self._run)
        wanted = {prompt.id for prompt in self._prompts}
        if not self._answered and before.removed > 1:
            # A run that stops leaves one trace without an answer. More: it is the file of other answers.
            message = f"the trace file {quoted_path(self.name)} has {before.removed} traces, and the results file has no answer"
            help = "give `--out` the results file of these traces, or `--trace` another name"
            raise UsageError(Diagnostic("E0434", message, help=help))
        self.torn, self.recorded = before.torn, before.recorded
        self.plain = len(before.there) - before.recorded
        self.missing = sum(one not in before.there for one in self._answered if one[0] in wanted)
        return before.remaining

    def mixed(self, *, values: bool) -> str | None:
        """A sentence about the traces of an earlier run, if they have values and this run records none, or
        the other way round.
        """
        count = self.plain if values else self.recorded
        if not count:
            return None
        traces = f"{count} trace{'s' * (count != 1)} of {quoted_path(self.name)}"
        have = "has" if count == 1 else "have"
        if values:
            return f"{traces} {have} no values: decoded before `--values` was given"
        return f"{traces} {have} values, and further traces will have none: give `--values` for them"

    def append(self, result: Result) -> None:
        """Write the line of an answer. A prompt without an answer has no line."""
        trajectory, prompt = result.trajectory, result.prompt
        if result.error is None and trajectory is not None:
            sample = prompt.sample if prompt.n > 1 else None
            text = prompt.text if trajectory.recorded else None
            named = replace(trajectory, id=prompt.id, sample=sample, prompt=text)
            self.write(named.to_json(run=self._run).encode() + b"\n")
