"""A worker of `dsldec batch`: an actor that loads the model and the policy once, then decodes chunks of
prompts.

The model is loaded with the first chunk, not when the actor starts: Ray restarts an actor that dies, and a
model that kills its process would be loaded for ever. Not here: which worker gets which chunk (Ray Data),
prompts whose worker died (`batch_passes`).
"""

from __future__ import annotations

import pickle
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..checks.values import Value
from ..diagnostics import Diagnostic, PolicyError, UsageError
from ..options import DecodeOptions, LoadOptions
from ..policy import Policy, check
from ..resources import version
from ..spelling import on_command_line
from ..terminal import printable
from .attempts import Attempts
from .batch_events import Begun, CannotDecode, Chunk, Finished, Ready, WorkerEvent, WorkerSaid
from .process import log_on_stderr, said_to


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """The work of all workers: the text of the policy and its parameter values, the model, the options.

    `share`: the number of prompts that a worker decodes, about; a GPU compiles for a long run.
    """

    text: str
    name: str
    parameters: Mapping[str, Value]
    model: str | None
    load: LoadOptions
    decode: DecodeOptions
    share: int

    def policy(self) -> Policy:
        """The policy, bound to its parameter values."""
        policy, diagnostics = check(self.text, self.name)
        if policy is None:
            raise PolicyError(diagnostics)
        return policy.bound(self.parameters)


class Worker:
    """The actor class for `map_batches`: a column `chunk` of pickled prompts to a column `event`.

    `driver_version`: the version of dsldec in the driver; `task`: a pickled `WorkerTask`, which is read only
    if the versions are equal.
    """

    def __init__(self, driver_version: str, task: bytes) -> None:
        self._driver_version, self._task = driver_version, task
        self._attempts: Attempts | None = None

    def __call__(self, batch: Any) -> Iterator[Any]:
        """Tables of pyarrow, in and out. An event is given as soon as it happens."""
        import pyarrow  # Ray Data brings it

        for pickled in batch.column("chunk").to_pylist():
            for event in self._events(pickle.loads(pickled)):
                yield pyarrow.table({"event": pyarrow.array([pickle.dumps(event)], pyarrow.binary())})

    def _events(self, chunk: Chunk) -> Iterator[WorkerEvent]:
        said: list[str] = []
        with said_to(said.append), log_on_stderr(), on_command_line():
            for event in self._decoded(chunk):
                yield from map(WorkerSaid, said)
                said.clear()
                yield event
        yield from map(WorkerSaid, said)

    def _decoded(self, chunk: Chunk) -> Iterator[WorkerEvent]:
        try:
            if self._attempts is None:
                started = time.monotonic()
                self._attempts = self._loaded()
                yield Ready(time.monotonic() - started)
            yield Begun(tuple(place for place, _ in chunk))
            for at, result in self._attempts.results([prompt for _, prompt in chunk]):
                yield Finished(chunk[at][0], result)
        except (UsageError, PolicyError) as mistake:
            yield CannotDecode(mistake)
        except Exception:  # a bug: the driver shows where
            yield CannotDecode(RuntimeError(f"a worker failed:\n{traceback.format_exc()}"))

    def _loaded(self) -> Attempts:
        from ..models.huggingface import from_pretrained

        if version() != self._driver_version:
            raise UsageError(_other_version(self._driver_version))
        task: WorkerTask = pickle.loads(self._task)
        policy = task.policy()
        try:
            denoiser = from_pretrained(task.model, **asdict(task.load))
        except (UsageError, PolicyError, KeyboardInterrupt):
            raise
        except BaseException as failure:  # code of the model may raise anything
            raise UsageError(_not_loaded(task.model, failure)) from failure
        options = replace(task.decode, backend=_backend(task, policy, denoiser))
        return Attempts(denoiser, policy, options, task.load.dtype)


def _backend(task: WorkerTask, policy: Policy, denoiser: Any) -> str:
    """The backend of all chunks. On a GPU, `auto` looks at the length of the run; a chunk is a part of it."""
    from .. import backends

    if task.decode.backend != "auto" or task.decode.infill:
        return task.decode.backend
    given = task.decode.gen_length
    gen_length = given if isinstance(given, int) else int(denoiser.gen_length)
    plan = policy.plan(gen_length, lookahead=task.decode.lookahead)
    logits = task.share * plan.max_forwards * plan.block_length * int(denoiser.vocab_size)
    return backends.choose(logits, getattr(denoiser, "device", "cpu"))[0]


def _other_version(driver: str) -> Diagnostic:
    here = f"the worker on {printable(platform.node())} has dsldec {version()}, and the driver has {driver}"
    help = f'install one version on all machines: `pip install "dsldec[ray]=={driver}"`'
    return Diagnostic("E0473", here, help=help)


def _not_loaded(model: str | None, failure: BaseException) -> Diagnostic:
    first_line = next(iter(str(failure).strip().splitlines()), "")
    why = f"{type(failure).__name__}{': ' * bool(first_line)}{printable(first_line)[:300]}"
    message = f"the model `{model or 'embedded'}` cannot be loaded on {printable(platform.node())}: {why}"
    return Diagnostic("E0405", message, help="`dsldec model PATH` on that machine shows what it reads")
