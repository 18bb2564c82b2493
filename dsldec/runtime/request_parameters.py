"""Which parameters may differ between requests, and in which shape does the step get them?

A step takes each parameter as one number `[]`, or as one number for each row `[B, 1]`. Not here: the checks
of a value (`policy.bind`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..backends.on_device import moved
from ..backends.step import parameter_tensors
from ..checks.values import Value, int_of
from ..diagnostics import Diagnostic, UsageError
from ..language.words import OF_THE_BATCH, Kind
from ..policy import Policy
from ..spelling import setting
from .prompt_options import PromptOptions
from .rows import Rows


def tensors_of_requests(policy: Policy, rows: Rows) -> dict[str, Tensor]:
    """The parameters that at least one request sets, `[B, 1]` each, with the policy's value in the other
    rows.
    """
    own, shared = [request.parameters or {} for request in rows.requests], policy.parameters
    tensors = {}
    for name in {name for values in own for name in values}:
        made: dict[Value, Tensor] = {}  # many rows have one value, and a batch often gets new rows
        for value in {values.get(name, shared[name]) for values in own}:
            made[value] = parameter_tensors(policy.program, shared | {name: value})[name]
        each = [made[values.get(name, shared[name])] for values in own]
        tensors[name] = moved(torch.stack(each).unsqueeze(1), rows.device)
    return tensors


def require_values(policy: Policy, each: Sequence[PromptOptions]) -> None:
    """Raise as `require_own` for the values of a prompt. Each different set of values is checked once."""
    different = {tuple(sorted(one.parameters.items())): one.parameters for one in each if one.parameters}
    for values in different.values():
        require_own(policy, values)


def values_beside(base: Policy, policy: Policy) -> dict[str, Value] | None:
    """The parameters of a policy that differ from those of `base`, where requests under both may share a
    batch of `base`; `None` where they may not: it is another program, or a parameter of all requests differs.
    """
    if base.program is not policy.program and str(base.program) != str(policy.program):
        return None
    values = {name: value for name, value in policy.parameters.items() if value != base.parameters[name]}
    if any(base.parameter_kinds[name] in (Kind.PATTERN, Kind.CHOICE) for name in values):
        return None
    try:
        require_own(base, values)
    except UsageError:
        return None
    return values


def require_one_row(policy: Policy) -> None:
    """Raise `UsageError` (E0450) for a policy whose steps make several candidates."""
    branches = policy.facts.branches
    if policy.plan(1).branches > 1:
        what = f"the policy `{policy.name}` makes several candidates (`branch`)"
        message = f"{what}, and a session shows one canvas of each request"
        help = "decode with `dsldec.decode`"
        if isinstance(branches, str):
            help += f", or make one candidate: {setting(branches, 1)}"
        raise UsageError(Diagnostic("E0450", message, help=help))


def require_own(policy: Policy, parameters: Mapping[str, Value]) -> None:
    """Raise `PolicyError` for parameters that the policy does not have (E0403) or that do not fit (E0402),
    and `UsageError` (E0450) for parameters that all rows of a batch share: sizes of the step, drafts,
    candidates, guidance, the masks of a sliding window, tables and networks.
    """
    kinds = policy.parameter_kinds
    # A request may name no file of this machine.
    policy.bind(**{name: value for name, value in parameters.items() if kinds.get(name) != "network"})
    shared = policy.parameters
    for name, value in parameters.items():
        if kinds[name] in OF_THE_BATCH or _of_the_batch(policy, shared) != _of_the_batch(
            policy, shared | {name: value}
        ):
            message = f"the parameter `{name}` is one for all requests of a batch"
            help = (
                f"bind it to the policy: `policy.bind({name}=...)`; other requests then need another session"
            )
            raise UsageError(Diagnostic("E0450", message, help=help))


def _of_the_batch(policy: Policy, parameters: Mapping[str, Value]) -> tuple[object, ...]:
    """The numbers that all rows of a batch share."""
    facts = policy.facts
    masks = int_of(facts.window_masks, parameters)
    drafts = (facts.lookahead(parameters), facts.candidates(parameters))
    static = [name for name in facts.static if name not in facts.networks]
    return ({name: parameters[name] for name in static}, masks, drafts, facts.guidance(parameters))
