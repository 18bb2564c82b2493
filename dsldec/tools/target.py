"""The output of `dsldec explain --target sglang`: can the engine run a policy, and with which settings?

Not here: the facts of the policy (`explain`), the rule itself (`runtime.block_host`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..diagnostics import Diagnostic, UsageError
from ..language.words import OF_THE_BATCH
from ..policy import Policy
from ..runtime.block_host import carried_between_blocks, for_blocks, why_not_by_block

TARGETS = ("sglang",)
# Positions of a block in SGLang 0.5.23, unless the server's configuration has another `block_size`.
BLOCKS = {"LLaDA2": 32, "SDAR": 4}


def lines(policy: Policy, chosen: frozenset[str]) -> Iterator[str]:
    """The explanation. `chosen`: the parameters that the user sets. Raises `UsageError` (E0450) for a policy
    that runs in blocks of no model.
    """
    hosted = {
        model: policy if policy.plan(1).window_parameter in chosen else for_blocks(policy, size)
        for model, size in BLOCKS.items()
    }
    refused = {model: why_not_by_block(one, BLOCKS[model]) for model, one in hosted.items()}
    whys = [why for why in refused.values() if why is not None]
    if len(whys) == len(refused):
        raise UsageError(whys[0])
    yield f"{policy.name}: SGLang can run it (`sglang serve --dllm-algorithm DslDec`)"
    yield ""
    for model, one in hosted.items():
        yield from _of_model(model, one, refused[model])
    yield ""
    carried = ", ".join(carried_between_blocks(policy)) or "nothing: every block begins alike"
    yield f"  carried from block to block of a request: {carried}"
    own = [name for name in policy.parameters if _of_request(policy, name)]
    yield f"  parameters that a request can set (`custom_params`): {', '.join(own) or 'none'}"
    yield "  its tokens are those of `dsldec run` with a block-causal model, except where two scores are equal"


def _of_model(model: str, policy: Policy, refused: Diagnostic | None) -> Iterator[str]:
    size = BLOCKS[model]
    if refused is not None:
        yield f"  blocks of {size} ({model}): no; {refused.message.partition(': ')[2]}"
        yield f"    help: {refused.help}"
        return
    name = policy.plan(1).window_parameter
    window = "" if name is None else f"; `{name}` is {policy.parameters[name]}"
    bound = policy.plan(size).max_forwards_of_block(size)
    yield f"  blocks of {size} ({model}): yes{window}; at most {bound} + 1 forwards for each block"


def _of_request(policy: Policy, name: str) -> bool:
    facts = policy.facts
    shared = (*facts.static, facts.drafts, facts.branches, facts.window_masks)
    return name not in shared and policy.parameter_kinds[name] not in OF_THE_BATCH
