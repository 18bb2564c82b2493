"""The arguments of `evolve`: a search for policies.

Not here: the work of the verb (`tools`), how a value is parsed (`values`).
"""

from __future__ import annotations

from collections.abc import Callable

from ..diagnostics import Diagnostic, UsageError
from ..options import DECODE, DecodeOptions, LoadOptions
from ..tools import quoted
from .arguments import Parser, parsed
from .evaluating import add_in_order, add_limit, add_model_of_prompts
from .flags import POLICY, add_decode_option, taken
from .values import count, seed

EXAMPLES = """\
examples:
  dsldec evolve --task word_problems --out evolved
  dsldec evolve --task sudoku --start threshold --start factor --generations 20 --population 24 --seed 1 --out evolved
  dsldec evolve --task word_problems --start threshold --set block=8 --start dico --budget 12 --out evolved
  dsldec evolve --task test.jsonl --scorer number --model ./LLaDA-8B-Instruct --trust-remote-code --out evolved

The same command goes on where an earlier one was interrupted; a larger --generations goes on with a finished search.
The folder gets front/*.policy, lineage.jsonl, generations/ and scores/.
exit status: 0 finished, 1 a policy has a mistake, 2 wrong usage, 130 interrupted
"""
MOST_GENERATIONS, MOST_POPULATION, MOST_NODES = 999, 99, 1000
OF_DECODING = ("gen_length", "batch")


def evolve(arguments: list[str]) -> int:
    values = parsed(_evolve_parser(), arguments)
    if values is None:
        return 0
    from ..tools.evolution.evolve_options import EvolveOptions
    from ..tools.evolution.verb import evolve as run

    starts = tuple(values.pop("starts") or ())
    load, decode = taken(values, LoadOptions), DecodeOptions.of(values)
    for name in OF_DECODING:
        values.pop(name)
    return run(EvolveOptions(starts=starts, load=load, decode=decode, **values))


def _evolve_parser() -> Parser:
    parser = Parser(
        prog="dsldec evolve",
        description="Search for policies: change and cross the start policies at random, keep only those that are proved to end, measure\n"
        "them on half of the prompts, and go on with those that no other one beats in accuracy, forwards and size. The front is\n"
        "then tested on the other half of the prompts.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    add(
        "--task",
        metavar="NAME|FILE.jsonl",
        required=True,
        help="the prompts and their right answers, as for `dsldec evaluate`",
    )
    add(
        "--out",
        metavar="FOLDER",
        required=True,
        help="store the search and its front in this folder; the same command goes on",
    )
    help = f"start from this policy, {POLICY} (default: threshold, factor, entropy_bounded and dico)"
    add_in_order(parser, "start", "starts", help, "set a parameter")
    _add_search(parser)
    help = "exact, number or regex:PATTERN (default: of a built-in task, its own)"
    add("--scorer", metavar="NAME", help=help)
    add_limit(parser)
    help = "prompts that choose the policies; the others test the front (default: half of them)"
    add("--calibration", type=count("--calibration"), metavar="N", help=help)
    add_model_of_prompts(parser)
    for name in OF_DECODING:
        add_decode_option(parser, DECODE[name])
    return parser


def _add_search(parser: Parser) -> None:
    add = parser.add_argument
    help = "new policies are made this number of times (default: 10)"
    add("--generations", type=count("--generations", MOST_GENERATIONS), default=10, metavar="G", help=help)
    help = "policies that each generation makes, and policies that go on (default: 16)"
    add("--population", type=count("--population", MOST_POPULATION, 2), default=16, metavar="P", help=help)
    help = "seed of the search: the same seed makes the same policies (default: 0)"
    add("--seed", type=seed, default=0, metavar="S", help=help)
    help = "least accuracy of a policy, as a share of that of the best start (default: 0.95)"
    add("--floor", type=_number("--floor", 0.0, 1.0), default=0.95, metavar="SHARE", help=help)
    help = "the most forwards a prompt, on average (default: no limit)"
    add("--budget", type=_number("--budget", 1.0, 1e6), default=float("inf"), metavar="FORWARDS", help=help)
    help = "the largest policy: its statements, and all parts of their expressions (default: 60)"
    add("--nodes", type=count("--nodes", MOST_NODES, 10), default=60, metavar="N", help=help)


def _number(option: str, least: float, most: float) -> Callable[[str], float]:
    def chosen(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            message = f"`{option}` is a number from {least:g} to {most:g}, not {quoted(text)}"
            raise UsageError(
                Diagnostic("E0422", message, help=f"for example `{option} {max(least, 0.95):g}`")
            )
        return value

    return chosen
