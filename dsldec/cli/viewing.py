"""The arguments of `view`: which traces, and where the page goes.

Not here: the work of the verb (`tools.viewing`).
"""

from __future__ import annotations

from .arguments import Parser, parsed
from .values import count, text

EXAMPLES = """\
examples:
  dsldec run --policy dico --trace traces.jsonl --values "How many apples are left?"
  dsldec view traces.jsonl
  dsldec view traces.jsonl --id 7 --out seven.html
  dsldec view threshold.jsonl --against factor.jsonl      (both runs step together; their first difference is marked)

The page is one file. It loads nothing from the network, and opens from a disk.
exit status: 0 written, 2 wrong usage or no such trace
"""


def view(arguments: list[str]) -> int:
    values = parsed(_view_parser(), arguments)
    if values is None:
        return 0
    from ..tools.viewing import verb as tool

    return tool.view(tool.ViewOptions(**values))


def _view_parser() -> Parser:
    parser = Parser(
        prog="dsldec view",
        description="Write a page that shows every step of a trace: the canvas, the values, and why each position was written.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    add("trace", metavar="TRACE", help="a trace file, from `dsldec run --trace FILE --values`")
    help = "show the trace of the prompt with this id (default: the first trace of the file)"
    add("--id", type=text("--id"), metavar="ID", help=help)
    help = "show this sample of the prompt, from 0 on"
    add("--sample", type=count("--sample", least=0), metavar="N", help=help)
    help = "another trace file: show its trace of the same prompt beside the first one"
    add("--against", metavar="TRACE2", help=help)
    help = "the page's file (default: the name of the trace file, with .html)"
    add("--out", metavar="FILE", help=help)
    help = "do not open the page in a browser (it is opened only on a desktop)"
    add("--no-open", dest="opens", action="store_false", help=help)
    return parser
