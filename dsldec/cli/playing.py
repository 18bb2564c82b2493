"""The arguments of `play`.

Not here: the work of the verb (`tools.playing`).
"""

from __future__ import annotations

from .arguments import Parser, parsed
from .values import count

EXAMPLES = """\
examples:
  dsldec play                              (the policy `threshold`)
  dsldec play mine.policy
  dsldec play 'http://127.0.0.1:8738/#policy=...'   (a link that somebody shared)

The page is for this machine and this user: the address has a random token. Nothing that the page does writes a file.
exit status: 0 ended by Ctrl-C, 1 the policy cannot be read, 2 wrong usage
"""


def play(arguments: list[str]) -> int:
    values = parsed(_play_parser(), arguments)
    if values is None:
        return 0
    from ..tools.playing import verb as tool
    from ..tools.playing.play_options import PlayOptions

    return tool.play(PlayOptions(**values))


def _play_parser() -> Parser:
    parser = Parser(
        prog="dsldec play",
        description="Open a page in the browser in which you write a policy, see its mistakes, and watch it decode with a small model inside dsldec.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    help = "the policy to begin with: the name of a shipped one, a .policy file, or a shared link (default: threshold)"
    add("policy", nargs="?", metavar="POLICY", help=help)
    help = "the port of 127.0.0.1 to serve at; 0 takes a free one (default: 8738, or a free one)"
    add("--port", type=count("--port", 65535, 0), metavar="N", help=help)
    help = "print the address, and open no browser"
    add("--no-open", dest="open", action="store_false", help=help)
    return parser
