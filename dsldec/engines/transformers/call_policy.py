"""Which policy decodes a call of `generate`? The folder's or function's, unless the call names another one.

`policy` and `parameters` are arguments of `generate`, and fields of a generation configuration. A
configuration may come from a request to a server. So it names only the default policy or a shipped one, and
no file. Not here: how the arguments reach the call (`generate_arguments`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...diagnostics import Diagnostic, UsageError, did_you_mean
from ...library import SHORT_LIST
from ...lru import LRUCache
from ...policy import Policy, load, shown_text
from ...resources import shipped_policies
from ...spelling import shown
from .added_arguments import AddedArguments
from .generate_arguments import GenerateCall

# The names, as arguments and as fields of a configuration.
POLICY, PARAMETERS = "policy", "parameters"
MOST_POLICIES = 8  # with their compiled steps; beyond this number the least recently used one is freed


class CallPolicies:
    """The policies of one custom `generate`: the default one, and the ones that calls name."""

    def __init__(self, default: Policy) -> None:
        self.default = default
        self._named: LRUCache[str, Policy] = LRUCache(MOST_POLICIES)

    def of(self, call: GenerateCall, added: AddedArguments) -> Policy:
        """The policy of a call. Raises `PolicyError` (E0401, E0402, E0403) and `UsageError` (E0401, E0409,
        E0448).
        """
        chosen = self._chosen(added.policy, call.value(POLICY))
        values = call.value(PARAMETERS) if added.parameters is None else added.parameters
        if not values:
            return chosen
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
            message = (
                f"`{PARAMETERS}` takes the values of the policy's parameters by name, not {shown(values)}"
            )
            raise UsageError(
                Diagnostic("E0409", message, help=f'for example `{PARAMETERS}={{"confidence": 0.8}}`')
            )
        networks = [name for name in values if chosen.parameter_kinds.get(name) == "network"]
        if networks and added.parameters is None:  # a configuration may come from a request
            message = f"a generation configuration cannot set the network `{networks[0]}`"
            help = 'bind it where the policy is loaded: `custom_generate(policy, planner="net.safetensors")`'
            raise UsageError(Diagnostic("E0450", message, help=help))
        return chosen.bound(values)

    def _chosen(self, given: Any, named: Any) -> Policy:
        if isinstance(given, Policy):
            return given
        if given is not None:
            return (
                self._named.get_or_make(str(given), lambda: load(given))
                if isinstance(given, str)
                else load(given)
            )
        if named is None or named == self.default.name:
            return self.default
        if not isinstance(named, str) or named not in shipped_policies():
            raise self._unknown(named)
        return self._named.get_or_make(named, lambda: load(named))

    def _unknown(self, named: Any) -> UsageError:
        known = sorted({self.default.name, *shipped_policies()})
        name = shown_text(named) if isinstance(named, str) else shown(named)
        close = did_you_mean(named.strip().lower(), known) if isinstance(named, str) else None
        help = (
            f"did you mean `{close}`?"
            if close
            else f"a request may name `{self.default.name}` and any shipped policy; {SHORT_LIST}"
        )
        message = f"a generation configuration cannot name the policy {name}"
        return UsageError(Diagnostic("E0401", message, help=help))
