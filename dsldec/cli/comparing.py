"""The arguments of `compare`: two policies, and how to look for a difference.

Not here: the work of the verb (`tools`), how a value is parsed (`values`).
"""

from __future__ import annotations

from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..options import DecodeOptions, LoadOptions
from ..spelling import flag
from .arguments import Parser, parsed
from .evaluating import add_limit, add_model_of_prompts
from .flags import POLICY, add_decoding, taken
from .values import count, text

EXAMPLES = """\
examples:
  dsldec compare threshold factor
  dsldec compare klass klass --set-a patience=1
  dsldec compare mine.policy threshold --set block=8 --set-b confidence=0.95
  dsldec compare mine.policy threshold --task word_problems --limit 50
  dsldec compare threshold factor --prompt "What is 14+18?" --html compare.html

Without prompts, no model is used: both policies get the same tables of observations, random ones and ones near
their thresholds. The smallest table that tells them apart is printed as a case for the .cases file of each.
A parameter `block` of both has the same value in both, if neither is set.
exit status: 0 no difference, 1 a difference or a failed prompt, 2 wrong usage or a policy with errors, 130 interrupted
"""
# With prompts these have no meaning; the others have none without.
OF_A_SEARCH = ("tries", "seconds", "rounding")
LISTS = ("settings", "settings_a", "settings_b", "prompts")
OF_BOTH = ("a", "b", "settings", "settings_a", "settings_b", "seed")


def compare(arguments: list[str]) -> int:
    parser = _compare_parser()
    values = parsed(parser, arguments)
    if values is None:
        return 0
    _require_together(parser, values)
    from ..tools.comparing import verb as tool
    from ..tools.comparing.compare_options import CompareOptions

    load, decode = taken(values, LoadOptions), taken(values, DecodeOptions)
    lists: dict[str, Any] = {name: tuple(values.pop(name) or ()) for name in LISTS}
    return tool.compare(CompareOptions(load=load, decode=decode, **lists, **values))


def _require_together(parser: Parser, values: dict[str, Any]) -> None:
    """Raises `UsageError` (E0423) for an option of the search beside prompts, or of a model without."""
    prompts = {"prompts": "--prompt", "file": "--prompts", "task": "--task"}
    decodes = any(values[name] is not None for name in prompts)
    for name, value in values.items():
        if name in OF_BOTH or name in prompts or value == parser.get_default(name):
            continue
        if decodes and name in OF_A_SEARCH:
            help = f"leave it out, or leave the prompts out: `dsldec compare A B {flag(name)} ...`"
            raise UsageError(
                Diagnostic("E0423", f"`{flag(name)}` is of a search, and prompts are given", help=help)
            )
        if not decodes and name not in OF_A_SEARCH:
            help = "for example `--task word_problems`; `dsldec compare --help` lists the options of a search"
            raise UsageError(Diagnostic("E0423", f"`{flag(name)}` needs prompts", help=help))


def _compare_parser() -> Parser:
    parser = Parser(
        prog="dsldec compare",
        description="Do two policies ever differ? Search a table of observations, or decode prompts, and show the first difference.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    add("a", metavar="A", help=POLICY)
    add("b", metavar="B", help="the policy to compare with, likewise")
    help = "set a parameter of both policies; may be repeated"
    add("--set", dest="settings", action="append", metavar="NAME=VALUE", help=help)
    for side in ("a", "b"):
        help = f"set a parameter of {side.upper()} alone; may be repeated"
        add(f"--set-{side}", dest=f"settings_{side}", action="append", metavar="NAME=VALUE", help=help)
    add("--tries", type=count("--tries"), metavar="N", help="the most tables to try (default: 20000)")
    help = "the most seconds to search (default: 60)"
    add("--seconds", type=count("--seconds", 86_400), metavar="N", help=help)
    help = "also show a difference that only the rounding of float32 makes"
    add("--rounding", action="store_true", help=help)
    _add_prompts(parser)
    return parser


def _add_prompts(parser: Parser) -> None:
    add = parser.add_argument
    help = "decode this prompt with both policies; may be repeated"
    add("--prompt", dest="prompts", type=text("--prompt"), action="append", metavar="PROMPT", help=help)
    help = "decode the prompts of a file, one a line: JSONL if the name ends in .jsonl, else text"
    add("--prompts", dest="file", metavar="FILE", help=help)
    add("--task", metavar="NAME|FILE.jsonl", help="decode the prompts of a task, as in `dsldec evaluate`")
    add_limit(parser)
    help = "write a page with the steps of both policies side by side, for the first prompt that differs"
    add("--html", type=text("--html"), metavar="FILE", help=help)
    help = "look into the prompt with this id; without it, the first one that differs"
    add("--show", type=text("--show"), metavar="ID", help=help)
    add_model_of_prompts(parser)
    add_decoding(parser)
