"""Writes the grammars in the form of TextMate, which VS Code and the editors of JetBrains read.

`python -m dsldec.editors.textmate` writes them into the extension for VS Code, after each change of the
language's words. Such a grammar sees one line at a time. On a formatted policy it gives the roles of `roles`;
a test compares them. Not here: the extension (`editors/vscode` of the repository).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..checks.names import SCOPES
from ..diagnostics import Diagnostic
from ..language.lines import BEGINNERS, IN_A_LIST
from .roles import AFTER, BEFORE_A_COLON, NO_NAMES, OF_GROUPS, Role, word_kinds
from .word_groups import word_groups

FOLDER = Path(__file__).parents[2] / "editors" / "vscode" / "syntaxes"
NAME = "[A-Za-z_][A-Za-z_0-9]*"
NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"

SCOPES_OF_ROLES = {
    Role.COMMENT: "comment.line.number-sign",
    Role.DOC: "string.quoted.docstring",
    Role.STRING: "string.quoted.double",
    Role.NUMBER: "constant.numeric",
    Role.STATEMENT: "keyword.control",
    Role.CLAUSE: "keyword.other",
    Role.OPERATOR_WORD: "keyword.operator.word",
    Role.CONSTANT: "constant.language",
    Role.OBSERVATION: "variable.language",
    Role.WORD: "support.function",
    Role.KIND: "storage.type",
    Role.SCOPE: "keyword.other.scope",
    Role.POLICY: "entity.name.type.policy",
    Role.FUNCTION: "entity.name.function",
    Role.PHASE: "entity.name.label",
    Role.PARAMETER: "variable.parameter",
    Role.VARIABLE: "variable.other.definition",
    Role.ARGUMENT: "variable.parameter.argument",
    Role.CHOICE: "constant.other.choice",
    Role.CALL: "entity.name.function.call",
    Role.NAME: "variable.other",
    Role.OPERATOR: "keyword.operator",
    Role.PUNCTUATION: "punctuation",
    Role.WRONG: "invalid.illegal",
}

TextMateRule = dict[str, Any]


def scope(role: Role) -> str:
    """The scope of a role in a policy."""
    return f"{SCOPES_OF_ROLES[role]}.dsldec"


def main() -> None:
    """Write the grammars. Ends with a diagnostic where there is no checkout to write them into."""
    if not FOLDER.is_dir():
        help = "run it in a checkout of dsldec: its folder `editors/vscode` has the extension"
        raise SystemExit(str(Diagnostic("E0432", "there is no folder for the grammars here", help=help)))
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")


def files() -> dict[str, str]:
    """The text of each file in `editors/vscode/syntaxes`, by its name."""
    grammars = {"dsldec.tmLanguage.json": policy_grammar(), "dsldec-cases.tmLanguage.json": cases_grammar()}
    return {
        name: json.dumps(grammar, indent=2, ensure_ascii=False) + "\n" for name, grammar in grammars.items()
    }


def policy_grammar() -> TextMateRule:
    """The grammar of policies. The first rule of a list that matches at the earliest place counts."""
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "dsldec policy",
        "scopeName": "source.dsldec",
        "fileTypes": ["policy"],
        "patterns": [
            _include("comment"),
            *_docs(),
            _header(),
            _function(),
            *_declarations(),
            _one(rf"^\s*({_a_name()})(?=\s*=(?!=))", Role.VARIABLE),
            _include("expression"),
        ],
        "repository": {
            "comment": _one("(#.*)$", Role.COMMENT),
            "expression": {"patterns": [_brackets(), *_expression()]},
        },
    }


def _include(name: str) -> TextMateRule:
    return {"include": f"#{name}"}


def _captures(*roles: Role) -> TextMateRule:
    return {str(number): {"name": scope(role)} for number, role in enumerate(roles, 1)}


def _one(match: str, *roles: Role) -> TextMateRule:
    """A rule for one place of a line. Its groups have these roles."""
    return {"match": match, "captures": _captures(*roles)}


def _any_of(words: frozenset[str] | tuple[str, ...] | list[str]) -> str:
    return rf"\b(?:{'|'.join(sorted(words))})\b"


def _a_name() -> str:
    """A word that may be a name."""
    return rf"(?!{_any_of(NO_NAMES)})\b{NAME}\b"


def _docs() -> list[TextMateRule]:
    """Texts at the start of a line."""
    return [
        {
            "begin": r'^\s*(""")',
            "end": r'"""',
            "name": scope(Role.DOC),
            "patterns": [{"match": r"\\.", "name": "constant.character.escape.dsldec"}],
        },
        _one(r'^\s*("[^"]*")', Role.DOC),
    ]


def _strings() -> list[TextMateRule]:
    """Texts elsewhere, such as the default of a pattern."""
    return [
        {
            "begin": '"""',
            "end": '"""',
            "name": scope(Role.STRING),
            "patterns": [{"match": r"\\.", "name": "constant.character.escape.dsldec"}],
        },
        _one(r'("[^"]*")', Role.STRING),
        _one(r'("[^"]*)$', Role.WRONG),
    ]


def _end_of_brackets() -> str:
    """The closing bracket, or a statement, where the bracket is not closed yet."""
    return rf"(\))|(?=^\s*{_any_of(BEGINNERS)}(?!\s*[{''.join(sorted(IN_A_LIST))}]))"


def _header() -> TextMateRule:
    """`policy NAME(PARAMETERS`, up to the closing bracket."""
    kinds = _any_of(word_kinds())
    return {
        "begin": rf"^\s*(policy)\s+({NAME})\s*(\()",
        "beginCaptures": _captures(Role.STATEMENT, Role.POLICY, Role.PUNCTUATION),
        "end": _end_of_brackets(),
        "endCaptures": _captures(Role.PUNCTUATION),
        "patterns": [
            _include("comment"),
            _one(rf"({_a_name()})(?=\s*:)", Role.PARAMETER),
            _one(rf"(:)\s*({kinds})(?!\s*\|)", Role.PUNCTUATION, Role.KIND),
            _one(rf"([:|])\s*({_a_name()})", Role.PUNCTUATION, Role.CHOICE),
            _one(r"\b(by)\s+(step)\b", Role.CLAUSE, Role.KIND),
            _one(
                rf"(=)\s*((?!{_any_of(word_groups()['constants'])}){_a_name()})", Role.OPERATOR, Role.CHOICE
            ),
            _include("expression"),
        ],
    }


def _function() -> TextMateRule:
    """`def NAME(a, b`, up to the closing bracket."""
    return {
        "begin": rf"^\s*(def)\s+({NAME})\s*(\()",
        "beginCaptures": _captures(Role.STATEMENT, Role.FUNCTION, Role.PUNCTUATION),
        "end": _end_of_brackets(),
        "endCaptures": _captures(Role.PUNCTUATION),
        "patterns": [_include("comment"), _one(rf"({_a_name()})", Role.PARAMETER), _include("expression")],
    }


def _declarations() -> list[TextMateRule]:
    """Keywords with the name after them."""
    scopes = _any_of(SCOPES)
    kinds = _any_of(word_kinds())
    return [
        _one(
            rf"^\s*(state)\s+({NAME})\s*(:)\s*({kinds})?",
            Role.STATEMENT,
            Role.VARIABLE,
            Role.PUNCTUATION,
            Role.KIND,
        ),
        *(_one(rf"\b({word})\s+({_a_name()})", Role.STATEMENT, role) for word, role in AFTER.items()),
        *(
            _one(rf"\b({word})\s+({_a_name()})(?=\s*:)", roles_of_keyword(word), role)
            for word, role in BEFORE_A_COLON.items()
        ),
        _one(rf"\b(per)\s+({scopes})", Role.CLAUSE, Role.SCOPE),
        _one(rf"\b(per)\s+((?!{_any_of(word_groups()['clauses'])}){_a_name()})", Role.CLAUSE, Role.PHASE),
    ]


def roles_of_keyword(word: str) -> Role:
    """The role of a keyword."""
    return next(role for group, role in OF_GROUPS.items() if word in word_groups()[group])


def _brackets() -> TextMateRule:
    """An expression in brackets, or the arguments of a call: there `NAME=` names an argument."""
    return {
        "begin": r"\(",
        "beginCaptures": {"0": {"name": scope(Role.PUNCTUATION)}},
        "end": _end_of_brackets(),
        "endCaptures": _captures(Role.PUNCTUATION),
        "patterns": [
            _include("comment"),
            _one(rf"({_a_name()})(?=\s*=(?!=))", Role.ARGUMENT),
            _include("expression"),
        ],
    }


def _expression() -> list[TextMateRule]:
    return [
        *_strings(),
        _one(rf"({NUMBER})", Role.NUMBER),
        *(_one(f"({_any_of(word_groups()[group])})", role) for group, role in OF_GROUPS.items()),
        _one(rf"\b({NAME})(?=\s*\()", Role.CALL),
        _one(rf"\b({NAME})\b", Role.NAME),
        _one(r"(\*\*|//|\.\.|<=|>=|==|!=|[-+*/%<>=])", Role.OPERATOR),
        _one(r"([(),:|])", Role.PUNCTUATION),
        _one(r"(\S)", Role.WRONG),
    ]


def cases_grammar() -> TextMateRule:
    """The grammar of files of cases: the first word of a line names the row, its values follow."""
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "dsldec cases",
        "scopeName": "source.dsldec-cases",
        "fileTypes": ["cases"],
        "patterns": [
            {"match": "#.*$", "name": "comment.line.number-sign.dsldec-cases"},
            {
                "match": r"^\s*(case)(?!\S)([^#]*)",
                "captures": {
                    "1": {"name": "keyword.control.dsldec-cases"},
                    "2": {"name": "entity.name.section.dsldec-cases"},
                },
            },
            {"match": r"^\s*([^\s#]+)", "captures": {"1": {"name": "keyword.other.dsldec-cases"}}},
            {
                "match": rf"({NAME})(=)",
                "captures": {
                    "1": {"name": "variable.parameter.dsldec-cases"},
                    "2": {"name": "keyword.operator.dsldec-cases"},
                },
            },
            {"match": rf"(?<!\S)(?:{NUMBER}|inf)(?![^\s#])", "name": "constant.numeric.dsldec-cases"},
            {"match": r"(?<!\S)[-_.](?![^\s#])", "name": "punctuation.dsldec-cases"},
        ],
    }


if __name__ == "__main__":
    main()
