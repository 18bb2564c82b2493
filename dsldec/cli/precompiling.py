"""The arguments of `precompile`.

Not here: the work of the verb (`tools`), how a value is parsed (`values`).
"""

from __future__ import annotations

from typing import Any

from ..options import DTYPES
from .arguments import Parser, parsed
from .flags import POLICY, add_set
from .values import count


def precompile(arguments: list[str]) -> int:
    values = parsed(_precompile_parser(), arguments)
    if values is None:
        return 0
    from ..tools import precompile as tool

    several: dict[str, Any] = {name: tuple(values.pop(name) or ()) for name in ("policies", "settings")}
    return tool.precompile(tool.PrecompileOptions(**several, **values))


def _precompile_parser() -> Parser:
    parser = Parser(
        prog="dsldec precompile",
        description="Compile the steps of policies for this machine, and store them in the user's cache: a later process starts "
        "them at once. A container image that does this when it is built needs no C++ compiler later. Prints the folder and its "
        "packages. `DSLDEC_STEPS` in the environment names another folder.",
        epilog="exit status: 0 done, 1 errors in a policy, 2 wrong usage or no compiler, 130 interrupted",
    )
    add = parser.add_argument
    add(
        "policies", metavar="NAME|FILE", nargs="*", help=f"{POLICY}; several are compiled one after the other"
    )
    help = "size of the model's vocabulary (required to compile): the last dimension of its logits"
    add("--vocab", type=count("--vocab"), metavar="V", help=help)
    help = "rows of a step: 1, or any larger number, which serves all of 2 and more (default: both)"
    add("--batch", type=count("--batch"), metavar="B", help=help)
    help = "positions of a window (default: the size in the policy); a short one is padded as `decode` does"
    add("--positions", type=count("--positions"), metavar="T", help=help)
    help = f"of the logits: {', '.join(DTYPES)} (default: float32)"
    add("--dtype", default="float32", metavar="NAME", help=help)
    help = "threads of the CPU in the later process (default: torch's choice here)"
    add("--threads", type=count("--threads"), metavar="N", help=help)
    add_set(parser)
    add("--list", action="store_true", help="print the packages in the cache")
    add("--clear", action="store_true", help="delete all packages first")
    return parser
