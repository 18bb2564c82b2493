"""What a built step says of itself, as JSON holds it: all that somebody without dsldec needs to call it and
to trust it.

Shapes: B rows, T window positions, V vocabulary. Not here: how a file carries it (`aot`), reading it
(`manifest_reader`).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from ..checks.facts import Facts
from ..checks.values import Value
from ..ir.nodes import Program
from ..ir.protocol import EVENTS, Writer, field_of
from ..plan import plan_of
from ..resources import version
from .exported import EOS_ID, NO_EOS, Sizes, example, example_events, start


def described(program: Program, values: Mapping[str, Value], sizes: Sizes) -> dict[str, Any]:
    """The inputs with their first values, the events, the facts and the policy itself.

    Of `state`: `first` fills it, and the caller sets what is `yours`; of `state` and `events`, `means` is the
    meaning from the protocol's table. Of `params`: `value` is the one it was built with, `None` for MASK's id;
    what is `fixed` sizes the step, so that another value needs another build.
    """
    logits, canvas, editable, state, params = example(program, values, sizes)
    first = start(program, values, replace(sizes, batch=1, vocab_size=1, device="cpu"))
    return {
        "dsldec": version(),
        "torch": torch.__version__,
        "device": sizes.device,
        "machine": machine(sizes.device),
        "sizes": {"B": sizes.batch, "T": sizes.window, "V": sizes.vocab_size},
        "logits": form(logits),
        "canvas": form(canvas),
        "editable": form(editable),
        "state": {
            name: form(x) | {"first": first[name].flatten()[0].item()} | _field(name)
            for name, x in state.items()
        },
        "events": {
            name: form(x) | {"means": EVENTS[name].meaning}
            for name, x in example_events(program, sizes).items()
        },
        "params": {name: form(x) | _parameter(program, values, name) for name, x in params.items()},
        "policy": {
            "name": program.name,
            "doc": program.doc,
            "text": program.facts.source,
        },
        "facts": _facts(program.facts, values, sizes.window),
    }


def _field(name: str) -> dict[str, Any]:
    field = field_of(name)
    return {"yours": field.writer is Writer.HOST, "means": field.meaning}


def machine(device: str) -> dict[str, str]:
    """The machine that code is for: system, processor, and torch's name for the vector instructions or the
    GPU.
    """
    vectors = torch.backends.cpu.get_cpu_capability()
    if device == "cuda" and torch.cuda.is_available():
        vectors = "sm_{}{}".format(*torch.cuda.get_device_capability())
    return {"system": platform.system(), "processor": platform.machine(), "vectors": vectors}


def form(x: Tensor) -> dict[str, Any]:
    """A tensor's dtype and shape."""
    return {"dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape)}


def shown(of: Mapping[str, Any]) -> str:
    """A form as `float32[2, 4]`."""
    return f"{of['dtype']}{of['shape']}"


def _parameter(program: Program, values: Mapping[str, Value], name: str) -> dict[str, Any]:
    if name not in program.parameters:
        return {"kind": "token", "value": NO_EOS if name == EOS_ID else None, "fixed": False}
    of = program.parameters[name]
    smallest, largest = of.smallest, of.largest
    return {
        "kind": str(of.kind),
        "value": values[name],
        "smallest": smallest,
        "largest": largest,
        "fixed": name in program.facts.static,
    }


def _facts(facts: Facts, values: Mapping[str, Value], window: int) -> dict[str, Any]:
    """The facts that are plain values, and under these parameter values: the bound for one window, rows,
    guidance.
    """
    plain = {field.name: getattr(facts, field.name) for field in fields(facts) if field.repr}
    plan = plan_of(facts, values, window)
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in plain.items()} | {
        "forwards_bound_of_a_window": plan.max_forwards,
        "rows_per_forward": plan.rows_per_forward,
        "guidance": plan.guidance,
    }
