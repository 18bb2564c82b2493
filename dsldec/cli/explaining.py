"""The arguments of `why`: an answer, a step and a position.

Not here: the work of the verb (`tools.explaining`), how a value is parsed (`values`).
"""

from __future__ import annotations

from ..options import LARGEST_SIZE, LOAD, DecodeOptions, LoadOptions
from .arguments import Parser, parsed
from .flags import (
    POLICY,
    add_decoding,
    add_format,
    add_model,
    add_option,
    add_placing,
    add_reading,
    add_set,
    taken,
)
from .values import count, text

EXAMPLES = """\
examples:
  dsldec why threshold --prompt "What is 14+18?" --step 1 --position 3
  dsldec why dico --prompt "What is 14+18?" --step 2       (what the step wrote, and why its phase ended)
  dsldec why threshold --prompt "What is 14+18?"           (all steps)
  dsldec why --trace trace.jsonl --id 7 --position 12      (a file of `dsldec run --trace FILE --values`)
  dsldec why mine.policy --case "two equal ones" --step 0 --position 3

Positions count from 0, the first one after the prompt; steps count from 0. Without --step, the last step that
wrote the position is explained. A case is one of the policy's .cases file, and needs no model.
exit status: 0 explained, 1 a policy or a prompt failed, 2 wrong usage, 130 interrupted
"""


def why(arguments: list[str]) -> int:
    values = parsed(_why_parser(), arguments)
    if values is None:
        return 0
    from ..tools.explaining import verb as tool
    from ..tools.explaining.sources import WhyOptions

    settings = tuple(values.pop("settings") or ())
    load, decode = taken(values, LoadOptions), taken(values, DecodeOptions)
    return tool.why(WhyOptions(settings=settings, load=load, decode=decode, **values))


def _why_parser() -> Parser:
    parser = Parser(
        prog="dsldec why",
        description="Explain why a step wrote a position, or did not: the parts of the policy that decided, with their values.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    add("policy", nargs="?", metavar="POLICY", help=f"{POLICY}; not with --trace")
    add("--prompt", type=text("--prompt"), metavar="TEXT", help="decode this prompt, and explain its steps")
    help = "explain a case of the policy, by its title"
    add("--case", type=text("--case"), metavar="TITLE", help=help)
    help = "explain an answer of a trace file with recorded values"
    add("--trace", dest="trace_file", metavar="FILE", help=help)
    add("--id", type=text("--id"), metavar="ID", help="the id of the answer in the trace file")
    help = "the number of the sample in the trace file"
    add("--sample", type=count("--sample", least=0), metavar="N", help=help)
    add("--step", type=count("--step", least=0), metavar="N", help="the step to explain, from 0 on")
    help = "the position to explain, from 0 on"
    add("--position", type=count("--position", least=-LARGEST_SIZE), metavar="N", help=help)
    help = "explain the position of this token in the answer"
    add("--token", type=text("--token"), metavar="TEXT", help=help)
    add_format(parser)
    add_set(parser)
    add_model(parser)
    add_reading(parser)
    add_placing(parser)
    add_option(parser, LOAD["raw"])
    add_decoding(parser)
    return parser
