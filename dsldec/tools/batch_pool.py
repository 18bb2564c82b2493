"""The workers of `dsldec batch` as actors of Ray Data, and the cluster that they run on.

Not here: the worker (`batch_worker`), prompts whose worker died (`batch_passes`).
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..resources import version
from ..terminal import printable
from . import quoted
from .batch_events import Chunk, WorkerEvent
from .batch_worker import Worker, WorkerTask

WITHOUT_RAY = 'install it: `pip install "dsldec[ray]"`'
LOCAL = "local"
UNWATCHED = {"RAY_USAGE_STATS_ENABLED": "0"}
# The last one drops lines that Ray prints about dead workers, to standard output.
QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
CAUSE = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)\b")
LOGGERS = ("ray", "ray.data", "ray.serve", "ray.llm")
OBJECT_STORE = 512 << 20  # bytes, of a cluster that we start: it holds prompts and results, which are texts


@dataclass(frozen=True, slots=True)
class Reserved:
    """The reservation of one worker: CPU cores and GPUs, also fractions of them."""

    cpus: float
    gpus: float

    def fits(self, node: Mapping[str, float]) -> int:
        """The number of workers that a machine with these resources has room for."""
        rooms = [
            int(node.get(name, 0) / one + 1e-9)
            for name, one in (("CPU", self.cpus), ("GPU", self.gpus))
            if one
        ]
        return min(rooms, default=0)

    def __str__(self) -> str:
        gpus = f" and {_counted(self.gpus, 'GPU')}" if self.gpus else ""
        return f"{_counted(self.cpus, 'CPU')}{gpus}"


def require_room(nodes: Sequence[Mapping[str, float]], workers: int, each: Reserved) -> None:
    """Raise `UsageError` (E0471) unless the machines have room for all workers. Ray would wait for ever.

    `nodes`: the resources of each machine, by Ray's names.
    """
    room = sum(each.fits(node) for node in nodes)
    if room >= workers:
        return
    total = {name: sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU")}
    machines = "one machine" if len(nodes) == 1 else f"{len(nodes)} machines"
    has = f"{machines} with {_counted(total['CPU'], 'CPU')} and {_counted(total['GPU'], 'GPU')}"
    message = f"the cluster has no room for {_counted(workers, 'worker')} with {each} each: it has {has}"
    help = f"`--workers {room}`" if room else "each worker must fit into one machine"
    if each.gpus and not total["GPU"]:
        help = "no machine has a GPU: `--gpus-per-worker 0`"
    else:
        smaller = [
            f"`--{name}s-per-worker 0.5`"
            for name, one in (("cpu", each.cpus), ("gpu", each.gpus))
            if one >= 1
        ]
        help += "".join(f", or {flag} to share one" for flag in smaller[-1:])
    raise UsageError(Diagnostic("E0471", message, help=help))


def _counted(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'s' * (number != 1)}"


@contextmanager
def cluster(address: str | None, folder: str | None = None) -> Iterator[None]:
    """Inside, Ray is connected: to the cluster at `address` or in `RAY_ADDRESS`, else to a new one on this
    machine. `folder`: its files are in the working directory of each worker of another cluster.

    Raises `UsageError` (E0470).
    """
    noisy = bool(os.environ.get("DSLDEC_DEBUG"))
    for name, value in (UNWATCHED if noisy else UNWATCHED | QUIET).items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as failure:
        message = f"`dsldec batch` needs Ray, which is not installed ({printable(str(failure))})"
        raise UsageError(Diagnostic("E0470", message, help=WITHOUT_RAY)) from None
    if not noisy:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    _connect(ray, address_of(address), noisy, folder)
    try:
        yield
    finally:
        ray.shutdown()


def address_of(given: str | None) -> str:
    """The address of the cluster; `local` is a new one on this machine."""
    return given or os.environ.get("RAY_ADDRESS") or LOCAL


def _connect(ray: Any, address: str, noisy: bool, folder: str | None) -> None:
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    if address != LOCAL:
        own = {} if folder is None else {"runtime_env": {"working_dir": folder}}
    level = logging.INFO if noisy else logging.CRITICAL
    try:
        with _own_signals(), nullcontext() if noisy else _native_stderr_closed():
            ray.init(address=address, log_to_driver=noisy, logging_level=level, **own)
    except (ConnectionError, RuntimeError, ValueError, ImportError, TimeoutError, OSError) as failure:
        first_line = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
        message = f"Ray does not connect to {quoted(address)}: {printable(first_line)[:300]}"
        help = "`ray start --head` starts a cluster and prints its address; without `--address`, this machine is used"
        raise UsageError(Diagnostic("E0470", message, help=help)) from None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Afterwards, SIGTERM does again as before. Ray sets a handler that exits at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _native_stderr_closed() -> Iterator[None]:
    """Inside, nothing reaches the standard error of the process. Ray's C++ part writes there that its log is
    off.
    """
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def resources() -> list[dict[str, float]]:
    """The resources of each machine of the cluster."""
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def busy(workers: int, each: Reserved) -> bool:
    """Whether other jobs hold so much of the cluster that some workers wait."""
    import ray

    free = ray.available_resources()
    return any(
        free.get(name, 0) + 1e-9 < workers * one for name, one in (("CPU", each.cpus), ("GPU", each.gpus))
    )


def alive(actor: str) -> int | None:
    """The number of live actors of a class in this job, or `None` where Ray does not tell."""
    with suppress(Exception):  # an interface for debugging, and none for a client (`ray://`)
        import ray
        from ray._private.state import actors

        job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
        table = actors(job_id=job, actor_state_name="ALIVE").values()
        return sum(f"({actor})" in str(one["ActorClassName"]) for one in table)
    return None


class RayPool:
    """A pool of actors of Ray Data: `workers` of them, each with a reservation, for one `WorkerTask`.

    Results come through the driver: it alone writes the results file, and the workers need no shared disk.
    """

    def __init__(self, workers: int, each: Reserved, task: WorkerTask) -> None:
        self.workers, self._each, self._task = workers, each, pickle.dumps(task)
        self.actor = Worker.__name__

    def run(self, chunks: Sequence[Chunk], retries: int) -> Iterator[WorkerEvent]:
        """The events of one pass; see `batch_passes.Pool`."""
        # A block of one byte or more: an event arrives when it is sent.
        for batch in batches(lambda: self._dataset(chunks, retries), self.workers, block_bytes=1):
            yield from map(pickle.loads, batch.column("event").to_pylist())

    def _dataset(self, chunks: Sequence[Chunk], retries: int) -> Any:
        from ray.data import ActorPoolStrategy, from_items
        from ray.util.annotations import RayDeprecationWarning

        # A block for each chunk. The driver makes the blocks: reading needs no CPU, so the workers may
        # reserve all of them.
        rows = [{"chunk": pickle.dumps(chunk)} for chunk in chunks]
        workers = min(self.workers, len(rows))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RayDeprecationWarning)  # Ray 2.60 has no other way to set retries
            return from_items(rows, override_num_blocks=len(rows)).map_batches(
                Worker,
                fn_constructor_args=(version(), self._task),
                batch_size=1,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
                num_cpus=self._each.cpus,
                num_gpus=self._each.gpus,
                max_restarts=-1,  # a pool with a dead actor would be smaller to the end
                max_task_retries=retries,  # by default without end, also of a prompt that kills its worker
            )


def batches(dataset: Callable[[], Any], deaths: int, block_bytes: int | None = None) -> Iterator[Any]:
    """The output of a data set as tables, as they arrive. It ends early after too many `deaths` of tasks.

    `block_bytes`: the size of a block that is sent at once. Raises `UsageError` (E0472) for an actor that
    cannot start.
    """
    import ray
    from ray.data import DataContext

    before = DataContext.get_current()
    context = before.copy()
    context.enable_progress_bars = False
    context.max_errored_blocks = deaths
    context.execution_no_progress_timeout_s = -1  # one prompt may take an hour
    if block_bytes is not None:
        context.target_max_block_size = block_bytes
    DataContext._set_current(context)
    try:
        made = dataset()
    finally:
        DataContext._set_current(before)
    try:
        yield from made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except ray.exceptions.RayError as failure:
        if (cause := _in_constructor(failure)) is not None:
            raise UsageError(cause) from failure
        # Too many tasks died. The next pass decodes the rest.


def _in_constructor(failure: Exception) -> Diagnostic | None:
    """The diagnostic for an actor that cannot start, such as on a machine without dsldec."""
    if "creation task" not in str(failure):
        return None
    causes = [line.strip() for line in str(failure).splitlines() if CAUSE.match(line.strip())]
    why = printable(causes[-1] if causes else str(failure).strip().splitlines()[0])[:300]
    missing = why.startswith(("ModuleNotFoundError", "ImportError"))
    install = f'on all machines: `pip install "dsldec[ray]=={version()}"`'
    help = install if missing else "`DSLDEC_DEBUG=1` shows the log of Ray"
    return Diagnostic("E0472", f"a worker cannot start: {why}", help=help)
