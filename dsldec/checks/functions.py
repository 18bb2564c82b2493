"""What is the policy once its own functions are written out where they are called?

A function knows its own parameters, the policy's, its states and the functions above it: so none can call itself, and what
it means does not depend on where it is called. Not here: the names inside a function that is never called (`names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.parse import DEEPEST_NESTING
from ..language.words import WORDS
from .found import Found, Meaning, bodies, children, expressions, mapped, parts, rewritten, statements

LARGEST_POLICY = 10_000
LARGEST_PROOF = 1_000
Size = tuple[int, int]  # nodes, and how deep they are nested


def check(found: Found) -> tuple[Found, list[Diagnostic]]:
    """Fills `policy` with the tree written out; reports calls that cannot be, and policies that grow too large."""
    writer = _Writer(found.policy)
    if writer.diagnostics or (too_large := writer.too_large()):
        return found, writer.diagnostics or too_large
    if not writer.functions:
        return replace(found, through=_through(found)), []
    policy = found.policy
    head = tuple(s if isinstance(s, syntax.Function) else rewritten(s, writer.written_out) for s in policy.statements)
    phases = tuple(rewritten(phase, writer.written_out) for phase in policy.phases)
    written = replace(policy, statements=head, phases=phases)
    # What a name stands for is a node of the new tree.
    new: dict[Meaning, Meaning] = {}
    for old, statement in zip(statements(policy), statements(written), strict=True):
        if isinstance(old, syntax.State | syntax.Let) and isinstance(statement, syntax.State | syntax.Let):
            new[old] = statement
    meanings = {name: new.get(meaning, meaning) for name, meaning in found.meanings.items()}
    found = replace(found, policy=written, meanings=meanings)
    return replace(found, through=_through(found)), []


def _through(found: Found) -> dict[syntax.Name, Meaning]:
    """The meanings without lets that, with all names in them written out, are more than a proof should read."""
    sizes: dict[syntax.Let, Size] = {}
    for body in bodies(found.policy):
        for statement in body.statements:
            if isinstance(statement, syntax.Let) and statement not in sizes:
                sizes[statement] = _size_through(statement.value, found, sizes)
    few = {let for let, (nodes, depth) in sizes.items() if nodes <= LARGEST_PROOF and depth <= DEEPEST_NESTING}
    return {name: meaning for name, meaning in found.meanings.items() if not isinstance(meaning, syntax.Let) or meaning in few}


def _size_through(expression: syntax.Expression, found: Found, sizes: Mapping[syntax.Let, Size]) -> Size:
    inside = [_size_through(child, found, sizes) for child in children(expression)]
    meaning = found.meanings.get(expression) if isinstance(expression, syntax.Name) else None
    if isinstance(meaning, syntax.Let):
        inside.append(sizes.get(meaning, (LARGEST_POLICY, 1)))
    return 1 + sum(nodes for nodes, _ in inside), 1 + max((depth for _, depth in inside), default=0)


class _Writer:
    def __init__(self, policy: syntax.Policy) -> None:
        self.policy = policy
        self.functions: dict[str, syntax.Function] = {}
        self.sizes: dict[str, Size] = {}
        self.uses: dict[str, list[int]] = {}
        self.diagnostics: list[Diagnostic] = []
        self.names = [s.identifier.text for s in policy.statements if isinstance(s, syntax.Function)]
        for statement in statements(policy):
            for expression in expressions(statement):
                self._calls(expression, statement)
            if isinstance(statement, syntax.Function) and statement.identifier.text not in WORDS:
                self.sizes[statement.identifier.text] = self._size(statement.body)
                self.uses[statement.identifier.text] = [_uses(statement.body, name.text) for name in statement.parameters]
                self.functions[statement.identifier.text] = statement
        for phase in policy.phases:
            for expression in expressions(phase):
                self._calls(expression, phase)

    def _calls(self, expression: syntax.Expression, at: syntax.Node) -> None:
        for call in parts(expression):
            name = call.function.text if isinstance(call, syntax.Call) else ""
            if isinstance(call, syntax.Call) and name in self.names and name not in WORDS:
                self.diagnostics += self._call(call, at)

    def _call(self, call: syntax.Call, at: syntax.Node) -> list[Diagnostic]:
        name = call.function.text
        if isinstance(at, syntax.Function) and at.identifier.text == name:
            help_ = "a function is written out where it is called: say it without itself"
            return [Diagnostic("E0210", f"`{name}` calls itself", call.function.span, help=help_)]
        function = self.functions.get(name)
        if function is None:
            return [Diagnostic("E0210", f"`{name}` stands further down", call.function.span, help=f"move `def {name}` above this line")]
        wanted = f"{name}({', '.join(p.text for p in function.parameters)})"
        if call.keywords or len(call.arguments) != len(function.parameters):
            return [Diagnostic("E0203", f"`{name}` takes {len(function.parameters)} arguments", call.span, help=f"write `{wanted}`")]
        return []

    def _size(self, expression: syntax.Expression) -> Size:
        """Nodes and depth once written out, without writing anything out."""
        inside = [self._size(child) for child in children(expression)]
        deepest = max((depth for _, depth in inside), default=0)
        name = expression.function.text if isinstance(expression, syntax.Call) else ""
        function = self.functions.get(name)
        if function is None or len(function.parameters) != len(inside):
            return 1 + sum(nodes for nodes, _ in inside), 1 + deepest
        nodes, depth = self.sizes[name]
        return nodes + sum(n * times for (n, _), times in zip(inside, self.uses[name], strict=True)), depth + deepest

    def too_large(self) -> list[Diagnostic]:
        total = 0
        for node in (*statements(self.policy), *self.policy.phases):
            for expression in () if isinstance(node, syntax.Function) else expressions(node):
                nodes, depth = self._size(expression)
                total += nodes
                if total > LARGEST_POLICY or depth > DEEPEST_NESTING:
                    what = f"more than {LARGEST_POLICY} parts" if total > LARGEST_POLICY else f"nested more than {DEEPEST_NESTING} deep"
                    message = (
                        f"with its functions written out this policy has {what}"
                        if total > LARGEST_POLICY
                        else (f"with its functions written out this is {what}")
                    )
                    help_ = "give a part of it a name on a line of its own: `part = ...`"
                    return [Diagnostic("E0108", message, expression.span, help=help_)]
        return []

    def written_out(self, expression: syntax.Expression, given: Mapping[str, syntax.Expression] | None = None) -> syntax.Expression:
        """An expression with every call of an own function replaced by its body, and names in `given` by what is given."""
        if given and isinstance(expression, syntax.Name) and expression.identifier in given:
            return given[expression.identifier]
        function = self.functions.get(expression.function.text) if isinstance(expression, syntax.Call) else None
        if function is None or not isinstance(expression, syntax.Call):
            return mapped(expression, lambda child: self.written_out(child, given))
        arguments = [self.written_out(argument, given) for argument in expression.arguments]
        names = [parameter.text for parameter in function.parameters]
        return self.written_out(function.body, dict(zip(names, arguments, strict=True)))


def _uses(body: syntax.Expression, name: str) -> int:
    return sum(isinstance(part, syntax.Name) and part.identifier == name for part in parts(body))
