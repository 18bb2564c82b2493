"""The arguments of `batch`, which decodes on many machines.

Not here: the work (`tools.batch`), how a value is parsed (`values`).
"""

from __future__ import annotations

from ..options import LOAD, DecodeOptions, LoadOptions
from .arguments import Parser, parsed
from .flags import (
    POLICY,
    add_decoding,
    add_files,
    add_model,
    add_option,
    add_placing,
    add_reading,
    add_set,
    taken,
)
from .values import count, one_of, share

EXAMPLES = """\
examples:
  dsldec batch --prompts questions.jsonl --out answers.jsonl --workers 2
  dsldec batch --prompts questions.jsonl --out answers.jsonl --workers 2 --resume
  dsldec batch --prompts questions.jsonl --out answers.jsonl --workers 16 --address ray://head:10001 --model ./LLaDA-8B-Instruct

prompts and results are those of `dsldec run`; `--resume` of either verb continues the file of the other
exit status: 0 all decoded, 1 a policy or a prompt failed, 2 wrong usage, 130 interrupted
"""


def batch(arguments: list[str]) -> int:
    values = parsed(_parser(), arguments)
    if values is None:
        return 0
    from ..tools import batch as tool
    from ..tools.run import RunOptions

    own = {name: values.pop(name) for name in ("workers", "cpus", "gpus", "address", "engine")}
    settings = tuple(values.pop("settings") or ())
    load, decode = taken(values, LoadOptions), taken(values, DecodeOptions)
    run = RunOptions(settings=settings, load=load, decode=decode, **values)
    return tool.batch(tool.DistributedOptions(run=run, **own))


def _parser() -> Parser:
    parser = Parser(
        prog="dsldec batch",
        description="Decode a file of prompts on the workers of a Ray cluster: each loads the model once.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    help = "one prompt a line: JSONL if the name ends in .jsonl, else text"
    add("--prompts", dest="file", metavar="FILE", required=True, help=help)
    help = "write one JSON object a prompt to FILE, each as soon as it is finished"
    add("--out", metavar="FILE", required=True, help=help)
    add_files(parser)
    _add_workers(parser)
    add("--policy", default="threshold", metavar="NAME|FILE", help=f"{POLICY} (default: threshold)")
    add_set(parser)
    add_model(parser)
    add_reading(parser)
    add_placing(parser)
    add_option(parser, LOAD["raw"])
    add_decoding(parser)
    return parser


def _add_workers(parser: Parser) -> None:
    add = parser.add_argument
    help = "workers; each loads the model (default: 1)"
    add("--workers", type=count("--workers", 4096), default=1, metavar="N", help=help)
    help = "CPU cores that a worker reserves, also a fraction (default: 1)"
    add(
        "--cpus-per-worker",
        dest="cpus",
        type=share("--cpus-per-worker", least=0.01),
        default=1.0,
        metavar="C",
        help=help,
    )
    help = "GPUs that a worker reserves, also a fraction (default: 1 if the cluster has GPUs, else 0)"
    add(
        "--gpus-per-worker",
        dest="gpus",
        type=share("--gpus-per-worker"),
        default=None,
        metavar="G",
        help=help,
    )
    help = "a Ray cluster: `ray://HOST:10001`, `HOST:6379`, or `auto` on one of its machines (default: RAY_ADDRESS, else this machine)"
    add("--address", metavar="ADDRESS", help=help)
    help = "the engine of a worker: dsldec, or sglang, which decodes under the policy too (default: dsldec)"
    add(
        "--engine", type=one_of("--engine", ("dsldec", "sglang")), default="dsldec", metavar="NAME", help=help
    )
