"""Which policy does a server run, and with which parameters, block length, seed and backend?

The server reads a YAML file and gives a mapping; here its keys and values are checked, when the server
starts. The parameters of one request are checked when it arrives. Not here: the steps (`hosted_blocks`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ...checks.values import Value
from ...diagnostics import Diagnostic, PolicyError, UsageError, did_you_mean
from ...options import is_whole
from ...policy import Policy, load
from ...runtime.block_host import for_blocks, why_not_by_block
from ...runtime.request_parameters import require_own
from ...spelling import shown

BACKENDS = ("eager", "inductor")
EXAMPLES = {
    "policy": "policy: threshold",
    "parameters": "parameters: {confidence: 0.8}",
    "block_size": "block_size: 32",
    "seed": "seed: 7",
    "backend": "backend: eager",
}
# SGLang's own entries of `custom_params`.
OF_THE_ENGINE = frozenset({"thinking_budget"})


@dataclass(frozen=True, slots=True)
class ServedPolicy:
    """The policy of a server, bound to its parameters, in windows that fit the engine's blocks."""

    policy: Policy
    block_length: int
    seed: int = 0
    backend: str = "eager"

    @classmethod
    def of(cls, config: Mapping[str, Any], block_length: int) -> ServedPolicy:
        """The policy of a configuration (`EXAMPLES`), for blocks of the engine's `block_length`.

        Raises `PolicyError` for a policy or parameters with a mistake, and `UsageError` for a wrong key or
        value (E0456), for a policy that the engine cannot run (E0450) and for a backend that cannot run here
        (E0404).
        """
        _require_keys(config)
        policy = _policy(config["policy"])
        own = _parameters(config.get("parameters") or {})
        _require_known(config, policy)
        if policy.constrains is not None:
            message = f"SGLang cannot run the policy `{policy.name}`: it has a pattern, `{policy.constrains}`, and SGLang shows one block at a time"
            help = "use a policy without `logits constrain(...)`, or `dsldec.decode(..., constrain=...)`"
            raise UsageError(Diagnostic("E0450", message, help=help))
        _require_whole("block_size", block_length, 1)
        seed, backend = config.get("seed", 0), config.get("backend", "eager")
        _require_whole("seed", seed)
        if backend not in BACKENDS:
            raise _wrong(f"`backend` is `eager` or `inductor`, not {shown(backend)}", EXAMPLES["backend"])
        policy = policy.bind(**own)
        if policy.plan(1).window_parameter not in own:
            policy = for_blocks(policy, block_length)
        if (refused := why_not_by_block(policy, block_length)) is not None:
            raise UsageError(refused)
        policy.compile(backend, mask_id=0)
        return cls(policy, block_length, seed, backend)

    def own_parameters(self, given: object) -> dict[str, Value]:
        """The parameters that a request sets for itself. Raises `PolicyError` (E0402, E0403) and `UsageError`
        (E0450, E0456).
        """
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            raise _wrong(f"`custom_params` is a mapping, not {shown(given)}", '{"confidence": 0.8}')
        values = {
            name: value
            for name, value in given.items()
            if not str(name).startswith("__") and name not in OF_THE_ENGINE
        }
        _parameters(values)
        try:
            require_own(self.policy, values)
        except UsageError as error:
            name, help = self._shared(values), error.diagnostic.help
            if name is not None:
                help = f"set it for the server, `parameters: {{{name}: {values[name]}}}`"
            raise UsageError(replace(error.diagnostic, help=help)) from None
        return {name: self.policy.bind(**{name: value}).parameters[name] for name, value in values.items()}

    def _shared(self, values: Mapping[str, Any]) -> str | None:
        """The parameter among these that is one for all requests."""
        for name, value in values.items():
            try:
                require_own(self.policy, {name: value})
            except UsageError:
                return name
        return None


class StartRefused(PolicyError, SystemExit):
    """A server is not started. Python prints the diagnostics and exits, without a traceback."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        super().__init__(diagnostics)
        self.code = str(self)


@contextmanager
def not_started(program: str) -> Iterator[None]:
    """Where the engine's own `program` is started, diagnostics inside become `StartRefused`. They stay as
    they are in other programs, which may start an engine too: a worker of Ray must not exit.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = os.path.basename(sys.argv[0]) if spec is None else spec.name.partition(".")[0]
    try:
        yield
    except (PolicyError, UsageError) as error:
        if name != program:
            raise
        found = [error.diagnostic] if isinstance(error, UsageError) else error.diagnostics
        raise StartRefused(found) from None


def _require_keys(config: Mapping[str, Any]) -> None:
    if not isinstance(config, Mapping) or "policy" not in config:
        unknown = [str(key) for key in config] if isinstance(config, Mapping) else []
        close = next((key for key in unknown if did_you_mean(key, ["policy"])), None)
        message = "the configuration names no policy"
        if close is not None:
            message += f", but has the key {shown(close)}"
        raise _wrong(message, EXAMPLES["policy"])


def _require_known(config: Mapping[str, Any], policy: Policy) -> None:
    for key, value in config.items():
        if key in EXAMPLES:
            continue
        if key in policy.parameters:
            message = f"`{key}` is a parameter of the policy `{policy.name}`, and no key of the configuration"
            raise _wrong(message, f"parameters: {{{key}: {value}}}")
        close = did_you_mean(str(key), EXAMPLES)
        known = ", ".join(f"`{name}`" for name in EXAMPLES)
        help = f"did you mean `{close}`?" if close else f"the keys are {known}"
        raise UsageError(Diagnostic("E0456", f"the configuration has no key {shown(key)}", help=help))


def _policy(given: object) -> Policy:
    if not isinstance(given, str):
        raise _wrong(f"`policy` is a name, a file or a text, not {shown(given)}", EXAMPLES["policy"])
    return load(given)


def _parameters(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise _wrong(
            f"`parameters` is a mapping of names to values, not {shown(given)}", EXAMPLES["parameters"]
        )
    return dict(given)


def _require_whole(name: str, value: object, least: int | None = None) -> None:
    if not is_whole(value) or (least is not None and int(value) < least):  # type: ignore[call-overload]
        of = "" if least is None else f" of {least} or more"
        raise _wrong(f"`{name}` is a whole number{of}, not {shown(value)}", EXAMPLES[name])


def _wrong(message: str, example: str) -> UsageError:
    return UsageError(Diagnostic("E0456", message, help=f"for example `{example}`"))
