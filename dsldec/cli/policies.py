"""The arguments of the verbs that need no model: `check`, `fmt`, `test`, `explain`, `show`.

Not here: the work of the verbs (`tools`), how a value is parsed (`values`).
"""

from __future__ import annotations

from .arguments import Parser, parsed
from .flags import POLICY, add_format, add_set
from .values import count, format_of, one_of, percent, text


def check(arguments: list[str]) -> int:
    values = parsed(_check_parser(), arguments)
    if values is None:
        return 0
    from ..tools import check as tool

    return tool.check(values["policies"], form=values["format"])


def _check_parser() -> Parser:
    parser = Parser(
        prog="dsldec check",
        description="Check policies: print every mistake with its place and its correction.",
        epilog="exit status: 0 clean or warnings only, 1 errors, 2 wrong usage",
    )
    parser.add_argument("policies", nargs="+", metavar="NAME|FILE", help=POLICY)
    help = "json, github (workflow commands, for annotations) or sarif (version 2.1.0) on standard output (default: human)"
    formats = ("human", "json", "github", "sarif")
    parser.add_argument(
        "--format", type=format_of(formats), default="human", metavar="|".join(formats), help=help
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
        epilog="exit status: 0 done, 1 errors in a policy or, with --check, an unformatted policy, 2 wrong usage",
    )
    help = "a .policy file, a folder of them, or `-` for standard input to output"
    parser.add_argument("files", nargs="+", metavar="FILE", help=help)
    help = "write nothing; print the names of unformatted files, and fail if there are any"
    parser.add_argument("--check", action="store_true", help=help)
    parser.add_argument("--diff", action="store_true", help="write nothing; print the changes")
    return parser


def test(arguments: list[str]) -> int:
    values = parsed(_test_parser(), arguments)
    if values is None:
        return 0
    from ..tools import test as tool

    how = {"coverage": values["coverage"], "threshold": values["threshold"]}
    return tool.test(values["names"], as_json=values["format"] == "json", **how)


def _test_parser() -> Parser:
    parser = Parser(
        prog="dsldec test",
        description="Run the cases of policies. A case lists observations for each forward, and the positions that the policy must commit. The cases of x.policy are in x.cases.",
        epilog="exit status: 0 all pass, 1 a case fails, a file has errors or a policy is below --threshold, 2 wrong usage",
    )
    help = "the name of a shipped policy, a .policy file, or its .cases file"
    parser.add_argument("names", nargs="+", metavar="NAME|FILE", help=help)
    help = "print the statements, branches, phases and limits that no case reaches, too"
    parser.add_argument("--coverage", action="store_true", help=help)
    help = "with --coverage: fail if the cases of a policy reach less than this percentage of its places"
    parser.add_argument("--threshold", type=percent("--threshold"), metavar="PERCENT", help=help)
    add_format(parser)
    return parser


def explain(arguments: list[str]) -> int:
    values = parsed(_explain_parser(), arguments)
    if values is None:
        return 0
    from ..tools import explain as tool

    settings = tuple(values["settings"] or ())
    if values["html"] is not None:
        from ..notebook.policy_page import write_policy_page

        return write_policy_page(
            values["html"], values["subject"], values["gen_length"], settings, values["target"]
        )
    return tool.explain(values["subject"], values["gen_length"], settings, values["target"])


def _explain_parser() -> Parser:
    parser = Parser(
        prog="dsldec explain",
        description="Explain a policy (its parameters and proved facts), a word of the language, or the code of a diagnostic.",
    )
    help = "the name of a shipped policy, a .policy file, a word like conf, or a code like E0301"
    parser.add_argument("subject", metavar="NAME|FILE|WORD|CODE", help=help)
    add_set(parser)
    help = "tokens to generate, for the bound on forwards (default: 256)"
    parser.add_argument("--gen-length", type=count("--gen-length"), metavar="N", help=help)
    help = "explain whether a serving engine can run the policy, and with which settings: sglang"
    parser.add_argument("--target", type=one_of("--target", ("sglang",)), metavar="ENGINE", help=help)
    help = "write the explanation of a policy as a page, with its text"
    parser.add_argument("--html", type=text("--html"), metavar="FILE", help=help)
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
        description="Print a stage of a policy's compilation. The text of a stage does not change from run to run.",
    )
    parser.add_argument("policy", metavar="NAME|FILE", help=POLICY)
    help = "text (the source), tree, facts, ir (the operations of a step) or torch (their graph)"
    parser.add_argument("--stage", required=True, metavar="STAGE", help=help)
    add_set(parser)
    return parser
