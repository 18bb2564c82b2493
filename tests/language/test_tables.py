"""Does the parser from the tables' file read every text as the one that lark builds from the grammar?"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import lark
import pytest
from lark.indenter import DedentError

from dsldec import resources
from dsldec.language import grammar, tables
from dsldec.language.parse import parse
from dsldec.source import Source

from .policies import policy_text

FOLDERS = (resources.policies_folder(), Path(__file__).parent.parent / "published")
TEXTS = [file.read_text(encoding="utf-8") for folder in FOLDERS for file in sorted(folder.glob("*.policy"))]
KNOWN = lark.__version__ in tables.VERSIONS
of_a_known_lark = pytest.mark.skipif(not KNOWN, reason="the tables were not compared with this lark's")


@of_a_known_lark
def test_the_file_is_current() -> None:
    written = resources.tables_file().read_text(encoding="utf-8")
    assert written == tables.text_of(grammar.from_grammar()), "run `python -m dsldec.language.tables`"


@of_a_known_lark
def test_another_process_writes_the_same_file() -> None:
    program = (
        "from dsldec.language import grammar, tables; print(tables.text_of(grammar.from_grammar()), end='')"
    )
    # Other hashes of texts: sets have another order.
    ran = subprocess.run([sys.executable, "-R", "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == resources.tables_file().read_text(encoding="utf-8")


@of_a_known_lark
def test_the_tables_are_used() -> None:
    assert grammar._parser().source_path == "<deserialized>"


def broken(text: str, seed: int) -> str:
    """The text with some pieces deleted, doubled or replaced."""
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text))
        until = at + rng.randint(1, 6)
        text = text[:at] + rng.choice(["", text[at:until] * 2, "(", "when", " at most", "=", "\n", "1..", "$"]) + text[until:]  # fmt: skip
    return text


def raw_reading(text: str) -> Any:
    """What lark gives for a text. `parse` finds an indentation that fits no block before lark does."""
    try:
        return grammar.read(text)
    except lark.indenter.DedentError as error:
        return str(error)


def readings(sources: list[Source], parser: lark.Lark, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(grammar, "_parser", lambda: parser)
    found = [parse(source) for source in sources]
    raw = [raw_reading(source.text) for source in sources]
    return [(repr(tree), [str(one) for one in wrong], of_lark) for (tree, wrong), of_lark in zip(found, raw, strict=True)]  # fmt: skip


def read(text: str) -> Any:
    """What the grammar reads; `parse` refuses a text whose indentation it cannot read before."""
    try:
        return grammar.read(text)
    except DedentError as error:
        return str(error)


@of_a_known_lark
def test_trees_and_diagnostics_are_equal(monkeypatch) -> None:
    texts = [*TEXTS, *(policy_text(seed) for seed in range(10))]
    texts += [broken(text, seed) for seed, text in enumerate(texts)]
    sources = [Source(text, "some.policy") for text in texts]
    stored, built = grammar.from_tables(), grammar.from_grammar()
    assert stored is not None
    ours, theirs = (readings(sources, parser, monkeypatch) for parser in (stored, built))
    assert ours == theirs
    assert any(wrong for _, wrong, _ in ours)
    assert any(isinstance(raw, grammar.Stopped) and len(raw.accepts) > 1 for _, _, raw in ours)


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(resources.tables_file().read_text(encoding="utf-8")) | fields)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "no JSON",
        "[]",
        "{}",
        changed(grammar="of another"),
        changed(lark=["0.1.0"]),
        changed(data={}),
        changed(data=None),
        changed(memo={}),
        changed(memo={"0": {"__type__": "Popen", "args": "ls"}}),
        "[" * 100_000,
    ],
)
def test_without_fitting_tables_the_grammar_is_read(content: str | None, tmp_path, monkeypatch) -> None:
    file = tmp_path / "policy.tables.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(grammar, "tables_file", lambda: file)
    assert grammar.from_tables() is None


def test_a_changed_grammar_is_read_at_once(tmp_path, monkeypatch) -> None:
    file = tmp_path / "policy.lark"
    text = resources.grammar_file().read_text(encoding="utf-8")
    file.write_text(text.replace('finish: "finish"', 'finish: "halt"'), encoding="utf-8")
    monkeypatch.setattr(grammar, "grammar_file", lambda: file)
    grammar._parser.cache_clear()
    try:
        source = "policy p():\n  window blocks(8)\n  commit top(masked, 1, by=conf)\n  {}\n"
        assert not isinstance(grammar.read(source.format("halt")), grammar.Stopped)
        assert isinstance(grammar.read(source.format("finish")), grammar.Stopped)
    finally:
        grammar._parser.cache_clear()
