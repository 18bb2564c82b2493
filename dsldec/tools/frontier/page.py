"""The page of a frontier: one HTML file with the interactive picture and the tables, without a network.

All text is escaped: names of files and policies come from outside. The specification is JSON in a script
element that no browser runs. Not here: the picture (`chart`), the cells of the tables (`figures_table`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .chart import description_of
from .figures_table import CURVE_HEAD, HEAD, curve_rows, notes_of, rows_of
from .points import Frontier

# Nothing is loaded and nothing is sent. Vega makes functions of its expressions.
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { border-bottom: 1px solid #8886; padding: .2rem .6rem; text-align: right; }
th:first-child, td:first-child { font-family: ui-monospace, monospace; text-align: left; }
tr.front td:first-child { font-weight: bold; }
.scroll { overflow-x: auto; }
#chart { width: 100%; overflow-x: auto; }
"""
SCRIPT = """
(() => {
  const chart = JSON.parse(document.getElementById("chart-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const actions = {export: true, source: false, compiled: false, editor: false};
  const draw = () => vegaEmbed("#chart", {...chart, background: null}, {
    actions, mode: "vega-lite", renderer: "svg", ...(dark.matches ? {theme: "dark"} : {}),
  });
  dark.addEventListener("change", draw);
  draw();
})();
"""


def page_of(frontier: Frontier, chart: dict[str, Any], title: str, subtitle: str) -> str:
    """The page. `chart`: the interactive specification."""
    import vl_convert

    described = description_of(frontier, title)
    fronts = [one.on_front for one in frontier.points]
    tables = [_table("settings", HEAD, rows_of(frontier.points), fronts)]
    if curves := list(curve_rows(frontier)):
        tables.append(_table("policies", CURVE_HEAD, curves, [False] * len(curves)))
    notes = "".join(f"<li>{escape(note)}</li>" for note in notes_of(frontier))
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p>{escape(subtitle)}. A click on a name in the legend shows its policy alone; the wheel zooms.</p>
<div id="chart" role="img" aria-label="{escape(described)}"></div>
{"".join(tables)}
<ul>{notes}</ul>
<script id="chart-data" type="application/json">{_in_script(chart)}</script>
<script>{bundle.replace("</script", "<" + chr(92) + "/script")}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _in_script(value: Any) -> str:
    """JSON without a character that could end the element around it."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], front: Sequence[bool]) -> str:
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = []
    for row, marked in zip(rows, front, strict=True):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        lines.append(f'<tr class="front">{cells}</tr>' if marked else f"<tr>{cells}</tr>")
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
    )
