"""Writes the tables of the parser: `python -m dsldec.language.tables`, after each change of the grammar.

Every run writes the same file. lark numbers symbols and states differently in each process, so they are
numbered anew: symbols by name, states from the start state on. Not here: reading the file (`grammar`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..resources import tables_file
from .grammar import from_grammar, grammar_digest

if TYPE_CHECKING:
    import lark

# The versions of lark whose own tables equal these. A test compares them with those of the installed one.
VERSIONS = ("1.2.1", "1.2.2", "1.3.0", "1.3.1")
# The options that parsing needs; lark has defaults for the others, and some are no data.
OPTIONS = ("parser", "lexer", "start", "priority", "maybe_placeholders", "propagate_positions")
SHIFT = 0  # in lark's data, a shift is (0, state) and a reduction is (1, rule)


def main() -> None:
    """Write the file."""
    tables_file().write_text(text_of(from_grammar()), encoding="utf-8", newline="\n")


def text_of(parser: lark.Lark) -> str:
    """The text of the file for this parser."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = parser.memo_serialize([TerminalDef, Rule])
    data["options"] = {name: data["options"][name] for name in OPTIONS}
    data["parser"]["parser"] = _renumbered(data["parser"]["parser"])
    stored = {"grammar": grammar_digest(), "lark": VERSIONS, "memo": memo, "data": data}
    return json.dumps(stored, separators=(",", ":")) + "\n"


def _renumbered(table: dict[str, Any]) -> dict[str, Any]:
    """The same table, numbered in an order that its content decides."""
    names, states = table["tokens"], table["states"]
    tokens = {name: number for number, name in enumerate(sorted(names.values()))}
    order = [table["start_states"][name] for name in sorted(table["start_states"])]
    numbers = {state: number for number, state in enumerate(order)}
    for state in order:  # grows
        for _, (action, to) in sorted(
            ((names[token], step) for token, step in states[state].items()), key=lambda one: one[0]
        ):
            if action == SHIFT and to not in numbers:
                numbers[to] = len(order)
                order.append(to)

    def renumbered(actions: dict[int, Any]) -> dict[int, Any]:
        named = {tokens[names[token]]: step for token, step in actions.items()}
        return {
            token: [action, numbers[to] if action == SHIFT else to]
            for token, (action, to) in sorted(named.items())
        }

    return {
        "tokens": dict(enumerate(sorted(tokens))),
        "states": {number: renumbered(states[state]) for number, state in enumerate(order)},
        "start_states": {name: numbers[state] for name, state in sorted(table["start_states"].items())},
        "end_states": {name: numbers[state] for name, state in sorted(table["end_states"].items())},
    }


if __name__ == "__main__":
    main()
