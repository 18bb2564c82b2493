"""`dsldec bench step`: the time of a policy's step, as a multiple of one read of its logits.

Shapes: B rows, T window positions, V vocabulary; logits are random, every position is masked and editable,
and the window is T long. Not here: timing (`rounds`), the baselines (`baselines`), the table, goals and plot
(`bench_report`).
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backends import compiled, inductor
from ..backends.module import StepModule
from ..backends.step import Step
from ..backends.vocabulary import observe
from ..backends.vocabulary_dispatch import reader
from ..diagnostics import Diagnostic, UsageError
from ..policy import Policy
from ..resources import shipped_policies
from . import baselines, bench, bench_report
from .bench_cases import FLOAT64, READ, STATISTICS, BenchCase, CaseKey
from .rounds import measured
from .rule import Rule, reduction_results
from .writing import put

BACKENDS = ("eager", "inductor", "aot")
SHAPES = ((1, 32, 126464), (1, 256, 126464), (8, 256, 32000))
DTYPES = ("float32", "bfloat16")

BASELINES: Mapping[str, Callable[[Tensor], object]] = {
    READ: baselines.one_read,
    FLOAT64: baselines.float64_softmax,
    "softmax, topk(2)": baselines.softmax_topk,
    "softmax, entropy": baselines.softmax_entropy,
}
BYTES_A_LOGIT = 40  # with the temporaries of the float64 softmax or of an eager step


@dataclass(frozen=True, slots=True)
class StepOptions:
    """The options of the measurement, and the files of its results. An empty tuple: the defaults."""

    shapes: tuple[tuple[int, int, int], ...] = ()
    dtypes: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    rounds: int = 10
    threads: int | None = None
    device: str = "cpu"
    json: str | None = None
    plot: str | None = None


@dataclass(frozen=True, slots=True)
class _BenchInputs:
    """The inputs of a step, on its device."""

    logits: Tensor
    canvas: Tensor
    editable: Tensor

    @property
    def mask_id(self) -> int:
        return self.logits.shape[-1] - 1

    @property
    def eos_id(self) -> int:
        return self.logits.shape[-1] - 2


class _BenchStatistics(nn.Module):
    def __init__(self, mask_id: int) -> None:
        super().__init__()
        self.mask_id = mask_id

    def forward(self, logits: Tensor) -> dict[str, Tensor]:
        return observe(logits, self.mask_id, read=reader(kernels=True, raw=True))


def bench_step(options: StepOptions) -> int:
    """Measure and print; returns the exit status. Raises `PolicyError` and `UsageError` for the user's
    mistakes.
    """
    bench.require_svg(options.plot)
    bench.require_writable(options.json, options.plot)
    device = bench.device_here(options.device)
    policies = bench.policies(options.policies or shipped_policies())
    backends = bench.backends_here(options.backends, BACKENDS)
    shapes = options.shapes or SHAPES
    for shape in shapes:
        _require_memory(shape)
    bench.use_threads(options.threads)
    print(
        f"multiples of one read of the logits (their maximum): median and quartiles of {options.rounds} rounds"
    )
    print(f"{bench.machine_line(device)}\n")
    cases = []
    for shape in shapes:
        for dtype in options.dtypes or DTYPES:
            cases.append(_case(shape, dtype, policies, backends, options.rounds, device))
            print(*bench_report.table(cases[-1], backends), "", sep="\n", flush=True)
    print(*bench_report.notes(backends), sep="\n")
    print(*bench_report.goal_lines(bench_report.goals(cases)), sep="\n")
    if options.json is not None:
        bench.write_json(options.json, bench_report.results(cases, options.rounds, bench.machine(device)))
    if options.plot is not None:
        put(options.plot, bench_report.plot(cases, backends))
    return 0


def _require_memory(shape: tuple[int, int, int]) -> None:
    B, T, V = shape
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system without these numbers
        return
    needed = B * T * V * BYTES_A_LOGIT
    if needed > there:
        message = f"the shape `{B}x{T}x{V}` needs about {B * T * V * BYTES_A_LOGIT / 2**30:.0f} GiB of memory, and there are {there / 2**30:.0f}"
        raise UsageError(Diagnostic("E0422", message, help="for example `--shape 1x32x126464`"))


def _case(
    shape: tuple[int, int, int],
    dtype: str,
    policies: Mapping[str, Policy],
    backends: list[str],
    rounds: int,
    device: torch.device,
) -> BenchCase:
    B, T, V = shape
    generator = torch.Generator(device).manual_seed(0)
    logits = torch.randn(B, T, V, generator=generator, device=device).mul_(3).to(getattr(torch, dtype))
    everywhere = torch.ones(B, T, dtype=torch.bool, device=device)
    inputs = _BenchInputs(logits, torch.full((B, T), V - 1, device=device), everywhere)
    name = f"{'x'.join(map(str, shape))} {dtype}"
    report = bench.progress(name)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        calls: dict[CaseKey, Callable[[], object]] = {
            CaseKey(what): partial(call, logits) for what, call in BASELINES.items()
        }
        calls |= _statistics(inputs, backends)
        for called, policy in policies.items():
            report(f"making the steps of {called}")
            calls |= _policy_calls(called, policy, inputs, backends, Path(folder))
        seconds = measured(calls, rounds, device, report, often=CaseKey(READ))
    conf_only = frozenset(
        called
        for called, policy in policies.items()
        if policy.program.observations <= {"token", "conf", "doubt"}
        and len(policy.program.phases) == 1
        and not _reads_more(policy)
    )
    return BenchCase(
        shape,
        dtype,
        seconds,
        {called: len(policy.program.phases) for called, policy in policies.items()},
        conf_only,
    )


def _reads_more(policy: Policy) -> bool:
    return any(
        operation.name in ("probability", "log_probabilities", "kl", "js")
        for operation in policy.program.operations
    )


def _statistics(inputs: _BenchInputs, backends: list[str]) -> dict[CaseKey, Callable[[], object]]:
    module = _BenchStatistics(inputs.mask_id)
    made: dict[str, Callable[[Tensor], object]] = {"eager": module}
    if "inductor" in backends:
        made["inductor"] = torch.compile(
            module, fullgraph=True, dynamic=False, options=dict(compiled.OPTIONS)
        )
    return {
        CaseKey(STATISTICS, backend): partial(made[backend], inputs.logits)
        for backend in backends
        if backend in made
    }


def _policy_calls(
    called: str, policy: Policy, inputs: _BenchInputs, backends: list[str], folder: Path
) -> dict[CaseKey, Callable[[], object]]:
    """The step on each backend and, except on `aot`, its rule: the step whose statistics of the logits are
    inputs.
    """
    B, T, V = inputs.logits.shape
    policy = _with_block(policy, T)
    first = policy.compile("eager", mask_id=inputs.mask_id, eos_id=inputs.eos_id)
    module = first.function
    assert isinstance(module, StepModule)
    state = first.start(B, T, inputs.logits.device, vocab_size=V)
    known = reduction_results(module, first, inputs.logits, inputs.canvas, inputs.editable, state)
    calls: dict[CaseKey, Callable[[], object]] = {}
    for backend in backends:
        step = (
            _aot(policy, inputs, folder / f"{len(list(folder.iterdir()))}.pt2")
            if backend == "aot"
            else _step(policy, backend, inputs)
        )
        params = {name: value.to(inputs.logits.device) for name, value in step.params.items()}
        calls[CaseKey(called, backend)] = partial(
            step, inputs.logits, inputs.canvas, inputs.editable, state, params
        )
        if backend != "aot":
            rule: Callable[..., object] = Rule(
                module.program, module.mask_id, module.eos_id, module.static
            ).to(inputs.logits.device)
            rule = compiled.TracedStep(rule) if backend == "inductor" and isinstance(rule, Rule) else rule
            calls[CaseKey(called, backend, "rule")] = partial(
                rule, inputs.logits, inputs.canvas, inputs.editable, state, known
            )
    return calls


def _with_block(policy: Policy, length: int) -> Policy:
    """The policy with blocks as long as the window, if it has a parameter `block`."""
    parameter = policy.program.parameters.get("block")
    if parameter is None or policy.parameter_kinds["block"] != "int":
        return policy
    return policy.bind(block=length) if parameter.largest is None or length <= parameter.largest else policy


def _step(policy: Policy, backend: str, inputs: _BenchInputs) -> Step:
    step = policy.compile(backend, mask_id=inputs.mask_id, eos_id=inputs.eos_id)
    on_gpu = inputs.logits.device.type != "cpu"
    function = step.function
    module = function.traced.module if on_gpu and isinstance(function, inductor.CompiledStep) else function
    if isinstance(module, nn.Module):
        module.to(inputs.logits.device)
    return step


def _aot(policy: Policy, inputs: _BenchInputs, file: Path) -> Step:
    from ..packages import load

    aot: Any = importlib.import_module("dsldec.backends.aot")
    exported: Any = importlib.import_module("dsldec.backends.exported")
    logits = inputs.logits
    aot.build(
        policy.program,
        policy.parameters,
        exported.Sizes(*logits.shape, logits.dtype, logits.device.type),
        file,
    )
    return load(file, mask_id=inputs.mask_id, eos_id=inputs.eos_id)
