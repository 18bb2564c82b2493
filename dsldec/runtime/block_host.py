"""Which policies can run in a host that shows one block of the canvas at a time?

Such a host is a serving engine for block-causal models. It gives the logits of one block, runs one forward
for each step, and goes to the next block when the step reports the block as done. Not here: the requests of a
host (`session`).
"""

from __future__ import annotations

from ..diagnostics import Diagnostic, PolicyError
from ..ir import protocol
from ..policy import Policy
from ..spelling import setting

SHAPES = {
    "all": "its window is the whole generation (`window all`)",
    "sliding": "its window slides, across the ends of blocks too (`window sliding`)",
    "until": "the policy decides where its windows end (`window until`)",
}


def why_not_by_block(
    policy: Policy, block_length: int | None = None, *, shows_noise: bool = False
) -> Diagnostic | None:
    """The reason (E0450) why a policy cannot run, with its parameter values, in a host that shows one block
    at a time; `None` if it can run. Its tokens are then those of `dsldec.decode` under two conditions: the
    host carries the state of a request from block to block, and the last block has no masks after the last
    position to generate.

    `block_length`: positions of the host's blocks, a multiple of the policy's; `None`: not checked.
    `shows_noise`: the host shows random ids where nothing is written.
    """
    plan = policy.plan(1)
    if plan.window in SHAPES:
        help = "write `window blocks(n)`, n the length of the host's blocks"
        return _refused(policy, SHAPES[plan.window], help)
    if plan.drafts > 1:
        help = "delete `lookahead`: the tokens stay the same where acceptance is exact"
        if isinstance(policy.facts.drafts, str):
            help = f"write {setting(policy.facts.drafts, 1)}: nothing is drafted then"
        return _refused(policy, "several drafts are verified in one forward (`lookahead`)", help)
    if plan.branches > 1:
        help = "delete `branch` and `pick by`"
        if isinstance(policy.facts.branches, str):
            help = f"write {setting(policy.facts.branches, 1)}: a step then makes one candidate"
        return _refused(policy, "a forward has a row for each candidate (`branch`)", help)
    if plan.guidance is not None:
        return _refused(
            policy, "every step needs a second forward, without the prompt (`cfg`)", "delete `cfg`"
        )
    if plan.noise and not shows_noise:
        why = (
            "the host shows MASK where nothing is written, and the policy shows random ids (`noise uniform`)"
        )
        return _refused(policy, why, "delete `noise uniform`, if the model has a MASK")
    window = plan.window_size or 1
    if block_length is not None and block_length % window:
        why = f"its blocks have {window} positions, and the host's {block_length} are no multiple"
        help = f"write `window blocks({block_length})`"
        if plan.window_parameter is not None:
            help = f"write {setting(plan.window_parameter, block_length)}"
        return _refused(policy, why, help)
    return None


def for_blocks(policy: Policy, block_length: int) -> Policy:
    """The policy in windows of a host's block, where a parameter sizes its windows and takes this value; else
    the policy as it is.
    """
    name = policy.plan(1).window_parameter
    if name is None:
        return policy
    try:
        return policy.bind(**{name: block_length})
    except PolicyError:
        return policy


def carried_between_blocks(policy: Policy) -> tuple[str, ...]:
    """The fields of the state that a policy may read in one block as another block left them, sorted. A host
    can begin a policy without such fields at any block of a request.

    The state of a policy counts also where its scope is a block or a phase.
    """
    program = policy.program
    step = [i for i, one in enumerate(program.operations) if one.attribute == protocol.STEP]
    counts = program.next[protocol.STEP]
    reads_step = any(set(step) & set(one.inputs) for i, one in enumerate(program.operations) if i != counts)
    prefixes = (protocol.STATE_PREFIX, protocol.BEFORE_PREFIX, protocol.DISTRIBUTION_PREFIX)
    return tuple(
        sorted(
            name
            for name in program.carried
            if name in (protocol.COMMITTED_BEFORE, protocol.EOS_BEFORE)
            or name.startswith(prefixes)
            or (name == protocol.STEP and reads_step)
        )
    )


def _refused(policy: Policy, why: str, help: str) -> Diagnostic:
    message = f"the policy `{policy.name}` cannot run in a host that shows one block at a time: {why}"
    return Diagnostic("E0450", message, help=help)
