"""The options of `dsldec play`.

Not here: how the command line parses them (`cli.playing`).
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PORT = 8738


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """`policy`: a shipped policy, a file, or a shared link; `None` for the default policy. `port`: `None` for
    the default port, or a free one if that is in use; 0 for a free one. `open`: open the page in the browser.
    """

    policy: str | None = None
    port: int | None = None
    open: bool = True
