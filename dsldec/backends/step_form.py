"""Which inputs does one compiled form of a step serve? Its code depends on these sizes, and on the machine.

Shapes: B rows, T window positions, V vocabulary. One form serves B = 1, another one every larger B. The MASK
id, the end-of-text id and the values of parameters are inputs; only static parameters are fixed. Not here:
the files of compiled forms (`step_cache`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import checks
from ..checks.values import Value, int_of
from ..ir.lower import lower
from ..ir.nodes import Program
from ..language.words import TABLES, Extent, Kind
from ..networks.network import any_network
from ..source import Source
from .exported import EOS_ID, MASK_ID, MOST_LOGITS, Sizes
from .path_first import without_path
from .step import DTYPES, StepState
from .vocabulary import numbers_kept

EXAMPLE_ROWS = 4  # of a form for every B of 2 or more


@dataclass(frozen=True, slots=True)
class StepForm:
    """One compiled form of a step.

    `static`: the values of the static parameters; `lengths`: of the tables and of the weights of networks;
    `threads`: of the CPU.
    """

    program: Program
    static: Mapping[str, Value]
    sizes: Sizes
    lengths: Mapping[str, int]
    threads: int

    @property
    def values(self) -> dict[str, Value]:
        """Example values of all parameters; those of static parameters are fixed in the form."""
        parameters = self.program.parameters.items()
        defaults = {name: one.default for name, one in parameters if one.default is not None}
        tables: dict[str, Value] = {name: (0.0,) * length for name, length in self.lengths.items()}
        kinds = {name: one.kind for name, one in parameters}
        networks = {
            name: any_network(str(of)) for name, of in self.static.items() if kinds[name] is Kind.NETWORK
        }
        return {**defaults, **tables, **self.static, **networks}

    @property
    def words(self) -> str:
        """The sizes in a few words, for messages."""
        sizes = self.sizes
        rows = "2 rows or more" if sizes.any_rows else "1 row"
        by_row = f", by row: {', '.join(sorted(sizes.by_row))}" if sizes.by_row else ""
        dtype = str(sizes.dtype).removeprefix("torch.")
        return f"{rows} of {sizes.window} positions, {sizes.vocab_size} ids, {dtype}{by_row}"

    def text(self) -> str:
        """The form as JSON, with the text of the policy. `from_text` reads it."""
        sizes = self.sizes
        return json.dumps(
            {
                "policy": self.program.facts.source,
                "static": dict(self.static),
                "lengths": dict(self.lengths),
                "any_rows": sizes.any_rows,
                "window": sizes.window,
                "vocab_size": sizes.vocab_size,
                "dtype": str(sizes.dtype).removeprefix("torch."),
                "by_row": sorted(sizes.by_row),
                "threads": self.threads,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> StepForm:
        """The form of a text that `text` made in another process of the same dsldec."""
        said: dict[str, Any] = json.loads(text)
        checked, _ = checks.check(Source(said["policy"], "<string>"))
        assert checked is not None, "the text of a checked policy"
        static = {
            name: tuple(value) if isinstance(value, list) else value for name, value in said["static"].items()
        }
        sizes = sizes_of(
            said["any_rows"], said["window"], said["vocab_size"], said["dtype"], frozenset(said["by_row"])
        )
        return cls(without_path(lower(checked, static)), static, sizes, said["lengths"], said["threads"])


def sizes_of(any_rows: bool, window: int, vocab_size: int, dtype: str, by_row: frozenset[str]) -> Sizes:
    """The sizes of a form on a CPU."""
    rows = EXAMPLE_ROWS if any_rows else 1
    of = getattr(torch, dtype)
    return Sizes(rows, window, vocab_size, of, any_rows=any_rows, by_row=by_row)


def form_of(
    program: Program,
    static: Mapping[str, Value],
    inputs: tuple[Tensor, Tensor, Tensor],
    state: StepState,
    params: Mapping[str, Tensor],
) -> StepForm | None:
    """The form for these inputs: logits, canvas, editable; the state, and the params without the two ids.

    `None` if they are not the inputs of a step: then another backend raises the right error.
    """
    logits = inputs[0]
    if logits.dim() != 3 or not logits.is_floating_point() or not 1 <= logits.numel() <= MOST_LOGITS:
        return None
    B, T, V = logits.shape
    wide = ((torch.int64, (B, T)), (torch.bool, (B, T)))
    if tuple((x.dtype, tuple(x.shape)) for x in inputs[1:]) != wide:
        return None
    for name, carried in program.carried.items():
        size: tuple[int, ...] = (B, T) if carried.extent is Extent.POSITION else (B,)
        if carried.keep is not None:
            size = (B, T, numbers_kept(V, int_of(carried.keep, static) or 0))
        dtype = DTYPES.get(carried.kind, torch.float32)
        if (state[name].dtype, tuple(state[name].shape)) != (dtype, size):
            return None
    by_row, lengths = set(), {}
    for name, parameter in program.parameters.items():
        x, table = params[name], parameter.kind in (*TABLES, Kind.NETWORK)
        if x.dtype != DTYPES.get(parameter.kind, torch.float32) or x.dim() != (1 if table else x.dim()):
            return None
        if table:
            lengths[name] = len(x)
        elif tuple(x.shape) == (B, 1):
            by_row.add(name)
        elif x.dim():
            return None
    dtype_name = str(logits.dtype).removeprefix("torch.")
    sizes = sizes_of(B > 1, T, V, dtype_name, frozenset(by_row))
    return StepForm(program, static, sizes, lengths, torch.get_num_threads())


def packable(program: Program) -> bool:
    """Whether a step can be a package: no parameter has the name of one of the two ids."""
    return not {MASK_ID, EOS_ID} & program.parameters.keys()


def program_key(program: Program, static: Mapping[str, Value]) -> str:
    """A digest of the computation: the operations, not the names and texts around them."""
    lines = [
        f"{one.name} {one.attribute!r} {one.inputs} {one.kind} {one.extent.name}"
        for one in program.operations
    ]
    lines += [f"parameter {name} {of.kind}" for name, of in program.parameters.items()]
    lines += [
        f"carried {name} {of.kind} {of.extent.name} {of.keep!r}" for name, of in program.carried.items()
    ]
    lines += [f"next {name} {index}" for name, index in program.next.items()]
    lines += [f"event {name} {index}" for name, index in program.events.items()]
    lines += [f"ends {program.canvas} {program.done} {program.finite}"]
    lines += [f"static {name} {static[name]!r}" for name in sorted(static)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def form_key(form: StepForm) -> str:
    """A digest of the sizes of a form."""
    text = f"{form.words} {sorted(form.lengths.items())} {form.threads}"
    return hashlib.sha256(text.encode()).hexdigest()
