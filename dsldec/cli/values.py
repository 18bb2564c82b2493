"""Parses the value of an option, and reports an invalid value.

Not here: the options (`options`, the verbs' files), how they are parsed (`arguments`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..files import whole_number
from ..options import LARGEST_SIZE
from ..tools import quoted

# A seed of torch has 64 bits. A negative seed would be a second name of a positive one.
LARGEST_SEED = 2**63 - 1
LONGEST_SHARE, MOST_SHARES = 16, 4096
MOST_PERCENT = 100


def count(option: str, most: int = LARGEST_SIZE, least: int = 1) -> Callable[[str], int]:
    return lambda text: _whole_number(option, text, least, most)


def text(option: str) -> Callable[[str], str]:
    return lambda given: _text(option, given)


def _text(option: str, given: str) -> str:
    if not given or any(0xD800 <= ord(character) < 0xE000 for character in given):
        message = f"`{option}` is a text, not {quoted(given)}"
        raise UsageError(Diagnostic("E0422", message, help=f'for example `{option} "###"`'))
    return given


def pattern(text: str) -> str:
    """A regular expression, a JSON schema, or a file with one: its text. Raises `UsageError`."""
    from ..patterns import Pattern

    return Pattern.of(text, files=True).text


def share(option: str, least: float = 0.0) -> Callable[[str], float]:
    """A number of CPUs or GPUs: a whole number, or a fraction of one."""

    def chosen(text: str) -> float:
        try:
            number = float(text) if len(text) < LONGEST_SHARE else math.nan
        except ValueError:
            number = math.nan
        # Ray gives whole GPUs, or a part of one.
        if not least <= number <= MOST_SHARES or (number > 1 and number != int(number)):
            message = f"`{option}` is a whole number, or a fraction below 1, not {quoted(text)}"
            raise UsageError(Diagnostic("E0422", message, help=f"for example `{option} 1` or `{option} 0.5`"))
        return number

    return chosen


def percent(option: str) -> Callable[[str], float]:
    """A percentage from 0 to 100."""

    def chosen(text: str) -> float:
        try:
            number = float(text) if len(text) < LONGEST_SHARE else math.nan
        except ValueError:
            number = math.nan
        if not 0 <= number <= MOST_PERCENT:
            message = f"`{option}` is a percentage from 0 to 100, not {quoted(text)}"
            raise UsageError(Diagnostic("E0422", message, help=f"for example `{option} 100`"))
        return number

    return chosen


def token_id(option: str) -> Callable[[str], int]:
    return lambda text: _whole_number(option, text, 0, LARGEST_SIZE)


def seed(text: str) -> int:
    return _whole_number("--seed", text, 0, LARGEST_SEED)


def _whole_number(option: str, text: str, least: int, most: int) -> int:
    number = whole_number(text)
    if number is None:
        raise UsageError(
            Diagnostic(
                "E0422", f"`{option}` is a whole number, not {quoted(text)}", help=f"for example `{option} 8`"
            )
        )
    if not least <= number <= most:
        bound = f"a whole number of at most {most}" if number > most else f"at least {least}"
        message = f"`{option}` is {bound}, not {quoted(text)}"
        raise UsageError(Diagnostic("E0422", message, help=f"for example `{option} 8`"))
    return number


def one_of(option: str, known: Sequence[str]) -> Callable[[str], str]:
    def chosen(text: str) -> str:
        if text in known:
            return text
        from ..synonyms import value_meant

        near = did_you_mean(text, known)
        meant = f"{option} {near}" if near else value_meant(option.strip("-"), text)
        if option == "--backend" and text.startswith("cuda"):
            meant = None  # `--device cuda` is no backend
        help = f"did you mean `{meant}`?" if meant else f"one of {', '.join(f'`{name}`' for name in known)}"
        raise UsageError(Diagnostic("E0422", f"unknown value {quoted(text)} for `{option}`", help=help))

    return chosen


def may_repeat(known: Sequence[str]) -> str:
    return f"one of {', '.join(known)}; may be repeated (default: all)"


def device(text: str) -> str:
    if re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", text):
        return text
    from ..synonyms import value_meant

    meant = value_meant("device", text)
    help = f"{f'did you mean `{meant}`? ' if meant else ''}use `--device cpu`, `cuda`, `cuda:1` or `mps`"
    raise UsageError(Diagnostic("E0422", f"unknown device {quoted(text)}", help=help))


def format_of(formats: Sequence[str]) -> Callable[[str], str]:
    """A parser of `--format` that takes one of these."""

    def output_format(text: str) -> str:
        if text in formats:
            return text
        near = did_you_mean(text, formats)
        others = ", ".join(f"`{one}`" for one in formats[1:-1])
        known = f"`--format {formats[0]}`{others and f', {others}'} or `{formats[-1]}`"
        help = f"did you mean `{near}`? " if near else ""
        raise UsageError(Diagnostic("E0422", f"unknown format {quoted(text)}", help=f"{help}write {known}"))

    return output_format


def shape(text: str) -> tuple[int, int, int]:
    numbers = text.split("x")
    if len(numbers) != 3 or not all(
        number.isascii() and number.isdigit() and len(number) < 10 for number in numbers
    ):
        message = f"`--shape` is rows x positions x vocabulary, not {quoted(text)}"
        raise UsageError(Diagnostic("E0422", message, help="for example `--shape 1x32x126464`"))
    B, T, V = map(int, numbers)
    if B < 1 or T < 1 or V < 8:
        message = f"`--shape` has at least 1 row, 1 position and 8 ids, not {quoted(text)}"
        raise UsageError(Diagnostic("E0422", message, help="for example `--shape 1x32x126464`"))
    return B, T, V
