"""Which pattern has each request, and can its text match it?

Not here: the automaton of a pattern (`prepared_patterns`), the step that follows it (`backends`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from ..diagnostics import Diagnostic, UsageError
from ..patterns import Pattern
from ..policy import Policy
from .prepared_patterns import PreparedPattern, prepared
from .prompt_options import PromptOptions
from .request_patterns import require_pattern
from .requests import Request
from .rows import Row

MOST_LINES = 3  # of facts


def patterns_of(policy: Policy, each: Sequence[PromptOptions]) -> tuple[Policy, list[Pattern | None]]:
    """The policy, which follows patterns if a prompt has one, and the pattern of each prompt: its own, or
    that of the policy's parameter. Raises `UsageError` (E0490 to E0494) for the parameter's value.
    """
    name = policy.constrains
    value = None if name is None else policy.parameters[name]
    of_policy = None if value is None else Pattern.of(value)
    found = [of_policy if one.constrain is None else one.constrain for one in each]
    return (policy.constrained() if any(found) else policy), found


def with_patterns(
    policy: Policy,
    requests: Sequence[Request],
    found: Sequence[Pattern | None],
    each: Sequence[PromptOptions],
    denoiser: Any,
    *,
    alone: bool = False,
) -> tuple[list[Request], list[Row]]:
    """The requests with the automata of their patterns, and a row with the reason for each other one: its
    pattern cannot be prepared, or no match has its length. `found`, `each`: the pattern and the options of
    each prompt, whose samples are side by side in `requests`.

    Raises `UsageError` (E0321, E0490 to E0498) if no request is left, unless each prompt fails `alone`.
    """
    made: dict[Pattern, PreparedPattern | Diagnostic] = {}
    left: list[Request] = []
    refused: list[Row] = []
    owners = (owner for owner, own in enumerate(each) for _ in own.samples)
    for request, owner in zip(requests, owners, strict=True):
        pattern = found[owner]
        if pattern is None:
            left.append(request)
            continue
        if pattern not in made:
            try:
                made[pattern] = prepared(pattern, denoiser, request.infills)
            except UsageError as wrong:
                made[pattern] = wrong.diagnostic
        one = made[pattern]
        if isinstance(one, Diagnostic):
            refused.append(_refused(request, one, denoiser.mask_id))
            continue
        try:
            constrained = replace(request, pattern=one.automaton)
            require_pattern(policy, constrained, denoiser.vocab_size, denoiser.mask_id)
            left.append(constrained)
        except UsageError as wrong:
            refused.append(_refused(request, wrong.diagnostic, denoiser.mask_id))
    if refused and not left and not alone:
        assert refused[0].error is not None
        raise UsageError(refused[0].error)
    return left, refused


def facts_of(policy: Policy, each: Sequence[PromptOptions], denoiser: Any, infill: bool) -> list[str]:
    """A line about each different pattern of these prompts, at most `MOST_LINES`. A wrong pattern has none:
    its requests get the reason.
    """
    lines: list[str] = []
    different = list(dict.fromkeys(one for one in patterns_of(policy, each)[1] if one is not None))
    for pattern in different[:MOST_LINES]:
        with suppress(UsageError):
            lines.append(str(prepared(pattern, denoiser, infill)))
    more = len(different) - MOST_LINES
    return [*lines, f"and {more} more patterns"] if more > 0 else lines


def _refused(request: Request, problem: Diagnostic, mask_id: int) -> Row:
    """The row of a request that is not decoded."""
    ids = torch.tensor(request.canvas(mask_id), dtype=torch.int64)
    return Row(
        request.index,
        request.begin,
        ids,
        error=problem,
        finish_reason="error",
        sample=request.sample,
        stop_ids=request.stop_ids,
    )
