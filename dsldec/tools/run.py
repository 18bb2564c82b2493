"""`dsldec run`: decodes every prompt under a policy, and stores every result as soon as it exists.

Not here: how options are spelt (`cli`), where prompts come from (`prompts`), how a prompt is decoded
(`attempts`), the results file (`results_file`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

from .. import collector
from ..diagnostics import Diagnostic, UsageError
from ..options import DECODE, DEFAULT_DECODE, DEFAULT_LOAD, LOAD, VALUES, DecodeOptions, LoadOptions
from ..policy import Policy, samples_warning, seed_warning
from ..runtime.prompt_options import require_of_infill
from . import quoted, quoted_path
from .attempts import Attempts
from .differences import digest, noted
from .displays import displays_of
from .line_options import require_no_infill, with_line
from .process import log_on_stderr, say, termination_interrupts
from .prompts import INPUT, Prompt, read
from .results import Result
from .results_file import STANDARD_OUTPUT, ResultsFile
from .settings import chosen, short_title, title
from .tally import Tally
from .trace_file import TraceFile
from .viewing.run_page import RunPage

DECODED, FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The arguments of the command line. None: not given."""

    prompts: tuple[str, ...] = ()
    file: str | None = None
    policy: str = "threshold"
    settings: tuple[str, ...] = ()
    model: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    decode: DecodeOptions = DEFAULT_DECODE
    out: str | None = None
    trace_file: str | None = None
    values: bool = False
    resume: bool = False
    live: bool | None = None
    html: str | None = None

    @property
    def trace(self) -> bool | str:
        """The option `trace` of `decode`."""
        return VALUES if self.values or self.html is not None else self.trace_file is not None


def run(options: RunOptions) -> int:
    """Decode, and return the exit status. Raises `UsageError` and `PolicyError`, before the first result if
    the arguments are wrong.
    """
    if options.out == "/dev/stdout":
        options = replace(options, out=STANDARD_OUTPUT)
    with termination_interrupts(), log_on_stderr(), ExitStack() as open_things:
        prompts = prompts_of(options)
        require_sensible(options, prompts)
        policy = policy_of(options, max(prompt.n for prompt in prompts))
        files = files_of(options, prompts, made_by(policy, options), open_things, short_title(policy))
        work, tally = work_of(options, prompts, files)
        return _finished(work, policy, options, files, tally) if work else DECODED


@dataclass(frozen=True, slots=True)
class Files:
    """The files that a run writes."""

    results: ResultsFile | None
    traces: TraceFile | None
    page: RunPage | None = None

    def append(self, result: Result) -> None:
        """Write a result, after its trace: an answer in the results file has its trace."""
        if self.traces is not None:
            self.traces.append(result)
        if self.results is not None:
            self.results.append(result)
        if self.page is not None:
            self.page.append(result)


def files_of(
    options: RunOptions,
    prompts: Sequence[Prompt],
    made: Mapping[str, Any],
    open_things: ExitStack,
    heading: str = "",
) -> Files:
    """The files of a run, which `open_things` closes. `made`: see `made_by`; `heading`: of its page."""
    page = None if options.html is None else RunPage(options.html, heading, prompts)
    results = None
    if options.out is not None:
        results = ResultsFile(options.out, prompts, resume=options.resume, made_by=made)
        open_things.callback(results.close)  # also if something fails before its first line
        warn_of_file(results, prompts)
    traces = _traces(options, prompts, made, results)
    if traces is not None:
        open_things.callback(traces.close)
    return Files(results, traces, page)


def work_of(options: RunOptions, prompts: Sequence[Prompt], files: Files) -> tuple[list[Prompt], Tally]:
    """The samples without an answer, and the tally of the run."""
    file = files.results
    every = [replace(prompt, sample=sample) for prompt in prompts for sample in range(prompt.n)]
    work = [one for one in every if file is None or (one.id, one.sample) not in file.answered]
    noun = "prompt" if len(every) == len(prompts) else "sample"
    if not work:
        assert file is not None  # there are prompts, and only a file has answers
        with file, files.traces or nullcontext():  # removes torn lines
            pass
        answered = f"{quoted_path(options.out)} has an answer to each of the {len(prompts)} prompts"
        say(f"nothing is left to do: {answered}")
    elif file is not None and file.retried:
        say(f"retried after an earlier failure: {file.retried} of {len(work)} prompts")
    return work, Tally(len(work), len(every) - len(work), noun)


def _traces(
    options: RunOptions, prompts: Sequence[Prompt], made: Mapping[str, Any], file: ResultsFile | None
) -> TraceFile | None:
    """The trace file. Raises `UsageError` as `ResultsFile`."""
    name = options.trace_file
    if name is None:
        return None
    if options.out is not None and os.path.realpath(name) == os.path.realpath(options.out):
        help = f"give each a file: `--out results.jsonl --trace {TraceFile.example}`"
        raise UsageError(Diagnostic("E0423", "`--out` and `--trace` name the same file", help=help))
    answered = frozenset() if file is None else file.answered
    traces = TraceFile(name, prompts, answered, run=made["run"]["digest"], resume=options.resume)
    _warn_of_lines(traces)
    if traces.missing:
        which = "answer of" if traces.missing == 1 else "answers of"
        say(
            f"{traces.missing} {which} {quoted_path(options.out)} without a trace: decoded before `--trace` was given"
        )
    if note := traces.mixed(values=options.values):
        say(note)
    return traces


def prompts_of(options: RunOptions) -> list[Prompt]:
    """The prompts, each with its number of samples."""
    read_ones = read(options.prompts, options.file)
    return [replace(prompt, n=with_line(options.decode, prompt.given).n) for prompt in read_ones]


def require_sensible(options: RunOptions, prompts: Sequence[Prompt]) -> None:
    """Raise `UsageError` (E0423) for options without a meaning together."""
    require_of_infill(options.decode)
    if options.decode.infill:
        for prompt in prompts:
            require_no_infill(prompt.given, prompt.messages, f"prompt {quoted(str(prompt.id))}")
    if options.resume and options.out is None:
        help = "name the file to continue: `--out results.jsonl --resume`"
        raise UsageError(Diagnostic("E0423", "`--resume` needs `--out`", help=help))
    if options.resume and options.html is not None:
        help = "store the steps: `--trace traces.jsonl --values`; then `dsldec view traces.jsonl` writes the page"
        raise UsageError(Diagnostic("E0423", "`--html` cannot be used with `--resume`", help=help))
    if options.values and options.trace_file is None:
        help = f"name the file: `--trace {TraceFile.example} --values`"
        raise UsageError(Diagnostic("E0423", "`--values` needs `--trace`", help=help))
    if options.decode.infill and options.decode.gen_length is not None:
        help = "leave `--gen-length` out: the gaps give the number of tokens, `[MASK*8]` is eight"
        raise UsageError(Diagnostic("E0423", "`--gen-length` cannot be used with `--infill`", help=help))


def policy_of(options: RunOptions, samples: int) -> Policy:
    """The policy with its parameter values. Its mistakes are reported before a model is loaded. `samples`:
    the most of a prompt.
    """
    policy = chosen(options.policy, options.settings)
    policy.require_bound()
    policy.drafts(options.decode.lookahead)
    for warning in (seed_warning(policy, options.decode.seed), samples_warning(policy, samples)):
        if warning is not None:
            say(str(warning))
    return policy


def _finished(work: Sequence[Prompt], policy: Policy, options: RunOptions, files: Files, tally: Tally) -> int:
    """Decode the prompts, print the totals, and return the exit status."""
    try:
        _decode_all(work, policy, options, files, tally)
    except KeyboardInterrupt:
        say(tally.interrupted(options.out))
        return INTERRUPTED
    except UsageError as mistake:
        # E0439: the file was replaced or changed, so no stored answers are reported.
        if tally.decoded and mistake.diagnostic.code != "E0439":
            say(tally.interrupted(options.out))
        raise
    for line in tally.errors():
        say(line)
    say(tally.summary())
    return FAILED if tally.failed else DECODED


def warn_of_file(file: ResultsFile, prompts: Sequence[Prompt]) -> None:
    """Warnings about the lines of a results file."""
    _warn_of_lines(file)
    if moved := dict.fromkeys(name for prompt in prompts for name in prompt.moved):
        names = ", ".join(f"`{name}`" for name in moved)
        say(f"input fields with the name of a result's field are under `{INPUT}` in the results: {names}")


def _warn_of_lines(file: ResultsFile | TraceFile) -> None:
    if file.unlocked is not None:
        say(str(file.unlocked))
    if file.torn:
        lines = f"{file.torn} line{'s' * (file.torn != 1)}"
        say(f"{lines} of {quoted_path(file.name)} removed, cut off by a crash: the prompts are decoded again")


def _decode_all(
    work: Sequence[Prompt], policy: Policy, options: RunOptions, files: Files, tally: Tally
) -> None:
    from ..models.huggingface import from_pretrained

    denoiser = from_pretrained(options.model, **asdict(options.load))
    watch, displays = displays_of(work, policy, denoiser, options.out, options.live)
    decode = replace(options.decode, trace=options.trace)
    attempts = Attempts(denoiser, policy, decode, options.load.dtype, watch)
    collector.started()
    with ExitStack() as open_things:
        for file in (files.traces, files.results):
            if file is not None:
                open_things.enter_context(file)
        for display in displays:
            open_things.enter_context(display)
        tally.start()
        for place, result in attempts.results(work):
            files.append(result)
            tally.add(result)
            for display in displays:
                display.finished(place, result)
        tally.stop()


def made_by(policy: Policy, options: RunOptions, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings that decide an answer: the policy's name, and under `run` all settings with a digest.
    `more`: settings that `run` does not have.
    """
    decisive: dict[str, Any] = {"model": options.model, **(more or {})}
    if options.model is not None and os.path.exists(options.model):
        decisive["model"] = os.path.realpath(options.model)
    decisive |= {name: getattr(options.load, name) for name, one in LOAD.items() if one.decides}
    of_decode = {name: getattr(options.decode, name) for name, one in DECODE.items() if one.decides}
    decisive |= {
        name: value
        for name, value in of_decode.items()
        if not DECODE[name].if_set or value != DECODE[name].default
    }
    # A file from before this option has no entry for it.
    decisive |= {"all_ids": True} if options.load.all_ids else {}
    # Only an approximate cache changes an answer.
    decisive["cache"] = options.decode.cache if options.decode.cache in ("prefix", "dual") else None
    # A network is known by its digest.
    whole = json.dumps([str(policy.program), policy.parameters, decisive], sort_keys=True, default=str)
    return {"policy": title(policy), "run": {"digest": digest(whole), **noted(policy, decisive)}}
