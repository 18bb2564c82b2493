"""What do the verbs take that write a policy for use elsewhere: `build`, `export-hf`?

Not here: what they do (`tools`), what may stand for a value (`values`).
"""

from __future__ import annotations

from .arguments import Parser, parsed
from .model_options import add_reading
from .values import CACHES, count, drafts, one_of


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
        description="Compile one step of a policy into a package (.pt2) that runs with torch alone, for any model of that vocabulary. "
        "A package is native code and runs with the rights of the process that loads it: load only packages from people you trust. "
        "It runs under the torch that built it and later ones, on machines of the same kind.",
        epilog="exit status: 0 built, 1 errors in the policy, 2 wrong usage or no compiler, 130 interrupted",
    )
    parser.add_argument("policy", metavar="NAME|FILE", help="a shipped policy's name or a .policy file")
    add = parser.add_argument
    add(
        "-o",
        "--out",
        metavar="FILE",
        help="the package to write, a name that ends in .pt2 (required); one that exists is replaced",
    )
    add(
        "--vocab",
        type=count("--vocab"),
        metavar="V",
        help="size of the model's vocabulary (required): the last dimension of its logits",
    )
    add(
        "--window",
        type=count("--window"),
        metavar="T",
        help="positions of a step's window (default: the policy's own)",
    )
    add("--batch", type=count("--batch"), default=1, metavar="B", help="rows of a step (default: 1)")
    add(
        "--dtype",
        default="float32",
        metavar="NAME",
        help="of the logits: float32 (the default), bfloat16 or float16",
    )
    add("--device", default="cpu", metavar="NAME", help="cpu (the default) or cuda (not measured on a GPU)")
    add(
        "--set",
        dest="settings",
        action="append",
        metavar="NAME=VALUE",
        help="set a parameter: a static one is fixed in the package, another one gets this default; may be repeated",
    )
    return parser


def export_hf(arguments: list[str]) -> int:
    values = parsed(_export_hf_parser(), arguments)
    if values is None:
        return 0
    from ..tools import export_hf as tool

    settings = tuple(values.pop("settings") or ())
    return tool.export_hf(tool.ExportOptions(settings=settings, **values))


def _export_hf_parser() -> Parser:
    parser = Parser(
        prog="dsldec export-hf",
        description="Write a policy into the folder of a Hugging Face model: `generate` decodes under it wherever transformers loads the "
        "folder with trust_remote_code=True, and `transformers serve FOLDER --trust-remote-code` answers with it. Links are not "
        "followed: a link in the place of a file is replaced, and a snapshot in the cache of Hugging Face is an error (copy it: `cp -rL`).",
        epilog="exit status: 0 written, 1 errors in the policy, 2 wrong usage or no model that can be decoded",
    )
    parser.add_argument("folder", metavar="FOLDER", help="the model's folder, which is written to")
    parser.add_argument("policy", metavar="NAME|FILE", help="a shipped policy's name or a .policy file")
    add = parser.add_argument
    add(
        "--set",
        dest="settings",
        action="append",
        metavar="NAME=VALUE",
        help="set a parameter of the policy; may be repeated",
    )
    add(
        "--gen-length",
        type=count("--gen-length"),
        metavar="N",
        help="upper bound on the tokens to generate, whatever the caller of `generate` requests (default: none)",
    )
    add(
        "--lookahead",
        type=drafts,
        metavar="N",
        help="verify N drafts in a forward: the same answers in fewer forwards (default: no drafts)",
    )
    add(
        "--cache",
        type=one_of("--cache", CACHES),
        metavar="NAME",
        help=f"KV cache: one of {', '.join(CACHES)} (default: auto)",
    )
    add_reading(parser)
    add("--force", action="store_true", help="replace existing files")
    return parser
