"""The page of a trace inside an output of a notebook: in a frame that cannot reach the notebook.

Not here: the page (`tools.viewing`).
"""

from __future__ import annotations

from html import escape

from ..diagnostics import UsageError
from ..tools.viewing.page import page_of
from ..tools.viewing.page_data import ViewedRun
from ..trajectory import Trajectory
from .markup import paragraph, text, unfolded

LARGEST_PAGE = 1_500_000  # characters; a notebook stores each output
FRAME = "width:100%;height:46em;border:1px solid rgba(128,128,128,.4)"
SUMMARY = "Each step with its values: choose a step, choose a position"


def page_frame(trajectory: Trajectory, title: str) -> str:
    """The page of a trajectory with recorded values, to be unfolded. Without values there is none."""
    if not trajectory.recorded:
        return ""
    try:
        html = page_of([ViewedRun(title, trajectory)])
    except UsageError as failure:  # E0573: the trace is too large for a page
        return paragraph(f"{text(failure.diagnostic.message)} ({text(failure.diagnostic.help)})", soft=True)
    if len(html) > LARGEST_PAGE:
        size = f"The page with each step's values has {len(html) / 1e6:.1f} MB, too much for a notebook."
        return paragraph(
            f"{size} <code>dsldec run --trace FILE --values</code> and <code>dsldec view FILE</code> write it."
        )
    frame = (
        f'<iframe title="{SUMMARY}" sandbox="allow-scripts" loading="lazy" style="{FRAME}" '
        f'srcdoc="{escape(html)}"></iframe>'
    )
    return unfolded(SUMMARY, frame)
