"""`dsldec view`: writes the page of a trace, or of two traces of the same prompt, and opens it.

Not here: the arguments (`cli`), the page (`page`).
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import quoted_path
from ..writing import put
from .chosen_trace import titled, trace_beside, trace_of
from .opened_page import on_a_desktop, open_page
from .page import page_of
from .page_data import ViewedRun
from .page_file import default_name, require_page_place

WRITTEN = 0
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """The arguments of the command line. None: not given."""

    trace: str
    id: str | None = None
    sample: int | None = None
    against: str | None = None
    out: str | None = None
    opens: bool = True


def view(options: ViewOptions) -> int:
    """Write the page; returns the exit status. Raises `UsageError`."""
    name = options.out or default_name(options.trace)
    require_page_place(name, "--out")
    first = trace_of(options.trace, options.id, options.sample)
    traces = [(options.trace, first)]
    if options.against is not None:
        other = trace_beside(options.against, first, options.id, options.sample)
        traces.append((options.against, other))
    runs = titled(traces)
    text = page_of(runs)
    put(name, text)
    print(_line(name, runs, text))
    if options.opens and on_a_desktop():
        open_page(name)
    return WRITTEN


def _line(name: str, runs: list[ViewedRun], text: str) -> str:
    steps = " and ".join(f"{len(run.trajectory.steps)} steps of {run.title}" for run in runs)
    return f"{quoted_path(name)} written, {len(text) / MEGABYTE:.2f} MB: {steps}"
