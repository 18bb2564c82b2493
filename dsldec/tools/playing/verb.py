"""`dsldec play`: start the server, print its address, open the page, and serve until Ctrl-C.

Not here: the arguments (`cli`), the answers (`playground`).
"""

from __future__ import annotations

import errno
import os
import re
import sys
import webbrowser

from ...diagnostics import Diagnostic, UsageError
from ...models.embedded_names import PREFIX
from ...models.huggingface import from_pretrained
from ...policy import read
from ...resources import DEFAULT_MODEL
from .play_options import DEFAULT_PORT, PlayOptions
from .play_server import PlayServer
from .playground import Playground

DONE = 0
FIRST_POLICY = "threshold"
LINK = re.compile(r"https?://[^#\s]*(#policy=[\w.-]+)")


def play(options: PlayOptions) -> int:
    """Serve the playground until Ctrl-C; return the exit status.

    Raises `UsageError` (E0575 for a port that cannot be used), and `PolicyError` for a policy that cannot be
    read. A policy with mistakes opens: the page shows them.
    """
    link = LINK.fullmatch(options.policy or "")
    text = read(FIRST_POLICY if options.policy is None or link else options.policy)[0]
    denoiser = from_pretrained(f"{PREFIX}{DEFAULT_MODEL}")
    server = _server(options.port, Playground(denoiser, text))
    try:
        print(f"playground: {server.address} (Ctrl-C ends it)", flush=True)
        if options.open and _has_display():
            webbrowser.open(server.address + (link[1] if link else ""))
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        print("\nthe playground has ended", file=sys.stderr)
    finally:
        server.server_close()
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


def _has_display() -> bool:
    """Whether a browser has a place to open in."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
