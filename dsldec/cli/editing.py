"""The arguments of the verb for editors: `lsp`.

Not here: the language server (`tools.language_server`).
"""

from __future__ import annotations

from .arguments import Parser, parsed


def lsp(arguments: list[str]) -> int:
    if parsed(_lsp_parser(), arguments) is None:
        return 0
    from ..tools import language_server as tool

    return tool.lsp()


def _lsp_parser() -> Parser:
    parser = Parser(
        prog="dsldec lsp",
        description="Serve an editor: diagnostics while you type, hover, completion, rename, quick fixes. The editor starts this command and talks to it over standard input and output (the Language Server Protocol).",
        epilog="exit status: 0 the editor has ended the session, 1 it sent `exit` without `shutdown`, 2 wrong usage",
    )
    parser.add_argument(
        "--stdio", action="store_true", help="accepted, since some editors add it: it is the only way"
    )
    return parser
