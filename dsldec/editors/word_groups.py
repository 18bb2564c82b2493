"""Which words does the language have, in the groups that an editor colours and completes?

Not here: the meaning of a word (`language.words`), the place where a word may stand (the grammar).
"""

from __future__ import annotations

from ..language.words import (
    KEYWORDS,
    PARAMETER_KINDS,
    SHAPES,
    SPECIAL_IDS,
    STATE_KINDS,
    STATEMENTS,
    WORDS,
    Kind,
)

# Keywords that combine expressions.
OPERATORS = ("and", "or", "not", "orelse", "if", "else")
TRUTHS = ("true", "false")


def word_groups() -> dict[str, tuple[str, ...]]:
    """The words of the language by group.

    - `statements`: the first words of lines, `policy` included.
    - `clauses`: the other keywords of statements: `at`, `least`, `by`, `when` ...
    - `operators`: the keywords between expressions: `and`, `or`, `not`, `orelse`, `if`, `else`.
    - `constants`: `true` and `false`, and the ids of the model: `eos`, `bos`, `pad`.
    - `observations`: words that read the logits: `conf`, `entropy`, `p` ...
    - `words`: the other words of expressions, and the words after `window`, `noise`, `draw` and `logits`.
    - `kinds`: the kinds that a parameter or a state may have: `prob`, `int` ...

    Each keyword and each word is in exactly one of the first six groups. `int` and `token` are kinds and
    words: `kinds` has every name that may stand after the colon of a declaration.
    """
    observations = [word.name for word in WORDS.values() if word.observation]
    shapes = [name for table in SHAPES.values() for name in table]
    others = [name for name in (*WORDS, *shapes) if name not in {*observations, *SPECIAL_IDS}]
    statements = ("policy", *STATEMENTS)
    clauses = sorted(KEYWORDS - {*statements, *OPERATORS, *TRUTHS})
    return {
        "statements": statements,
        "clauses": tuple(clauses),
        "operators": OPERATORS,
        "constants": (*TRUTHS, *SPECIAL_IDS),
        "observations": tuple(observations),
        "words": tuple(dict.fromkeys(others)),
        "kinds": _kinds(),
    }


def _kinds() -> tuple[str, ...]:
    """The kinds that are one word. A choice is written as its names, and `table by step` begins with
    `table`.
    """
    written = (PARAMETER_KINDS | STATE_KINDS) - {Kind.CHOICE}
    return tuple(str(kind) for kind in Kind if kind in written and " " not in kind)
