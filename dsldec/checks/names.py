"""What does every name stand for?

Parameters and states are known everywhere, a let from the line after it to the end of its phase (or, above
all phases, in each of them). Not here: whether the named thing fits its place (`kinds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..diagnostics import Diagnostic, did_you_mean
from ..language import syntax
from ..language.limits import MOST_DIAGNOSTICS
from ..language.words import KEYWORDS, RESERVED, WORDS
from ..language.words import SHAPES as SHAPES_BY_STATEMENT
from .resolved import HEAD, Binding, Resolved, expressions, walk

# The words after `window`, `draw` and `logits`.
SHAPES = frozenset(name for shapes in SHAPES_BY_STATEMENT.values() for name in shapes)
TAKEN = frozenset({*WORDS, *KEYWORDS, *RESERVED, *SHAPES})
SCOPES = ("block", "sequence")
# What papers and other decoders call a word: spelling does not lead there.
ELSEWHERE = {alias: word.name for word in WORDS.values() for alias in word.aliases}


def own_functions(policy: syntax.PolicyDefinition) -> dict[str, syntax.FunctionDeclaration]:
    """The functions that a call may mean: those above all phases, the first of each name, and none that has a
    word's name.
    """
    found: dict[str, syntax.FunctionDeclaration] = {}
    for statement in policy.statements:
        if isinstance(statement, syntax.FunctionDeclaration) and statement.identifier.text not in TAKEN:
            found.setdefault(statement.identifier.text, statement)
    return found


def misplaced(policy: syntax.PolicyDefinition) -> set[str]:
    """The names of functions and states that stand in a phase: that is the mistake, and not every use of
    them.
    """
    inside = (statement for phase in policy.phases for statement in phase.statements)
    return {
        statement.identifier.text
        for statement in inside
        if isinstance(statement, syntax.FunctionDeclaration | syntax.StateDeclaration)
    }


def check(found: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Fills `meanings`; reports names that stand for nothing, are taken, or are never used."""
    reader = _NameResolver(found.policy)
    diagnostics = reader.read()
    # A misspelt or refused name would make what it stood for look unused.
    unused = [] if diagnostics else reader.unused()
    return replace(found, bindings=reader.meanings), diagnostics + unused


class _NameResolver:
    def __init__(self, policy: syntax.PolicyDefinition) -> None:
        self.policy = policy
        self.meanings: dict[syntax.Name, Binding] = {}
        self.diagnostics: list[Diagnostic] = []
        self.functions = own_functions(policy)
        self.misplaced = misplaced(policy)
        self.states = {
            s.identifier.text: s for s in policy.statements if isinstance(s, syntax.StateDeclaration)
        }
        self.phases = {phase.identifier.text: phase for phase in policy.phases}
        self.called: set[str] = set()
        self.set: set[str] = set()
        self.lets: list[syntax.Let] = []

    def read(self) -> list[Diagnostic]:
        scope: dict[str, Binding] = {}
        declared: dict[str, syntax.Node] = {}
        for parameter in self.policy.parameters:
            self._introduce(parameter.identifier, parameter, declared, scope)
        for statement in self.policy.statements:
            if isinstance(statement, syntax.FunctionDeclaration):
                self._function(statement, declared, scope)
            elif isinstance(statement, syntax.StateDeclaration):
                self._statement(statement, scope)
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
        """What stands at the top of a policy is written before any name of a step; `accept` may look at
        states.
        """
        if not isinstance(statement, HEAD):
            return scope
        kinds = (
            (syntax.Parameter, syntax.StateDeclaration)
            if isinstance(statement, syntax.Lookahead)
            else (syntax.Parameter,)
        )
        return {name: meaning for name, meaning in scope.items() if isinstance(meaning, kinds)}

    def _introduce(
        self,
        identifier: syntax.Identifier,
        meaning: syntax.Node,
        declared: dict[str, syntax.Node],
        scope: dict[str, Binding],
    ) -> None:
        if identifier.text in TAKEN:
            why = "a word of the language"
        elif identifier.text in declared:
            why = f"the name of something on line {declared[identifier.text].span.line}"
        else:
            declared[identifier.text] = meaning
            if isinstance(meaning, syntax.Parameter | syntax.StateDeclaration | syntax.Let):
                scope[identifier.text] = meaning
            return
        help_ = f"take another name: `my_{identifier.text}`"
        self.diagnostics.append(
            Diagnostic("E0202", f"`{identifier.text}` is {why}", identifier.span, help=help_)
        )

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
            # A parameter may share its name with nothing that the body could mean.
            self._introduce(parameter, parameter, {**declared, **own}, {})
            own[parameter.text] = parameter
        states: dict[str, Binding] = {**scope, **self.states}
        self._expression(function.body, states, set(own))

    def _phases(self, declared: dict[str, syntax.Node]) -> None:
        for phase in self.policy.phases:
            if phase.identifier.text in SCOPES:
                message = f"`{phase.identifier.text}` is a word of the language"
                help_ = f"take another name: `my_{phase.identifier.text}`"
                self.diagnostics.append(Diagnostic("E0202", message, phase.identifier.span, help=help_))
            self._introduce(phase.identifier, phase, declared, {})

    def _phase(
        self, phase: syntax.Phase, scope: dict[str, Binding], declared: dict[str, syntax.Node]
    ) -> None:
        outer = {name: meaning for name, meaning in scope.items() if not isinstance(meaning, syntax.Let)}
        for expression in expressions(phase):
            self._expression(expression, outer)
        if phase.otherwise is not None:
            self._target(phase.otherwise)
        for statement in phase.statements:
            if not isinstance(
                statement, HEAD
            ):  # it belongs elsewhere: what its names would mean there is not known
                self._statement(statement, scope, declared)

    def _statement(
        self,
        statement: syntax.Statement,
        scope: dict[str, Binding],
        declared: dict[str, syntax.Node] | None = None,
    ) -> None:
        for expression in expressions(statement):
            self._expression(expression, scope)
        match statement:
            case syntax.Let() if declared is not None:
                self._introduce(statement.identifier, statement, declared, scope)
                self.lets.append(statement)
            case syntax.Next():
                self._target(statement.phase)
            case syntax.Set():
                self._set(statement.identifier)

    def _scope(self, state: syntax.StateDeclaration) -> None:
        if state.scope.text not in SCOPES and state.scope.text not in self.phases:
            self._unknown(
                state.scope, "neither `block`, `sequence` nor a phase", (*SCOPES, *self.phases), "per block"
            )

    def _target(self, identifier: syntax.Identifier) -> None:
        if identifier.text not in self.phases:
            self._unknown(identifier, "no phase", self.phases, f"add `phase {identifier.text}:`")

    def _set(self, identifier: syntax.Identifier) -> None:
        self.set.add(identifier.text)
        if identifier.text not in self.states:
            self._unknown(
                identifier,
                "no state",
                self.states,
                f"declare it above: `state {identifier.text}: int = 0 per block`",
            )

    def _unknown(self, identifier: syntax.Identifier, what: str, known: Iterable[str], help_: str) -> None:
        if identifier.text in self.misplaced:
            return
        close = self._close(identifier.text, known)
        hint = f"did you mean `{close}`?" if close else help_
        self.diagnostics.append(
            Diagnostic("E0201", f"`{identifier.text}` is {what}", identifier.span, help=hint)
        )

    def _close(self, name: str, known: Iterable[str]) -> str | None:
        """The closest known name, for as many diagnostics as are shown."""
        return did_you_mean(name, known) if len(self.diagnostics) < MOST_DIAGNOSTICS else None

    # --- expressions

    def _expression(
        self, expression: syntax.Expression, scope: Mapping[str, Binding], own: Iterable[str] = ()
    ) -> None:
        for part in walk(expression):
            if isinstance(part, syntax.Name) and part.identifier in scope:
                self.meanings[part] = scope[part.identifier]
            elif isinstance(part, syntax.Name) and part.identifier not in own:
                self._name(syntax.Identifier(part.span, part.identifier), scope)
            elif isinstance(part, syntax.Call):
                self._called(part.function, scope)

    def _called(self, function: syntax.Identifier, scope: Mapping[str, Binding]) -> None:
        self.called.add(function.text)
        if function.text in self.functions or function.text in WORDS or function.text in SHAPES:
            return
        if function.text in scope:
            what = f"`{function.text}` takes no arguments"
            self.diagnostics.append(Diagnostic("E0203", what, function.span, help=f"write `{function.text}`"))
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
            message = f"`{name.text}` is a function"
            self.diagnostics.append(
                Diagnostic("E0203", message, name.span, help=f"write `{name.text}({wanted})`")
            )
            return
        known = [*scope] if name.text in ELSEWHERE else [*scope, *WORDS, *SHAPES]
        close = self._close(name.text, known) or ELSEWHERE.get(name.text)
        hint = (
            f"did you mean `{close}`?"
            if close
            else "add it as a parameter, or give it a value on a line above: `NAME = ...`"
        )
        self.diagnostics.append(Diagnostic("E0201", f"nothing is called `{name.text}`", name.span, help=hint))

    # --- what nobody uses

    def unused(self) -> list[Diagnostic]:
        used = set(self.meanings.values())
        lists: tuple[tuple[str, Iterable[syntax.Parameter | syntax.StateDeclaration | syntax.Let]], ...] = (
            ("parameter", self.policy.parameters),
            ("state", self.states.values()),
            ("name", self.lets),
        )
        found = [
            _unused(what, node.identifier) for what, nodes in lists for node in nodes if node not in used
        ]
        found += [
            _unused("function", f.identifier)
            for f in self.functions.values()
            if f.identifier.text not in self.called
        ]
        return found + [
            self._never_set(state)
            for state in self.states.values()
            if state in used and state.identifier.text not in self.set
        ]

    def _never_set(self, state: syntax.StateDeclaration) -> Diagnostic:
        name = state.identifier.text
        return Diagnostic(
            "W0202",
            f"the state `{name}` never changes",
            state.identifier.span,
            help=f"add `set {name} = ...` or make it a parameter",
        )


def _unused(what: str, identifier: syntax.Identifier) -> Diagnostic:
    return Diagnostic(
        "W0201", f"the {what} `{identifier.text}` is never used", identifier.span, help="use it or delete it"
    )
