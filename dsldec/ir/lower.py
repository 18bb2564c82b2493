"""Checked policy to program: the statements of every phase, the phase each row is in, and what is carried on.

All phases are computed for all rows, and each row takes what its own phase gives: rows of one batch may be in
different phases. Not here: any decision about whether a policy may run (`CheckedPolicy` is the proof of
that), expressions (`expressions`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import assert_never

from ..checks import CheckedPolicy
from ..checks.kinds import of_state
from ..checks.phases import entered
from ..language import syntax
from ..language.walk import HEAD, Body, bodies
from ..language.words import Extent, Kind
from . import protocol
from .expressions import WITHOUT_ARGUMENTS, Expressions, Scope
from .nodes import Program, ProgramParameter
from .verify import verify


def lower(checked: CheckedPolicy) -> Program:
    """The program of one step of a checked policy; `DSLDEC_VERIFY=1` in the environment has it verified."""
    program = _Lowering(checked).program()
    if os.environ.get("DSLDEC_VERIFY") == "1":
        verify(program)
    return program


def _parameter(parameter: syntax.Parameter) -> ProgramParameter:
    ends = (parameter.range.first.value, parameter.range.last.value) if parameter.range else (None, None)
    return ProgramParameter(Kind(parameter.kind.text), parameter.default.value, *ends)


class _After:
    """What a phase's statements leave.

    Its scope, the phase that comes next, whether that is entered anew, whether the row ends, whether a full
    window is kept.
    """

    def __init__(self, scope: Scope, target: int, moves: int, finishes: int, stays: int) -> None:
        self.scope, self.target, self.moves, self.finishes, self.stays = scope, target, moves, finishes, stays


class _Lowering(Expressions):
    def __init__(self, checked: CheckedPolicy) -> None:
        super().__init__(checked.resolved)
        self.checked = checked
        self.policy = checked.resolved.policy
        self.names = tuple(body.name for body in bodies(self.policy))
        self.visits: dict[str, int] = {}
        self.states, self.phases = self.found.states, self.found.phases

    def program(self) -> Program:
        self._see()
        self._place_window()
        self._begin_states()
        phase = self._enter() if self.policy.phases else self.number(0)
        self._enter_states(phase)
        accepted = self._accepted()
        afters = [self._body(body, index, phase) for index, body in enumerate(bodies(self.policy))]
        after = self._merged(afters, phase)
        canvas, done, following, events = self._carried_on(after, phase)
        if accepted is not None:
            events[protocol.ACCEPTED] = accepted
        finite = self.observation("finite")
        number = self.needed([canvas, done, finite, *following.values(), *events.values()])
        kept = [self.operations[old] for old in number]
        return Program(
            name=self.policy.identifier.text,
            doc=self.policy.doc.text if self.policy.doc else "",
            parameters={p.identifier.text: _parameter(p) for p in self.policy.parameters},
            operations=tuple(replace(one, inputs=tuple(number[i] for i in one.inputs)) for one in kept),
            canvas=number[canvas],
            done=number[done],
            finite=number[finite],
            carried=self.carried,
            next={name: number[value] for name, value in following.items()},
            events={name: number[value] for name, value in events.items()},
            phases=self.names,
            facts=self.checked.facts,
        )

    # --- before the phases

    def _see(self) -> None:
        self.logits = self.add("logits", (), Kind.LOGIT, Extent.POSITION)
        method, arguments = "argmax", list[int]()
        for statement in self.policy.statements:
            shape = getattr(statement, "transform", getattr(statement, "method", None))
            if isinstance(shape, syntax.Call):
                values = [self.expression(argument, self.start) for argument in shape.arguments]
                if (
                    isinstance(statement, syntax.Logits) and shape.function.text != "cfg"
                ):  # guidance is a matter of the forward
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
        self.seen = self.add("observe", (self.logits, *arguments), Kind.LOGIT, Extent.POSITION, method)
        self.observation("finite")

    def _place_window(self) -> None:
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
        """Up to the proposal of one of the ids: the first, or the best by a score; all of the window if none
        is proposed.
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
        found = self.reduced("any", Kind.BOOL, hits)
        return self.where(found, self.int_("add", end, self.number(1)), self.reach(self.start), Kind.INT)

    # --- the phase of each row

    @property
    def _enters(self) -> int:
        return self.holds("equal", self.state(protocol.STEPS_IN_PHASE), self.number(0))

    def _is(self, phase: int, name: str) -> int:
        return self.holds("equal", phase, self.number(self.names.index(name)))

    def _enter(self) -> int:
        """The phase this step runs: the one a row was sent to, or where its `else` leads."""
        phase = self.state(protocol.PHASE)
        # A phase comes before the one its `else` leads to; the checks saw to it that there is no circle.
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
                    self._enters, self._is(phase, name), self.holds("not", self.all_of(*open_))
                )
                phase = self.where(
                    refused, self.number(self.names.index(header.otherwise.text)), phase, Kind.INT
                )
        for name in self.phases:
            entered_now = self.where(
                self.all_of(self._enters, self._is(phase, name)), self.number(1), self.number(0), Kind.INT
            )
            self.visits[name] = self.int_("add", self.state(protocol.visits_field(name)), entered_now)
        return phase

    def _header_scope(self, name: str) -> Scope:
        scope = self.start.copy()
        scope.visits = self.state(protocol.visits_field(name))
        return scope

    # --- states

    def _kept(self, state: syntax.StateDeclaration) -> int:
        type_, name = of_state(state), protocol.state_field(state.identifier.text)
        return (
            self.kept_at_positions(name, type_.kind)
            if type_.extent is Extent.POSITION
            else self.state(name, type_.kind)
        )

    def _begin_states(self) -> None:
        """States as the step begins, before it is known which phase it is in: at their start value in a new
        block or sequence.
        """
        first = self.holds("equal", self.step, self.number(0))
        for state in self.states.values():
            type_ = of_state(state)
            anew = self.holds("or", first, self.begins) if state.scope.text == "block" else first
            if (
                type_.extent is Extent.POSITION
            ):  # a position that enters the window starts anew, whatever the scope
                anew = self.holds(
                    "or", anew, self.holds("not", self.stayed) if self.slides >= 0 else self.begins
                )
            self.start.states[state.identifier.text] = self.where(
                anew, self._start(state), self._kept(state), type_.kind
            )

    def _enter_states(self, phase: int) -> None:
        """States that return to their start value when a phase is entered."""
        for state in self.states.values():
            name, type_ = state.identifier.text, of_state(state)
            if state.scope.text in self.phases:
                anew = self.all_of(self._enters, self._is(phase, state.scope.text))
                self.start.states[name] = self.where(
                    anew, self._start(state), self.start.states[name], type_.kind
                )

    def _start(self, state: syntax.StateDeclaration) -> int:
        return self.of_kind(self.expression(state.start, self.start), of_state(state).kind)

    # --- drafts

    def _accepted(self) -> int | None:
        """Whether `accept COND` holds wherever the draft after this canvas writes; `None` where acceptance is
        exact.
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

    # --- the statements of a phase

    def _body(self, body: Body, index: int, phase: int) -> _After:
        scope = self.start.copy()
        scope.visits = self.visits.get(body.name)
        after = _After(scope, self.number(index), self.number(False), self.number(False), self.number(False))
        for statement in body.statements:
            self._statement(statement, after)
        return after

    def _statement(self, statement: syntax.Statement, after: _After) -> None:
        scope = after.scope
        assert not isinstance(statement, HEAD)  # the checks refuse a phase that contains one
        match statement:
            case syntax.Let():
                scope.lets[statement] = self.expression(statement.value, scope)
            case syntax.Set():
                self._set(statement, scope)
            case syntax.Commit():
                self._commit(statement, scope)
            case syntax.Revoke():
                self._revoke(statement, scope)
            case syntax.Edit():
                self._edit(statement, scope)
            case syntax.Fill():
                masked = self.masked(scope)
                self._write(
                    masked
                    if statement.condition is None
                    else self.mask("and", masked, self._when(statement, scope)),
                    None,
                    scope,
                )
            case syntax.Stay():
                more = self.holds("less", self.state(protocol.STAYS), self.expression(statement.count, scope))
                after.stays = self.holds("or", after.stays, self.all_of(more, self._when(statement, scope)))
            case syntax.Next():
                # A `finish` above may yet be undone: where the row goes then is decided all the same.
                wins = self.all_of(self._when(statement, scope), self.holds("not", after.moves))
                target = self.number(self.names.index(statement.phase.text))
                after.target = self.where(wins, target, after.target, Kind.INT)
                after.moves = self.holds("or", after.moves, wins)
            case syntax.Finish():
                wins = self.all_of(self._when(statement, scope), self.holds("not", after.moves))
                after.finishes = self.holds("or", after.finishes, wins)
            case _:
                assert_never(statement)

    def _when(self, statement: syntax.Fill | syntax.Stay | syntax.Next | syntax.Finish, scope: Scope) -> int:
        return (
            self.number(True) if statement.condition is None else self.expression(statement.condition, scope)
        )

    def _set(self, statement: syntax.Set, scope: Scope) -> None:
        name = statement.identifier.text
        value, type_ = self.expression(statement.value, scope), of_state(self.states[name])
        if type_.kind is Kind.MASK:
            value = self.mask("and", value, scope.window)
        scope.states[name] = self.of_kind(value, type_.kind)

    def _commit(self, commit: syntax.Commit, scope: Scope) -> None:
        free, ids = self.masked(scope), None
        if commit.ids is not None:
            ids = self.expression(commit.ids, scope)
            free = self.mask("and", free, self.holds("is_word", ids))
        chosen = self.mask("and", self.expression(commit.mask, scope), free)
        if commit.at_least is not None and commit.at_least.score is not None:
            score, least = (
                self.expression(commit.at_least.score, scope),
                self.expression(commit.at_least.count, scope),
            )
            rest = self.mask("and", free, self.mask("not", chosen))
            lacking = self.int_("subtract", least, self.reduced("count", Kind.INT, chosen))
            chosen = self.mask("or", chosen, self.mask("top", self.mask("order", rest, score), lacking))
        self._write(self._at_most(chosen, commit.at_most, scope), ids, scope)

    def _at_most(self, chosen: int, bound: syntax.AtMost | None, scope: Scope) -> int:
        """The best of some positions; without a score the lowest."""
        if bound is None:
            return chosen
        score = self.int_("negate", self.pos) if bound.score is None else self.expression(bound.score, scope)
        return self.mask("top", self.mask("order", chosen, score), self.expression(bound.count, scope))

    def _write(self, chosen: int, ids: int | None, scope: Scope) -> None:
        token = self.observation("token") if ids is None else ids
        scope.canvas = self.add("write", (scope.canvas, chosen, token), Kind.TOKEN, Extent.POSITION)
        count = self.reduced("count", Kind.INT, chosen)
        scope.committed = (
            count if scope.committed == self.number(0) else self.int_("add", scope.committed, count)
        )
        scope.touched = self.holds("or", scope.touched, chosen)

    def _revoke(self, revoke: syntax.Revoke, scope: Scope) -> None:
        chosen = self._at_most(
            self.mask("and", self.expression(revoke.mask, scope), self.written(scope)), revoke.at_most, scope
        )
        scope.canvas = self.add("erase", (scope.canvas, chosen), Kind.TOKEN, Extent.POSITION)
        scope.touched = self.holds("or", scope.touched, chosen)

    def _edit(self, edit: syntax.Edit, scope: Scope) -> None:
        assert edit.ids is not None
        ids = self.expression(edit.ids, scope)
        other = self.all_of(
            self.written(scope), self.holds("is_word", ids), self.holds("not_equal", ids, scope.canvas)
        )
        chosen = self._at_most(
            self.mask("and", self.expression(edit.mask, scope), other), edit.at_most, scope
        )
        scope.canvas = self.add("write", (scope.canvas, chosen, ids), Kind.TOKEN, Extent.POSITION)
        count = self.reduced("count", Kind.INT, chosen)
        scope.edited = count if scope.edited == self.number(0) else self.int_("add", scope.edited, count)
        scope.touched = self.holds("or", scope.touched, chosen)

    # --- after the phases

    def _merged(self, afters: list[_After], phase: int) -> _After:
        """What each row's own phase left."""
        whole = afters[-1]
        for index in range(len(afters) - 2, -1, -1):
            here, one = self.holds("equal", phase, self.number(index)), afters[index]
            states = {
                name: self.where(here, value, whole.scope.states[name], of_state(self.states[name]).kind)
                for name, value in one.scope.states.items()
            }
            scope = Scope(
                canvas=self.where(here, one.scope.canvas, whole.scope.canvas, Kind.TOKEN),
                window=one.scope.window,
                committed=self.where(here, one.scope.committed, whole.scope.committed, Kind.INT),
                touched=self.where(here, one.scope.touched, whole.scope.touched, Kind.MASK),
                edited=self.number(0),
                states=states,
            )
            moves = self.where(here, one.moves, whole.moves, Kind.BOOL)
            finishes = self.where(here, one.finishes, whole.finishes, Kind.BOOL)
            stays = self.where(here, one.stays, whole.stays, Kind.BOOL)
            whole = _After(
                scope, self.where(here, one.target, whole.target, Kind.INT), moves, finishes, stays
            )
        return whole

    def _carried_on(self, after: _After, phase: int) -> tuple[int, int, dict[str, int], dict[str, int]]:
        """The canvas after the step, whether the window is done, the next values of the state, and the events."""
        scope = after.scope
        active = self.reduced("any", Kind.BOOL, self.masked(self.start))
        if protocol.STAYS in self.carried:  # a full window that was kept has steps of its own
            active = self.holds(
                "or", active, self.holds("greater", self.state(protocol.STAYS), self.number(0))
            )
        canvas = self.where(active, scope.canvas, self.canvas, Kind.TOKEN)
        scope.canvas = canvas
        full = self.holds("not", self.reduced("any", Kind.BOOL, self.masked(scope)))
        kept = self.all_of(full, active, after.stays)
        full = self.all_of(full, self.holds("not", kept))
        # What stood below `finish` may have opened the text again.
        closed = (
            WITHOUT_ARGUMENTS["eos_closed"](self, scope)
            if after.finishes != self.number(False)
            else after.finishes
        )
        finished = self.all_of(active, after.finishes, closed)
        # A sliding window that is full moves on; it is one window until everything is written.
        over = full if self.slides < 0 else self.number(False)
        following: dict[str, int] = {}
        for name in list(self.carried):
            following.update(self._next_of(name, after, phase, over, full))
        if protocol.STAYS in self.carried:
            more = self.int_(
                "add",
                self.state(protocol.STAYS),
                self.where(kept, self.number(1), self.number(0), Kind.INT),
            )
            following[protocol.STAYS] = self.where(over, self.number(0), more, Kind.INT)
        following[protocol.STEP] = self.int_(
            "add", self.step, self.where(active, self.number(1), self.number(0), Kind.INT)
        )
        events: dict[str, int] = {}
        if any(isinstance(s, syntax.Finish) for body in bodies(self.policy) for s in body.statements):
            events[protocol.FINISHED] = finished
        if self.policy.phases:
            events[protocol.PHASE] = phase
        for name, value in following.items():
            if name != protocol.STEP:
                type_ = self.carried[name]
                old = self.add("state", (), type_.kind, type_.extent, name)
                following[name] = value if type_.distribution else self.where(active, value, old, type_.kind)
        return canvas, self.holds("or", full, finished), following, events

    def _next_of(self, name: str, after: _After, phase: int, over: int, full: int) -> dict[str, int]:
        zero, one, scope = self.number(0), self.number(1), after.scope
        if name == protocol.STEPS_IN_WINDOW:
            return {name: self.where(over, zero, self.int_("add", self.steps_in_window, one), Kind.INT)}
        if name == protocol.FIRST_MASKS:
            return {name: self.first_masks()}
        if name == protocol.PHASE:
            return {name: self.where(over, zero, after.target, Kind.INT)}
        if name == protocol.STEPS_IN_PHASE:
            stays = self.holds("not", self.holds("or", over, after.moves))
            more = self.int_("add", self.state(protocol.STEPS_IN_PHASE), one)
            return {name: self.where(stays, more, zero, Kind.INT)}
        if name.startswith(protocol.VISITS_PREFIX):
            return {
                name: self.where(over, zero, self.visits[name.removeprefix(protocol.VISITS_PREFIX)], Kind.INT)
            }
        if name == protocol.COMMITTED_BEFORE:
            return {name: scope.committed}
        if name.startswith(protocol.STATE_PREFIX):
            return {name: scope.states[name.removeprefix(protocol.STATE_PREFIX)]}
        if name.startswith(protocol.BEFORE_PREFIX):
            index = int(name.removeprefix(protocol.BEFORE_PREFIX))
            return {name: next(value for value, known in self.befores.items() if known == index)}
        return self._next_of_window(name, scope, full)

    def _next_of_window(self, name: str, scope: Scope, full: int) -> dict[str, int]:
        if name == protocol.AGE:
            new = self.mask("is_mask", scope.canvas)
            older = self.int_(
                "add",
                self.where(scope.touched, self.number(0), self.kept_at_positions(protocol.AGE), Kind.INT),
                self.number(1),
            )
            return {name: self.where(new, self.number(0), older, Kind.INT)}
        if name == protocol.EOS_BEFORE:
            ends = self.reduced("any", Kind.BOOL, self.ends(scope))
            if self.slides >= 0:  # what lies before the first mask leaves the window
                gone = self.holds(
                    "less", self.offset, self.reduced("least", Kind.REAL, self.offset, self.masked(scope))
                )
                left = self.reduced("any", Kind.BOOL, self.mask("and", self.ends(scope), gone))
                ends = self.where(full, ends, left, Kind.BOOL)
                full = self.number(True)
            return {name: self.holds("or", self.state(protocol.EOS_BEFORE), self.all_of(full, ends))}
        if name == protocol.WINDOW_LENGTH:
            return {name: self.window_length}
        if name == protocol.PLACED_AT:
            return {name: self.window_start}
        if name == protocol.INSIDE:
            return {name: scope.window}
        if (keep := self.carried[name].keep) is not None:
            return {name: self.add("log_probabilities", (self.logits,), Kind.REAL, Extent.POSITION, keep)}
        return {}  # the caller's: window_start, generation_length, key
