"""Makes flags of the options in `options`, and the flags that several verbs share.

Not here: which verbs have which flags (the verbs' files), how a value is parsed (`values`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..options import DECODE, LOAD, DecodeOptions, LoadOptions, Option, options_of
from ..spelling import flag
from .arguments import YES_OR_NO, Parser
from .values import count, device, format_of, one_of, pattern, seed, text, token_id

POLICY = "the name of a shipped policy, or a .policy file"
Holder = TypeVar("Holder", DecodeOptions, LoadOptions)
# The options about reading a model's files, and about loading it. `raw` is about prompts.
READING = ("trust_remote_code", "mask_id", "eos_id", "shift_logits", "all_ids", "block_length")
PLACING = ("dtype", "device")


def add_option(
    parser: Parser, option: Option, *, help: str = "", default: str = "", unset: bool = False
) -> None:
    """Adds the flag of an option. `help` and `default` (in words) replace the option's texts. `unset`: the
    value is None if the flag is not given.
    """
    shown = default or option.default_text or ("" if option.kind == "flag" else option.shown_default)
    text = f"{help or option.help}{f' (default: {shown})' if shown else ''}"
    how: dict[str, Any] = {"dest": option.name, "help": text, "default": None if unset else option.default}
    if option.kind == "flag":
        how |= {"action": YES_OR_NO if option.default is None else "store_true"}
    elif option.kind in ("texts", "ids"):
        how |= {"action": "append", "type": _type(option), "metavar": option.metavar}
    else:
        how |= {"type": _type(option), "metavar": option.metavar}
    parser.add_argument(flag(option.name), **how)


def _type(option: Option) -> Callable[[str], Any]:
    name = flag(option.name)
    match option.kind:
        case "count":
            return count(name, option.most, option.least)
        case "text" | "texts":
            return text(name)
        case "id" | "ids":
            return token_id(name)
        case "choice":
            return one_of(name, tuple(option.choices))
        case "device":
            return device
        case "seed":
            return seed
        case "pattern":
            return pattern
    raise AssertionError(f"`{option.name}` has no flag")


def add_decoding(parser: Parser) -> None:
    """Adds the flags about decoding: every option of `decode` that has a flag."""
    for option in DECODE.values():
        if option.flag:
            add_decode_option(parser, option)


def add_decode_option(parser: Parser, option: Option) -> None:
    """Adds the flag of an option of `decode`."""
    of_model = "as the model is usually run" if option.name == "gen_length" else ""
    several = f"{option.help.partition(';')[0]}; may be repeated" if option.kind in ("texts", "ids") else ""
    # A flag is one for all prompts.
    one = option.help.partition(";")[0] if option.each else several
    add_option(parser, option, help=one, default=of_model)


def add_reading(parser: Parser) -> None:
    """Adds the flags about reading a model's files."""
    for name in READING:
        add_option(parser, LOAD[name])


def add_placing(parser: Parser) -> None:
    """Adds the flags about loading a model."""
    for name in PLACING:
        add_option(parser, LOAD[name])


def add_set(parser: Parser, help: str = "set a parameter of the policy; may be repeated") -> None:
    """Adds the flag for parameters of a policy."""
    parser.add_argument("--set", dest="settings", action="append", metavar="NAME=VALUE", help=help)


def add_model(parser: Parser) -> None:
    """Adds the flag of a model to decode with."""
    help = "a Hugging Face model folder, or dsldec:equations (default: dsldec:word_problems, a small model inside dsldec)"
    parser.add_argument("--model", metavar="PATH", help=help)


def add_format(parser: Parser) -> None:
    """Adds the flag of the output format: text for people, or JSON."""
    help = "json: one object on standard output (default: human)"
    parser.add_argument(
        "--format", type=format_of(("human", "json")), default="human", metavar="human|json", help=help
    )


def taken(values: dict[str, Any], holder: type[Holder]) -> Holder:
    """Takes the options of a class out of the parsed values."""
    options = holder.of(values)
    for name in options_of(holder):
        values.pop(name, None)
    return options


def add_files(parser: Parser) -> None:
    """`--trace` and `--resume`, beside `--out`."""
    help = "write the steps of each answer to FILE, one JSON object a line: ids, confidences, a step map"
    parser.add_argument("--trace", dest="trace_file", metavar="FILE", help=help)
    help = (
        "also write the values of the policy's expressions in each step, for `dsldec why` and `dsldec view`"
    )
    parser.add_argument("--values", action="store_true", help=help)
    help = "continue the files of --out and --trace: skip answered prompts, retry failed ones"
    parser.add_argument("--resume", action="store_true", help=help)
