"""Are the TextMate grammars current, and do they agree with the roles that Pygments colours?

The comparison runs the library of VS Code: it needs node, and `npm ci` in `editors/vscode`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import accumulate
from pathlib import Path
from time import monotonic

import pytest

from dsldec.editors import textmate
from dsldec.editors.pygments_lexer import TOKEN_TYPES
from dsldec.editors.roles import Role, roles
from dsldec.editors.textmate import SCOPES_OF_ROLES, scope
from dsldec.editors.word_groups import word_groups
from dsldec.resources import policy_file, shipped_policies

from .sample import POLICY

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "editors" / "vscode" / "node_modules"
SYNTAXES = ROOT / "editors" / "vscode" / "syntaxes"
POLICIES = {name: Path(policy_file(name)) for name in shipped_policies()}

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (MODULES / "vscode-textmate").is_dir(),
    reason="needs node, and `npm ci --ignore-scripts` in editors/vscode",
)


@pytest.mark.parametrize("name", textmate.files())
def test_a_grammar_is_current(name, request):
    text = textmate.files()[name]
    if request.config.getoption("--accept"):
        (SYNTAXES / name).write_text(text, encoding="utf-8", newline="\n")
    assert (SYNTAXES / name).read_text(encoding="utf-8") == text, (
        "`python -m dsldec.editors.textmate` writes it anew"
    )


def test_no_other_grammar_is_left():
    assert {path.name for path in SYNTAXES.iterdir()} == set(textmate.files())


def test_each_role_has_a_scope():
    assert set(SCOPES_OF_ROLES) == set(Role)
    assert len(set(SCOPES_OF_ROLES.values())) == len(Role)


def test_the_grammar_has_each_word():
    text = textmate.files()["dsldec.tmLanguage.json"]
    words = {word for group in word_groups().values() for word in group}
    assert {word for word in words if word not in text} == set()


def test_the_command_writes_the_grammars(tmp_path, monkeypatch):
    monkeypatch.setattr(textmate, "FOLDER", tmp_path)
    textmate.main()
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == textmate.files()


def test_without_a_checkout_the_command_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(textmate, "FOLDER", tmp_path / "none")
    with pytest.raises(SystemExit, match=r"error\[E0432\].*\n.*run it in a checkout"):
        textmate.main()


def test_the_page_names_tokens_and_scopes_that_exist():
    page = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
    table = page.split("| token of Pygments | scope of TextMate |")[1].split("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    tokens, scopes = ({one for row in rows for one in re.findall("`(.*?)`", row[at])} for at in (0, 1))
    known = {str(kind).removeprefix("Token.").removeprefix("Literal.") for kind in TOKEN_TYPES.values()}
    assert tokens <= known
    assert known - tokens == {
        "Comment.Single",
        "Error",
        "Number",
        "Name",
        "Operator",
        "Operator.Word",
        "Punctuation",
    }
    assert [
        one for one in scopes if not any(scope.startswith(one) for scope in SCOPES_OF_ROLES.values())
    ] == []


def scopes_of(texts: dict[str, tuple[str, str]]) -> dict[str, list[tuple[int, int, list[str]]]]:
    """First offset, last offset and scopes of each token that VS Code finds."""
    ran = subprocess.run(
        ["node", Path(__file__).with_name("textmate_tokens.cjs"), MODULES, SYNTAXES],
        input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    result = {}
    for name, tokens in json.loads(ran.stdout).items():
        starts = [0, *accumulate(len(line) + 1 for line in texts[name][1].split("\n"))]
        result[name] = [
            (starts[line] + first, starts[line] + last, scopes) for line, first, last, scopes in tokens
        ]
    return result


def differences(text: str, tokens: list[tuple[int, int, list[str]]]) -> list[str]:
    """The pieces of a text that have not the scope of their role in all their characters."""
    scopes = {at: scopes for first, last, scopes in tokens for at in range(first, last)}
    return [
        f"{piece.role} {piece.text!r} at {piece.start}: {scopes.get(at)}"
        for piece in roles(text)
        for at in range(piece.start, piece.start + len(piece.text))
        if not text[at].isspace() and scope(piece.role) not in scopes.get(at, ())
    ]


@needs_node
def test_vs_code_gives_each_piece_the_scope_of_its_role():
    texts = {name: path.read_text(encoding="utf-8") for name, path in POLICIES.items()} | {"sample": POLICY}
    found = scopes_of({name: ("source.dsldec", text) for name, text in texts.items()})
    assert {name: wrong for name, text in texts.items() if (wrong := differences(text, found[name]))} == {}
    assert {one for _, _, scopes in found["sample"] for one in scopes} >= {
        scope(role) for role in {*Role} - {Role.WRONG}
    }


UNFINISHED = {
    "a bracket": "policy p(a: int = 1\n  window all\n  b = top(masked, 1\n  commit b\n  stay at most 2\n",
    "a quote": 'policy p():\n  "never closed\n  window all\n',
    "a word": "policy p():\n  commit masked and con\n  ne\n",
    "foreign signs": "policy p():\n  commit masked && conf ; [1]\n",
    "nothing": "",
    "names like keywords": "policy p(at: int = 1, by: real = 2):\n  per = 3\n  commit top(masked, at, by=per)\n",
    "words run together": "policy p():\n  commitmasked = topmost\n  fillup\n",
    "beyond ASCII": 'policy p():\n  "π ∈ ℝ 🙂"  # é 🙂\n  window all\n',
}


@needs_node
def test_vs_code_reads_unfinished_texts():
    found = scopes_of({name: ("source.dsldec", text) for name, text in UNFINISHED.items()})
    ascii_only = {name: text for name, text in UNFINISHED.items() if text.isascii()}
    wrong = {name: differences(text, found[name]) for name, text in ascii_only.items()}
    assert {name: some for name, some in wrong.items() if some} == {}
    assert any(scope(Role.STATEMENT) in scopes for _, _, scopes in found["beyond ASCII"][-5:])


@needs_node
def test_vs_code_reads_cases():
    texts = {name: path.with_suffix(".cases").read_text(encoding="utf-8") for name, path in POLICIES.items()}
    texts["sample"] = "case ties go left  # why\n  set level=.5\n  conf .9 . _\n"
    found = scopes_of({name: ("source.dsldec-cases", text) for name, text in texts.items()})
    words = [
        (texts["sample"][first:last].strip(), scopes[-1].removesuffix(".dsldec-cases"))
        for first, last, scopes in found["sample"]
        if len(scopes) > 1
    ]
    assert words == [
        ("case", "keyword.control"), ("ties go left", "entity.name.section"), ("# why", "comment.line.number-sign"),
        ("set", "keyword.other"), ("level", "variable.parameter"), ("=", "keyword.operator"),
        ("conf", "keyword.other"), (".9", "constant.numeric"), (".", "punctuation"), ("_", "punctuation"),
    ]  # fmt: skip
    assert all("invalid" not in str(scopes) for tokens in found.values() for _, _, scopes in tokens)


@needs_node
def test_vs_code_reads_hostile_lines_fast():
    parts = ['"', '"""', "(", "a", "1.", " ", "a=", "per ", "x:", "policy p(", "state a:", "a|", "\\"]
    texts = {
        part: ("source.dsldec", part * (20_000 // len(part))) for part in parts
    }  # longer lines stay plain in VS Code
    start = monotonic()
    found = scopes_of(texts)
    # The last token may have the line break too.
    assert [part for part, (_, text) in texts.items() if found[part][-1][1] < len(text)] == []
    assert monotonic() - start < 20
