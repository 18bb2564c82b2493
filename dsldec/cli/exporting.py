"""The arguments of the verbs that write a policy for other programs: `build`, `export-hf`.

Not here: the work of the verbs (`tools`), how a value is parsed (`values`).
"""

from __future__ import annotations

from ..options import DECODE, DECODE_OF_GENERATE, DTYPES, LoadOptions
from .arguments import Parser, parsed
from .flags import POLICY, add_option, add_reading, add_set, taken
from .values import count

# Help and default of the options with another meaning in `generate`.
OF_GENERATE = {
    "gen_length": ("the most tokens to generate, whatever `generate` is given", "no limit"),
    "batch": ("", "all rows of a call"),
    "seed": ("", "each call draws one"),
}


def build(arguments: list[str]) -> int:
    values = parsed(_build_parser(), arguments)
    if values is None:
        return 0
    from ..tools import build as tool

    settings = tuple(values.pop("settings") or ())
    return tool.build(tool.BuildOptions(settings=settings, **values))


def _build_parser() -> Parser:
    parser = Parser(
        prog="dsldec build",
        description="Compile one step of a policy into a package (.pt2) that needs torch only, for any model with that vocabulary size. "
        "A package is native code, which runs with all rights of the process that loads it: load only packages from people you trust. "
        "It needs the torch version that built it or a later one, and a machine of the same kind.",
        epilog="exit status: 0 built, 1 errors in the policy, 2 wrong usage or no compiler, 130 interrupted",
    )
    add = parser.add_argument
    add("policy", metavar="NAME|FILE", help=POLICY)
    help = "the package to write, a name that ends in .pt2 (required); an existing file is replaced"
    add("-o", "--out", metavar="FILE", help=help)
    help = "size of the model's vocabulary (required): the last dimension of its logits"
    add("--vocab", type=count("--vocab"), metavar="V", help=help)
    help = "positions of a window (default: the size in the policy)"
    add("--window", type=count("--window"), metavar="T", help=help)
    add("--batch", type=count("--batch"), default=1, metavar="B", help="rows of a step (default: 1)")
    help = f"of the logits: {', '.join(DTYPES)} (default: float32)"
    add("--dtype", default="float32", metavar="NAME", help=help)
    help = "cpu or cuda, which is not measured on a GPU (default: cpu)"
    add("--device", default="cpu", metavar="NAME", help=help)
    help = "set a parameter: for good if it is static, else the default value in the package; may be repeated"
    add_set(parser, help)
    return parser


def export_hf(arguments: list[str]) -> int:
    values = parsed(_export_hf_parser(), arguments)
    if values is None:
        return 0
    from ..tools import export_hf as tool

    settings, load = tuple(values.pop("settings") or ()), taken(values, LoadOptions)
    decode = {name: value for name in DECODE_OF_GENERATE if (value := values.pop(name)) is not None}
    return tool.export_hf(tool.ExportOptions(settings=settings, load=load, decode=decode, **values))


def _export_hf_parser() -> Parser:
    parser = Parser(
        prog="dsldec export-hf",
        description="Write a policy into the folder of a Hugging Face model. If transformers loads the folder with trust_remote_code=True, "
        "`generate` decodes under the policy; `transformers serve FOLDER --trust-remote-code` serves with it. Nothing is written "
        "through a link: a linked file is replaced, and a snapshot in the cache of Hugging Face is refused (copy it: `cp -rL`).",
        epilog="exit status: 0 written, 1 errors in the policy, 2 wrong usage or no model that can be decoded",
    )
    help = "the folder of the model, where files are written; dsldec:equations is copied to ./dsldec-equations first"
    parser.add_argument("folder", metavar="FOLDER", help=help)
    parser.add_argument("policy", metavar="NAME|FILE", help=POLICY)
    add_set(parser)
    for name in DECODE_OF_GENERATE:
        help, default = OF_GENERATE.get(name, ("", ""))
        add_option(parser, DECODE[name], help=help, default=default, unset=True)
    add_reading(parser)
    parser.add_argument("--force", action="store_true", help="replace existing files")
    return parser
