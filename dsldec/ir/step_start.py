"""The operations before the first statement: logits, phase of each row, states of phases, and the condition
of `accept`.

Not here: the window and its states (`block_start`), statements (`statements`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..checks import CheckedPolicy
from ..checks.kinds import of_state
from ..checks.patterns import pattern_of
from ..checks.phases import entered
from ..language import syntax
from ..language.walk import bodies, statements
from ..language.words import Extent, Kind
from . import protocol
from .block_start import BlockStart
from .step_values import Scope

SITES_OF_SCORES = 2**16  # places of random numbers from here on are in a score; no policy has as many


class StepStart(BlockStart):
    """Lowers the head of a policy: transforms of the logits, headers of phases."""

    def __init__(self, checked: CheckedPolicy, values: Mapping[str, object]) -> None:
        super().__init__(checked, values)
        self.names = tuple(body.name for body in bodies(self.policy))
        self.visits: dict[str, int] = {}
        self.unmatched = -1  # whether a row has no path; -1 in a policy without a pattern
        self.temperature: int | None = None  # the product of all temperatures of logits

    def read_logits(self) -> None:
        self.logits = self.add("logits", (), Kind.LOGIT, Extent.POSITION)
        method, arguments = "argmax", list[int]()
        for statement in self.policy.statements:
            shape = getattr(statement, "transform", getattr(statement, "method", None))
            if isinstance(shape, syntax.Call):
                if isinstance(statement, syntax.Logits) and shape.function.text == "constrain":
                    continue
                values = [self.expression(argument, self.start) for argument in shape.arguments]
                if (
                    isinstance(statement, syntax.Logits) and shape.function.text != "cfg"
                ):  # the denoiser's forward applies guidance
                    name = (
                        "bias_all"
                        if shape.function.text == "bias" and len(values) == 1
                        else shape.function.text
                    )
                    self.logits = self.add(name, (self.logits, *values), Kind.LOGIT, Extent.POSITION)
                    if name == protocol.TEMPERATURE:  # the event has the name of the word
                        before, now = self.temperature, self.of_kind(values[0], Kind.REAL)
                        self.temperature = now if before is None else self.real("multiply", before, now)
                elif isinstance(statement, syntax.Draw):
                    method, arguments = shape.function.text, values
        if method != "argmax":
            arguments += [self.number(0)] if method == "nucleus" and len(arguments) == 2 else []
            arguments += [self.state(protocol.KEY), self.step, self.pos]
        if (pattern := pattern_of(self.policy)) is not None:
            method, arguments = "given", [self._path(pattern, arguments)]
        self.observed = self.add("observe", (self.logits, *arguments), Kind.LOGIT, Extent.POSITION, method)
        self.observation("finite")

    def _path(self, pattern: str, draw: list[int]) -> int:
        """The ids of the likeliest path. `draw`: the arguments of a draw."""
        of_pattern = self.state(protocol.PATTERN_STATE)
        self.state(protocol.PATTERN_AT)  # only the host reads it
        place = (self.canvas, self.pos, self.state(protocol.WINDOW_END), of_pattern)
        inputs = (self.logits, *place, *draw[:-1])  # the position is among them already
        path = self.add("path", inputs, Kind.TOKEN, Extent.POSITION, pattern)
        self.unmatched = self.reduced(
            "any", Kind.BOOL, self.holds("equal", path, self.number(protocol.NO_PATH))
        )
        known = self.holds("not_equal", path, self.number(protocol.NO_PATH))
        return self.where(known, path, self.number(0), Kind.TOKEN)

    @property
    def enters(self) -> int:
        return self.holds("equal", self.state(protocol.STEPS_IN_PHASE), self.number(0))

    def runs(self, phase: int, name: str) -> int:
        return self.holds("equal", phase, self.number(self.names.index(name)))

    def enter_phase(self) -> int:
        """The phase that this step runs: the phase that the state names, or the phase that its `else` leads
        to.
        """
        phase = self.state(protocol.PHASE)
        # Each phase comes before the phase that its `else` names. The checks refuse a circle.
        for name in sorted(self.phases, key=lambda name: -len(entered(name, self.phases))):
            header = self.phases[name]
            open_ = []
            if header.visits is not None:
                so_far = self.state(protocol.visits_field(name))
                open_.append(
                    self.holds("less", so_far, self.expression(header.visits, self._header_scope(name)))
                )
            if header.condition is not None:
                open_.append(self.expression(header.condition, self._header_scope(name)))
            if header.otherwise is not None and open_:
                refused = self.all_of(
                    self.enters, self.runs(phase, name), self.holds("not", self.all_of(*open_))
                )
                phase = self.where(
                    refused, self.number(self.names.index(header.otherwise.text)), phase, Kind.INT
                )
        for name in self.phases:
            entered_now = self.where(
                self.all_of(self.enters, self.runs(phase, name)), self.number(1), self.number(0), Kind.INT
            )
            self.visits[name] = self.int_("add", self.state(protocol.visits_field(name)), entered_now)
        return phase

    def _header_scope(self, name: str) -> Scope:
        scope = self.start.copy()
        scope.visits = self.state(protocol.visits_field(name))
        return scope

    def enter_states(self, phase: int) -> None:
        """Sets the states of a phase to their start value when a row enters this phase."""
        for state in self.states.values():
            name, type_ = state.identifier.text, of_state(state)
            if state.scope.text in self.phases:
                anew = self.all_of(self.enters, self.runs(phase, state.scope.text))
                self.start.states[name] = self.where(
                    anew, self._start(state), self.start.states[name], type_.kind
                )

    def _start(self, state: syntax.StateDeclaration) -> int:
        return self.of_kind(self.expression(state.start, self.start), of_state(state).kind)

    def score(self) -> int | None:
        """The score of `pick by`; `None` without a branch."""
        pick = next((s for s in statements(self.policy) if isinstance(s, syntax.Pick)), None)
        if pick is None:
            return None
        # Each candidate draws its own numbers; all other places draw those of a policy without the branch.
        drawn, self.sites, self.in_branch = self.sites, SITES_OF_SCORES, True
        score = self.of_kind(self.expression(pick.score, self.start), Kind.REAL)
        self.sites, self.in_branch = drawn, False
        return score

    def accepted(self) -> int | None:
        """Whether `accept COND` holds at every position where the draft differs from the canvas.

        `None` if acceptance is exact.
        """
        lookahead = next((s for s in self.policy.statements if isinstance(s, syntax.Lookahead)), None)
        if lookahead is None or lookahead.condition is None:
            return None
        writes = self.all_of(
            self.holds("not_equal", self.state(protocol.DRAFT), self.canvas),
            self.start.window,
        )
        fails = self.holds("not", self.expression(lookahead.condition, self.start))
        return self.holds("not", self.reduced("any", Kind.BOOL, self.mask("and", writes, fails)))
