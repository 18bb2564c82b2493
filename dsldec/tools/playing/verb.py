"""`dsldec play`: start the server, print its address, open the page, and serve until Ctrl-C.

Not here: the arguments (`cli`), the answers (`playground`), how the page is opened (`opened_playground`).
"""

from __future__ import annotations

import errno
import re
import sys
from contextlib import ExitStack

from ...diagnostics import Diagnostic, UsageError
from ...models.embedded_names import PREFIX
from ...models.huggingface import from_pretrained
from ...policy import read
from ...resources import DEFAULT_MODEL
from ..process import termination_interrupts
from .opened_playground import opened
from .play_options import DEFAULT_PORT, PlayOptions
from .play_server import PlayServer
from .playground import Playground

DONE = 0
FIRST_POLICY = "threshold"
LINK = re.compile(r"(?:https?://[^#\s]*)?(#policy=[\w.-]+)", re.ASCII)


def play(options: PlayOptions) -> int:
    """Serve the playground until Ctrl-C or SIGTERM; return the exit status.

    Raises `UsageError` (E0575 for a port that cannot be used, E0577 for a link without a policy), and
    `PolicyError` for a policy that cannot be read. A policy with mistakes opens: the page shows them.
    """
    given = options.policy
    link = LINK.fullmatch(given or "")
    if given is not None and link is None and given.startswith(("http://", "https://", "#")):
        message = "the link has no policy"
        help = "copy the whole link, with `#policy=` and all after it, and put it between quotes"
        raise UsageError(Diagnostic("E0577", message, help=help))
    text = read(FIRST_POLICY if given is None or link else given)[0]
    with ExitStack() as ends:
        ends.enter_context(termination_interrupts())
        server = _server(options.port, Playground(from_pretrained(f"{PREFIX}{DEFAULT_MODEL}"), text))
        ends.callback(server.server_close)
        address = server.address + (link[1] if link else "")
        try:
            print(f"playground: {address} (Ctrl-C ends it)", flush=True)
            if options.open:
                ends.enter_context(opened(address))
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print("\nthe playground has ended", file=sys.stderr)
    return DONE


def _server(port: int | None, playground: Playground) -> PlayServer:
    """The server at a port; without a port, at the default one or at a free one."""
    try:
        return PlayServer(DEFAULT_PORT if port is None else port, playground)
    except OSError as failure:
        if port is None:
            return PlayServer(0, playground)
        in_use = failure.errno == errno.EADDRINUSE
        why = "another program uses it" if in_use else (failure.strerror or "no reason is given").lower()
        message = f"the port {port} cannot be used: {why}"
        raise UsageError(
            Diagnostic("E0575", message, help="leave `--port` out: a free one is taken")
        ) from None
