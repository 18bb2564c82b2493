"""The program of one step: a list of operations, each on the results of earlier ones.

Shapes: B rows, T window positions, V vocabulary. The extent of a value is per run, per row `[B]` or per
position `[B, T]`. The canvas and the logits are values like all others: a write gives the next canvas. Not
here: how an operation is computed (`backends`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..checks.facts import Facts
from ..checks.values import Scalar
from ..language.words import Extent, Kind

# The meaning of each operation. Here `attribute` is the attribute of the operation; `a`, `b` and `c` are its
# inputs. The reference and the module implement every operation; a test compares the lists.
READS: Mapping[str, str] = MappingProxyType(
    {
        "number": "the constant `attribute`",
        "parameter": "the value of the parameter named `attribute`",
        "special": "the id of the model's token `attribute` (a word such as `eos`); below 0 if the model has none",
        "state": "the field of the state named `attribute`, as the step begins",
        "logits": "the logits of the denoiser",
        "canvas": "the canvas as the step begins",
        "editable": "the positions where the step may write",
        "offset": "the index of the position in the window, 0 for the first",
    }
)
LOGITS: Mapping[str, str] = MappingProxyType(
    {
        "ban": "(logits, ids): the logits with -inf at these ids",
        "bias": "(logits, id, amount): the logits with the amount added at one id",
        "bias_all": "(logits, table): the logits with the table's number added at every id",
        "temperature": "(logits, x): the logits divided by x, which is 0.001 at least and 1000000 at most; no value counts as 0.001",
        "observe": "all observations of the logits; `attribute` is the method that chooses the token: argmax (logits), "
        "gumbel (logits, temperature, key, step, pos), nucleus (logits, temperature, top_p, top_k, key, step, pos), given (logits, ids)",
        "path": "(logits, canvas, pos, window end, state of the pattern[, temperature[, top_p, top_k], key, step]): ids of the likeliest "
        "text of the window that can become a match of the pattern `attribute`, in a row without a pattern the likeliest or drawn ids; "
        "-2 where there is no such text",
        "observation": "(observations): the observation named `attribute`, a word without arguments or `finite`",
        "lookup": "(table, ids): the table's number for the id at each position; no value for an id outside the table",
        "lookup_step": "(table, ints): the table's number for an int from 0 on, the last number beyond its end; no value for an int below 0",
        "probability": "(logits, ids): probability of the id at each position; 0 for an id outside the vocabulary",
        "log_probabilities": "(logits): log probabilities of the likeliest ids, for the next step; `attribute` is their number or a parameter",
        "kl": "(logits, log probabilities of the previous step): KL divergence in nats at each position; `attribute` as in `log_probabilities`",
        "js": "(logits, log probabilities of the previous step): Jensen-Shannon divergence in nats at each position; `attribute` as in `log_probabilities`",
    }
)
ELEMENTWISE: Mapping[str, str] = MappingProxyType(
    {
        "negate": "-a",
        "add": "a + b",
        "subtract": "a - b",
        "multiply": "a * b",
        "divide": "a / b",
        "floor_divide": "the largest int not above a / b; 0 for an int divided by 0",
        "remainder": "a - b * (a // b), with the sign of b; 0 for an int divided by 0",
        "power": "a to the power of b, as a real",
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
        "minimum": "the smaller of a and b; no value if one of them has none",
        "maximum": "the larger of a and b; no value if one of them has none",
        "where": "b where a holds, else c",
        "exp": "e to the power of a",
        "log": "natural logarithm of a",
        "sqrt": "square root of a",
        "cosine_left": "(masks, done, n): the largest int not above masks * cos(pi / 2 * done / n); 0 from done = n on",
        "floor": "a real without its fraction, downwards, as an int; 0 for no value, within ±10^18",
        "ceil": "a real without its fraction, upwards, as an int; 0 for no value, within ±10^18",
        "truncate": "a real without its fraction, towards 0, as an int; 0 for no value, within ±10^18",
        "real": "an int as a real",
        "random": "(key, step, pos): a real between 0 and 1 that depends only on these and on the int `attribute`",
    }
)
ROWS: Mapping[str, str] = MappingProxyType(
    {
        "orelse": "mask a in rows where it has a position, else mask b",
        "any": "whether a mask has a position",
        "count": "number of positions in a mask",
        "sum": "(x, mask): sum of x over a mask",
        "mean": "(x, mask): mean of x over a mask; no value for an empty mask",
        "std": "(x, mask): standard deviation of x over a mask; no value for an empty mask",
        "quantile": "(x, mask, q): x over a mask at the share q of the way from the smallest to the largest, linear between two; no value for an "
        "empty mask, or q below 0 or above 1",
        "least": "(x, mask): smallest x over a mask; no value for an empty mask",
        "greatest": "(x, mask): largest x over a mask; no value for an empty mask",
    }
)
GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "group_any": "(mask, groups): at each position, whether the mask has a position of its group; false outside all groups (below 0)",
        "group_count": "(mask, groups): at each position, the number of positions of the mask in its group; 0 outside all groups",
        "group_sum": "(x, mask, groups): at each position, the sum of x over the mask in its group; 0 outside all groups",
        "group_mean": "(x, mask, groups): at each position, the mean of x over the mask in its group; no value without a position",
        "group_least": "(x, mask, groups): at each position, the smallest x over the mask in its group; no value without a position",
        "group_greatest": "(x, mask, groups): at each position, the largest x over the mask in its group; no value without a position",
    }
)
ORDERS: Mapping[str, str] = MappingProxyType(
    {
        "order": "(mask, score[, runs]): positions of a mask from the best score to the worst, the lower of equal ones first; "
        "with runs: the positions in each run, sorted run by run",
        "rank": "(order): the rank in an order, 1 for the best position",
        "cumsum": "(order, x): sum of x over the position and all better ones",
        "cummax": "(order, x): largest x of the position and all better ones",
        "prefix": "(order, condition): the longest beginning of an order in which the condition holds everywhere",
        "top": "(order, k): the first k positions",
        "thin": "(mask, score, condition, width): the word `thin` with `gap`: at most `attribute` picks (a number or a parameter); "
        "each pick removes the positions nearer than width",
        "thin_by_kernel": "(mask, score, condition, width): as `thin`, but each pick multiplies the scores at distance d by 1 - exp(-d² / width²)",
    }
)
GEOMETRY: Mapping[str, str] = MappingProxyType(
    {
        "runs": "(mask): for each position the offset at which its run begins, -1 outside the mask",
        "run_count": "(mask): number of runs of adjacent positions",
        "run_length": "(mask): length of the run of each position, 0 outside the mask",
        "runs_holding": "(mask, seed): the runs of a mask that have a position of seed",
        "grow": "(mask, left, right, gap, apart, trim): the word `grow`; runs without a position of trim are removed",
        "trim": "(mask, to): the runs with both ends cut back to positions of to; runs without such a position are removed",
        "shift": "(x, n): x moved n positions to the right; the new positions are false, 0 or without a value",
        "shift_distributions": "(log probabilities, n): distributions moved n positions to the right; the new positions have no value",
        "distance": "(mask): distance to the nearest position of a mask; no value for an empty mask",
        "learned": "(network, mask, x, ...): the network's number for each position of a mask, from the numbers x; only positions of the "
        "mask attend to each other; no value outside the mask; `attribute` is the parameter of the network",
        "density": "(mask, sigma): sum over a mask of the normal density at a position's distance",
    }
)
CANVAS: Mapping[str, str] = MappingProxyType(
    {
        "is_mask": "(canvas): the positions with MASK",
        "is_end": "(canvas): the positions with the end-of-text token; none if the denoiser has no such token",
        "is_word": "(ids): the positions where the id is in the vocabulary and not MASK",
        "write": "(canvas, mask, ids): the canvas with these ids at the positions of a mask",
        "erase": "(canvas, mask): the canvas with MASK at the positions of a mask",
    }
)
OPERATIONS: Mapping[str, str] = MappingProxyType(
    {**READS, **LOGITS, **ELEMENTWISE, **ROWS, **GROUPS, **ORDERS, **GEOMETRY, **CANVAS}
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    `inputs`: indices of earlier operations. `attribute`: the name of an observation, parameter or field, a
    constant, or a size.
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
    """A parameter of the program: its kind, its default (`None`: the caller must bind it), the range of its
    values, and the names to choose from. The default of a pattern is its text.
    """

    kind: Kind
    default: Scalar | str | None
    smallest: Scalar | None = None
    largest: Scalar | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoopCarried:
    """A value carried from step to step, with one number for each row or each position.

    `keep`: for a distribution, the number of stored log probabilities, or the name of a parameter.
    """

    kind: Kind
    extent: Extent
    keep: int | str | None = None

    @property
    def distribution(self) -> bool:
        return self.keep is not None

    @property
    def each(self) -> str:
        """The part of the text `per ...` that describes the value."""
        return f"{self.keep} ids" if self.distribution else self.extent.name.lower()


@dataclass(frozen=True, slots=True)
class Program:
    """One step of a policy.

    `canvas`, `done` and `finite` are operations: the canvas after the step, whether the window is full or the
    row finished, and whether the logits of a position are finite. `carried`: the fields of the step's state.
    `next`: for each field that the step writes, the operation that gives its next value; the host writes the
    others. `events`: for each event except `not_finite`, the operation that gives it. `ir.protocol` describes
    all fields and events. `phases`: the names of the phases in order, `("",)` for a policy without phases.
    `reads_written`: whether the step may read the logits of positions that were written when it began.
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
    reads_written: bool = True

    @property
    def observations(self) -> frozenset[str]:
        """The observations that the step reads."""
        return frozenset(
            str(operation.attribute) for operation in self.operations if operation.name == "observation"
        ) - {"finite"}

    @property
    def special_ids(self) -> tuple[str, ...]:
        """The words for ids of the model that the step reads, sorted."""
        return tuple(sorted(str(one.attribute) for one in self.operations if one.name == "special"))

    def __str__(self) -> str:
        lines = [f"program {self.name}"]
        lines += [
            f"  {name}: {p.kind}" + ("" if p.default is None else f" = {p.default}")
            for name, p in self.parameters.items()
        ]
        lines += self._around()
        lines += [f"  carries {name}: {c.kind} per {c.each}" for name, c in self.carried.items()]
        lines += [f"  %{i} = {operation}" for i, operation in enumerate(self.operations)]
        lines += [f"  next {name} = %{index}" for name, index in self.next.items()]
        lines += [f"  reports {name} = %{index}" for name, index in self.events.items()]
        return "\n".join([*lines, f"  canvas %{self.canvas}", f"  done %{self.done}"])

    def _around(self) -> list[str]:
        """What the host does around the step, where it is not the usual: two programs with the same text give
        the same answers. The usual is blocks whose size is the parameter `block`.
        """
        facts = self.facts
        around: dict[str, object] = {}
        if (facts.window, facts.window_size) != ("blocks", "block"):
            around["window"] = " ".join(
                str(one) for one in (facts.window, facts.window_size, facts.window_masks) if one is not None
            )
        around |= {"drafts": facts.drafts, "branches": facts.branches}
        around["guidance"] = facts.guided_by and "".join(facts.guided_by.span.text.split())
        around["noise"] = facts.noise or None
        return [f"  {what} {value}" for what, value in around.items() if value is not None]
