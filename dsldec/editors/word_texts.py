"""The text that an editor shows about a word of the language: its form, its kind, its meaning, as Markdown.

Not here: the table of words (`language.words`), names of a policy (`name_texts`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..checks.arguments import signature
from ..language.words import SHAPES, STATEMENTS, WORDS, Extent, Kind, Polarity, Slot, Type, Word
from .markdown import block

VALUES_OF = {
    Extent.RUN: "one value for the run",
    Extent.ROW: "one value for each row",
    Extent.POSITION: "one value for each position",
}
KINDS = {
    Kind.PROB: "a probability",
    Kind.NATS: "an entropy or a log probability",
    Kind.LOGIT: "a difference of logits",
    Kind.REAL: "a plain number",
    Kind.INT: "a plain whole number",
    Kind.TOKEN: "an id of the vocabulary",
    Kind.TABLE: "a number for each id of the vocabulary; with `by step`, a number for each int from 0 on",
    Kind.STEP_TABLE: "a number for each int from 0 on",
    Kind.CHOICE: "one of some names",
    Kind.PATTERN: "the pattern that a text matches",
    Kind.NETWORK: "a small network with a number for each position",
    Kind.BOOL: "true or false, one for the row",
    Kind.MASK: "true or false for each position",
}
CLAUSES = {
    "and": "`A and B`: both hold",
    "or": "`A or B`: at least one of them holds",
    "not": "`not A`: A does not hold",
    "orelse": "`A orelse B`: for each row, A, or B if A selects nothing in this row",
    "if": "`A if CONDITION else B`: A where the condition holds, else B",
    "else": "`A if CONDITION else B`; in a phase's header, the phase to enter when this one cannot be entered",
    "at": "`at least N by SCORE`, `at most N by SCORE`: bounds on the positions of a statement",
    "least": "`at least N by SCORE`: where too few positions pass, the best N masked ones are written",
    "most": "`at most N by SCORE`: the best N of the positions that pass",
    "visits": "`phase NAME at most N visits`: a row enters the phase at most N times in a window",
    "by": "`by SCORE`: ranks positions, the best first",
    "as": "`as IDS`: the ids to write",
    "when": "`when COND`: the statement has an effect only where the condition holds",
    "in": "`in FIRST..LAST`: the range of a parameter, both ends allowed",
    "per": "`per block`, `per sequence`, `per PHASE`: when a state is reset to its start value",
    "each": "a state with one value for each position",
    "accept": "`accept exact`: drafts that equal the policy's own tokens; `accept COND`: drafts where it holds",
    "exact": "drafts are accepted where they equal the policy's own tokens",
    "true": "always holds",
    "false": "never holds",
    "block": "a state that is reset at the start of every window",
    "sequence": "a state that is reset only at the start of the sequence",
    "policy": "`policy NAME(a: KIND = 1 in 0..8):`: the header, with the parameters and their defaults",
}


def type_text(type_: Type) -> str:
    """Kind, extent and polarity in words: `prob, one value for each position, high when sure`."""
    parts = [str(type_.kind), VALUES_OF[type_.extent]]
    if type_.polarity is not Polarity.NONE:
        parts.append(str(type_.polarity))
    return ", ".join(parts)


def of_word(word: Word) -> str:
    """A word of expressions: form, kind, meaning, as Markdown."""
    facts = []
    if word.gives is not None:
        facts.append(type_text(word.gives))
    if word.random:
        facts.append("random")
    if word.within is not None:
        facts.append(f"only in the arguments of `{word.within}`")
    kind = f"*{'; '.join(facts)}*" if facts else ""
    return "\n\n".join(part for part in (block(signature(word)), kind, word.meaning) if part)


def of_shape(statement: str, word: Word) -> str:
    """A word after `window`, `noise`, `draw` or `logits`, as Markdown."""
    return f"{block(f'{statement} {signature(word)}')}\n\n{word.meaning}"


def of_statement(name: str) -> str:
    """A statement: form and meaning, as Markdown."""
    form, meaning = STATEMENTS[name]
    return f"{block(form)}\n\n{meaning}"


def of_clause(name: str) -> str:
    """A keyword inside a statement, as Markdown."""
    return f"**{name}**\n\n{CLAUSES[name]}"


def of_kind(name: str) -> str:
    """A kind of values, as Markdown."""
    return f"**{name}** (kind)\n\n{KINDS[Kind(name)]}"


def of_slot(word: Word, slot: Slot) -> str:
    """A named argument of a word, as Markdown."""
    kinds = " or ".join(sorted(str(kind) for kind in slot.kinds))
    facts = [kinds, f"at most {VALUES_OF[slot.extent]}"]
    if slot.score:
        facts.append("it ranks positions, so it must not be low when sure")
    if slot.optional:
        facts.append(f"`{slot.default}` without it" if slot.default else "may be left out")
    return f"{block(signature(word))}\n\n**{slot.name}=**: {'; '.join(facts)}"


def texts_of(name: str) -> Iterator[str]:
    """All meanings of a word of the language, in the order in which a reader expects them."""
    if name in STATEMENTS:
        yield of_statement(name)
    elif name in CLAUSES:
        yield of_clause(name)
    if name in WORDS:
        yield of_word(WORDS[name])
    for statement, words in SHAPES.items():
        if name in words:
            yield of_shape(statement, words[name])
