"""`dsldec batch`: decodes a file of prompts on the workers of a Ray cluster, and stores every result as soon
as it arrives.

The driver reads the prompts and writes the results file; options, input and results are those of `run`, and
each continues the file of the other. Not here: options (`cli`), the workers (`batch_worker`), the cluster
(`batch_pool`).
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..options import LoadOptions
from ..policy import Policy
from ..policy import read as read_policy
from .batch_events import Finished, Ready, WorkerEvent, WorkerSaid
from .batch_passes import Passes, Pool
from .batch_pool import LOCAL, RayPool, Reserved, address_of, alive, busy, cluster, require_room, resources
from .batch_worker import WorkerTask
from .process import log_on_stderr, say, termination_interrupts
from .prompts import Prompt
from .results_file import STANDARD_OUTPUT
from .run import (
    DECODED,
    FAILED,
    INTERRUPTED,
    Files,
    RunOptions,
    files_of,
    made_by,
    policy_of,
    prompts_of,
    require_sensible,
    work_of,
)
from .tally import Tally

SECONDS_BETWEEN_LINES = 10.0
ENGINES = ("dsldec", "sglang")


@dataclass(frozen=True, slots=True)
class DistributedOptions:
    """The arguments of the command line. `run`: the ones that `dsldec run` has too; `cpus`, `gpus`: of each
    worker, and None takes a GPU if the cluster has any. `engine`: one of `ENGINES`.
    """

    run: RunOptions
    workers: int = 1
    cpus: float = 1.0
    gpus: float | None = None
    address: str | None = None
    engine: str = "dsldec"


def batch(options: DistributedOptions) -> int:
    """Decode, and return the exit status. Raises `UsageError` and `PolicyError`."""
    run = options.run
    _require_machines(options)
    with termination_interrupts(), log_on_stderr(), ExitStack() as open_things:
        prompts = prompts_of(run)
        require_sensible(run, prompts)
        policy = policy_of(run, max(prompt.n for prompt in prompts))
        if options.engine == "sglang":
            from .batch_sglang import require_served

            require_served(_task(options, policy, len(prompts)))
        files = files_of(run, prompts, made_by(policy, run, _decisive(options)), open_things)
        work, tally = work_of(run, prompts, files)
        return _finished(work, policy, options, files, tally) if work else DECODED


def _finished(
    work: Sequence[Prompt], policy: Policy, options: DistributedOptions, files: Files, tally: Tally
) -> int:
    """Decode the prompts, print the totals, and return the exit status."""
    out, is_sglang = options.run.out, options.engine == "sglang"
    try:
        with ExitStack() as open_things:
            for file in (files.traces, files.results):
                if file is not None:
                    open_things.enter_context(file)
            folder = open_things.enter_context(tempfile.TemporaryDirectory(prefix="dsldec-"))
            open_things.enter_context(cluster(options.address, folder if is_sglang else None))
            pool = _pool(options, _task(options, policy, len(work)), Path(folder))
            _decode_all(work, pool, options.run, files, tally)
    except KeyboardInterrupt:
        say(tally.interrupted(out))
        return INTERRUPTED
    except UsageError as mistake:
        if tally.decoded and mistake.diagnostic.code != "E0439":
            say(tally.interrupted(out))
        raise
    for line in tally.errors():
        say(line)
    say(tally.summary())
    return FAILED if tally.failed else DECODED


def _require_machines(options: DistributedOptions) -> None:
    """Raise `UsageError` (E0423) for options without a meaning together."""
    run = options.run
    if run.file is None or run.out is None or run.out in (STANDARD_OUTPUT, "/dev/stdout"):
        help = "for example `dsldec batch --prompts questions.jsonl --out results.jsonl --workers 2`"
        raise UsageError(
            Diagnostic("E0423", "`dsldec batch` needs `--prompts` and `--out`, two files", help=help)
        )
    if options.engine == "sglang":
        from .batch_sglang import require_for_engine

        require_for_engine(run, options.gpus)
    device = run.load.device or ""
    if device.startswith("cuda:"):
        message = f"`--device {device}` has no meaning for a worker: it sees only its own GPUs"
        raise UsageError(Diagnostic("E0423", message, help="`--device cuda`, or leave it out"))
    if device == "cuda" and options.gpus == 0:
        message = "`--device cuda` needs a GPU, and `--gpus-per-worker 0` reserves none"
        raise UsageError(Diagnostic("E0423", message, help="leave one of them out"))


def _decisive(options: DistributedOptions) -> dict[str, Any]:
    """The settings of `batch` that decide an answer: another engine computes other logits."""
    return {} if options.engine == "dsldec" else {"engine": options.engine}


def _pool(options: DistributedOptions, task: WorkerTask, folder: Path) -> Pool:
    """The workers. Raises `UsageError` (E0471) if the cluster has no room for them."""
    nodes, device, is_sglang = resources(), options.run.load.device, options.engine == "sglang"
    has_gpus = any(node.get("GPU", 0) for node in nodes) and device in (None, "cuda")
    default = 1.0 if has_gpus or is_sglang else 0.0
    each = Reserved(options.cpus, options.gpus if options.gpus is not None else default)
    require_room(nodes, options.workers, each)
    say(f"{options.workers} worker{'s' * (options.workers != 1)}, {each} each")
    if busy(options.workers, each):
        say("other jobs use the cluster: some workers start when those end")
    if not is_sglang:
        return RayPool(options.workers, each, task)
    from .batch_sglang import SGLangPool, write_policy

    file = write_policy(task, folder)
    here = address_of(options.address) == LOCAL
    return SGLangPool(options.workers, each, task, str(file) if here else file.name)


def _task(options: DistributedOptions, policy: Policy, prompts: int) -> WorkerTask:
    run = options.run
    text, name = read_policy(run.policy)
    # A worker has another working directory.
    model = os.path.abspath(run.model) if run.model is not None and os.path.exists(run.model) else run.model
    load: LoadOptions = run.load
    decode = replace(run.decode, trace=run.trace)
    return WorkerTask(text, name, policy.parameters, model, load, decode, -(-prompts // options.workers))


def _decode_all(work: Sequence[Prompt], pool: Pool, run: RunOptions, files: Files, tally: Tally) -> None:
    passes = Passes(pool, work, run.decode.batch)
    progress = ProgressLine(len(work), pool.workers, passes)
    tally.start()
    with progress.shown():
        for event in passes.events():
            if isinstance(event, Finished):
                files.append(event.result)
                tally.add(event.result)
            progress.add(event)
    tally.stop()


class ProgressLine:
    """A line now and then: prompts, tokens a second, workers. A thread prints it, so that a run without any
    news says so too.
    """

    def __init__(self, prompts: int, workers: int, passes: Passes) -> None:
        self._prompts, self._workers, self._passes = prompts, workers, passes
        self._finished = self._tokens = 0
        self._said: set[str] = set()
        self._first: float | None = None
        self._ended = threading.Event()

    def add(self, event: WorkerEvent) -> None:
        """Counts a result, and prints a new line of a worker."""
        if isinstance(event, Finished):
            self._finished += 1
            self._tokens += event.result.tokens
        elif isinstance(event, Ready):
            self._first = self._first or time.monotonic()
        elif isinstance(event, WorkerSaid) and event.line not in self._said:
            self._said.add(event.line)
            say(event.line)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, a line is printed every few seconds."""
        thread = threading.Thread(target=self._print, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _print(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LINES):
            say(self.line())

    def line(self) -> str:
        """The state of the run in one line."""
        running = alive(self._passes.pool.actor)
        running = min(self._passes.ready, self._workers) if running is None else running
        restarted = f" ({self._passes.restarted} restarted)" if self._passes.restarted else ""
        workers = f"{running} of {self._workers} workers{restarted}"
        if self._first is None:
            return f"{workers}: no model is loaded yet"
        rate = self._tokens / max(1e-9, time.monotonic() - self._first)
        return f"{self._finished} of {self._prompts} prompts, {rate:.0f} tokens/s, {workers}"
