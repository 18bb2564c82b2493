"""What does `bench` take, and what do its measurements: `step`, `loop`, `batch`?

Not here: how they measure (`tools`), what may stand for a value (`values`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..tools import quoted
from .arguments import Parser, parsed
from .values import count, may_repeat, one_of, shape

BENCH_HELP = """\
usage: dsldec bench step|loop|batch ...

  step   the step of a policy on random logits, as a multiple of one read of them
  loop   whole decodes with the small model inside dsldec, as a multiple of a plain loop
  batch  many prompts side by side, as a multiple of batches one after the other

`dsldec bench step --help` and the like show the options
"""

MEASURED_DTYPES = ("float32", "bfloat16")


def bench(arguments: list[str]) -> int:
    if arguments and arguments[0] in BENCHES:
        return BENCHES[arguments[0]](arguments[1:])
    if arguments and arguments[0] in ("-h", "--help"):
        print(BENCH_HELP, end="")
        return 0
    lacking = (
        "`dsldec bench` needs `step`, `loop` or `batch`"
        if not arguments
        else f"`dsldec bench` cannot measure {quoted(arguments[0])}"
    )
    near = did_you_mean(arguments[0], BENCHES) if arguments else None
    help = (
        f"did you mean `dsldec bench {near}`?"
        if near
        else "write `dsldec bench step`, `dsldec bench loop` or `dsldec bench batch`"
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
        description="Measure the step of policies on random logits, in multiples of one read of the logits, side by side with what "
        "published decoders compute. With the default options it may take an hour, mostly to compile; progress goes to standard error.",
    )
    add = parser.add_argument
    add(
        "--shape",
        dest="shapes",
        type=shape,
        action="append",
        metavar="BxTxV",
        help="rows, positions, vocabulary; may be repeated",
    )
    add(
        "--dtype",
        dest="dtypes",
        type=one_of("--dtype", MEASURED_DTYPES),
        action="append",
        metavar="NAME",
        help=may_repeat(MEASURED_DTYPES),
    )
    add(
        "--policy",
        dest="policies",
        action="append",
        metavar="NAME|FILE",
        help="may be repeated (default: all shipped)",
    )
    known = ("eager", "inductor", "aot")
    help = "one of eager, inductor, aot (a minute a step to build); may be repeated (default: eager and inductor)"
    add(
        "--backend",
        dest="backends",
        type=one_of("--backend", known),
        action="append",
        metavar="NAME",
        help=help,
    )
    add(
        "--rounds",
        type=count("--rounds"),
        default=10,
        metavar="N",
        help="number of rounds (default: 10)",
    )
    add("--threads", type=count("--threads"), metavar="N", help="CPU threads (default: torch's choice)")
    add(
        "--device",
        type=one_of("--device", ("cpu", "cuda")),
        default="cpu",
        metavar="NAME",
        help="cpu (default) or cuda",
    )
    add("--json", metavar="FILE", help="write all measurements as JSON, seconds too")
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
    add = parser.add_argument
    add(
        "--policy",
        dest="policies",
        action="append",
        metavar="NAME|FILE",
        help="may be repeated (default: static and threshold)",
    )
    known = ("eager", "inductor")
    add(
        "--backend",
        dest="backends",
        type=one_of("--backend", known),
        action="append",
        metavar="NAME",
        help=may_repeat(known),
    )
    add("--prompts", type=count("--prompts"), default=4, metavar="N", help="held-out prompts (default: 4)")
    add(
        "--gen-length",
        type=count("--gen-length"),
        default=48,
        metavar="N",
        help="tokens to generate (default: 48)",
    )
    add(
        "--rounds",
        type=count("--rounds"),
        default=5,
        metavar="N",
        help="number of rounds (default: 5)",
    )
    add("--threads", type=count("--threads"), metavar="N", help="CPU threads (default: torch's choice)")
    add(
        "--device",
        type=one_of("--device", ("cpu", "cuda")),
        metavar="NAME",
        help="cpu or cuda (default: cuda where there is one)",
    )
    add("--json", metavar="FILE", help="write all measurements as JSON, seconds too")
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
    add(
        "--policy",
        default="threshold",
        metavar="NAME|FILE",
        help="a shipped policy or a policy file (default: threshold)",
    )
    add(
        "--set",
        dest="settings",
        action="append",
        metavar="NAME=VALUE",
        help="set a parameter of the policy; may be repeated",
    )
    add("--model", metavar="PATH", help="a Hugging Face model (default: the small one inside dsldec)")
    add(
        "--prompts", type=count("--prompts"), default=200, metavar="N", help="held-out prompts (default: 200)"
    )
    add("--batch", type=count("--batch"), default=8, metavar="N", help="rows side by side (default: 8)")
    add(
        "--gen-length",
        type=count("--gen-length"),
        default=48,
        metavar="N",
        help="tokens to generate at most (default: 48)",
    )
    add(
        "--backend",
        type=one_of("--backend", ("eager", "inductor")),
        default="eager",
        metavar="NAME",
        help="eager (default) or inductor",
    )
    add(
        "--rounds",
        type=count("--rounds"),
        default=3,
        metavar="N",
        help="number of rounds (default: 3)",
    )
    add("--threads", type=count("--threads"), metavar="N", help="CPU threads (default: torch's choice)")
    add("--json", metavar="FILE", help="write all measurements as JSON, seconds too")
    return parser


BENCHES: dict[str, Callable[[list[str]], int]] = {"step": _step, "loop": _loop, "batch": _batch}
