"""Which hosts can run a policy, and with which options?

Not here: the rule for hosts that show one block at a time (`runtime.block_host`).
"""

from __future__ import annotations

from ...policy import Policy
from ...runtime.block_host import for_blocks, why_not_by_block
from ..target import BLOCKS


def hosts_of(policy: Policy) -> dict[str, object]:
    """The hosts of a policy with its parameter values.

    `decode`: `dsldec run` and everything else that calls `decode`: batches on Ray, lm-evaluation-harness, and
    `generate` of transformers. `drafts`: whether drafts are possible there, with `lookahead` or in the policy
    itself. `sglang`: the models of SGLang whose blocks the policy can decode, each with the number of
    positions of its block. `diffusion_gemma`: whether a model without MASK can use it. `caches`: the KV
    caches that it may use.
    """
    blocks = {
        model: size
        for model, size in BLOCKS.items()
        if why_not_by_block(for_blocks(policy, size), size) is None
    }
    return {
        "decode": True,
        "transformers": True,
        "drafts": policy.facts.branches is None,
        "sglang": blocks,
        "diffusion_gemma": policy.facts.noise,
        "caches": list(policy.facts.caches),
    }
