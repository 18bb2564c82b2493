"""The HTML of the values that a user evaluates in a notebook: policies, facts, results, explanations.

No script, no style sheet, colours of the notebook; text of models and users is data; the size has a bound.
Needs no torch. Not here: which classes show themselves (`shown_in_notebooks`), the page of a trace
(`tools.viewing`).
"""

from __future__ import annotations


def html_of(value: object) -> str | None:
    """The HTML of a value; `None` for a class without a view."""
    from ..checks.facts import Facts
    from ..diagnostics import Diagnostic, PolicyError, UsageError
    from ..explained.why import Why
    from ..plan import Plan
    from ..policy import Policy
    from ..trace_step import TraceStep
    from ..trajectory import Trajectory
    from . import diagnostic_view, facts_view, policy_view, trajectory_view, why_view

    match value:
        case Policy():
            return policy_view.policy_html(value)
        case Facts():
            return facts_view.facts_html(value)
        case Plan():
            return facts_view.plan_html(value)
        case Diagnostic():
            return diagnostic_view.diagnostics_html([value])
        case PolicyError():
            return diagnostic_view.diagnostics_html(value.diagnostics)
        case UsageError():
            return diagnostic_view.diagnostics_html([value.diagnostic])
        case Why():
            return why_view.why_html(value)
        case TraceStep():
            return trajectory_view.step_html(value)
        case Trajectory():
            return trajectory_view.trajectory_html(value)
    from ..runtime.decoded import Decoded  # it needs torch, which a caller with results has imported
    from . import decoded_view

    return decoded_view.decoded_html(value) if isinstance(value, Decoded) else None
