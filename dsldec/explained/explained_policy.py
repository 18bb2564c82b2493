"""The policy of a run, as explanations need it: its text, its tree, and the operations of each expression.

Not here: the values of a step (`step_record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..checks import CheckedPolicy
from ..checks.values import Value
from ..ir.watched import WatchedProgram, watched
from ..lru import LRUCache
from ..policy import Policy, check
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
        return _OF.get_or_make(
            policy, lambda: cls(policy.checked, watched(policy.checked, policy.parameters), policy.parameters)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """As text: the copies of a run in another process share one policy."""
        return _rebuilt, (self.source.text, self.source.name, dict(self.parameters))

    @property
    def source(self) -> Source:
        """The text of the policy, with its name."""
        return self.checked.resolved.policy.span.source


# The batches of a run share one.
_OF: LRUCache[Policy, ExplainedPolicy] = LRUCache(8)
_REBUILT: LRUCache[tuple[object, ...], ExplainedPolicy] = LRUCache(8)


def _rebuilt(text: str, name: str, parameters: Mapping[str, Value]) -> ExplainedPolicy:
    """A policy from its text, which has no mistake."""
    choices = {name: value for name, value in parameters.items() if isinstance(value, str)}

    def make() -> ExplainedPolicy:
        policy, diagnostics = check(text, name)
        assert policy is not None, diagnostics
        return ExplainedPolicy(policy.checked, watched(policy.checked, parameters), parameters)

    made = _REBUILT.get_or_make((text, name, *choices.items()), make)
    return replace(made, parameters=parameters)
