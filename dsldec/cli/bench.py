"""The arguments of `bench` and of its measurements: `step`, `loop`, `batch`, and those with goals.

Not here: how they measure (`tools`), how a value is parsed (`values`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..tools import quoted
from .arguments import Parser, parsed
from .flags import POLICY, add_set
from .values import count, may_repeat, one_of, shape

BENCH_HELP = """\
usage: dsldec bench step|loop|batch|overhead|peers|compile|start|growth ...

  step      the step of a policy on random logits, in multiples of one read of the logits
  loop      whole decodes with the small model inside dsldec, in multiples of a plain loop
  batch     many prompts side by side, in multiples of batches one after the other
  overhead  the loop around the step, in multiples of a minimal loop over the same logits
  peers     steps beside the computations of published decoders on the same logits
  compile   the time to the first compiled step, in this process and in a second one
  start     the time to the first answer of the command line, in multiples of the import of torch
  growth    the time of a step and a decode against the sizes of its input

`dsldec bench step --help` shows the options of a measurement
"""

MEASURED_DTYPES = ("float32", "bfloat16")


def bench(arguments: list[str]) -> int:
    # A compiled step must be compiled when it is timed, and not run eager meanwhile.
    os.environ.setdefault("DSLDEC_BACKGROUND", "0")
    if arguments and arguments[0] in BENCHES:
        return BENCHES[arguments[0]](arguments[1:])
    if arguments and arguments[0] in ("-h", "--help"):
        print(BENCH_HELP, end="")
        return 0
    lacking = (
        "`dsldec bench` needs a measurement, such as `step` or `loop`"
        if not arguments
        else f"`dsldec bench` cannot measure {quoted(arguments[0])}"
    )
    near = did_you_mean(arguments[0], BENCHES) if arguments else None
    help = (
        f"did you mean `dsldec bench {near}`?"
        if near
        else f"write `dsldec bench step`; the measurements are {', '.join(BENCHES)}"
    )
    raise UsageError(Diagnostic("E0421" if arguments else "E0420", lacking, help=help))


def _step(arguments: list[str]) -> int:
    values = parsed(_step_parser(), arguments)
    if values is None:
        return 0
    from ..tools import bench_step as tool

    several: dict[str, Any] = {
        name: tuple(values.pop(name) or ()) for name in ("shapes", "dtypes", "policies", "backends")
    }
    return tool.bench_step(tool.StepOptions(**several, **values))


def _step_parser() -> Parser:
    parser = Parser(
        prog="dsldec bench step",
        description="Measure the step of policies on random logits, in multiples of one read of the logits, beside the computations of "
        "published decoders. With the defaults it may take an hour, mostly to compile; standard error shows the progress.",
    )
    add = parser.add_argument
    help = "rows, positions, vocabulary; may be repeated"
    add("--shape", dest="shapes", type=shape, action="append", metavar="BxTxV", help=help)
    _add_several(parser, "--dtype", "dtypes", MEASURED_DTYPES, may_repeat(MEASURED_DTYPES))
    _add_policies(parser, "all shipped")
    backends = ("eager", "inductor", "aot")
    help = "one of eager, inductor, aot (a minute a step to build); may be repeated (default: eager and inductor)"
    _add_several(parser, "--backend", "backends", backends, help)
    _add_rounds(parser, 10)
    help = "cpu (default) or cuda"
    add("--device", type=one_of("--device", ("cpu", "cuda")), default="cpu", metavar="NAME", help=help)
    _add_json(parser)
    add("--plot", metavar="FILE.svg", help="draw the table")
    return parser


def _loop(arguments: list[str]) -> int:
    values = parsed(_loop_parser(), arguments)
    if values is None:
        return 0
    from ..tools import bench_loop as tool

    several: dict[str, Any] = {name: tuple(values.pop(name) or ()) for name in ("policies", "backends")}
    return tool.bench_loop(tool.LoopOptions(**several, **values))


def _loop_parser() -> Parser:
    parser = Parser(
        prog="dsldec bench loop",
        description="Measure whole decodes with the small model inside dsldec, in multiples of a plain loop's tokens a second.",
    )
    _add_policies(parser, "static and threshold")
    backends = ("eager", "inductor")
    _add_several(parser, "--backend", "backends", backends, may_repeat(backends))
    _add_count(parser, "--prompts", 4, "held-out prompts")
    _add_count(parser, "--gen-length", 48, "tokens to generate")
    _add_rounds(parser, 5)
    help = "cpu or cuda (default: cuda if there is a GPU)"
    parser.add_argument("--device", type=one_of("--device", ("cpu", "cuda")), metavar="NAME", help=help)
    _add_json(parser)
    return parser


def _batch(arguments: list[str]) -> int:
    values = parsed(_batch_parser(), arguments)
    if values is None:
        return 0
    from ..tools import bench_batch as tool

    return tool.bench_batch(tool.BatchOptions(settings=tuple(values.pop("settings") or ()), **values))


def _batch_parser() -> Parser:
    parser = Parser(
        prog="dsldec bench batch",
        description="Measure many prompts side by side, in multiples of the tokens a second of batches one after the other.",
    )
    add = parser.add_argument
    add("--policy", default="threshold", metavar="NAME|FILE", help=f"{POLICY} (default: threshold)")
    add_set(parser)
    help = "a Hugging Face model (default: the small one inside dsldec)"
    add("--model", metavar="PATH", help=help)
    _add_count(parser, "--prompts", 200, "held-out prompts")
    _add_count(parser, "--batch", 8, "rows side by side")
    _add_count(parser, "--gen-length", 48, "the most tokens to generate")
    backends, help = ("eager", "inductor"), "eager (default) or inductor"
    add("--backend", type=one_of("--backend", backends), default="eager", metavar="NAME", help=help)
    _add_rounds(parser, 3)
    _add_json(parser)
    return parser


def _with_goals(name: str, arguments: list[str]) -> int:
    values = parsed(_goals_parser(name), arguments)
    if values is None:
        return 0
    from ..tools import bench_goals as tool

    return tool.bench_goals(
        name, WITH_GOALS[name], tool.GoalOptions(only=tuple(values.pop("only") or ()), **values)
    )


def _goals_parser(name: str) -> Parser:
    parser = Parser(prog=f"dsldec bench {name}", description=f"Measure {WITH_GOALS[name]}.")
    help = "measure only the ratios whose names begin so; may be repeated"
    parser.add_argument("--only", action="append", metavar="NAME", help=help)
    _add_rounds(parser, 5)
    _add_json(parser)
    return parser


# --- flags of several measurements


def _add_count(parser: Parser, name: str, default: int, help: str) -> None:
    help = f"{help} (default: {default})"
    parser.add_argument(name, type=count(name), default=default, metavar="N", help=help)


def _add_several(parser: Parser, name: str, dest: str, known: tuple[str, ...], help: str) -> None:
    add = parser.add_argument
    add(name, dest=dest, type=one_of(name, known), action="append", metavar="NAME", help=help)


def _add_policies(parser: Parser, default: str) -> None:
    help = f"may be repeated (default: {default})"
    parser.add_argument("--policy", dest="policies", action="append", metavar="NAME|FILE", help=help)


def _add_rounds(parser: Parser, default: int) -> None:
    _add_count(parser, "--rounds", default, "how often everything is timed")
    help = "threads of the CPU (default: torch's choice)"
    parser.add_argument("--threads", type=count("--threads"), metavar="N", help=help)


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", metavar="FILE", help="write every measurement, seconds too")


# The measurements with goals, and the ends of the sentence "Measure ...".
WITH_GOALS = {
    "overhead": "the loop around the step, in multiples of a minimal loop over the same logits",
    "peers": "steps beside the computations of published decoders on the same logits",
    "compile": "the time to the first compiled step, in this process and in a second one",
    "start": "the time to the first answer of the command line, in multiples of the import of torch",
    "growth": "the time of a step and a decode against the sizes of its input",
}
BENCHES: dict[str, Callable[[list[str]], int]] = {
    "step": _step,
    "loop": _loop,
    "batch": _batch,
    **{name: partial(_with_goals, name) for name in WITH_GOALS},
}
