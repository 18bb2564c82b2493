"""The data of the trace view for one decoded prompt, beside a pinned run of the same prompt.

Not here: the data of a run (`viewing.page_data`), how the view is drawn (`viewing/assets`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..viewing.page_data import ViewedRun, page_data


def trace_page(run: ViewedRun, pinned: ViewedRun | None = None) -> dict[str, Any]:
    """The data that `dsldecTraceView.mount` takes. A pinned run of another prompt or length is left out."""
    if pinned is None or (pinned.prompt, pinned.trajectory.length) != (run.prompt, run.trajectory.length):
        return page_data([run])
    return page_data([replace(pinned, title=f"{pinned.title} (pinned)"), run])
