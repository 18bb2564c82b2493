"""The arguments of `list`: the shipped policies.

Not here: the output (`tools.library`).
"""

from __future__ import annotations

from ..library import FAMILIES
from .arguments import Parser, parsed
from .values import text


def list_(arguments: list[str]) -> int:
    values = parsed(_list_parser(), arguments)
    if values is None:
        return 0
    from ..tools.library import listing as tool

    return tool.list_policies(values["family"], as_json=values["json"])


def _list_parser() -> Parser:
    parser = Parser(
        prog="dsldec list",
        description="List the shipped policies: parameters with their defaults, the rule, the proved bound on forwards, and the source.",
    )
    help = f"only the policies of one family: {', '.join(FAMILIES)}"
    parser.add_argument("--family", type=text("--family"), metavar="FAMILY", help=help)
    help = "print one JSON object, with the proved facts and the hosts of each policy"
    parser.add_argument("--json", action="store_true", help=help)
    return parser
