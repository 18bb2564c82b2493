"""What a policy does with the forwards of a case: the windows of a run, the reference backend, written tables
for logits.

Shapes: G positions of the case, T window positions. Needs torch. Not here: how a case is written (`cases`),
what is said where it fails (`verdict`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..backends import noise
from ..backends.reference import After, ReferenceRow, run_operation
from ..backends.step import DTYPES, parameter_tensors
from ..diagnostics import Diagnostic
from ..ir.nodes import LoopCarried, Program
from ..ir.protocol import ACCEPTED, FINISHED, PHASE
from ..language.arithmetic import float32
from ..language.words import WORDS, Extent
from ..policy import Policy
from ..runtime.requests import continued
from ..runtime.rows import Rows
from ..runtime.windows import windows_of
from . import case_values
from .case_values import TOKENS, Cell
from .cases import Case, CaseForward

# Ids that no case can write, so that every id it writes is a word.
LARGEST_ID = 10**9
MASK_ID, END_ID, VOCAB_SIZE = LARGEST_ID, LARGEST_ID + 1, LARGEST_ID + 2
NO_TOKEN = -1


class Missing(Exception):
    """The policy reads an observation that the case does not give."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(str(diagnostic))


@dataclass(frozen=True, slots=True)
class Replayed:
    """One step: positions `start` to `end` were its window; `before`, `after` are ids of all positions, None
    for a masked one.

    `read`: what the policy observed, by name, at the window's positions; `over`: decoding is over with this
    step.
    """

    forward: CaseForward
    start: int
    end: int
    before: tuple[int | None, ...]
    after: tuple[int | None, ...]
    phase: str
    read: Mapping[str, tuple[float, ...]]
    over: bool

    def written(self, kind: str) -> tuple[int, ...]:
        """The positions that this step did something to: `commit`, `revoke` or `edit`."""
        changes = {"commit": (True, False), "revoke": (False, True), "edit": (False, False)}
        pairs = enumerate(zip(self.before, self.after, strict=True))
        return tuple(
            i for i, (old, new) in pairs if old != new and (old is None, new is None) == changes[kind]
        )


@dataclass(slots=True)
class Table:
    """What a forward of a case shows of T positions from `start` on (see `reference.Sight`).

    `inside`: the window's positions, `masked`: the masked ones of these, where an observation must be given,
    `known`: those that the step before saw. `read` is filled with what the policy observes.
    """

    forward: CaseForward
    length: int
    start: int
    inside: list[bool]
    masked: list[bool]
    known: list[bool]
    read: dict[str, tuple[float, ...]]

    # The rows say what is observed in the end, whatever is done to the logits and however tokens are drawn.
    def banned(self, ids: list[int]) -> Table:
        return self

    def biased(self, id_: int, amount: float) -> Table:
        return self

    def biased_everywhere(self, table: Any) -> Table:
        return self

    def observe(self, wanted: Collection[str], method: str, *given: Any) -> Observed:
        return Observed(self)

    def probability(self, ids: list[int]) -> list[float]:
        """A row `p` answers for whatever ids are asked; where it says nothing, `conf` is known of the tokens."""
        rows, asked = (
            self.forward.observed,
            [may and 0 <= id_ != MASK_ID for id_, may in zip(ids, self.inside, strict=True)],
        )
        conf = self.given("conf", []) if "conf" in rows else [math.nan] * len(ids)
        derived = [
            c if id_ == token else math.nan
            for id_, token, c in zip(ids, self.observed("token"), conf, strict=True)
        ]
        unknown = [any_ and math.isnan(p) for any_, p in zip(asked, derived, strict=True)]
        if "p" not in rows and any(unknown):
            raise Missing(_row_missing("p", self.forward, self.length))
        given = self.given("p", [lacks and need for lacks, need in zip(unknown, self.masked, strict=True)])
        return [other if math.isnan(p) else p for p, other in zip(given, derived, strict=True)]

    def log_probabilities(self, keep: int) -> None:
        return None

    def divergence(self, before: Any, keep: int) -> list[float]:
        return self.given("kl", [need and known for need, known in zip(self.masked, self.known, strict=True)])

    def observed(self, name: str) -> list[Any]:
        rows, twin = self.forward.observed, WORDS[name].complement if name in WORDS else ""
        if name == "finite":
            return [True] * len(self.inside)
        if name == "token" and name not in rows:
            return [self.start + i for i in range(len(self.inside))]
        return self.given(name, self.masked, twin if name not in rows and twin in rows else None)

    def given(self, name: str, needed: list[bool], twin: str | None = None) -> list[Any]:
        """A row's values at the window's positions, no value where it has none; or 1 less those of its twin.
        Raises `Missing`.
        """
        row = self.forward.observed.get(twin or name)
        if row is None:
            if any(needed):
                raise Missing(_row_missing(name, self.forward, self.length))
            return [math.nan] * len(self.inside)
        cells = row.cells[self.start :][: len(self.inside)]
        for offset, (cell, need) in enumerate(zip(cells, needed, strict=False)):
            if cell is None and need:
                word = row.words[self.start + offset]
                help = f"position {self.start + offset} is masked: give it a value, as in `{row.name} {case_values.EXAMPLES[row.name]}`"
                raise Missing(
                    Diagnostic(
                        "E0444", f"the policy reads `{name}` here, and no value is given", word, help=help
                    )
                )
        values = [_value(name, cell, twin is not None) for cell in cells]
        self.read[name] = tuple(values)
        return values + [NO_TOKEN if name in TOKENS else math.nan] * (len(self.inside) - len(cells))


@dataclass(frozen=True, slots=True)
class Observed(Mapping[str, list[Any]]):
    """Observations by name, looked up when the policy asks: what no step reads need not be written."""

    table: Table

    def __getitem__(self, name: str) -> list[Any]:
        return self.table.observed(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.forward.observed)

    def __len__(self) -> int:
        return len(self.table.forward.observed)


def _value(name: str, cell: Cell, from_one: bool) -> Any:
    if name in TOKENS:
        return NO_TOKEN if cell is None else _id(cell)
    if not isinstance(cell, int | float):
        return math.nan
    return float32(1 - cell if from_one else cell)


def _row_missing(name: str, forward: CaseForward, length: int) -> Diagnostic:
    message = f"the policy reads `{name}`, and this forward has no row for it"
    example = f"`{name} {' '.join([case_values.EXAMPLES[name]] * length)}`" if length <= 8 else f"`{name}`"
    return Diagnostic(
        "E0444", message, forward.span, help=f"add a row {example}, with the right number for each position"
    )


def _id(cell: Cell) -> int:
    return MASK_ID if cell == case_values.MASKED else END_ID if cell == case_values.END else int(cell or 0)


def _nothing(carried: LoopCarried, length: int) -> Any:
    """A carried value as a run starts."""
    if carried.distribution:
        return None
    dtype = DTYPES.get(carried.kind, torch.float32)
    zero: Any = False if dtype == torch.bool else 0 if dtype == torch.int64 else 0.0
    return [zero] * length if carried.extent is Extent.POSITION else zero


def step_after(program: Program, row: ReferenceRow) -> After:
    """The row after one step, as `reference.run_row` gives it, without the events that concern logits and drafts.

    What only another phase needs is not computed: a case gives just what its own steps read.
    """
    values: dict[int, Any] = {}
    # A case drafts nothing.
    events = {name: index for name, index in program.events.items() if name != ACCEPTED}
    waiting = [program.canvas, program.done, *program.next.values(), *events.values()]
    while waiting:
        index = waiting[-1]
        needed = _needed(program, index, values)
        lacking = [i for i in needed if i not in values]
        if not lacking:
            waiting.pop()
        waiting += lacking
        if not lacking and index not in values:
            # In the place of a branch that is not taken stands the other one.
            inputs = {i: values.get(i, values[needed[-1]]) for i in program.operations[index].inputs}
            values[index] = run_operation(program, row, index, inputs)
    return After(
        canvas=values[program.canvas],
        done=bool(values[program.done]),
        state={**row.state, **{name: values[index] for name, index in program.next.items()}},
        events={name: values[index] for name, index in events.items()},
    )


def _needed(program: Program, index: int, values: Mapping[int, Any]) -> tuple[int, ...]:
    """The inputs that an operation needs: of a choice for the whole row only the branch that is taken."""
    operation = program.operations[index]
    if operation.name != "where" or program.operations[operation.inputs[0]].extent is Extent.POSITION:
        return operation.inputs
    condition, then, otherwise = operation.inputs
    return (condition, then if values[condition] else otherwise) if condition in values else (condition,)


def replay(policy: Policy, case: Case) -> Iterator[Replayed]:
    """The steps of a policy, bound to the case's values already; ends early where decoding is over. Raises
    `Missing`.
    """
    replaying = _Replaying(policy, case)
    for forward in case.forwards:
        if replaying.over:
            return
        yield replaying.step(forward)


class _Replaying:
    """One row of a run: its canvas, its window, its state. What is done between steps is what
    `runtime.decode` does.
    """

    def __init__(self, policy: Policy, case: Case) -> None:
        self.policy, self.program, self.length = policy, policy.program, case.length
        self.parameters = {
            name: value.tolist()
            for name, value in parameter_tensors(policy.program, policy.parameters).items()
        }
        plan = policy.plan(case.length)
        self.window, self.slides = plan.block_length, plan.window == "sliding"
        self.rows = Rows(
            [continued(0, [], case.length, None)], self.window, MASK_ID, END_ID, torch.device("cpu")
        )
        self.canvas = self.rows.start
        if case.start is not None:
            self.canvas[0, : case.length] = torch.tensor([_id(cell) for cell in case.start.cells])
        self.windows = windows_of(plan)
        self.state = {name: _nothing(carried, self.window) for name, carried in self.program.carried.items()}
        self.state |= {"generation_length": case.length, "key": noise.key(0, 0)}
        self.start, self.end = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        self.seen: set[int] = set()  # positions that the step before saw, if this one goes on with its window
        self.over = bool(self.rows.ended(self.canvas)) or not bool(self.rows.masks(self.canvas).any())
        if not self.over:
            self.skip_written()

    def skip_written(self) -> None:
        """Moves on from windows that the case starts with written: a run has none of these."""
        first = int(self.rows.masks(self.canvas)[0].to(torch.uint8).argmax())
        before = first if self.policy.facts.window in ("sliding", "until") else first - first % self.window
        if not self.slides:
            self.start = self.start + before
        if "eos_before" in self.state:
            self.state["eos_before"] = END_ID in self.canvas[0, :before].tolist()

    def ids(self) -> tuple[int | None, ...]:
        return tuple(None if id_ == MASK_ID else id_ for id_ in self.canvas[0, : self.length].tolist())

    def step(self, forward: CaseForward) -> Replayed:
        rows, before = self.rows, self.ids()
        self.start, self.end = self.windows.place(rows, self.canvas, self.start, self.end)
        start, end = int(self.start), int(self.end)
        columns, inside = rows.window_columns(self.start, self.end)
        canvas, editable = self.canvas.gather(1, columns)[0].tolist(), inside[0].tolist()
        masked = [may and id_ == MASK_ID for may, id_ in zip(editable, canvas, strict=True)]
        known = [start + offset in self.seen for offset in range(self.window)]
        table = Table(forward, self.length, start, editable, masked, known, {})
        state = {**self.state, "window_start": start}
        after = step_after(
            self.program,
            ReferenceRow(table, canvas, editable, state, self.parameters, MASK_ID, VOCAB_SIZE, END_ID),
        )
        written = [new if may else old for may, old, new in zip(editable, canvas, after.canvas, strict=True)]
        self.canvas.scatter_(1, columns, torch.tensor([written]))
        self.state = {name: self.wide(name, value) for name, value in after.state.items()}
        phase = self.program.phases[int(after.events.get(PHASE, 0))]
        self.move(start, end, after)
        return Replayed(forward, start, end, before, self.ids(), phase, table.read, self.over)

    def wide(self, name: str, value: Any) -> Any:
        carried = self.program.carried.get(name)
        is_one = (
            carried is not None
            and carried.extent is Extent.POSITION
            and not carried.distribution
            and not isinstance(value, list)
        )
        return [value] * self.window if is_one else value

    def move(self, start: int, end: int, after: After) -> None:
        """Moves the window on if it is done; see `decode`."""
        done = after.done
        self.seen = set(range(start, end)) if self.slides or not done else set()
        if done:
            self.start = self.start + int(self.state.get("window_length", self.window))
        self.over = (
            not bool(self.rows.masks(self.canvas).any()) if self.slides else int(self.start) >= self.length
        )
        self.over = self.over or (bool(after.events.get(FINISHED, False)) and done)
        stays = int(self.state.get("stays", 0)) > 0
        self.over = self.over or (bool(self.rows.ended(self.canvas)) and not stays)
