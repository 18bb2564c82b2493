"""What do the verbs take that read policies and ask no model: `check`, `fmt`, `test`, `explain`, `show`?

Not here: what they do (`tools`), what may stand for a value (`values`).
"""

from __future__ import annotations

from .arguments import Parser, parsed
from .values import count, output_format


def check(arguments: list[str]) -> int:
    values = parsed(_check_parser(), arguments)
    if values is None:
        return 0
    from ..tools import check as tool

    return tool.check(values["policies"], as_json=values["format"] == "json")


def _check_parser() -> Parser:
    parser = Parser(
        prog="dsldec check",
        description="Check policies: every mistake with its place and what to type.",
        epilog="exit status: 0 clean or warnings only, 1 errors, 2 wrong usage",
    )
    parser.add_argument(
        "policies", nargs="+", metavar="NAME|FILE", help="a .policy file, or a shipped policy's name"
    )
    parser.add_argument(
        "--format",
        type=output_format,
        default="human",
        metavar="human|json",
        help="json: one object on standard output (default: human)",
    )
    return parser


def fmt(arguments: list[str]) -> int:
    values = parsed(_fmt_parser(), arguments)
    if values is None:
        return 0
    from ..tools import fmt as tool

    return tool.fmt(values["files"], check=values["check"], diff=values["diff"])


def _fmt_parser() -> Parser:
    parser = Parser(
        prog="dsldec fmt",
        description="Format policies: spaces, brackets, line breaks and blank lines. Comments stay.",
        epilog="exit status: 0 done, 1 errors in a policy or, with --check, a policy in another form, 2 wrong usage",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a .policy file, a folder of them, or `-` for standard input to output",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; print the names of files in another form, and fail if there are any",
    )
    parser.add_argument("--diff", action="store_true", help="write nothing; print what would change")
    return parser


def test(arguments: list[str]) -> int:
    values = parsed(_test_parser(), arguments)
    if values is None:
        return 0
    from ..tools import test as tool

    return tool.test(values["names"], as_json=values["format"] == "json")


def _test_parser() -> Parser:
    parser = Parser(
        prog="dsldec test",
        description="Run cases: observations, forward by forward, and the expected writes. The cases of x.policy are in x.cases.",
        epilog="exit status: 0 all pass, 1 a case fails or a file has errors, 2 wrong usage",
    )
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME|FILE",
        help="a .policy file, its .cases file, or a shipped policy's name",
    )
    parser.add_argument(
        "--format",
        type=output_format,
        default="human",
        metavar="human|json",
        help="json: one object on standard output (default: human)",
    )
    return parser


def explain(arguments: list[str]) -> int:
    values = parsed(_explain_parser(), arguments)
    if values is None:
        return 0
    from ..tools import explain as tool

    return tool.explain(values["subject"], values["gen_length"], tuple(values["settings"] or ()))


def _explain_parser() -> Parser:
    parser = Parser(
        prog="dsldec explain",
        description="Explain a policy (what it does, what was proved) or a diagnostic's code (a bad and a good policy).",
    )
    parser.add_argument(
        "subject",
        metavar="CODE|NAME|FILE",
        help="a code like E0301, a shipped policy's name or a .policy file",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        metavar="NAME=VALUE",
        help="set a parameter of the policy; may be repeated",
    )
    parser.add_argument(
        "--gen-length",
        type=count("--gen-length"),
        metavar="N",
        help="tokens to generate, for the bound (default: 256)",
    )
    return parser


def show(arguments: list[str]) -> int:
    values = parsed(_show_parser(), arguments)
    if values is None:
        return 0
    from ..tools import show as tool

    return tool.show(values["policy"], values["stage"], tuple(values["settings"] or ()))


def _show_parser() -> Parser:
    parser = Parser(
        prog="dsldec show",
        description="Print a policy after a stage, as text that is the same from run to run.",
    )
    parser.add_argument("policy", metavar="NAME|FILE", help="a shipped policy's name or a .policy file")
    parser.add_argument(
        "--stage",
        required=True,
        metavar="STAGE",
        help="text (as it was written), tree, facts, ir (the operations of a step) or torch (their graph)",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        metavar="NAME=VALUE",
        help="set a parameter of the policy; may be repeated",
    )
    return parser
