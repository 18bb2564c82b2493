"""The program of one step: a list of operations, each on the results of earlier ones.

Shapes: B rows, T window positions, V vocabulary. A value is per run, `[B]` or `[B, T]`, by its place. The
canvas and the logits are values like any other: a write gives the next canvas. Not here: how an operation is
computed (`backends`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..checks.facts import Facts
from ..checks.values import Scalar
from ..language.words import Extent, Kind

# What each operation does with its inputs. Both backends implement every one of them; a test compares the
# lists.
READS: Mapping[str, str] = MappingProxyType(
    {
        "number": "a constant, in `of`",
        "parameter": "the value of the parameter `of`",
        "state": "what the step was given under the name `of`",
        "logits": "what the denoiser gave",
        "canvas": "the canvas as the step found it",
        "editable": "where the step may write",
        "offset": "the position counted from the window's first, 0 on",
    }
)
LOGITS: Mapping[str, str] = MappingProxyType(
    {
        "ban": "logits with -inf at the ids given after them",
        "bias": "logits with an amount added at an id: (logits, id, amount)",
        "bias_all": "(logits, table): logits with a table's number added at every id",
        "observe": "everything seen in logits; the token chosen by `of`: argmax (logits), gumbel (logits, temperature, key, step, pos), "
        "nucleus (logits, temperature, top_p, top_k, key, step, pos)",
        "observation": "the part `of` of what was seen: token, conf, doubt, margin, logit_margin, entropy, finite",
        "lookup": "(table, ids): a table's number of an id at each position; no value for what is no id",
        "probability": "(logits, ids): probability of an id at each position; 0 for what is no id",
        "log_probabilities": "logits as log probabilities of the `of` (number or parameter) likeliest ids, to be carried to the next step",
        "kl": "(logits, log probabilities of the step before, of as many ids): KL divergence in nats, by position",
    }
)
ELEMENTWISE: Mapping[str, str] = MappingProxyType(
    {
        "negate": "-a",
        "add": "a + b",
        "subtract": "a - b",
        "multiply": "a * b",
        "divide": "a / b",
        "floor_divide": "the largest int not above a / b; an int by 0 gives 0",
        "remainder": "a - b * (a // b), of the sign of b; an int by 0 gives 0",
        "power": "a to the power of b, a real",
        "less": "a < b",
        "less_equal": "a <= b",
        "greater": "a > b",
        "greater_equal": "a >= b",
        "equal": "a == b",
        "not_equal": "a != b; false where one has no value",
        "not": "not a",
        "and": "a and b",
        "or": "a or b",
        "absolute": "|a|",
        "minimum": "the smaller of a and b; no value if either has none",
        "maximum": "the larger of a and b; no value if either has none",
        "where": "b where a holds, else c",
        "exp": "e to the power of a",
        "log": "natural logarithm of a",
        "sqrt": "square root of a",
        "cos": "cosine of a",
        "floor": "a real without its fraction, downwards, as an int; 0 for no value, within ±10^18",
        "ceil": "a real without its fraction, upwards, as an int; 0 for no value, within ±10^18",
        "truncate": "a real without its fraction, towards 0, as an int; 0 for no value, within ±10^18",
        "real": "an int as a real",
        "random": "(key, step, pos): a real between 0 and 1 that these and the int `of` alone decide",
    }
)
ROWS: Mapping[str, str] = MappingProxyType(
    {
        "orelse": "mask a in rows where it holds a position, else mask b",
        "any": "whether a mask holds a position",
        "count": "how many positions a mask holds",
        "sum": "(x, mask): sum of x over a mask",
        "mean": "(x, mask): mean of x over a mask; no value over nothing",
        "std": "(x, mask): standard deviation of x over a mask; no value over nothing",
        "least": "(x, mask): smallest x over a mask; no value over nothing",
        "greatest": "(x, mask): largest x over a mask; no value over nothing",
    }
)
ORDERS: Mapping[str, str] = MappingProxyType(
    {
        "order": "(mask, score[, runs]): positions of a mask from the best score to the worst, ties to the lower position; with runs: "
        "the positions that are in a run, each run for itself",
        "rank": "(order): the place in an order, 1 for the best",
        "cumsum": "(order, x): sum of x over the position and all before it",
        "cummax": "(order, x): largest x of the position and all before it",
        "prefix": "(order, condition): the longest beginning in which a condition holds",
        "top": "(order, k): the first k positions",
        "thin": "(mask, score, condition, width): picks one after the other, at most `of` (a number or a parameter): see `words.thin`; "
        "without a kernel, positions nearer than width leave",
        "thin_by_kernel": "(mask, score, condition, width): the same, and scores are multiplied by 1 - exp(-d² / width²)",
    }
)
GEOMETRY: Mapping[str, str] = MappingProxyType(
    {
        "runs": "(mask): for each position the offset at which its run begins, -1 outside",
        "run_count": "(mask): how many runs of adjacent positions a mask has",
        "run_length": "(mask): length of the run a position is in, 0 outside",
        "runs_holding": "(mask, seed): the runs of a mask that hold a position of seed",
        "grow": "(mask, left, right, gap, apart, trim): see `words.grow`; runs that nothing of `trim` is left of go",
        "trim": "(mask, to): both ends of every run cut back to `to`; runs without any go",
        "shift": "(x, n): x moved n positions to the right; what comes in is false, 0 or no value",
        "shift_distributions": "(log probabilities, n): those of a position n positions to the left; what comes in has no value",
        "distance": "(mask): positions to the nearest one of a mask; no value over nothing",
        "density": "(mask, sigma): sum over a mask of the normal density at a position's distance",
    }
)
CANVAS: Mapping[str, str] = MappingProxyType(
    {
        "is_mask": "(canvas): where MASK stands",
        "is_end": "(canvas): where the end-of-text token stands; nowhere if the denoiser has none",
        "is_word": "(ids): where an id is one of the vocabulary and not MASK",
        "write": "(canvas, mask, ids): the canvas with ids where a mask holds",
        "erase": "(canvas, mask): the canvas with MASK where a mask holds",
    }
)
OPERATIONS: Mapping[str, str] = MappingProxyType(
    {**READS, **LOGITS, **ELEMENTWISE, **ROWS, **ORDERS, **GEOMETRY, **CANVAS}
)


@dataclass(frozen=True, slots=True)
class Operation:
    """`inputs` are indices of earlier operations; `of` names the observation, parameter, state or constant
    meant.
    """

    name: str
    inputs: tuple[int, ...]
    kind: Kind
    extent: Extent
    attribute: str | Scalar | None = None

    def __str__(self) -> str:
        inputs = ", ".join(f"%{i}" for i in self.inputs)
        about = "" if self.attribute is None else f" {self.attribute}"
        return f"{self.name}{about}({inputs}): {self.kind} per {self.extent.name.lower()}"


@dataclass(frozen=True, slots=True)
class ProgramParameter:
    """A parameter of the program: its kind, its value where none is given, and the values it may take."""

    kind: Kind
    default: Scalar
    smallest: Scalar | None = None
    largest: Scalar | None = None


@dataclass(frozen=True, slots=True)
class LoopCarried:
    """A value carried from step to step: one a row or one a position; `keep`: a distribution's log
    probabilities of so many ids.

    `keep` is a number or the name of a parameter.
    """

    kind: Kind
    extent: Extent
    keep: int | str | None = None

    @property
    def distribution(self) -> bool:
        return self.keep is not None

    @property
    def each(self) -> str:
        """What there is one of."""
        return f"{self.keep} ids" if self.distribution else self.extent.name.lower()


@dataclass(frozen=True, slots=True)
class Program:
    """One step of a policy.

    `canvas`, `done` and `finite` are operations: the canvas after the step, whether the window is full or the
    row finished, and whether the logits of a position are finite. `carried`: the fields of the step's state.
    `next`: for each field that the step writes, the operation that gives its next value; the host writes the
    others. `events`: for each event but `not_finite`, the operation that gives it. `ir.protocol` describes
    all fields and events. `phases`: the names of the phases in order, `("",)` where a policy has none.
    """

    name: str
    doc: str
    parameters: Mapping[str, ProgramParameter]
    operations: tuple[Operation, ...]
    canvas: int
    done: int
    finite: int
    carried: Mapping[str, LoopCarried]
    next: Mapping[str, int]
    events: Mapping[str, int]
    phases: tuple[str, ...]
    facts: Facts = field(repr=False)

    @property
    def observations(self) -> frozenset[str]:
        """The observations that the step reads."""
        return frozenset(
            str(operation.attribute) for operation in self.operations if operation.name == "observation"
        ) - {"finite"}

    def __str__(self) -> str:
        lines = [f"program {self.name}"]
        lines += [f"  {name}: {p.kind} = {p.default}" for name, p in self.parameters.items()]
        lines += [f"  carries {name}: {c.kind} per {c.each}" for name, c in self.carried.items()]
        lines += [f"  %{i} = {operation}" for i, operation in enumerate(self.operations)]
        lines += [f"  next {name} = %{index}" for name, index in self.next.items()]
        lines += [f"  reports {name} = %{index}" for name, index in self.events.items()]
        return "\n".join([*lines, f"  canvas %{self.canvas}", f"  done %{self.done}"])
