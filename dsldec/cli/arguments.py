"""Parses the arguments of a verb, and reports unknown and incomplete options.

Only this file and the training program import argparse. Not here: the options of a verb (the verbs' files),
how a value is parsed (`values`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ..diagnostics import Diagnostic, UsageError
from ..tools import quoted
from .hidden import add_hidden

# A correct command for each verb with a required argument.
EXAMPLES = {
    "dsldec batch": "dsldec batch --prompts questions.jsonl --out results.jsonl --workers 2",
    "dsldec check": "dsldec check mine.policy",
    "dsldec fmt": "dsldec fmt mine.policy",
    "dsldec test": "dsldec test threshold",
    "dsldec explain": "dsldec explain threshold",
    "dsldec show": "dsldec show threshold --stage ir",
    "dsldec build": "dsldec build threshold --vocab 32000 -o step.pt2",
    "dsldec compare": "dsldec compare threshold factor",
    "dsldec evolve": "dsldec evolve --task word_problems --out evolved",
    "dsldec export-hf": "dsldec export-hf ./MODEL threshold",
    "dsldec why": 'dsldec why threshold --prompt "What is 14+18?"',
    "dsldec tune": "dsldec tune threshold --set confidence=0.5..0.99 --floor accuracy=0.98x",
}
# The action of an option `--x` that is also `--no-x`, and None where neither is written.
YES_OR_NO = argparse.BooleanOptionalAction


class Parser(argparse.ArgumentParser):
    """Raises diagnostics, where argparse prints the usage and exits. `as_written` keeps the line breaks of
    the description and the epilog.
    """

    def __init__(
        self, prog: str, description: str, epilog: str | None = None, *, as_written: bool = False
    ) -> None:
        shown = argparse.RawDescriptionHelpFormatter if as_written else argparse.HelpFormatter
        super().__init__(
            prog=prog, description=description, epilog=epilog, formatter_class=shown, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        shown = {"/".join(action.option_strings): str(action.metavar) for action in self._actions}
        raise UsageError(_misread(message, self.prog, shown))


def parsed(parser: Parser, arguments: list[str]) -> dict[str, Any] | None:
    """The values of the options by name; None if `--help` was given and the help is printed. `take_hidden`
    returns warnings about options without effect.
    """
    try:
        options, unknown = parser.parse_known_intermixed_args(arguments)
    except SystemExit:
        return None
    if unknown:
        raise UsageError(_unknown_options(unknown, arguments, parser, vars(options)))
    add_hidden(_hidden(parser, arguments))
    return vars(options)


def _unknown_options(
    unknown: Sequence[str], arguments: Sequence[str], parser: Parser, values: dict[str, Any]
) -> Diagnostic:
    known = [name for action in parser._actions for name in action.option_strings]
    options = [one for one in dict.fromkeys(unknown) if one.startswith("-") and len(one) > 1]
    if not options:  # a word too many
        help = f"`{parser.prog} --help` shows what it takes"
        return Diagnostic("E0420", f"`{parser.prog}` takes no {quoted(unknown[0])}", help=help)
    followed = {}
    for one in options:
        after = arguments[arguments.index(one) + 1 :] if one in arguments else []
        followed[one] = (
            after[0] if after and (not after[0].startswith("-") or after[0][1:2].isdigit()) else None
        )
    from .unknown import unknown_options

    return unknown_options(parser.prog, followed, known, values)


def _hidden(parser: Parser, arguments: Sequence[str]) -> Iterator[Diagnostic]:
    """Warnings about an option, or a parameter, that is given twice: the last value counts."""
    actions = {name: action for action in parser._actions for name in action.option_strings}
    seen: dict[str, str] = {}
    for at, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        action = actions.get(flag)
        if action is None or (action.nargs == 0 and not isinstance(action, YES_OR_NO)):
            continue
        value = value or (arguments[at + 1] if action.nargs is None and at + 1 < len(arguments) else "")
        several = isinstance(action, argparse._AppendAction)
        if several and flag in ("--policy", "--start"):  # `--set` after it is about this policy
            seen = {key: written for key, written in seen.items() if not key.startswith("--set ")}
        key = f"{flag} {value.partition('=')[0].strip()}" if several else action.dest
        written = f"{flag} {value}".strip()
        if (several and "=" not in value) or seen.setdefault(key, written) == written:
            continue
        message = f"{quoted(seen[key])} has no effect: {quoted(written)} comes after it"
        yield Diagnostic("W0404", message, help="leave one of them out")
        seen[key] = written


def _misread(message: str, prog: str, shown: dict[str, str]) -> Diagnostic:
    """A message of argparse, such as `argument --policy: expected one argument`, as a diagnostic."""
    option, colon, why = message.removeprefix("argument ").partition(": ")
    if not colon:
        return Diagnostic("E0420", quoted(message).strip("`"), help=f"`{prog} --help` lists the options")
    if option == "the following arguments are required":
        return Diagnostic("E0420", f"`{prog}` lacks `{why}`", help=f"for example `{EXAMPLES[prog]}`")
    if why == "expected one argument":
        return Diagnostic(
            "E0420",
            f"`{option}`: a value is missing",
            help=f"write `{option.split('/')[-1]} {shown[option]}`",
        )
    if why.startswith("ignored explicit argument"):
        return Diagnostic(
            "E0420",
            f"`{option}` takes no value, and is given {quoted(why.split(maxsplit=3)[-1])}",
            help=f"write `{option}`",
        )
    return Diagnostic("E0420", f"`{option}`: {why}", help=f"`{prog} --help` shows what it takes")
