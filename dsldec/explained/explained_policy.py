"""The policy of a run, as explanations need it: its text, its tree, and the operations of each expression.

Not here: the values of a step (`step_record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..checks import CheckedPolicy
from ..checks.values import Value
from ..ir.watched import WatchedProgram, watched
from ..policy import Policy
from ..source import Source


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedPolicy:
    """A policy under the parameter values of a run.

    `checked`: the tree, with function calls replaced by their bodies. `watched`: the program of a step, and
    the operations of each expression and statement. `parameters`: the values of the run, by name.
    """

    checked: CheckedPolicy
    watched: WatchedProgram
    parameters: Mapping[str, Value]

    @classmethod
    def of(cls, policy: Policy) -> ExplainedPolicy:
        """A policy that is bound to the values of a run. If a request constrains the text, this is
        `policy.constrained()`.
        """
        return cls(policy.checked, watched(policy.checked, policy.parameters), policy.parameters)

    @property
    def source(self) -> Source:
        """The text of the policy, with its name."""
        return self.checked.resolved.policy.span.source
