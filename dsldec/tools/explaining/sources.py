"""Which answer does the user want to have explained: of a prompt, of a trace file, or of a case?

Not here: which step and position of it (`verb`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from ...diagnostics import Diagnostic, PolicyError, UsageError, did_you_mean
from ...options import DEFAULT_DECODE, DEFAULT_LOAD, VALUES, DecodeOptions, LoadOptions
from ...trajectory import Trajectory
from .. import quoted, quoted_path
from ..run import RunOptions, policy_of
from .explained_run import ExplainedRun, of_trajectory

EXAMPLE = 'for example `dsldec why threshold --prompt "What is 14+18?"`'


@dataclass(frozen=True, slots=True)
class WhyOptions:
    """The arguments of the command line. None: not given."""

    policy: str | None = None
    prompt: str | None = None
    trace_file: str | None = None
    case: str | None = None
    id: str | None = None
    sample: int | None = None
    step: int | None = None
    position: int | None = None
    token: str | None = None
    settings: tuple[str, ...] = ()
    model: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    decode: DecodeOptions = DEFAULT_DECODE
    format: str = "human"


def run_of(options: WhyOptions) -> ExplainedRun:
    """The answer. Raises `UsageError` and `PolicyError`."""
    given = {"--prompt": options.prompt, "--trace": options.trace_file, "--case": options.case}
    sources = [name for name, value in given.items() if value is not None]
    if len(sources) != 1:
        message = "`dsldec why` explains one of `--prompt`, `--case` and `--trace`"
        raise UsageError(Diagnostic("E0423", message, help=EXAMPLE))
    if options.trace_file is not None:
        _require_only_a_trace(options)
        return _of_trace(options, options.trace_file)
    for name, value in (("--id", options.id), ("--sample", options.sample)):
        if value is not None:
            help = f"leave it out, or name a file: `--trace FILE {name} {shlex.quote(str(value))}`"
            raise UsageError(Diagnostic("E0423", f"`{name}` needs `--trace`", help=help))
    if options.policy is None:
        raise UsageError(Diagnostic("E0423", f"`{sources[0]}` needs a policy", help=EXAMPLE))
    return _of_case(options, options.policy) if options.case is not None else _of_prompt(options)


def _require_only_a_trace(options: WhyOptions) -> None:
    """Raise `UsageError` (E0423) for a policy or a setting beside a trace file, which has its policy."""
    given = {"--set": options.settings, "--model": options.model, "a policy": options.policy}
    for name, value in given.items():
        if value:
            message = f"{name if name == 'a policy' else f'`{name}`'} cannot be given with `--trace`"
            file = shlex.quote(str(options.trace_file))
            help = f"leave it out, because the file has the policy of its steps: `dsldec why --trace {file}`"
            raise UsageError(Diagnostic("E0423", message, help=help))


def _of_prompt(options: WhyOptions) -> ExplainedRun:
    """The answer to a prompt, which is decoded with its values."""
    from ...models.huggingface import from_pretrained
    from ..attempts import Attempts
    from ..prompts import read

    assert options.prompt is not None
    assert options.policy is not None
    as_run = RunOptions(policy=options.policy, settings=options.settings, decode=options.decode)
    policy = policy_of(as_run, 1)
    denoiser = from_pretrained(options.model, **asdict(options.load))
    attempts = Attempts(denoiser, policy, replace(options.decode, trace=VALUES), options.load.dtype)
    _, result = next(iter(attempts.results(read([options.prompt], None))))
    if result.error is not None or result.trajectory is None:
        why = "there is no answer" if result.error is None else result.error.message
        raise PolicyError([Diagnostic("E0565", f"no step can be explained: {why}")])
    return of_trajectory(quoted(options.prompt), result.trajectory)


def _of_case(options: WhyOptions, name: str) -> ExplainedRun:
    """The steps of a case of a policy."""
    from ..settings import with_settings
    from ..test import cases_of
    from .case_run import of_case

    assert options.case is not None
    policy, cases = cases_of(name)
    found = [case for case in cases if options.case == case.title]
    if not found:
        titles = [case.title for case in cases]
        near = did_you_mean(options.case, titles) or next(iter(titles), None)
        help = "its file has no case" if near is None else f"for example `--case {shlex.quote(near)}`"
        message = f"the policy {quoted(name)} has no case {quoted(options.case)}"
        raise UsageError(Diagnostic("E0568", message, help=help))
    return of_case(found[0], with_settings(policy, options.settings))


def _of_trace(options: WhyOptions, name: str) -> ExplainedRun:
    """An answer of a trace file."""
    ids: dict[str, None] = {}
    wanted: list[Trajectory] = []
    for one in Trajectory.read(name):
        ids[str(one.id)] = None
        if options.id in (None, str(one.id)) and options.sample in (None, one.sample or 0):
            wanted = [*wanted, one][:2]
    if len(wanted) != 1:
        raise UsageError(_not_one(options, name, wanted, list(ids)))
    if not wanted[0].recorded:
        message = f"the trace file {quoted_path(name)} has no recorded values for this answer"
        help = f"record them: `dsldec run --trace {shlex.quote(name)} --values`"
        raise UsageError(Diagnostic("E0560", message, help=help))
    return of_trajectory(f"{quoted_path(name)}, id {wanted[0].id}", wanted[0])


def _not_one(options: WhyOptions, name: str, wanted: Sequence[Trajectory], ids: Sequence[str]) -> Diagnostic:
    shown = quoted_path(name)
    if wanted:
        samples = len({one.id for one in wanted}) == 1
        option = "--sample 0" if samples else f"--id {shlex.quote(ids[0])}"
        message = f"{shown} has several {'samples of this answer' if samples else 'answers'}"
        return Diagnostic("E0569", message, help=f"name one: `{option}`")
    if not ids:
        help = "`dsldec run --trace FILE --values` writes answers with their steps"
        return Diagnostic("E0569", f"{shown} has no answer", help=help)
    missing = f"sample {options.sample}" if options.id in (None, *ids) else f"id {quoted(str(options.id))}"
    near = (did_you_mean(options.id, ids) if options.id is not None else None) or ids[0]
    help = f"for example `--id {shlex.quote(near)}`"
    return Diagnostic("E0569", f"{shown} has no answer with {missing}", help=help)
