"""Which pattern has each request, and can its text match it?

Not here: the automaton of a pattern (`prepared_patterns`), the step that follows it (`backends`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..diagnostics import Diagnostic, UsageError
from ..patterns import Pattern
from ..patterns.automaton import DEAD, TokenAutomaton
from ..policy import Policy
from ..spelling import option, shown
from .prepared_patterns import PreparedPattern, prepared
from .prompt_options import PromptOptions
from .requests import Request
from .rows import Row


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
    requests: Sequence[Request],
    found: Sequence[Pattern | None],
    each: Sequence[PromptOptions],
    denoiser: Any,
) -> tuple[list[Request], list[Row]]:
    """The requests with the automata of their patterns, and a row with the reason for each other one: its
    pattern cannot be prepared, or no match has its length. `found`, `each`: the pattern and the options of
    each prompt, whose samples are side by side in `requests`.

    Raises `UsageError` (E0490 to E0498) if no request is left.
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
        problem = one if isinstance(one, Diagnostic) else _problem(request, one, denoiser, owner)
        if problem is None:
            assert isinstance(one, PreparedPattern)
            left.append(replace(request, pattern=one.automaton))
        else:
            refused.append(_refused(request, problem, denoiser.mask_id))
    if refused and not left:
        assert refused[0].error is not None
        raise UsageError(refused[0].error)
    return left, refused


def _problem(request: Request, made: PreparedPattern, denoiser: Any, owner: int) -> Diagnostic | None:
    """The diagnostic (E0497) about a request that no match fits."""
    automaton, mask_id = made.automaton, int(denoiser.mask_id)
    ends = getattr(denoiser, "eos_id", None) is not None and not request.infills and not request.gaps
    if ends and not request.infills:
        if made.shortest <= request.length:
            return None
        fits = made.shortest
    else:
        canvas = request.canvas(mask_id)[request.region]
        if fitting(automaton, [None if id_ == mask_id else id_ for id_ in canvas]):
            return None
        if request.infills:
            message = f"no match of the pattern {shown(made.pattern.text)} fits the gaps of prompt {owner}"
            help = "change the number of masks, `[MASK*8]`, or the text between them"
            return Diagnostic("E0497", message, help=help)
        lengths = range(request.length + 1, request.length + 2 * automaton.states)
        fits = next((length for length in lengths if fitting(automaton, [None] * length)), made.shortest)
    message = (
        f"no match of the pattern {shown(made.pattern.text)} has {request.length} tokens or fewer"
        if ends
        else f"no match of the pattern {shown(made.pattern.text)} has exactly {request.length} tokens, and the denoiser has no end of text"
    )
    return Diagnostic("E0497", f"prompt {owner}: {message}", help=f"generate {option('gen_length', fits)}")


def fitting(automaton: TokenAutomaton, ids: Sequence[int | None]) -> bool:
    """Whether a match has these ids; any id may stand at a `None`."""
    after = np.zeros((automaton.states, automaton.states), bool)  # by one id
    source, symbol = np.nonzero(automaton.next_state != DEAD)
    after[source, automaton.next_state[source, symbol]] = True
    now = np.zeros(automaton.states, bool)
    now[0] = True
    for id_ in ids:
        if id_ is None:
            now = after[now].any(axis=0)
        else:
            then = automaton.next_state[now, automaton.class_of[id_]]
            now = np.zeros_like(now)
            now[then[then != DEAD]] = True
    return bool((now & automaton.final).any())


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
