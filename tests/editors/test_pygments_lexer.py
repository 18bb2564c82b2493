"""Does Pygments find the lexers, and do they keep every character of every text?"""

from __future__ import annotations

import random
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from time import process_time

import pytest

from dsldec.resources import policy_file, shipped_policies

pytest.importorskip("pygments")
from pygments.token import (
    Comment,
    Error,
    Generic,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
    Whitespace,
)

from dsldec.editors.pygments_lexer import TOKEN_TYPES, CasesLexer, PolicyLexer
from dsldec.editors.roles import Role, roles

from .sample import POLICY

ROOT = Path(__file__).parents[2]
POLICIES = [Path(policy_file(name)) for name in shipped_policies()]
LEXERS = [PolicyLexer(), CasesLexer()]


def tokens(text, lexer=LEXERS[0]):
    return [(kind, part) for _, kind, part in lexer.get_tokens_unprocessed(text) if kind is not Whitespace]


def test_each_role_has_a_token_type():
    assert set(TOKEN_TYPES) == set(Role)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (Comment.Single, ["# A comment."]),
        (Name.Class, ["all_of_it"]),
        (String.Doc, ['"""A doc\n  string."""']),
        (String.Double, ['"[0-9]+"']),
        (Name.Function, ["sure", "sure"]),
        (Name.Label, ["look", "look", "write", "write", "write"]),
        (Name.Constant, ["margin", "anywhere", "margin"]),
        (Name.Attribute, ["max", "keep"]),
        (Keyword.Pseudo, ["sequence"]),
        (Keyword.Constant, ["eos", "true"]),
        (Keyword.Type, ["prob", "table", "step", "pattern", "token", "bool", "int", "int", "int"]),
        (Number.Float, ["0.9", "0.9", ".05"]),
        (Name.Builtin.Pseudo, ["conf", "margin", "margin", "token", "p", "token", "kl"]),
        (Operator.Word, ["and", "else", "if", "else", "if", "else"]),
        (Error, []),
        (
            Name.Variable,
            "level order taus shape end calm n reach steps_left mask score k reach".split(),
        ),
        (
            Name,
            "end n mask level n n order n score reach".split(),
        ),
    ],
)  # fmt: skip
def test_the_tokens_of_a_policy(kind, texts):
    assert [text for found, text in tokens(POLICY) if found is kind] == texts


def test_a_policy_uses_each_role_but_wrong():
    assert {piece.role for piece in roles(POLICY)} == {*Role} - {Role.WRONG}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_shipped_policy_has_no_error(path):
    for file, lexer in ((path, LEXERS[0]), (path.with_suffix(".cases"), LEXERS[1])):
        text = file.read_text(encoding="utf-8")
        found = list(lexer.get_tokens_unprocessed(text))
        assert "".join(part for _, _, part in found) == text
        assert Error not in {kind for _, kind, _ in found}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("  commit top(", [(Keyword, "commit"), (Name.Builtin, "top"), (Punctuation, "(")]),
        ("policy", [(Keyword, "policy")]),
        ('  "never closed', [(Error, '"never closed')]),
        ("  a = b ; c", [(Name.Variable, "a"), (Operator, "="), (Name, "b"), (Error, ";"), (Name, "c")]),
        ("  weight(1)", [(Name.Function, "weight"), (Punctuation, "("), (Number.Integer, "1"), (Punctuation, ")")]),
    ],
)  # fmt: skip
def test_an_unfinished_line(line, found):
    assert tokens(line) == found


def test_a_bracket_that_is_not_closed_ends_at_the_next_statement():
    found = tokens("policy p(a: int = 1\n  window all\n  b = top(masked, 1\n  commit b\n  c = 2\n")
    assert (Name.Variable, "b") in found
    assert (Name.Variable, "c") in found
    assert (Name.Attribute, "c") not in found


def test_names_may_be_soft_keywords():
    found = tokens("policy p(at: int = 1, by: real = 2):\n  per = 3\n  commit top(masked, at, by=per)\n")
    variables = [text for kind, text in found if kind is Name.Variable]
    assert variables == ["at", "by", "per"]


def test_the_tokens_of_cases():
    found = tokens("case ties go left  # why\n  set level=.5\n  conf .9 1e-3 . inf\n  commit 0\n", LEXERS[1])
    assert [kind for kind, _ in found] == [
        Keyword, Generic.Heading, Comment.Single,
        Keyword, Name.Variable, Operator, Text,
        Keyword, Number, Number, Punctuation, Number,
        Keyword, Number,
    ]  # fmt: skip
    assert found[1] == (Generic.Heading, " ties go left  ")


PARTS = [
    *'"#()=:,|.-+*/%<>!;\\\'{}[]~`@\n\r\t \0é\u2028\ud800０', '"""', "policy p(", "per ", "else x:", "# c",
    "conf", "1", "..", "1e", "case", "top(masked, 1,", "\r\n", "\ufeff", "a" * 50,
]  # fmt: skip


@pytest.mark.parametrize("lexer", LEXERS, ids=lambda lexer: lexer.name)
def test_no_text_raises_and_none_is_changed(lexer):
    draw = random.Random(20)
    for _ in range(400):
        text = "".join(draw.choices(PARTS, k=draw.randrange(60)))
        found = list(lexer.get_tokens_unprocessed(text))
        assert "".join(part for _, _, part in found) == text
        assert [at for at, _, _ in found] == [
            sum(len(part) for _, _, part in found[:n]) for n in range(len(found))
        ]


@pytest.mark.parametrize("lexer", LEXERS, ids=lambda lexer: lexer.name)
@pytest.mark.parametrize(
    "part",
    ['"', '"""', '"""\\', "(", ")", "a", "é", "aé", "1", "1.", "1e", ".", "\n", " \n", "\r", "\t", "#", "#\n", "a=", "per ", "x:", "case ", "a(\n"],
    ids=repr,
)  # fmt: skip
def test_a_hostile_text_of_40_kb_is_read_fast(lexer, part):
    text = part * (40_000 // len(part))
    start = process_time()
    assert sum(len(found) for _, _, found in lexer.get_tokens_unprocessed(text)) == len(text)
    assert process_time() - start < 1


def test_the_lexer_needs_no_torch_and_no_parser():
    program = "import sys, dsldec.editors.pygments_lexer; print(*{'torch', 'transformers', 'lark'} & {*sys.modules})"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not ran.stdout.split()


def test_the_entry_points_name_the_lexers():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]["pygments.lexers"]
    classes = [place.split(":") for place in points.values()]
    assert [getattr(import_module(module), name) for module, name in classes] == [PolicyLexer, CasesLexer]
    assert [*points] == [PolicyLexer.aliases[0], CasesLexer.aliases[0]]
