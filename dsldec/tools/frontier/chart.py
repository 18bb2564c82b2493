"""The picture of a frontier: a specification of Vega-Lite, and the SVG that vl-convert makes of it.

Titles are values of the data, never a part of an expression. Not here: the page around the picture (`page`).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from .points import Frontier, Point

WIDTH, HEIGHT = 800, 500
LOG_FROM = 6.0  # a longer span of forwards, as a ratio, has a logarithmic axis
# Colours that stay apart for most kinds of colour blindness, each with a shape: a policy never has a colour
# alone.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#8c510a", "#5e3c99", "#b2182b",
    "#1b7837", "#4d4d4d",
)  # fmt: skip
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
SHOWN = {
    "setting": "setting", "right": "right", "interval": "95 %", "forwards": "forwards",
    "tokens/forward": "tokens/forward", "tokens/s": "tokens/s", "prompts": "prompts", "front": "on the front",
}  # fmt: skip


def chart_of(frontier: Frontier, title: str, subtitle: str, *, interactive: bool) -> dict[str, Any]:
    """The specification. `interactive`: tooltips, zoom, and a legend that selects policies."""
    known = [one for one in frontier.points if one.forwards is not None and one.forwards > 0]
    names = list(dict.fromkeys(one.curve for one in known))
    policy = {
        "field": "policy", "type": "nominal", "sort": None, "title": "policy",
        "legend": {"labelLimit": 220, "symbolOpacity": 1, "labelFontSize": 12, "titleFontSize": 12},
    }  # fmt: skip
    colour = policy | {"scale": {"domain": names, "range": _repeated(COLOURS, len(names))}}
    shape = policy | {"scale": {"domain": names, "range": _repeated(SHAPES, len(names))}}
    x, y = _axes(known)
    marks: list[dict[str, Any]] = [
        _front_layer(x, y),
        {"mark": {"type": "rule", "opacity": 0.35}, "encoding": {
            "x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": colour}},
        {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": {
            "x": x, "y": y, "color": colour, "detail": {"field": "policy"}, "order": {"field": "forwards"}}},
        {"mark": {"type": "point", "filled": True, "size": 80, "opacity": 1}, "encoding": {
            "x": x, "y": y, "color": colour, "shape": shape}},
        {"transform": [{"filter": "datum.on_front"}],
         "mark": {"type": "point", "filled": False, "size": 260, "strokeWidth": 1.6, "shape": "circle", "opacity": 1},
         "encoding": {"x": x, "y": y, "color": {"value": "#808080"}}},
    ]  # fmt: skip
    if interactive:
        _make_interactive(marks)
    return {
        "description": description_of(frontier, title),
        "title": {"text": title, "subtitle": subtitle, "anchor": "start", "fontSize": 15, "subtitleFontSize": 12},
        "width": WIDTH, "height": HEIGHT, "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": [_record(one) for one in known]},
        "layer": marks,
        "config": {"font": "sans-serif", "axis": {"labelFontSize": 12, "titleFontSize": 13, "gridOpacity": 0.5}},
    }  # fmt: skip


def svg_of(frontier: Frontier, title: str, subtitle: str) -> str:
    """The picture as SVG, on white, 800 wide."""
    import vl_convert

    chart = chart_of(frontier, title, subtitle, interactive=False) | {"background": "white"}
    chart["config"] = chart["config"] | {"aria": False}  # a name for each of a hundred marks helps nobody
    svg: str = vl_convert.vegalite_to_svg(chart)
    start, end, rest = svg.partition(">")
    return f'{start} role="img"{end}<title>{escape(description_of(frontier, title))}</title>{rest}\n'


def description_of(frontier: Frontier, title: str) -> str:
    """The picture in words, for readers who do not see it."""
    front = [one for one in frontier.points if one.on_front and one.forwards is not None]
    ordered = sorted(front, key=lambda one: one.forwards or 0.0)
    best = "; ".join(
        f"{one.title}: {one.accuracy:.3f} right in {one.forwards:.1f} forwards" for one in ordered
    )
    points = f"{len(frontier.points)} settings of {len(frontier.curves)} policies"
    return f"{title}: share of right answers against forwards a prompt, {points}. On the front are {best}."


def _record(one: Point) -> dict[str, Any]:
    return {
        "policy": one.curve, "accuracy": one.accuracy, "low": one.interval[0], "high": one.interval[1],
        "setting": one.title, "right": f"{one.accuracy:.3f}",
        "interval": f"{one.interval[0]:.3f} to {one.interval[1]:.3f}", "forwards": round(one.forwards or 0.0, 3),
        "tokens/forward": f"{one.tokens_per_forward:.2f}", "tokens/s": f"{one.tokens_per_second:.0f}",
        "prompts": one.prompts, "front": "yes" if one.on_front else "no", "on_front": one.on_front,
    }  # fmt: skip


def _axes(known: Sequence[Point]) -> tuple[dict[str, Any], dict[str, Any]]:
    forwards = [one.forwards or 1.0 for one in known] or [1.0]
    is_log = max(forwards) / min(forwards) >= LOG_FROM
    scale = (
        {"type": "log", "nice": False, "padding": 20}
        if is_log
        else {"zero": False, "nice": True, "padding": 12}
    )
    title = "forwards a prompt" + (" (log scale): fewer is faster" if is_log else ": fewer is faster")
    x = {"field": "forwards", "type": "quantitative", "scale": scale, "title": title}
    if is_log:
        x["axis"] = {"values": _ticks(min(forwards), max(forwards)), "format": "~g", "grid": True}
    y = {
        "field": "accuracy", "type": "quantitative", "scale": {"zero": False, "nice": True},
        "title": "right answers", "axis": {"format": ".0%"},
    }  # fmt: skip
    return x, y


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 3, 5, 10, ... from `low` to `high`."""
    every = [number * 10**power for power in range(7) for number in (1, 2, 3, 5, 7)]
    return [tick for tick in every if low * 0.9 <= tick <= high * 1.1]


def _front_layer(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    mark = {
        "type": "line",
        "interpolate": "step-after",
        "strokeWidth": 6,
        "opacity": 0.25,
        "color": "#808080",
    }
    encoding = {"x": x, "y": y, "order": {"field": "forwards"}}
    return {"transform": [{"filter": "datum.on_front"}], "mark": mark, "encoding": encoding}


def _make_interactive(marks: list[dict[str, Any]]) -> None:
    """A tooltip on each point, a legend that selects policies, and a wheel that zooms."""
    chosen = {"condition": {"param": "chosen", "value": 1}, "value": 0.08}
    for layer in marks[1:4]:
        layer["encoding"]["opacity"] = chosen
    points = marks[3]
    points["params"] = [
        {"name": "chosen", "select": {"type": "point", "fields": ["policy"]}, "bind": "legend"},
        {"name": "zoom", "select": "interval", "bind": "scales"},
    ]
    points["encoding"]["tooltip"] = [{"field": name, "title": title} for name, title in SHOWN.items()]


def _repeated(values: Sequence[str], count: int) -> list[str]:
    return [values[place % len(values)] for place in range(count)]
