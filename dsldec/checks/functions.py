"""The policy with each call of a `def` function replaced by the body of the function.

The body of a function may use its parameters, the parameters and states of the policy, and the functions
above it. So no function calls itself, and its meaning does not depend on the place of the call. Not here: the
names inside a function that is never called (`names`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.limits import DEEPEST_NESTING, LARGEST_POLICY, LARGEST_PROOF, LARGEST_PROOFS
from ..language.walk import (
    HEAD,
    bodies,
    children,
    expressions,
    map_children,
    map_expressions,
    statements,
    walk,
)
from .names import own_functions
from .resolved import Binding, Resolved

Size = tuple[int, int]  # number of nodes, depth of nesting


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Sets `policy` to the tree with all calls of its functions replaced, and sets `inlinable`.

    Reports wrong calls, and policies that grow too large.
    """
    writer = _Inliner(resolved.policy)
    if writer.diagnostics or (too_large := writer.too_large()):
        return resolved, writer.diagnostics or too_large
    if not writer.functions:
        return replace(resolved, inlinable=_inlinable(resolved)), []
    policy = resolved.policy
    head = tuple(
        s if isinstance(s, syntax.FunctionDeclaration) else map_expressions(s, writer.written_out)
        for s in policy.statements
    )
    phases = tuple(map_expressions(phase, writer.written_out) for phase in policy.phases)
    written = replace(policy, statements=head, phases=phases)
    # The binding of a name must be a node of the new tree.
    new: dict[Binding, Binding] = {}
    for old, statement in zip(statements(policy), statements(written), strict=True):
        if isinstance(old, syntax.StateDeclaration | syntax.Let | syntax.Branch) and isinstance(
            statement, syntax.StateDeclaration | syntax.Let | syntax.Branch
        ):
            new[old] = statement
    bindings = {name: new.get(binding, binding) for name, binding in resolved.bindings.items()}
    resolved = replace(resolved, policy=written, bindings=bindings)
    return replace(resolved, inlinable=_inlinable(resolved)), []


def _inlinable(resolved: Resolved) -> dict[syntax.Name, Binding]:
    """The bindings without the lets that are too large for a proof to read once all lets are inlined."""
    sizes: dict[syntax.Let, Size] = {}
    for body in bodies(resolved.policy):
        for statement in body.statements:
            if isinstance(statement, syntax.Let) and statement not in sizes:
                sizes[statement] = _size_inlined(statement.value, resolved, sizes)
    most = _readable(resolved, sizes)
    few = {let for let, (nodes, depth) in sizes.items() if nodes <= most and depth <= DEEPEST_NESTING}
    return {
        name: binding
        for name, binding in resolved.bindings.items()
        if not isinstance(binding, syntax.Let) or binding in few
    }


def _readable(resolved: Resolved, sizes: Mapping[syntax.Let, Size]) -> int:
    """The size of the largest let that proofs may read: all proofs together stay within their limit."""
    read: Counter[int] = Counter()
    for body in bodies(resolved.policy):
        for statement in body.statements:
            for expression in expressions(statement):
                bindings = (
                    resolved.bindings.get(part) for part in walk(expression) if isinstance(part, syntax.Name)
                )
                read.update(
                    sizes[binding][0]
                    for binding in bindings
                    if isinstance(binding, syntax.Let) and binding in sizes
                )
    most, total = 0, 0
    for size in sorted(read):
        total += size * read[size]
        if size > LARGEST_PROOF or total > LARGEST_PROOFS:
            return most
        most = size
    return LARGEST_PROOF


def _size_inlined(
    expression: syntax.Expression, resolved: Resolved, sizes: Mapping[syntax.Let, Size]
) -> Size:
    inside = [_size_inlined(child, resolved, sizes) for child in children(expression)]
    binding = resolved.bindings.get(expression) if isinstance(expression, syntax.Name) else None
    if isinstance(binding, syntax.Let):
        inside.append(sizes.get(binding, (LARGEST_POLICY, 1)))
    nodes = min(
        LARGEST_POLICY, 1 + sum(nodes for nodes, _ in inside)
    )  # a size that doubles with every line would have hundreds of digits
    return nodes, 1 + max((depth for _, depth in inside), default=0)


class _Inliner:
    def __init__(self, policy: syntax.PolicyDefinition) -> None:
        self.policy = policy
        self.names = own_functions(policy)
        # The functions above the current statement.
        self.functions: dict[str, syntax.FunctionDeclaration] = {}
        self.sizes: dict[str, Size] = {}
        self.uses: dict[str, list[int]] = {}
        self.diagnostics: list[Diagnostic] = []
        for statement in policy.statements:
            self._calls(statement)
            if (
                isinstance(statement, syntax.FunctionDeclaration)
                and self.names.get(statement.identifier.text) is statement
            ):
                self.sizes[statement.identifier.text] = self._size(statement.body)
                self.uses[statement.identifier.text] = _uses(statement)
                self.functions[statement.identifier.text] = statement
        for phase in policy.phases:
            self._calls(phase)
            for statement in phase.statements:
                if not isinstance(statement, HEAD):
                    self._calls(statement)

    def _calls(self, at: syntax.Statement | syntax.Phase) -> None:
        for expression in expressions(at):
            for call in walk(expression):
                if isinstance(call, syntax.Call) and call.function.text in self.names:
                    self.diagnostics += self._call(call, at)

    def _call(self, call: syntax.Call, at: syntax.Node) -> list[Diagnostic]:
        name = call.function.text
        if isinstance(at, syntax.FunctionDeclaration) and at.identifier.text == name:
            help_ = "a function is expanded where it is called: write it without itself"
            return [Diagnostic("E0210", f"`{name}` calls itself", call.function.span, help=help_)]
        function = self.functions.get(name)
        if function is None:
            return [
                Diagnostic(
                    "E0210",
                    f"`{name}` is defined further down",
                    call.function.span,
                    help=f"move `def {name}` above this line",
                )
            ]
        wanted = f"{name}({', '.join(p.text for p in function.parameters)})"
        if call.keywords or len(call.arguments) != len(function.parameters):
            return [
                Diagnostic(
                    "E0203",
                    f"`{name}` takes {len(function.parameters)} arguments",
                    call.span,
                    help=f"write `{wanted}`",
                )
            ]
        return []

    def _size(self, expression: syntax.Expression) -> Size:
        """The size of an expression after all calls are replaced, computed without replacing them."""
        inside = [self._size(child) for child in children(expression)]
        deepest = max((depth for _, depth in inside), default=0)
        name = expression.function.text if isinstance(expression, syntax.Call) else ""
        function = self.functions.get(name)
        if function is None or len(function.parameters) != len(inside):
            return 1 + sum(nodes for nodes, _ in inside), 1 + deepest
        nodes, depth = self.sizes[name]
        return nodes + sum(
            n * times for (n, _), times in zip(inside, self.uses[name], strict=True)
        ), depth + deepest

    def too_large(self) -> list[Diagnostic]:
        """Reports more parts than a step may read. Names above the phases count once for each phase."""
        total, times, above = 0, max(1, len(self.policy.phases)), set(self.policy.statements)
        for node in (*statements(self.policy), *self.policy.phases):
            is_shared = node in above and not isinstance(node, HEAD)
            for expression in () if isinstance(node, syntax.FunctionDeclaration) else expressions(node):
                nodes, depth = self._size(expression)
                total += nodes * times if is_shared else nodes
                if total > LARGEST_POLICY:
                    return [
                        _too_large(f"this policy has more than {LARGEST_POLICY} parts", expression, times)
                    ]
                if depth > DEEPEST_NESTING:
                    return [_too_large(f"this is nested more than {DEEPEST_NESTING} deep", expression, times)]
        return []

    def written_out(
        self, expression: syntax.Expression, given: Mapping[str, syntax.Expression] | None = None
    ) -> syntax.Expression:
        """The expression with every call of the policy's functions replaced by the function's body.

        Every name in `given` is replaced by its argument.
        """
        if given and isinstance(expression, syntax.Name) and expression.identifier in given:
            return given[expression.identifier]
        function = (
            self.functions.get(expression.function.text) if isinstance(expression, syntax.Call) else None
        )
        if function is None or not isinstance(expression, syntax.Call):
            return map_children(expression, lambda child: self.written_out(child, given))
        arguments = [self.written_out(argument, given) for argument in expression.arguments]
        names = [parameter.text for parameter in function.parameters]
        return self.written_out(function.body, dict(zip(names, arguments, strict=True)))


def _too_large(what: str, at: syntax.Expression, phases: int) -> Diagnostic:
    label = "names above the phases are counted once in each phase" if phases > 1 else ""
    help_ = "give a part of it a name on a line of its own: `part = ...`"
    return Diagnostic("E0108", f"with its functions expanded, {what}", at.span, label, help_)


def _uses(function: syntax.FunctionDeclaration) -> list[int]:
    """How often each parameter occurs in the body."""
    names = Counter(part.identifier for part in walk(function.body) if isinstance(part, syntax.Name))
    return [names[parameter.text] for parameter in function.parameters]
