"""The data of the trace view for one decoded prompt.

Not here: how the view is drawn.
"""

from __future__ import annotations

from typing import Any

from ...models.denoiser import Denoiser
from ...trajectory import Trajectory


def trace_page(trajectory: Trajectory, denoiser: Denoiser, prompt: str) -> Any:
    """The data that `dsldecTraceView.mount` takes."""
    decode_text = getattr(denoiser, "decode_text", str)
    return {
        "steps": [
            {"phase": step.phase, "written": [[at, str(decode_text([id_]))] for at, id_ in step.ids.items()]}
            for step in trajectory.steps
        ]
    }
