"""The meaning of every name: a parameter, a state, a let, a function, or a word of the language.

Parameters and states are visible in the whole policy. A let is visible from the next line to the end of its
phase, or in all phases if it is above them. Not here: names without a use (`unused`), whether a value fits
its place (`fitting`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from .. import fixes
from ..diagnostics import Diagnostic, Fix, did_you_mean
from ..language import syntax
from ..language.limits import MOST_DIAGNOSTICS
from ..language.walk import HEAD, expressions, statements, walk
from ..language.words import KEYWORDS, READ_AT_THEIR_PLACE, RESERVED, SOFT_KEYWORDS, WORDS, Kind
from ..language.words import SHAPES as SHAPES_BY_STATEMENT
from . import branches, choices
from .resolved import Binding, Resolved
from .unused import unused

# The words after `window`, `noise`, `draw` and `logits`.
SHAPES = frozenset(name for shapes in SHAPES_BY_STATEMENT.values() for name in shapes)
TAKEN = frozenset({*WORDS, *KEYWORDS, *RESERVED, *SHAPES})
SCOPES = ("block", "sequence")
# Words whose first argument can only be a parameter, and its kind.
ONLY_PARAMETERS = {"constrain": "pattern", "learned": "network", "of": "table = 0"}
# Names that papers and other decoders use for a word; a search by spelling does not find the word.
ELSEWHERE = {alias: word.name for word in WORDS.values() for alias in word.aliases}


def _taken_for(binding: syntax.Node) -> frozenset[str]:
    """The words that cannot be the name of this."""
    is_value = not isinstance(binding, syntax.FunctionDeclaration | syntax.Phase)
    return TAKEN - SOFT_KEYWORDS - READ_AT_THEIR_PLACE if is_value else TAKEN


def own_functions(policy: syntax.PolicyDefinition) -> dict[str, syntax.FunctionDeclaration]:
    """The functions that a call may name.

    They are above all phases, the first with their name, and have no name of a word.
    """
    functions: dict[str, syntax.FunctionDeclaration] = {}
    for statement in policy.statements:
        if isinstance(statement, syntax.FunctionDeclaration):
            name = statement.identifier.text
            if name not in TAKEN:
                functions.setdefault(name, statement)
    return functions


def misplaced(policy: syntax.PolicyDefinition) -> set[str]:
    """The names of functions and states that are declared inside a phase.

    Only the declaration is reported, and not every use of the name.
    """
    inside = (statement for phase in policy.phases for statement in phase.statements)
    return {
        statement.identifier.text
        for statement in inside
        if isinstance(statement, syntax.FunctionDeclaration | syntax.StateDeclaration)
    }


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Sets `bindings`; reports unknown names, names that are taken, and names that nothing uses."""
    reader = _NameResolver(resolved.policy)
    diagnostics = reader.read()
    if not diagnostics:  # after a misspelt name, the declaration would seem unused
        functions = [f for f in reader.functions.values() if f.identifier.text not in reader.called]
        used = set(reader.bindings.values())
        numbers = (let for let in reader.lets if isinstance(let, syntax.Branch))
        used |= {number for number in numbers if branches.draws(resolved.policy, number)}
        diagnostics = unused(resolved.policy, reader.lets, functions, used, reader.assigned)
    return replace(resolved, bindings=reader.bindings), diagnostics


def _name_is_taken(name: syntax.Identifier, why: str) -> Diagnostic:
    other = f"my_{name.text}"
    help_, fix = f"take another name: `{other}`", Fix(name.span, other)
    return Diagnostic("E0202", f"`{name.text}` is {why}", name.span, help=help_, fix=fix)


def _state_of(identifier: syntax.Identifier) -> str:
    """The declaration of a state that the policy sets and does not declare."""
    return f"state {identifier.text}: int = 0 per block"


def _declared(policy: syntax.PolicyDefinition, identifier: syntax.Identifier) -> Fix | None:
    """The fix that declares a state below the window."""
    window = next((s for s in policy.statements if isinstance(s, syntax.Window)), None)
    return None if window is None else fixes.line_below(window.span, _state_of(identifier))


class _StatementNames(ABC):
    """Reads the statements, and introduces their names."""

    def __init__(self, policy: syntax.PolicyDefinition) -> None:
        self.policy = policy
        self.bindings: dict[syntax.Name, Binding] = {}
        self.diagnostics: list[Diagnostic] = []
        self.functions = own_functions(policy)
        self.misplaced = misplaced(policy)
        self.states = {
            s.identifier.text: s for s in policy.statements if isinstance(s, syntax.StateDeclaration)
        }
        self.phases = {phase.identifier.text: phase for phase in policy.phases}
        self.called: set[str] = set()
        self.assigned: set[str] = set()
        self.lets: list[syntax.Let | syntax.Branch] = []
        self.around: Mapping[str, Binding] = {}  # the names around the last branch
        lets = (s for s in statements(policy) if isinstance(s, syntax.Let))
        # The names that some lines of the policy may read, and the first value of each.
        self.elsewhere = {**{s.identifier.text: s for s in lets}, **self.states}
        self.in_head = False  # whether the line belongs to the whole policy
        self.kinds: dict[str, str] = {}  # of unknown names that can only be parameters

    def read(self) -> list[Diagnostic]:
        scope: dict[str, Binding] = {}
        declared: dict[str, syntax.Node] = {}
        for parameter in self.policy.parameters:
            self._introduce(parameter.identifier, parameter, declared, scope)
        for statement in self.policy.statements:
            if isinstance(statement, syntax.FunctionDeclaration):
                self._function(statement, declared, scope)
            elif isinstance(statement, syntax.StateDeclaration):
                self._statement(statement, scope, declared)
                self._introduce(statement.identifier, statement, declared, scope)
                self._scope(statement)
        self._phases(declared)
        for statement in self.policy.statements:
            if not isinstance(statement, syntax.FunctionDeclaration | syntax.StateDeclaration):
                self._statement(statement, self._known_to(statement, scope), declared)
        for phase in self.policy.phases:
            self._phase(phase, dict(scope), dict(declared))
        return self.diagnostics

    def _known_to(self, statement: syntax.Statement, scope: dict[str, Binding]) -> dict[str, Binding]:
        """The names that a statement may use.

        A statement of the head may use only parameters; `window` and `accept` may also use states.
        """
        if not isinstance(statement, HEAD):
            return scope
        states = isinstance(statement, syntax.Lookahead | syntax.Window)
        kinds = (syntax.Parameter, syntax.StateDeclaration) if states else (syntax.Parameter,)
        return {name: binding for name, binding in scope.items() if isinstance(binding, kinds)}

    def _introduce(
        self,
        identifier: syntax.Identifier,
        binding: syntax.Node,
        declared: dict[str, syntax.Node],
        scope: dict[str, Binding],
    ) -> None:
        if identifier.text in _taken_for(binding):
            why = "a word of the language"
        elif identifier.text in declared:
            why = f"the name of something on line {declared[identifier.text].span.line}"
        else:
            declared[identifier.text] = binding
            if isinstance(binding, syntax.Parameter | syntax.StateDeclaration | syntax.Let | syntax.Branch):
                scope[identifier.text] = binding
            return
        self._taken(identifier, why)

    def _taken(self, name: syntax.Identifier, why: str) -> None:
        self.diagnostics.append(_name_is_taken(name, why))

    # --- parts of a policy

    def _function(
        self,
        function: syntax.FunctionDeclaration,
        declared: dict[str, syntax.Node],
        scope: Mapping[str, Binding],
    ) -> None:
        self._introduce(function.identifier, function, declared, {})
        own: dict[str, syntax.Node] = {}
        for parameter in function.parameters:
            # A parameter must not have a name that already has a meaning in the body.
            self._introduce(parameter, parameter, {**declared, **own}, {})
            own[parameter.text] = parameter
        self.in_head, states = True, dict[str, Binding]({**scope, **self.states})
        self._expression(function.body, states, set(own))

    def _phases(self, declared: dict[str, syntax.Node]) -> None:
        for phase in self.policy.phases:
            if phase.identifier.text in SCOPES:
                self._taken(phase.identifier, "a word of the language")
            self._introduce(phase.identifier, phase, declared, {})

    def _phase(
        self, phase: syntax.Phase, scope: dict[str, Binding], declared: dict[str, syntax.Node]
    ) -> None:
        outer = {name: binding for name, binding in scope.items() if not isinstance(binding, syntax.Let)}
        for expression in expressions(phase):
            self._expression(expression, outer)
        if phase.otherwise is not None:
            self._target(phase.otherwise)
        for statement in phase.statements:
            if not isinstance(statement, HEAD):  # it is reported as misplaced
                self._statement(statement, scope, declared)

    def _statement(
        self,
        statement: syntax.Statement,
        scope: dict[str, Binding],
        declared: dict[str, syntax.Node],
    ) -> None:
        if isinstance(statement, syntax.Pick):
            self._pick(statement, scope)
            return
        self.in_head = isinstance(statement, HEAD)
        for expression in expressions(statement):
            self._expression(expression, scope)
        if isinstance(statement, HEAD):
            return  # `read` introduces its name, if it has one
        match statement:
            case syntax.Let():
                self._introduce(statement.identifier, statement, declared, scope)
                self.lets.append(statement)
            case syntax.Branch():
                self.around = dict(scope)
                self._introduce(statement.identifier, statement, declared, scope)
                self.lets.append(statement)
            case syntax.Next():
                self._target(statement.phase)
            case syntax.Set():
                self._set(statement.identifier)
            case syntax.Commit() | syntax.Revoke() | syntax.Edit():
                pass
            case syntax.Fill() | syntax.Stay() | syntax.Refresh() | syntax.Finish():
                pass
            case _:
                assert_never(statement)

    def _pick(self, pick: syntax.Pick, scope: dict[str, Binding]) -> None:
        """A score reads no name of the step: it is computed after the next forward. The names of the branch
        end here.
        """
        carried = {
            name: binding
            for name, binding in scope.items()
            if isinstance(binding, syntax.Parameter | syntax.StateDeclaration)
        }
        own = {name for name in scope if name not in carried}
        self._expression(pick.score, carried, own)
        for part in walk(pick.score):
            if isinstance(part, syntax.Name) and part.identifier in own:
                self.bindings[part] = scope[part.identifier]
                self.diagnostics.append(branches.read_by_score(part))
        for name in [name for name in scope if name not in self.around]:
            del scope[name]

    def _scope(self, state: syntax.StateDeclaration) -> None:
        if state.scope.text not in SCOPES and state.scope.text not in self.phases:
            what, known = "neither `block`, `sequence` nor a phase", (*SCOPES, *self.phases)
            self._unknown(state.scope, what, known, "per block", Fix(state.scope.span, SCOPES[0]))

    def _target(self, identifier: syntax.Identifier) -> None:
        if identifier.text not in self.phases:
            self._unknown(identifier, "no phase", self.phases, f"add `phase {identifier.text}:`")

    def _set(self, identifier: syntax.Identifier) -> None:
        self.assigned.add(identifier.text)
        if identifier.text not in self.states:
            help_ = f"declare it above: `{_state_of(identifier)}`"
            self._unknown(identifier, "no state", self.states, help_, _declared(self.policy, identifier))

    def _unknown(
        self, name: syntax.Identifier, what: str, known: Iterable[str], help_: str, fix: Fix | None = None
    ) -> None:
        if name.text not in self.misplaced:
            close = self._close(name.text, known)
            hint = f"did you mean `{close}`?" if close else help_
            fix = Fix(name.span, close) if close else fix
            self.diagnostics.append(Diagnostic("E0201", f"`{name.text}` is {what}", name.span, "", hint, fix))

    def _close(self, name: str, known: Iterable[str]) -> str | None:
        """The closest known name; `None` after more diagnostics than are shown."""
        return did_you_mean(name, known) if len(self.diagnostics) < MOST_DIAGNOSTICS else None

    @abstractmethod
    def _expression(
        self, expression: syntax.Expression, scope: Mapping[str, Binding], own: Iterable[str] = ()
    ) -> None:
        """Sets the bindings of an expression. Names in `own` have another meaning."""


class _NameResolver(_StatementNames):
    """Reads the names in expressions."""

    def _expression(
        self, expression: syntax.Expression, scope: Mapping[str, Binding], own: Iterable[str] = ()
    ) -> None:
        for part in walk(expression):
            kind = ONLY_PARAMETERS.get(part.function.text) if isinstance(part, syntax.Call) else None
            if isinstance(part, syntax.Call) and kind and part.arguments:
                self.kinds[part.arguments[0].span.text] = kind
        for part in choices.without_names(expression, scope, TAKEN):
            if isinstance(part, syntax.Name) and part.identifier in scope:
                self.bindings[part] = scope[part.identifier]
            elif isinstance(part, syntax.Name) and part.identifier not in own:
                self._name(syntax.Identifier(part.span, part.identifier), scope)
            elif isinstance(part, syntax.Call):
                self._called(part.function, scope)

    def _called(self, function: syntax.Identifier, scope: Mapping[str, Binding]) -> None:
        self.called.add(function.text)
        if function.text in self.functions or function.text in WORDS or function.text in SHAPES:
            return
        if function.text in scope:
            what, binding = f"`{function.text}` takes no arguments", scope[function.text]
            is_network = isinstance(binding, syntax.Parameter) and binding.kind.text == Kind.NETWORK
            help_ = f"write `learned({function.text}, ...)`" if is_network else f"write `{function.text}`"
            self.diagnostics.append(Diagnostic("E0203", what, function.span, help=help_))
            return
        self._name(function, [*scope, *self.functions])

    def _name(self, name: syntax.Identifier, scope: Iterable[str]) -> None:
        if name.text in WORDS or name.text in SHAPES or name.text in self.misplaced:
            return
        if name.text in RESERVED:
            message = f"`{name.text}` is a word of the language that this version cannot use yet"
            self.diagnostics.append(Diagnostic("E0106", message, name.span))
            return
        if name.text in self.functions:
            wanted = ", ".join(p.text for p in self.functions[name.text].parameters)
            help_ = f"write `{name.text}({wanted})`"
            self.diagnostics.append(
                Diagnostic("E0203", f"`{name.text}` is a function", name.span, help=help_)
            )
            return
        if (unreadable := self._unreadable(name)) is not None:
            self.diagnostics.append(unreadable)
            return
        fix = None
        if name.text in self.kinds:
            declared = f"{name.text}: {self.kinds[name.text]}"
            help_ = f"add a parameter to the policy: `{declared}`"
            last = self.policy.parameters[-1:]
            fix = fixes.after(last[0].span, f", {declared}") if last else None
        else:
            help_ = "add it as a parameter, or give it a value on a line above: `NAME = ...`"
        known = [*scope] if name.text in ELSEWHERE or name.text in self.kinds else [*scope, *WORDS, *SHAPES]
        lower = name.text.lower()
        close = lower if lower in known else self._close(name.text, known) or ELSEWHERE.get(name.text)
        hint = f"did you mean `{close}`?" if close else help_
        fix = Fix(name.span, close) if close else fix
        self.diagnostics.append(
            Diagnostic("E0201", f"nothing is called `{name.text}`", name.span, help=hint, fix=fix)
        )

    def _unreadable(self, name: syntax.Identifier) -> Diagnostic | None:
        """The diagnostic for a name that has a value elsewhere in the policy."""
        value = self.elsewhere.get(name.text)
        if value is None:
            return None
        fix = None
        if self.in_head:
            message = f"`{name.text}` cannot be read here: this line belongs to the whole policy"
            help_ = "use words, numbers and parameters"
            if isinstance(value, syntax.Let):
                help_ = f"write its value: `{value.value.span.text}`"
                fix = Fix(name.span, fixes.in_brackets(value.value.span.text))
        elif value.span.line < name.span.line:
            message = f"`{name.text}` has no value here: a name ends with its branch and its phase"
            help_ = "give it a value above them, or store it in a state"
        else:
            message = f"`{name.text}` has no value yet here"
            help_ = f"it gets one on line {value.span.line}: move that line above this one"
        return Diagnostic("E0201", message, name.span, help=help_, fix=fix)
