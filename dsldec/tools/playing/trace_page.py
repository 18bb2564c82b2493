"""The data of the trace view for one decoded prompt.

Not here: the data of a run (`viewing.page_data`), how the view is drawn (`viewing/assets`).
"""

from __future__ import annotations

from typing import Any

from ...trajectory import Trajectory
from ..viewing.page_data import ViewedRun, page_data


def trace_page(trajectory: Trajectory, name: str, prompt: str) -> dict[str, Any]:
    """The data that `dsldecTraceView.mount` takes. `name`: of the policy."""
    return page_data([ViewedRun(name, trajectory, prompt)])
