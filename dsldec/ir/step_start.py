"""The operations before the first statement: logits, window, phase of each row, states, and the condition of
`accept`.

Not here: statements (`statements`).
"""

from __future__ import annotations

from ..checks import CheckedPolicy
from ..checks.kinds import of_state
from ..checks.phases import entered
from ..language import syntax
from ..language.walk import bodies, statements
from ..language.words import Extent, Kind
from . import protocol
from .expressions import Expressions
from .step_values import Scope


class StepStart(Expressions):
    """Lowers the head of a policy: transforms of the logits, window, states, headers of phases."""

    def __init__(self, checked: CheckedPolicy) -> None:
        super().__init__(checked.resolved)
        self.checked = checked
        self.policy = checked.resolved.policy
        self.names = tuple(body.name for body in bodies(self.policy))
        self.visits: dict[str, int] = {}
        self.states, self.phases = self.resolved.states, self.resolved.phases

    def read_logits(self) -> None:
        self.logits = self.add("logits", (), Kind.LOGIT, Extent.POSITION)
        method, arguments = "argmax", list[int]()
        for statement in self.policy.statements:
            shape = getattr(statement, "transform", getattr(statement, "method", None))
            if isinstance(shape, syntax.Call):
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
                elif isinstance(statement, syntax.Draw):
                    method, arguments = shape.function.text, values
        if method != "argmax":
            arguments += [self.number(0)] if method == "nucleus" and len(arguments) == 2 else []
            arguments += [self.state(protocol.KEY), self.step, self.pos]
        self.observed = self.add("observe", (self.logits, *arguments), Kind.LOGIT, Extent.POSITION, method)
        self.observation("finite")

    def place_window(self) -> None:
        window = next(s.shape for s in self.policy.statements if isinstance(s, syntax.Window))
        if not isinstance(window, syntax.Call):
            return
        if window.function.text == "sliding":
            moved = self.int_("subtract", self.window_start, self.state(protocol.PLACED_AT))
            inside = self.state(protocol.INSIDE)
            self.stayed = self.mask("shift", inside, self.int_("negate", moved))
            self.slides = moved
        elif window.function.text == "until":
            length = self._length_until(window)
            self.window_length = self.where(self.begins, length, self.state(protocol.WINDOW_LENGTH), Kind.INT)
            self.start.window = self.all_of(
                self.editable, self.holds("less", self.offset, self.window_length)
            )

    def _length_until(self, window: syntax.Call) -> int:
        """The length of a window `until`.

        The window ends at a position where the token is one of the ids: at the first one, or at the best one
        by a score. Without such a position, it has its full length.
        """
        named = {keyword.identifier.text: keyword.value for keyword in window.keywords}
        token = self.observation("token")
        first, *more = [
            self.holds("equal", token, self.expression(id_, self.start)) for id_ in window.arguments
        ]
        for one in more:
            first = self.holds("or", first, one)
        least = self.expression(named["min"], self.start) if "min" in named else self.number(1)
        long = self.holds("greater_equal", self.int_("add", self.offset, self.number(1)), least)
        hits = self.all_of(self.editable, first, long)
        if "when" in named:
            hits = self.all_of(hits, self.expression(named["when"], self.start))
        if "by" in named:
            hits = self.mask(
                "top", self.mask("order", hits, self.expression(named["by"], self.start)), self.number(1)
            )
        end = self.add(
            "truncate", (self.reduced("least", Kind.REAL, self.offset, hits),), Kind.INT, Extent.ROW
        )
        any_hit = self.reduced("any", Kind.BOOL, hits)
        return self.where(any_hit, self.int_("add", end, self.number(1)), self.reach(self.start), Kind.INT)

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

    def _kept(self, state: syntax.StateDeclaration) -> int:
        type_, name = of_state(state), protocol.state_field(state.identifier.text)
        return (
            self.kept_at_positions(name, type_.kind)
            if type_.extent is Extent.POSITION
            else self.state(name, type_.kind)
        )

    def begin_states(self) -> None:
        """The states as the step begins, before its phase is known.

        In a new block or sequence, they have their start value.
        """
        first = self.holds("equal", self.step, self.number(0))
        for state in self.states.values():
            type_ = of_state(state)
            anew = self.holds("or", first, self.begins) if state.scope.text == "block" else first
            if (
                type_.extent is Extent.POSITION
            ):  # a position that enters the window has the start value in every scope
                anew = self.holds(
                    "or", anew, self.holds("not", self.stayed) if self.slides >= 0 else self.begins
                )
            self.start.states[state.identifier.text] = self.where(
                anew, self._start(state), self._kept(state), type_.kind
            )

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
        return None if pick is None else self.of_kind(self.expression(pick.score, self.start), Kind.REAL)

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
