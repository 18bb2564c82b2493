"""Runs the steps of a policy on the forwards of a case: in a session of one slot, on the reference backend,
with the rows of the case in place of logits.

Shapes: G positions of the case, T window positions, V vocabulary. Needs torch. Not here: the syntax of a case
(`cases`), the message about a failed case (`verdict`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..backends import noise
from ..backends.reference import ReferenceResult, ReferenceRow, run_operation
from ..backends.step import Events, Step, StepOutput, StepState, parameter_tensors, static_of
from ..checks.values import Value
from ..diagnostics import Diagnostic
from ..ir.nodes import Program
from ..ir.protocol import ACCEPTED, BRANCH, SCORE
from ..language.arithmetic import float32
from ..language.words import WORDS, Extent, Kind
from ..policy import Policy
from ..runtime.requests import continued
from ..runtime.rows import Rows
from ..runtime.session import Session
from . import case_values
from .case_values import TOKENS, Cell
from .cases import Case, CaseForward

# Ids that no case can contain, so that every id in a case is an ordinary token.
LARGEST_ID = 10**9
MASK_ID, END_ID, VOCAB_SIZE = LARGEST_ID, LARGEST_ID + 1, LARGEST_ID + 4
IDS = {"eos": END_ID, "bos": LARGEST_ID + 2, "pad": LARGEST_ID + 3}  # of special tokens, by their words
NO_TOKEN = -1
NO_LOGITS = torch.empty(1, 1, 0)


class Missing(Exception):
    """The policy reads an observation that the case does not give."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(str(diagnostic))


@dataclass(frozen=True, slots=True)
class Replayed:
    """One step. `start`, `end`: the window's first position and the one after its last; `before`, `after`:
    the ids of all positions, None for a masked one; `read`: the observations that the policy read, by name,
    at the window's positions; `refreshes`: the next forward computes keys and values anew; `ended`: decoding
    ends with this step.
    """

    forward: CaseForward
    start: int
    end: int
    before: tuple[int | None, ...]
    after: tuple[int | None, ...]
    phase: str
    read: Mapping[str, tuple[float, ...]]
    refreshes: bool
    ended: bool

    def written(self, kind: str) -> tuple[int, ...]:
        """The positions that this step changed in one way: `commit`, `revoke` or `edit`."""
        changes = {"commit": (True, False), "revoke": (False, True), "edit": (False, False)}
        pairs = enumerate(zip(self.before, self.after, strict=True))
        return tuple(
            i for i, (old, new) in pairs if old != new and (old is None, new is None) == changes[kind]
        )


@dataclass(slots=True)
class CaseView:
    """A forward of a case in place of logits `[T, V]`, for positions from `start` on (see
    `reference.LogitsView`).

    `inside`: positions of the window; `masked`: its masked ones, where an observation must be given; `known`:
    positions that the step before read, too. `read` is filled with the observations that the policy reads.
    """

    forward: CaseForward
    length: int
    start: int
    inside: list[bool]
    masked: list[bool]
    known: list[bool]
    read: dict[str, tuple[float, ...]]

    # The rows hold observations of the final logits: transforms and draws change nothing.
    def banned(self, ids: list[int]) -> CaseView:
        return self

    def biased(self, id_: int, amount: float) -> CaseView:
        return self

    def biased_everywhere(self, table: Any) -> CaseView:
        return self

    def chosen(self, *draw: Any) -> list[int]:
        return self.observed("token")

    def perturbed(self, *draw: Any) -> Any:
        raise AssertionError("a request of a case has no pattern")

    def cooled(self, temperature: float) -> CaseView:
        return self

    def observe(self, wanted: Collection[str], method: str, *given: Any) -> Observed:
        return Observed(self)

    def probability(self, ids: list[int]) -> list[float]:
        """The row `p`, for any ids. Where it has no value, `conf` is the probability of the row's tokens."""
        rows, wanted = (
            self.forward.observed,
            [may and 0 <= id_ != MASK_ID for id_, may in zip(ids, self.inside, strict=True)],
        )
        conf = self.given("conf", []) if "conf" in rows else [math.nan] * len(ids)
        derived = [
            c if id_ == token else math.nan
            for id_, token, c in zip(ids, self.observed("token"), conf, strict=True)
        ]
        unknown = [any_ and math.isnan(p) for any_, p in zip(wanted, derived, strict=True)]
        if "p" not in rows and any(unknown):
            raise Missing(_row_missing("p", self.forward, self.length))
        given = self.given("p", [lacks and need for lacks, need in zip(unknown, self.masked, strict=True)])
        return [other if math.isnan(p) else p for p, other in zip(given, derived, strict=True)]

    def log_probabilities(self, keep: int) -> None:
        return None

    def divergence(self, before: Any, keep: int) -> list[float]:
        return self.given("kl", self._compared())

    def jensen_shannon(self, before: Any, keep: int) -> list[float]:
        return self.given("js", self._compared())

    def _compared(self) -> list[bool]:
        return [need and known for need, known in zip(self.masked, self.known, strict=True)]

    def observed(self, name: str) -> list[Any]:
        rows, twin = self.forward.observed, WORDS[name].complement if name in WORDS else ""
        if name == "finite":
            return [True] * len(self.inside)
        if name == "likeliest" and name not in rows:
            return self.observed("token")
        if name == "token" and name not in rows:
            return [self.start + i for i in range(len(self.inside))]
        return self.given(name, self.masked, twin if name not in rows and twin in rows else None)

    def given(self, name: str, needed: list[bool], twin: str | None = None) -> list[Any]:
        """A row's values at the window's positions, NaN without a value; or 1 minus the values of the row
        `twin`. Raises `Missing`.
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
    """Observations by name, looked up when the policy reads them. So a case needs no other observations."""

    view: CaseView

    def __getitem__(self, name: str) -> list[Any]:
        return self.view.observed(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.view.forward.observed)

    def __len__(self) -> int:
        return len(self.view.forward.observed)


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
    return MASK_ID if cell == case_values.MASKED else IDS.get(str(cell)) or int(cell or 0)


def step_after(program: Program, row: ReferenceRow, values: dict[int, Any]) -> ReferenceResult:
    """The row after one step, as `reference.run_row` gives it, without the events that concern logits, drafts
    and candidates. `values` is filled with the values of the operations.

    Values that only another phase needs are not computed: a case has only the observations that its steps
    read.
    """
    # A case drafts nothing, and says itself which candidate goes on.
    events = {name: index for name, index in program.events.items() if name not in (ACCEPTED, SCORE)}
    results = [program.canvas, program.done, *program.next.values(), *events.values()]
    compute(program, row, results, values)
    return ReferenceResult(
        canvas=values[program.canvas],
        done=bool(values[program.done]),
        state={**row.state, **{name: values[index] for name, index in program.next.items()}},
        events={name: values[index] for name, index in events.items()},
    )


def compute(program: Program, row: ReferenceRow, results: Sequence[int], values: dict[int, Any]) -> None:
    """Adds the values of some operations and of the operations before them. Raises `Missing`."""
    waiting = [*results]
    while waiting:
        index = waiting[-1]
        needed = _needed(program, index, values)
        lacking = [i for i in needed if i not in values]
        if not lacking:
            waiting.pop()
        waiting += lacking
        if not lacking and index not in values:
            # The branch that is not taken has no value. The value of the other one takes its place.
            inputs = {i: values.get(i, values[needed[-1]]) for i in program.operations[index].inputs}
            values[index] = run_operation(program, row, index, inputs)


def _needed(program: Program, index: int, values: Mapping[int, Any]) -> tuple[int, ...]:
    """The inputs that an operation needs. A choice for the whole row needs only the branch that is taken."""
    operation = program.operations[index]
    if operation.name != "where" or program.operations[operation.inputs[0]].extent is Extent.POSITION:
        return operation.inputs
    condition, then, otherwise = operation.inputs
    return (condition, then if values[condition] else otherwise) if condition in values else (condition,)


# Called after each step with its row, the values of its operations, and its result.
StepWatcher = Callable[[ReferenceRow, dict[int, Any], ReferenceResult], None]


def replay(policy: Policy, case: Case, watcher: StepWatcher | None = None) -> Iterator[Replayed]:
    """The steps of a policy, already bound to the case's values; ends early where decoding ends. Raises
    `Missing`.
    """
    replaying = _Replaying(policy, case)
    replaying.function.watcher = watcher
    for forward in case.forwards:
        if replaying.ended:
            return
        yield replaying.step(forward)


class _CaseStep:
    """The function of a `Step` that reads the rows of a case in place of logits.

    The carried state stays here, in the form of the reference backend. So a field that no step of the case
    reads is never computed. The host gets fields with one number for each row, and may change them.
    """

    def __init__(self, program: Program, params: Mapping[str, Tensor], static: Mapping[str, Value]) -> None:
        self.program = program
        self.networks = {
            name: str(value)
            for name, value in static.items()
            if program.parameters[name].kind is Kind.NETWORK
        }
        self.parameters = {name: value.tolist() for name, value in params.items()}
        self.carried: dict[str, Any] = {}
        self.view: CaseView | None = None  # of the forward at hand
        self.watcher: StepWatcher | None = None

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        assert self.view is not None
        for name, value in state.items():
            if name not in self.carried or value.dim() == 1:
                self.carried[name] = None if self.program.carried[name].distribution else value[0].tolist()
        ids, may = canvas[0].tolist(), editable[0].tolist()
        given = (self.carried, self.parameters, MASK_ID, VOCAB_SIZE, END_ID)
        row = ReferenceRow(self.view, ids, may, *given, networks=self.networks)
        values: dict[int, Any] = {}
        after = step_after(self.program, row, values)
        if self.watcher is not None:
            self.watcher(row, values, after)
        self.carried = {name: self._wide(name, value, len(ids)) for name, value in after.state.items()}
        following = {
            name: old.new_tensor([self.carried[name]]) if old.dim() == 1 else old
            for name, old in state.items()
        }
        events = {name: torch.tensor([value]) for name, value in after.events.items()}
        all_finite = Events(torch.zeros_like(editable), **events)
        return StepOutput(torch.tensor([after.canvas]), torch.tensor([after.done]), following, all_finite)

    def _wide(self, name: str, value: Any, length: int) -> Any:
        """One number for each position if the program carries the field by position, also for a constant."""
        carried = self.program.carried[name]
        by_position = carried.extent is Extent.POSITION and not carried.distribution
        return [value] * length if by_position and not isinstance(value, list) else value


class _Replaying:
    """One request in a session, with its forwards out of a case."""

    def __init__(self, policy: Policy, case: Case) -> None:
        self.policy, self.length = policy, case.length
        params = parameter_tensors(policy.program, policy.parameters, special=IDS)
        static = static_of(policy.program, policy.parameters)
        self.function = _CaseStep(policy.program, params, static)
        step = Step(policy.program, "reference", MASK_ID, END_ID, params, self.function, static)
        plan, request = policy.plan(case.length), continued(0, [], case.length, None)
        request = replace(request, key=noise.key(0, 0))
        self.slides = plan.window == "sliding"
        rows = Rows([request], plan.block_length, MASK_ID, END_ID, torch.device("cpu"))
        self.session = Session(policy, step, rows, vocab_size=1)
        self.read_before: set[int] = set()  # positions of the step before, if its window continues
        self.ended = False
        if case.start is not None:
            self._begin([_id(cell) for cell in case.start.cells])

    def _begin(self, ids: list[int]) -> None:
        """Starts with some ids written. Windows without a mask are skipped, as in a run."""
        rows, canvas = self.session.rows, self.session.state.canvas.clone()
        canvas[0, : self.length] = torch.tensor(ids)
        masked = MASK_ID in ids
        first = ids.index(MASK_ID) if masked else self.length
        whole = self.policy.facts.window in ("sliding", "until")
        before = first if whole else first - first % rows.window
        eos_before = END_ID in ids[:before]
        self.session.admit(
            0, rows.requests[0], window_start=None if self.slides else before, eos_before=eos_before
        )
        self.session.state = replace(self.session.state, canvas=canvas)
        self.ended = bool(rows.ended(canvas)) or not masked

    def ids(self) -> tuple[int | None, ...]:
        canvas = self.session.written[0, : self.length].tolist()
        return tuple(None if id_ == MASK_ID else id_ for id_ in canvas)

    def _make_candidate(self, forward: CaseForward) -> None:
        """The step makes the candidate that the row `pick` names. The forwards of a case are those of the
        candidates that went on, so no score is computed.
        """
        state = self.session.state
        if BRANCH in state.state:
            row = forward.expected.get("pick")
            number = torch.tensor([row.cells[0] if row is not None and row.cells else 0])
            self.session.state = replace(state, state=state.state | {BRANCH: number})

    def step(self, forward: CaseForward) -> Replayed:
        session, before = self.session, self.ids()
        start, end = (int(place) for place in session.windows())
        _, inside = session.rows.window_columns(*session.windows())
        canvas = session.state.canvas[0, start : start + session.rows.window].tolist()
        masked = [may and id_ == MASK_ID for may, id_ in zip(inside[0].tolist(), canvas, strict=True)]
        known = [start + offset in self.read_before for offset in range(session.rows.window)]
        view = CaseView(forward, self.length, start, inside[0].tolist(), masked, known, {})
        self.function.view = view
        self._make_candidate(forward)
        output = session.step(NO_LOGITS.expand(1, session.rows.longest, 0))
        moved = int(session.state.window_start) != start or bool(output.done)
        self.read_before = set(range(start, end)) if self.slides or not moved else set()
        self.ended = bool(output.done)
        ran = output.events.phase
        phase = self.policy.program.phases[0 if ran is None else int(ran)]
        refreshes = output.events.refresh is not None and bool(output.events.refresh)
        return Replayed(forward, start, end, before, self.ids(), phase, view.read, refreshes, self.ended)
