"""Every operation alone: the backends equal the reference on random inputs, including NaN, ties and 64-bit
ints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dsldec.backends import cpu_tiles, make, module, module_geometry, reference
from dsldec.backends.reference import ReferenceRow, run_row
from dsldec.backends.step import DTYPES, Events, Step, StepOutput, parameter_tensors
from dsldec.backends.vocabulary import log_probabilities
from dsldec.diagnostics import UsageError
from dsldec.ir.nodes import OPERATIONS, LoopCarried, Operation, Program, ProgramParameter
from dsldec.ir.verify import verify_operations
from dsldec.language.words import OBSERVATIONS, WORDS, Extent, Kind

MASK, EOS, VOCABULARY = 6, 5, 8
STATIC = {"static": 2}  # the static parameter of every program here
LENGTHS = (1, 2, 5, 8, 13)

# Calls of each operation, in a form of its signature (`ir.signatures`): `kind.extent` of the inputs and of
# the result, with the extents T (position), B (row) and 1 (run); without one any extent. `order` is an order
# of any kind. A letter after the kind chooses the numbers of an input: `w` of all magnitudes, `s` none that
# is odd or large, `p` mostly above 0, `q` mostly from 0 to 1.
CALLS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("negate", "absolute"), ("realw -> real", "int -> int")),
    **dict.fromkeys(
        ("add", "subtract", "multiply", "minimum", "maximum", "floor_divide", "remainder"),
        ("realw realw -> real", "int int -> int", "int realw -> real", "real int -> real"),
    ),
    **dict.fromkeys(
        ("divide", "power"),
        ("realw realw -> real", "real real -> real", "int int -> real", "reals ints -> real"),
    ),
    **dict.fromkeys(
        ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
        (
            "real real -> mask",
            "int int -> mask",
            "int real -> mask",
            "realw realw -> mask",
            "token int -> mask",
        ),
    ),
    "not": ("mask -> mask",),
    **dict.fromkeys(("and", "or"), ("mask mask -> mask",)),
    "where": (
        "mask real real -> real",
        "mask int int -> int",
        "mask int real -> real",
        "mask mask mask -> mask",
        "bool token int -> int",
    ),
    **dict.fromkeys(("exp", "log", "sqrt"), ("realw -> real", "real -> real", "ints -> real")),
    "cosine_left": ("ints ints ints -> int", "ints.B int.1 ints.B -> int.B"),
    **dict.fromkeys(("floor", "ceil", "truncate"), ("realw -> int", "real -> int", "int -> int")),
    "real": ("int -> real",),
    "random": ("int.B int.B int.T -> real.T", "int.B int.B int.B -> real.B", "int.B int.B int.1 -> real.B"),
    "orelse": ("mask.T mask.T -> mask.T", "bool.B mask.T -> mask.T"),
    "any": ("mask.T -> bool.B", "bool.1 -> bool.B"),
    "count": ("mask.T -> int.B", "bool.B -> int.B"),
    "sum": ("real mask.T -> real.B", "int mask.T -> int.B", "reals bool -> real.B"),
    **dict.fromkeys(
        ("mean", "std"), ("real mask.T -> real.B", "ints mask.T -> real.B", "reals mask.T -> real.B")
    ),
    "quantile": (
        "real mask.T realq.B -> real.B",
        "realw mask.T realq.1 -> real.B",
        "int mask.T ints.B -> real.B",
    ),
    **dict.fromkeys(("least", "greatest"), ("realw mask.T -> real.B", "int mask.T -> real.B")),
    "group_any": ("mask.T ints.T -> mask.T", "bool.B ints.T -> mask.T", "mask.T int -> mask.T"),
    "group_count": ("mask.T ints.T -> int.T", "mask.T int -> int.T"),
    "group_sum": ("real mask.T ints.T -> real.T", "int mask.T ints -> int.T", "reals bool int.T -> real.T"),
    "group_mean": ("real mask.T ints.T -> real.T", "ints mask.T ints -> real.T"),
    **dict.fromkeys(
        ("group_least", "group_greatest"), ("realw mask.T ints.T -> real.T", "int mask.T int -> real.T")
    ),
    "order": (),  # seen through those that follow
    "rank": ("order -> int.T",),
    "cumsum": ("order reals -> real.T", "order real -> real.T", "order int -> int.T"),
    "cummax": ("order realw -> real.T", "order int -> int.T"),
    "prefix": ("order mask -> mask.T",),
    "top": ("order int.B -> mask.T", "order int.1 -> mask.T"),
    **dict.fromkeys(
        ("thin", "thin_by_kernel"),
        (
            "mask.T realp mask realp.B -> mask.T",
            "mask.T realp bool.1 realp.1 -> mask.T",
            "mask.T ints mask ints.B -> mask.T",
        ),
    ),
    **dict.fromkeys(("runs", "run_length"), ("mask.T -> int.T",)),
    "run_count": ("mask.T -> int.B",),
    **dict.fromkeys(("runs_holding", "trim"), ("mask.T mask -> mask.T",)),
    "grow": (
        "mask.T mask mask ints.B bool.B mask -> mask.T",
        "mask.T mask mask int.1 bool.1 bool.1 -> mask.T",
    ),
    "shift": (
        "mask.T ints.B -> mask.T",
        "real ints.B -> real.T",
        "int int.1 -> int.T",
        "token ints.B -> token.T",
    ),
    "distance": ("mask.T -> real.T",),
    "density": ("mask.T realp.B -> real.T", "mask.T ints.1 -> real.T"),
    **dict.fromkeys(("is_mask", "is_end", "is_word"), ("token.T -> mask.T", "int -> mask.T")),
    "write": ("token.T mask token -> token.T",),
    "erase": ("token.T mask -> token.T",),
}
# Those that read the step's inputs or the logits have tests of their own below.
ELSEWHERE = {"number", "parameter", "state", "logits", "canvas", "editable", "offset", "ban", "bias", "bias_all", "temperature", "lookup", "lookup_step", "learned", "observe", "special", "path"} | {
    "observation", "probability", "log_probabilities", "kl", "js", "shift_distributions",
}  # fmt: skip


def kind_of(observation: str) -> Kind:
    """An id, or a real."""
    gives = WORDS[observation].gives
    return Kind.TOKEN if gives is not None and gives.kind is Kind.TOKEN else Kind.REAL


PLACES = {"T": Extent.POSITION, "B": Extent.ROW, "1": Extent.RUN}


# What the text of a program says of its facts.
USUAL = {
    "window": "blocks", "window_size": "block", "window_masks": None, "drafts": None, "branches": None,
    "guided_by": None, "noise": "",
}  # fmt: skip


@dataclass
class Builder:
    """Puts a program together; `given` says what kinds of numbers each of its inputs is given."""

    choices: Generator
    operations: list[Operation] = field(default_factory=list)
    parameters: dict[str, ProgramParameter] = field(default_factory=dict)
    carried: dict[str, LoopCarried] = field(default_factory=dict)
    next: dict[str, int] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, inputs: tuple[int, ...], kind: Kind, place: Extent, of: Any = None) -> int:
        self.operations.append(Operation(name, inputs, kind, place, of))
        return len(self.operations) - 1

    def choose(self, *of: Any) -> Any:
        return of[int(torch.randint(len(of), (), generator=self.choices))]

    def input(self, text: str, length_of: Extent = Extent.POSITION) -> int:
        """An input of this type, carried by the state or (one a run) a parameter."""
        kind_text, _, place_text = text.partition(".")
        place = (
            PLACES[place_text]
            if place_text
            else self.choose(*(place for place in Extent if place <= length_of))
        )
        kind = Kind(kind_text.rstrip("wspq")) if kind_text not in ("mask", "bool") else Kind(kind_text)
        kind = Kind.BOOL if kind is Kind.MASK and place is not Extent.POSITION else kind
        name = f"in_{len(self.given)}"
        self.given[name] = kind_text
        if place is Extent.RUN:
            self.parameters[name] = ProgramParameter(kind, 0)
            return self.add("parameter", (), kind, place, name)
        self.carried[name] = LoopCarried(kind, place)
        return self.add("state", (), kind, place, name)

    def order(self) -> int:
        inputs = [self.input("mask.T"), self.input(self.choose("real", "real", "int"))]
        match self.choose("one", "runs", "ints"):
            case "runs":
                inputs.append(self.add("runs", (self.input("mask.T"),), Kind.GROUP, Extent.POSITION))
            case "ints":
                inputs.append(self.input(self.choose("int", "ints")))
        return self.add("order", tuple(inputs), Kind.MASK, Extent.POSITION)

    def result(self, index: int, kind: Kind, place: Extent) -> None:
        name = f"out_{len(self.next)}"
        self.carried[name] = LoopCarried(kind, max(place, Extent.ROW))
        self.next[name] = index

    def call(self, name: str, text: str) -> None:
        """An operation on inputs of these types, its result to be carried."""
        inputs_text, gives = text.split(" -> ")
        inputs = tuple(self.order() if word == "order" else self.input(word) for word in inputs_text.split())
        kind_text, _, place_text = gives.partition(".")
        places = [self.operations[i].extent for i in inputs]
        place = PLACES[place_text] if place_text else max(places)
        kind = Kind.BOOL if kind_text == "mask" and place is not Extent.POSITION else Kind(kind_text)
        of = (
            self.choose(0, 1, 3, "static")
            if name.startswith("thin")
            else self.choose(0, 7)
            if name == "random"
            else None
        )
        self.result(self.add(name, inputs, kind, place, of), kind, place)

    def program(self, canvas: int | None = None, finite: int | None = None) -> Program:
        if canvas is None:
            canvas = self.add("canvas", (), Kind.TOKEN, Extent.POSITION)
        if finite is None:
            finite = self.add("number", (), Kind.BOOL, Extent.RUN, True)
        done = self.add("number", (), Kind.BOOL, Extent.RUN, False)
        return Program(
            "made",
            "",
            {**self.parameters, "static": ProgramParameter(Kind.INT, STATIC["static"])},
            tuple(self.operations),
            canvas,
            done,
            finite,
            self.carried,
            self.next,
            {},
            ("",),
            cast(Any, SimpleNamespace(static=("static",), **USUAL)),  # the backends read no other fact
            reads_written=False,
        )


def numbers(text: str, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Random numbers of a kind as `CALLS` writes it."""

    def some(share: float) -> Tensor:
        return torch.rand(shape, generator=generator) < share

    def of(values: list[Any], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype)[torch.randint(len(values), shape, generator=generator)]

    if text in ("mask", "bool"):
        return some(float(of([0.0, 0.3, 0.5, 0.8, 1.0], torch.float32).flatten()[0]))
    if text == "token":
        return of([*range(VOCABULARY), MASK, MASK, -1, VOCABULARY, 2**63 - 1], torch.int64)
    if text.startswith("int"):
        small = torch.randint(-3, 9, shape, generator=generator)
        odd = of([2**63 - 1, -(2**63), -(2**63) + 1, 2**24 + 1, 2**40 + 7, -1, 0], torch.int64)
        return small if text == "ints" else torch.where(some(0.3), odd, small)
    grid = torch.randint(-16, 17, shape, generator=generator) / 8
    real = torch.where(some(0.5), grid, torch.randn(shape, generator=generator))
    if text == "realp":
        real = torch.where(some(0.9), real.abs(), real)
    if text == "realw":
        real = torch.where(some(0.5), real, real * 10.0 ** torch.randint(-30, 31, shape, generator=generator))
    odd = of([math.inf, -math.inf, math.nan, 0.0, -0.0], torch.float32)
    if text == "realq":
        real = torch.where(some(0.5), grid.abs() / 2, torch.rand(shape, generator=generator))
    return real if text == "reals" else torch.where(some(0.2), odd, real)


def inputs(builder: Builder, program: Program, rows: int, length: int, seed: int) -> tuple[Any, ...]:
    """What a step of the program is called with."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {Extent.ROW: (rows,), Extent.POSITION: (rows, length)}
    state = {
        name: numbers(builder.given[name], shapes[carried.extent], generator)
        if name in builder.given
        else torch.zeros(shapes[carried.extent], dtype=DTYPES.get(carried.kind, torch.float32))
        for name, carried in program.carried.items()
    }
    params = {name: numbers(builder.given[name], (), generator) for name in builder.parameters}
    canvas = numbers("token", (rows, length), generator)
    editable = numbers("mask", (rows, length), generator)
    return torch.randn(rows, length, VOCABULARY, generator=generator), canvas, editable, state, params


def assert_same(one: Any, other: Any, about: str) -> None:
    """Canvas, done, state and events are equal, NaN to NaN."""
    pair = [
        {"canvas": result.canvas, "done": result.done, **result.state, **result.events.by_name()}
        for result in (one, other)
    ]
    torch.testing.assert_close(*pair, rtol=0, atol=0, equal_nan=True, msg=lambda text: f"{text}\n{about}")


def steps(program: Program, *backends: str) -> list[Any]:
    return [make(program, backend, MASK, EOS, STATIC) for backend in backends]


def test_both_backends_implement_every_operation_once() -> None:
    for backend in (module, reference):
        assert sorted(backend.IMPLEMENTED) == sorted(OPERATIONS)
    assert set(CALLS) | ELSEWHERE == set(OPERATIONS)


def test_the_calls_are_those_of_the_signatures() -> None:
    verify_operations(together(CALLS)[1])


@pytest.mark.parametrize("longest_paired", [0, 10**6], ids=["sorted", "in pairs"])
@pytest.mark.parametrize("name", CALLS)
def test_eager_equals_reference(name: str, longest_paired: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms that operations on orders and places have, whatever the length of the window."""
    monkeypatch.setattr(module_geometry, "LONGEST_PAIRED_EAGER", longest_paired)
    for call, text in enumerate(CALLS[name]):
        for seed in range(100 * call, 100 * call + 50):
            builder = Builder(torch.Generator().manual_seed(seed))
            builder.call(name, text)
            program = builder.program()
            given = inputs(builder, program, 1 + seed % 4, LENGTHS[seed % 5], seed)
            slow, fast = (step(*given) for step in steps(program, "reference", "eager"))
            assert_same(slow, fast, f"{program}\n{given}")


# Those that compare positions pair by pair where a window is short, and sort or scan a long one.
BY_LENGTH = (
    "rank",
    "cumsum",
    "cummax",
    "prefix",
    "top",
    "runs",
    "run_length",
    "runs_holding",
    "trim",
    "grow",
    "distance",
    "group_any",
    "group_count",
    "group_sum",
    "group_mean",
    "group_least",
    "group_greatest",
)


def sort_from(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of this length and longer are sorted and scanned."""
    for name in ("LONGEST_PAIRED", "LONGEST_PAIRED_EAGER"):
        monkeypatch.setattr(module_geometry, name, length - 1)


@pytest.mark.parametrize("pairs", [True, False])
def test_reals_are_added_from_the_best_on(pairs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all magnitudes: added in another order, even doubles would give something else."""
    sort_from(99 if pairs else 1, monkeypatch)
    for seed in range(60):
        builder = Builder(torch.Generator().manual_seed(seed))
        builder.call("cumsum", "order realw -> real.T")
        program = builder.program()
        if (
            not pairs
            and len(next(operation for operation in program.operations if operation.name == "order").inputs)
            == 3
        ):
            continue  # the runs of a long window are added by halves
        given = inputs(builder, program, 3, 40, seed)
        slow, fast = (step(*given) for step in steps(program, "reference", "eager"))
        assert_same(slow, fast, f"{program}\n{given}")


def together(calls: Mapping[str, tuple[str, ...]]) -> tuple[Builder, Program]:
    """A program of all these calls."""
    builder = Builder(torch.Generator().manual_seed(1))
    for name, texts in calls.items():
        for text in texts:
            builder.call(name, text)
    return builder, builder.program()


# What a compiler could get wrong: 64 bits, doubles, scans. The rest are single torch functions.
WORTH_COMPILING = (
    "floor_divide",
    "power",
    "floor",
    "sum",
    "std",
    "cumsum",
    "prefix",
    "thin_by_kernel",
    "grow",
    "shift",
)


@pytest.mark.parametrize("longest", [8, 7])
def test_a_compiled_step_sorts_and_scans_only_long_windows(
    longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it does, a compiler must call a library; some compilers cannot."""
    sort_from(longest + 1, monkeypatch)
    builder, program = together({name: CALLS[name] for name in BY_LENGTH})
    called: set[str] = set()

    def compiler(graph: torch.fx.GraphModule, examples: Any) -> Any:
        called.update(str(getattr(node.target, "__name__", node.target)) for node in graph.graph.nodes)
        return graph.forward

    torch.compile(steps(program, "eager")[0], backend=compiler, fullgraph=True)(
        *inputs(builder, program, 3, 8, 0)
    )
    of_libraries, of_loops = {"sort", "argsort", "cummax", "cummin"}, {"amax", "amin"}
    assert called & (of_libraries | of_loops) == (of_loops if longest == 8 else of_libraries)


@pytest.mark.parametrize(
    "names", [WORTH_COMPILING, pytest.param(tuple(CALLS), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_inductor_equals_reference(names: tuple[str, ...]) -> None:
    """Many operations in one graph."""
    builder, program = together(
        {name: CALLS[name][: None if len(names) == len(CALLS) else 1] for name in names}
    )
    slow, fast = steps(program, "reference", "inductor")
    for seed in range(10):
        given = inputs(builder, program, 3, 8, seed)
        assert_same(slow(*given), fast(*given), f"seed {seed}\n{program}")


def test_inductor_equals_reference_on_long_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    sort_from(1, monkeypatch)
    builder, program = together({name: CALLS[name][:1] for name in ("rank", "cumsum", "prefix", "grow")})
    slow, fast = steps(program, "reference", "inductor")
    for seed in range(10):
        given = inputs(builder, program, 3, 8, seed)
        assert_same(slow(*given), fast(*given), f"seed {seed}\n{program}")


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    builder, program = together(CALLS)
    (step,) = steps(program, "eager")
    for seed in range(5):
        logits, canvas, editable, state, params = inputs(builder, program, 4, 8, seed)
        canvas_after, done, state_after, events = step(logits, canvas, editable, state, params)
        for row in (slice(0, 1), slice(2, 4)):
            alone = step(
                logits[row],
                canvas[row],
                editable[row],
                {name: value[row] for name, value in state.items()},
                params,
            )
            assert_same(
                alone,
                StepOutput(
                    canvas_after[row],
                    done[row],
                    {name: value[row] for name, value in state_after.items()},
                    Events(events.not_finite[row]),
                ),
                f"row {row}",
            )


def test_reads() -> None:
    builder = Builder(torch.Generator().manual_seed(0))
    for name, kind in (("canvas", Kind.TOKEN), ("editable", Kind.MASK), ("offset", Kind.INT)):
        builder.result(builder.add(name, (), kind, Extent.POSITION), kind, Extent.POSITION)
    constants = (
        (Kind.INT, -(2**63)),
        (Kind.REAL, 0.1),
        (Kind.REAL, math.inf),
        (Kind.BOOL, True),
        (Kind.TOKEN, 3),
        (Kind.PROB, 1),
    )
    for kind, of in constants:
        builder.result(builder.add("number", (), kind, Extent.RUN, of), kind, Extent.RUN)
    builder.input("int.B")  # carried, and never given a next value
    program = builder.program(finite=builder.input("mask.T"))
    given = inputs(builder, program, 3, 5, 4)
    slow, fast = (step(*given) for step in steps(program, "reference", "eager"))
    assert_same(slow, fast, str(program))
    waiting = (given[1] == MASK) & given[2]
    assert torch.equal(fast.events.not_finite, waiting & ~given[3]["in_1"])
    assert torch.equal(fast[2]["in_0"], given[3]["in_0"])
    assert fast[2]["in_0"] is not given[3]["in_0"]
    assert fast[2]["out_2"].tolist() == [list(range(5))] * 3
    assert fast[2]["out_3"].tolist() == [-(2**63)] * 3


def of_logits(*ways: str, keep: int = 256) -> tuple[Builder, Program]:
    """A program of all that is done with logits, tokens chosen in these ways; `keep` ids of the distribution
    of the step before.
    """
    builder = Builder(torch.Generator().manual_seed(0))
    logits = builder.add("logits", (), Kind.UNKNOWN, Extent.POSITION)
    ids = [builder.input("token.1"), builder.input("token.1")]
    fewer = builder.add("ban", (logits, *ids), Kind.UNKNOWN, Extent.POSITION)
    other = builder.add("bias", (fewer, ids[0], builder.input("realp.1")), Kind.UNKNOWN, Extent.POSITION)
    other = builder.add("temperature", (other, builder.input("realp.B")), Kind.UNKNOWN, Extent.POSITION)
    temperature, top_p, top_k = builder.input("realp.B"), builder.input("realp.1"), builder.input("ints.1")
    place = (
        builder.input("int.B"),
        builder.input("int.B"),
        builder.add("offset", (), Kind.INT, Extent.POSITION),
    )
    before = builder.add("state", (), Kind.UNKNOWN, Extent.POSITION, "distribution")
    moved = builder.add(
        "shift_distributions", (before, builder.input("ints.B")), Kind.UNKNOWN, Extent.POSITION
    )
    builder.carried["distribution"] = LoopCarried(Kind.REAL, Extent.POSITION, keep=keep)
    for scores in (logits, other) if len(ways) > 1 else (other,):
        takes = {
            "argmax": (),
            "gumbel": (temperature, *place),
            "nucleus": (temperature, top_p, top_k, *place),
        }
        for way in ways:
            seen = builder.add("observe", (scores, *takes[way]), Kind.UNKNOWN, Extent.POSITION, way)
            for name in (*OBSERVATIONS, "finite"):
                kind = Kind.MASK if name == "finite" else kind_of(name)
                builder.result(
                    builder.add("observation", (seen,), kind, Extent.POSITION, name), kind, Extent.POSITION
                )
        p = builder.add("probability", (scores, builder.input("token")), Kind.PROB, Extent.POSITION)
        builder.result(p, Kind.PROB, Extent.POSITION)
        for given in (before, moved):
            builder.result(
                builder.add("kl", (scores, given), Kind.NATS, Extent.POSITION, keep),
                Kind.NATS,
                Extent.POSITION,
            )
    builder.next["distribution"] = builder.add(
        "log_probabilities", (logits,), Kind.UNKNOWN, Extent.POSITION, keep
    )
    return builder, builder.program()


def of_logits_inputs(builder: Builder, program: Program, seed: int) -> tuple[Any, ...]:
    """Logits of 1, 2 or 4 equally likely ids a position: what is seen is the same in any order of additions."""
    logits, canvas, editable, state, params = inputs(builder, program, 2 + seed % 2, 5, seed)
    generator = torch.Generator().manual_seed(seed)
    rank = torch.rand(logits.shape, generator=generator).argsort(-1)
    few = 2 ** torch.randint(0, 3, logits.shape[:2], generator=generator).unsqueeze(-1)
    logits = torch.where(rank < few, 1.0, -math.inf)
    keep = int(str(program.carried["distribution"].keep))
    return (
        logits,
        canvas,
        editable,
        state | {"distribution": log_probabilities(logits.roll(seed % 3, -1), keep)},
        params,
    )


def assert_near(plain: Mapping[str, Tensor], other: Mapping[str, Tensor], about: str) -> None:
    """Ids and truths are equal, reals nearly; no real is compared where the plain reading gives none: there
    the logits are not finite.
    """
    assert plain.keys() == other.keys()
    for name, expected in plain.items():
        found = other[name]
        if name == "distribution" and expected.shape[-1] != VOCABULARY:
            expected, found = by_id(expected), by_id(found)
        if expected.is_floating_point():
            found = torch.where(expected.isnan(), expected, found)
        torch.testing.assert_close(
            found, expected, rtol=2e-6, atol=2e-6, equal_nan=True, msg=lambda text: f"{text}\n{about}"
        )


def by_id(distributions: Tensor) -> Tensor:
    """Distributions with the ids that they hold in order: ids that are equally likely may come in any."""
    logs, ids = distributions.chunk(2, -1)
    order = ids[..., :-1].sort(dim=-1, stable=True).indices
    parts = [torch.cat([x[..., :-1].gather(-1, order), x[..., -1:]], -1) for x in (logs, ids)]
    return torch.cat(parts, -1)


@pytest.mark.parametrize("keep", [256, 2])
def test_what_is_done_with_logits(keep: int) -> None:
    builder, program = of_logits("argmax", "gumbel", "nucleus", keep=keep)
    slow, fast = steps(program, "reference", "eager")
    for seed in range(40):
        given = of_logits_inputs(builder, program, seed)
        if any(value.isnan().any() for value in given[-1].values()):
            continue  # a draw at a temperature of NaN has no meaning
        assert_near(slow(*given).state, fast(*given).state, f"seed {seed}\n{program}\n{given}")


def test_windows_of_both_forms_are_met() -> None:
    """The random policies' windows are short; longer ones are sorted, eager and compiled each from another
    length on.
    """
    assert max(LENGTHS) <= module_geometry.LONGEST_PAIRED_EAGER < module_geometry.LONGEST_PAIRED


def test_nothing_is_written_into_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inductor 2.13 may compute what reads a scatter's result before the scatter. Tiles are never compiled."""
    monkeypatch.setattr(cpu_tiles, "pay", lambda logits: False)

    class Calls(TorchDispatchMode):
        names: ClassVar[set[str]] = set()

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.add(f"mutable {function}" if function._schema.is_mutable else str(function))
            return function(*args, **(kwargs or {}))

    (numbers, program), (sights, of_sights) = together(CALLS), of_logits("argmax", "gumbel", "nucleus")
    with Calls():
        steps(program, "eager")[0](*inputs(numbers, program, 2, 5, 0))
        steps(of_sights, "eager")[0](*of_logits_inputs(sights, of_sights, 0))
    assert "aten.gather.default" in Calls.names
    assert not {name for name in Calls.names if "mutable" in name or "scatter" in name or "index_" in name}


@pytest.mark.parametrize(
    "way", ["argmax", *(pytest.param(way, marks=pytest.mark.slow) for way in ("gumbel", "nucleus"))]
)
def test_inductor_does_the_same_with_logits(way: str) -> None:
    builder, program = of_logits(way, keep=2 if way == "argmax" else 256)
    slow, fast = steps(program, "reference", "inductor")
    for seed in range(0, 20, 2):
        given = of_logits_inputs(builder, program, seed)
        if all(value.isfinite() for value in given[-1].values()):
            assert_near(slow(*given).state, fast(*given).state, f"seed {seed}")


def test_a_row_on_a_written_table() -> None:
    """The reference runs without logits: what is seen may come from anywhere."""

    class Table:
        def observe(self, wanted: Any, way: str, *given: Any) -> Mapping[str, list[Any]]:
            assert wanted == {"conf"}
            return {"conf": [0.5, 0.75]}

    builder = Builder(torch.Generator().manual_seed(0))
    seen = builder.add(
        "observe",
        (builder.add("logits", (), Kind.UNKNOWN, Extent.POSITION),),
        Kind.UNKNOWN,
        Extent.POSITION,
        "argmax",
    )
    builder.result(
        builder.add("observation", (seen,), Kind.PROB, Extent.POSITION, "conf"), Kind.PROB, Extent.POSITION
    )
    row = ReferenceRow(cast(Any, Table()), [MASK, MASK], [True, False], {"step": 3}, {}, MASK, VOCABULARY)
    after = run_row(builder.program(), row)
    assert after.state == {"step": 3, "out_0": [0.5, 0.75]}
    assert (after.canvas, after.done, after.events) == ([MASK, MASK], False, {"not_finite": [False, False]})


def grown(mask: str, over: str, gap: int, *, right: str = "", apart: bool = False, trim: str = "") -> str:
    """`grow` on masks written as dots and crosses."""
    masks = [[sign == "x" for sign in text] for text in (mask, over, right or over)]
    cut = [sign == "x" for sign in trim] if trim else [True] * len(mask)
    return "".join("x" if chosen else "." for chosen in reference.GEOMETRY["grow"](*masks, gap, apart, cut))


def test_what_grow_means() -> None:
    assert grown("...x...", ".xx.xx.", 0) == ".xxxxx."
    assert grown("..x......", "...x.x..x", 0) == "..xx....."
    assert grown("..x......", "...x.x..x", 1) == "..xxxx..."
    assert grown("..x......", "...x.x..x", 2) == "..xxxxxxx"
    assert grown("..x.....", "........", 2) == "..x....."
    assert grown("...x...", "xx.....", 1, right="....x.x") == "xxxxxxx"
    # Apart: the left run may not walk through the right one, nor over what lies beyond it.
    nowhere = "........"
    assert grown("x...x...", nowhere, 3, right=".x...xx.") == "xxxxxxx."
    assert grown("x...x...", nowhere, 3, right=".x...xx.", apart=True) == "xx..xxx."
    # Trimmed before the runs are united: what neither keeps stays out.
    assert grown("x....x", ".x..x.", 0, trim="xx..xx") == "xx..xx"
    assert grown("x....x", ".x..x.", 0, trim="......") == "......"


def test_what_thin_means() -> None:
    score = [0.9, 0.8, 0.9, 0.5, 0.0, math.nan]
    every = [True] * 6

    def thin(condition: list[bool] = every, width: int = 1, at_most: int = 9) -> list[int]:
        chosen = reference.IN_CONTEXT["thin"](
            ReferenceRow(cast(Any, None), [], [], {}, {}, MASK, VOCABULARY),
            Operation("thin", (), Kind.MASK, Extent.POSITION, at_most),
            every, score, condition, width,
        )  # fmt: skip
        return [i for i, is_chosen in enumerate(chosen) if is_chosen]

    assert thin() == [0, 1, 2, 3]  # what has no score, or one of 0, is never picked
    assert thin(width=2) == [0, 2]
    assert thin(width=3) == [0, 3]
    assert thin(at_most=1) == [0]
    assert thin([True, False, True, True, True, True]) == [0, 2]  # it stops at the first pick that fails


def test_ints_become_reals_in_one_rounding() -> None:
    tie = 2**62 + 2**38  # half-way between two float32: the lower one is even
    values = [tie, tie + 1, tie - 1, -tie - 1, 2**63 - 1, 2**53 + 1, 2**24 + 1]
    assert [reference.float32(value) for value in values] == torch.tensor(values).float().tolist()


def test_start() -> None:
    builder = Builder(torch.Generator().manual_seed(0))
    builder.carried |= {
        "window_start": LoopCarried(Kind.INT, Extent.ROW),
        "generation_length": LoopCarried(Kind.INT, Extent.ROW),
        "clusters": LoopCarried(Kind.MASK, Extent.POSITION),
        "level": LoopCarried(Kind.PROB, Extent.ROW),
    }
    program = builder.program()
    step = Step(program, "eager", MASK, EOS, parameter_tensors(program, STATIC), steps(program, "eager")[0])
    state = step.start(2, 4)
    assert {name: (value.dtype, tuple(value.shape)) for name, value in state.items()} == {
        "window_start": (torch.int64, (2,)),
        "generation_length": (torch.int64, (2,)),
        "clusters": (torch.bool, (2, 4)),
        "level": (torch.float32, (2,)),
    }
    assert state["generation_length"].tolist() == [4, 4]
    assert step.start(2, 4, generation_length=12)["generation_length"].tolist() == [12, 12]
    builder.carried["before"] = LoopCarried(Kind.REAL, Extent.POSITION, keep=9)
    with pytest.raises(UsageError, match=r"vocab_size=denoiser\.vocab_size"):
        step.start(2, 4)
    assert step.start(2, 4, vocab_size=9)["before"].shape == (2, 4, 9)
    assert step.start(2, 4, vocab_size=100)["before"].shape == (2, 4, 20)
