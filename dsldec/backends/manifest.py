"""The manifest of a package, as JSON values: how to call the step without dsldec, and the facts of its
policy.

Shapes: B rows, T window positions, V vocabulary. Not here: where the file stores the manifest (`aot`),
reading it (`manifest_reader`).
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
from ..language.words import NO_ID, Kind
from ..networks.network import LearnedNetwork, network_of
from ..plan import plan_of
from ..resources import version
from .exported import MASK_ID, Sizes, example, example_events, start


def described(program: Program, values: Mapping[str, Value], sizes: Sizes) -> dict[str, Any]:
    """The inputs with their first values, the events, the facts and the policy text.

    A field of `state` starts with the value `first`; if `yours` is true, the caller sets it before each step.
    `means` is the meaning of a field or an event, from the protocol's table. A parameter has the `value` of
    the build, `None` for the MASK id; of a choice, the index in `choices`. Another value of a parameter with
    `fixed` needs another build.
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
    """The machine that the code runs on: system, processor, and torch's name for the vector instructions or
    the GPU.
    """
    vectors = torch.backends.cpu.get_cpu_capability()
    if device == "cuda" and torch.cuda.is_available():
        vectors = "sm_{}{}".format(*torch.cuda.get_device_capability())
    return {"system": platform.system(), "processor": platform.machine(), "vectors": vectors}


def form(x: Tensor) -> dict[str, Any]:
    """The dtype and the shape of a tensor."""
    return {"dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape)}


def shown(of: Mapping[str, Any]) -> str:
    """A dtype and a shape in one text, as `float32[2, 4]`."""
    return f"{of['dtype']}{of['shape']}"


def _parameter(program: Program, values: Mapping[str, Value], name: str) -> dict[str, Any]:
    if name not in program.parameters:
        return {"kind": "token", "value": None if name == MASK_ID else NO_ID, "fixed": False}
    of, value = program.parameters[name], values[name]
    smallest, largest, number = of.smallest, of.largest, value
    if isinstance(value, LearnedNetwork):
        number = value.numbers
    elif isinstance(value, str) and of.choices:
        number = of.choices.index(value)
    return {
        "kind": str(of.kind),
        "value": number,
        **({"layers": value.sizes} if isinstance(value, LearnedNetwork) else {}),
        "smallest": smallest,
        "largest": largest,
        "fixed": name in program.facts.static,
    } | ({"choices": of.choices} if of.choices else {})


def value_of(parameter: Mapping[str, Any]) -> Value:
    """The value of a parameter in a manifest: of a choice its name, of a table a tuple. Raises `ValueError`,
    `TypeError`, `IndexError` or `struct.error` for a choice or a network of another form.
    """
    value: Any = parameter["value"]
    if parameter["kind"] == Kind.NETWORK:
        return network_of(str(parameter.get("layers")), value)
    if parameter.get("choices"):
        return str(parameter["choices"][value])
    return tuple(value) if isinstance(value, list) else value


def _facts(facts: Facts, values: Mapping[str, Value], window: int) -> dict[str, Any]:
    """The facts that are plain values, and three numbers for these parameter values: the bound on forwards
    for one window, the rows of a forward, and the scale of guidance.
    """
    plain = {field.name: getattr(facts, field.name) for field in fields(facts) if field.repr}
    plan = plan_of(facts, values, window)
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in plain.items()} | {
        "forwards_bound_of_a_window": plan.max_forwards,
        "rows_per_forward": plan.rows_per_forward,
        "guidance": plan.guidance,
    }
