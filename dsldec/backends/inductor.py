"""The backend `inductor`, and `auto`: which form of a step runs, and when is one compiled?

On a CPU a compiled form is a package of AOTInductor, which is called without the guards of torch.compile and
is stored on disk (`step_cache`). On other devices it is a traced step (`compiled`). All steps of a process
with the same program share their forms. Shapes: B rows, T window positions, V vocabulary.

The rule of `auto`, which never waits: a form in the cache runs at once. Else the step is eager, and the time
of eager steps is added up for each form. When the sum reaches the time that compiling is expected to take,
another process compiles the form, and the step changes to it when it is there. So `auto` takes at most twice
the computing time of the better choice. Both forms have equal results.
"""

from __future__ import annotations

import copy
import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor

from ..checks.values import Value
from ..ir.nodes import Program
from ..lru import LRUCache
from . import compile_job, step_cache
from .compile_job import JOBS, JobProgress
from .compiled import TracedStep
from .exported import EOS_ID, MASK_ID, NO_EOS
from .module import StepModule
from .step import Events, StepFunction, StepOutput, StepState, reported
from .step_cache import Runner
from .step_form import StepForm, form_key, form_of, packable, program_key

log = logging.getLogger("dsldec")

MOST_FORMS = 64  # loaded in a process; beyond it, the least recently used one is freed
MOST_SHAPES = 256  # of inputs that a step knows; several belong to one form


class Waits(Enum):
    """When a step waits for a compilation."""

    ALWAYS = auto()  # `policy.compile("inductor")`
    ONCE_A_MODEL = auto()  # `decode(backend="inductor")`: later forms are compiled in the background
    NEVER = auto()  # `auto`


class FormInUse:
    """A form in this process: its package, or the seconds of its eager steps until there is one."""

    def __init__(self, key: str, form: StepForm) -> None:
        self.key, self.form = key, form
        self.runner: Runner | None = None
        self.looked_up = self.failed = False
        self.eager_seconds = 0.0
        self.expected_seconds: float | None = None  # of compiling, once `auto` has eager steps
        self.lock = threading.Lock()


FORMS: LRUCache[str, FormInUse] = LRUCache(MOST_FORMS)
TRACED: LRUCache[tuple[object, ...], TracedStep] = LRUCache(32)
# The programs with a vocabulary and dtype for which a decoding has waited.
WAITED: LRUCache[tuple[object, ...], bool] = LRUCache(1024)


class CompiledStep:
    """A step with a compiled form for each shape of its inputs. It is called like every step.

    `eager` makes the step that runs while there is no compiled form. Raises `UsageError` (E0404, E0417) if it
    waits for a compilation that this machine cannot make.
    """

    def __init__(
        self,
        program: Program,
        ids: tuple[int, int | None],
        static: Mapping[str, Value],
        eager: Callable[[], StepFunction],
        waits: Waits = Waits.ALWAYS,
    ) -> None:
        self.program, self.ids, self.static, self.waits = program, ids, dict(static), waits
        self.key = program_key(program, static)
        self._eager_made = eager
        self._packed = packable(program) and step_cache.available()
        self._fields = tuple(sorted(program.carried))
        self._names = tuple(sorted({*program.parameters, *program.special_ids, MASK_ID, EOS_ID}))
        self._events = tuple(name for name in Events._fields if name in reported(program))
        mask_id, eos_id = ids
        self._ids = {
            name: torch.tensor(int(id_), dtype=torch.int64, device="cpu")
            for name, id_ in ((MASK_ID, mask_id), (EOS_ID, NO_EOS if eos_id is None else eos_id))
        }
        self._runners: dict[object, Runner] = {}
        self._eager_forms: dict[object, FormInUse] = {}

    def of_run(self) -> CompiledStep:
        """The same step, which waits for the first form of a model only."""
        step = copy.copy(self)
        step.waits = Waits.ONCE_A_MODEL
        return step

    @functools.cached_property
    def eager(self) -> StepFunction:
        return self._eager_made()

    @functools.cached_property
    def traced(self) -> TracedStep:
        """The step for devices without packages."""
        key = (self.key, *self.ids)
        return TRACED.get_or_make(key, lambda: TracedStep(StepModule(self.program, *self.ids, self.static)))

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        if not self._packed or type(logits) is not Tensor or not logits.is_cpu:
            if self.waits is Waits.NEVER:
                return self.eager(logits, canvas, editable, state, params)
            return self.traced(logits, canvas, editable, state, params)
        given = {**params, **self._ids}
        try:
            inputs = [logits, canvas, editable]
            inputs += [state[name] for name in self._fields]
            inputs += [given[name] for name in self._names]
        except KeyError:  # eager names the input
            return self.eager(logits, canvas, editable, state, params)
        # The package checks nothing: all of these were checked when its runner was stored. The number of
        # threads is fixed in its code, and after a fork a process with one thread must not start others.
        shape = (torch.get_num_threads(), *[(x.shape, x.dtype, x.is_cpu) for x in inputs])
        runner = self._runners.get(shape)
        if runner is None or len(state) != len(self._fields):
            runner = self._found(shape, inputs, state, params)
            if runner is None:
                return self._in_eager(shape, logits, canvas, editable, state, params)
        results = runner([x if x.is_contiguous() else x.contiguous() for x in inputs])
        fields = 2 + len(self._fields)
        following = dict(zip(self._fields, results[2:fields], strict=True))
        events = Events(**dict(zip(self._events, results[fields:], strict=True)))
        return StepOutput(results[0], results[1], following, events)

    def _found(
        self, shape: object, inputs: list[Tensor], state: StepState, params: Mapping[str, Tensor]
    ) -> Runner | None:
        """The package for these inputs, looked up or made; `None` if the step stays eager for now."""
        used = self._eager_forms.get(shape)
        if used is None:
            known = state.keys() == set(self._fields) and all(x.is_cpu for x in inputs)
            first = (inputs[0], inputs[1], inputs[2])
            form = form_of(self.program, self.static, first, state, params) if known else None
            if form is None:
                return None
            key = f"{self.key} {form_key(form)}"
            used = FORMS.get_or_make(key, lambda: FormInUse(key, form))
        runner = self._runner(used)
        if runner is None:
            _require_room(self._eager_forms)
            self._eager_forms[shape] = used
        else:
            self._eager_forms.pop(shape, None)
            _require_room(self._runners)
            self._runners[shape] = runner
        return runner

    def _runner(self, used: FormInUse) -> Runner | None:
        if not used.lock.acquire(blocking=self.waits is Waits.ALWAYS):
            return None  # another thread compiles or loads it
        try:
            if used.runner is None and not used.looked_up:
                used.looked_up, used.runner = True, step_cache.load(used.form)
                if used.runner is not None:
                    log.info("the compiled step of `%s` comes from the cache", self.program.name)
            if used.runner is None and self._waits_for(used.form):
                used.runner = _waited(used.form)
            if used.runner is None and not used.failed:
                self._in_background(used)
            return used.runner
        finally:
            used.lock.release()

    def _waits_for(self, form: StepForm) -> bool:
        if self.waits is Waits.ONCE_A_MODEL and compile_job.allowed():
            model = (self.key, form.sizes.vocab_size, form.sizes.dtype)
            first = model not in WAITED
            WAITED.get_or_make(model, lambda: True)
            return first
        return self.waits is not Waits.NEVER

    def _in_background(self, used: FormInUse) -> None:
        """Start the compilation of a form if that pays, and load the package if it is there."""
        if not compile_job.allowed():
            return
        if used.expected_seconds is None:
            used.expected_seconds = step_cache.expected_seconds(self.program)
        if self.waits is Waits.NEVER and used.eager_seconds < used.expected_seconds:
            return
        progress = JOBS.progress(used.key, used.form)
        if progress is JobProgress.DONE:
            used.runner = step_cache.load(used.form)
            used.failed = used.runner is None
        elif progress is JobProgress.FAILED:
            used.failed = True
        name, why = self.program.name, JOBS.error(used.key) or "the package is not in the cache"
        if used.failed:
            log.info("the step of `%s` stays eager: compiling in the background failed: %s", name, why)
        elif used.runner is not None:
            log.info("the step of `%s` is compiled from here on, for %s", name, used.form.words)

    def _in_eager(
        self,
        shape: object,
        logits: Tensor,
        canvas: Tensor,
        editable: Tensor,
        state: StepState,
        params: Mapping[str, Tensor],
    ) -> StepOutput:
        began = time.perf_counter()
        output = self.eager(logits, canvas, editable, state, params)
        used = self._eager_forms.get(shape)
        if used is not None:
            used.eager_seconds += time.perf_counter() - began
        return output


def _waited(form: StepForm) -> Runner:
    """The package of a form, compiled now."""
    name = form.program.name
    log.info(
        "compiling the step of `%s` for %s: up to a minute or two, then it is stored; the backend `eager` "
        "starts at once",
        name,
        form.words,
    )
    began = time.perf_counter()
    runner = step_cache.compiled(form)
    log.info("compiled the step of `%s` in %.0f s", name, time.perf_counter() - began)
    return runner


def _require_room(shapes: dict[object, Any]) -> None:
    if len(shapes) >= MOST_SHAPES:  # they are found again among `FORMS`
        shapes.clear()
