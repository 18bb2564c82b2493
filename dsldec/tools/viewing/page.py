"""The page of a trace: one HTML file that opens from a disk and uses no network.

The data is compressed JSON in a script element that no browser runs. The security policy of the page allows
its one script and its one style, by their digests. Not here: the data (`page_data`), the drawing (`assets`).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from .page_data import ViewedRun, page_data
from .shown_text import shown_token

LEVEL = 6  # of the compression: 9 makes the page 3 % smaller, and takes longer
MARK = "<!-- written by dsldec view -->"
START = """
(() => {
  const root = document.getElementById("trace-view");
  const failed = (why) => { root.textContent = why; };
  if (typeof DecompressionStream === "undefined") {
    failed("This browser is too old for this page: it cannot unpack the data. Use a browser of 2024 or later.");
    return;
  }
  const packed = atob(document.getElementById("trace-data").textContent);
  const bytes = Uint8Array.from(packed, (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  new Response(stream).json().then(
    (data) => { window.dsldecView = dsldecTraceView.mount(root, data, {heading: 1, isPage: true}); },
    () => failed("The data of this page is damaged. Write the page again: dsldec view TRACE"),
  );
})();
"""


def page_of(runs: Sequence[ViewedRun], title: str | None = None) -> str:
    """The page of one run, or of two runs that step together. Raises as `page_data` does."""
    named = " and ".join(run.title for run in runs) if title is None else title
    return page_of_data(page_data(runs), f"{shown_token(named)}: steps of dsldec")


def page_of_data(data: dict[str, Any], title: str) -> str:
    """The page of data that `page_data` gave."""
    style, script = asset("trace_view.css"), asset("trace_view.js") + START
    rules = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
{MARK}
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{rules}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body class="dsldec-page">
<main id="trace-view"><noscript>This page needs JavaScript. It loads nothing from the network.</noscript></main>
<script id="trace-data" type="text/plain">{packed(data)}</script>
<script>{script}</script>
</body>
</html>
"""


def packed(data: dict[str, Any]) -> str:
    """The data as base64 of compressed JSON."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("ascii"), LEVEL, mtime=0)).decode("ascii")


@cache
def asset(name: str) -> str:
    """The text of a file of the package."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
