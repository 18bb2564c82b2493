"""How are a verb's arguments taken apart, and what is said of an option that is unknown or lacks something?

The only importer of argparse but for the training program. Not here: which options there are (the verbs' files), what may stand
for a value (`values`).
"""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..tools import quoted

# The action of an option `--x` that is also `--no-x`, and None where neither is written.
YES_OR_NO = argparse.BooleanOptionalAction


class Parser(argparse.ArgumentParser):
    """Raises our diagnostics instead of printing usage and leaving; `as_written` keeps the line breaks of the description and epilogue."""

    def __init__(self, prog: str, description: str, epilog: str | None = None, *, as_written: bool = False) -> None:
        shown = argparse.RawDescriptionHelpFormatter if as_written else argparse.HelpFormatter
        super().__init__(prog=prog, description=description, epilog=epilog, formatter_class=shown, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(_misread(message, self.prog))


def parsed(parser: Parser, arguments: list[str]) -> dict[str, Any] | None:
    """The options by name; None where help was asked for and has been printed."""
    try:
        options, unknown = parser.parse_known_intermixed_args(arguments)
    except SystemExit:
        return None
    if unknown:
        raise UsageError(_unknown_option(unknown[0], parser))
    return vars(options)


def _unknown_option(option: str, parser: Parser) -> Diagnostic:
    known = [name for action in parser._actions for name in action.option_strings]
    near = did_you_mean(option.partition("=")[0], known)
    help = f"did you mean `{near}`?" if near else f"`{parser.prog} --help` lists the options; after `--` a prompt may begin with `-`"
    return Diagnostic("E0420", f"`{parser.prog}` has no option {quoted(option)}", help=help)


def _misread(message: str, prog: str) -> Diagnostic:
    """What argparse says of an option, as `argument --policy: expected one argument`, in our words."""
    option, colon, why = message.removeprefix("argument ").partition(": ")
    if not colon:
        return Diagnostic("E0420", quoted(message).strip("`"), help=f"`{prog} --help` lists the options")
    if option == "the following arguments are required":
        return Diagnostic("E0420", f"`{prog}` lacks `{why}`", help=f"`{prog} --help` shows what it takes")
    why = why.replace("expected one argument", "a value is missing")
    return Diagnostic("E0420", f"`{option}`: {why}", help=f"`{prog} --help` shows what it takes")
