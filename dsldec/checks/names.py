"""What does every name stand for?

Parameters are known everywhere, a let from the line after it. Not here: whether the named thing fits its place (`kinds`).
"""

from __future__ import annotations

from dataclasses import replace

from ..diagnostics import Diagnostic, did_you_mean
from ..language import syntax
from ..language.words import KEYWORDS, RESERVED, WINDOWS, WORDS
from .found import Found, children, expressions

Meaning = syntax.Parameter | syntax.Let
TAKEN = frozenset({*WORDS, *KEYWORDS, *RESERVED, *WINDOWS})


def check(found: Found) -> tuple[Found, list[Diagnostic]]:
    """Fills `meanings`; reports names that stand for nothing, are taken, or are never used."""
    scope: dict[str, Meaning] = {}
    diagnostics: list[Diagnostic] = []
    meanings: dict[syntax.Name, Meaning] = {}
    for parameter in found.policy.parameters:
        diagnostics += _introduce(scope, parameter)
    for statement in found.policy.statements:
        for expression in expressions(statement):
            diagnostics += _resolve(expression, scope, meanings)
        if isinstance(statement, syntax.Let):
            diagnostics += _introduce(scope, statement)
    used = set(meanings.values())
    # A misspelt or refused name would make what it stood for look unused.
    unused = [] if diagnostics else [_unused(m) for m in _introduced(found.policy) if m not in used]
    return replace(found, meanings=meanings), diagnostics + unused


def _introduced(policy: syntax.Policy) -> list[Meaning]:
    return [*policy.parameters, *(s for s in policy.statements if isinstance(s, syntax.Let))]


def _introduce(scope: dict[str, Meaning], meaning: Meaning) -> list[Diagnostic]:
    identifier = meaning.identifier
    if identifier.text in TAKEN:
        why = "a word of the language"
    elif identifier.text in scope:
        why = f"the name of something on line {scope[identifier.text].span.line}"
    else:
        scope[identifier.text] = meaning
        return []
    return [Diagnostic("E0202", f"`{identifier.text}` is {why}", identifier.span, help=f"take another name: `my_{identifier.text}`")]


def _resolve(expression: syntax.Expression, scope: dict[str, Meaning], meanings: dict[syntax.Name, Meaning]) -> list[Diagnostic]:
    diagnostics: list[Diagnostic] = []
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        waiting += children(part)
        if isinstance(part, syntax.Name) and part.identifier in scope:
            meanings[part] = scope[part.identifier]
        elif isinstance(part, syntax.Name):
            diagnostics += _unknown(part.identifier, syntax.Identifier(part.span, part.identifier), scope, called=False)
        elif isinstance(part, syntax.Call):
            diagnostics += _unknown(part.function.text, part.function, scope, called=True)
    return diagnostics


def _unknown(name: str, place: syntax.Identifier, scope: dict[str, Meaning], *, called: bool) -> list[Diagnostic]:
    if name in WORDS or name in WINDOWS:
        return []
    if name in RESERVED:
        return [Diagnostic("E0106", f"`{name}` is a word of the language that this version cannot use yet", place.span)]
    if name in ("true", "false"):
        return [
            Diagnostic("E0201", f"`{name}` is a parameter's value, and no name", place.span, help="add a parameter: `always: bool = true`")
        ]
    if called and name in scope:
        return [Diagnostic("E0203", f"`{name}` takes no arguments", place.span, help=f"write `{name}`")]
    close = did_you_mean(name, [*scope, *WORDS, *WINDOWS])
    hint = f"did you mean `{close}`?" if close else "add it as a parameter, or give it a value on a line above: `NAME = ...`"
    return [Diagnostic("E0201", f"nothing is called `{name}`", place.span, help=hint)]


def _unused(meaning: Meaning) -> Diagnostic:
    what = "parameter" if isinstance(meaning, syntax.Parameter) else "name"
    identifier = meaning.identifier
    return Diagnostic("W0201", f"the {what} `{identifier.text}` is never used", identifier.span, help="use it or delete it")
