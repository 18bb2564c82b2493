"""The numbers of a policy for one length: its facts, bound to its parameter values.

`Facts` name parameters where a number depends on them; a `Plan` has the numbers. Not here: proofs (`checks`),
the compiled step (`backends`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .checks.facts import Facts
from .checks.values import Value, int_of
from .shown_in_notebooks import ShownInNotebooks


@dataclass(frozen=True, slots=True)
class Plan(ShownInNotebooks):
    """The numbers of a policy for `gen_length` positions. Made by `policy.plan`.

    Attributes:
        gen_length: Positions to generate, of one row.
        window: The shape of a window: `all`, `blocks`, `sliding` or `until`.
        window_size: Positions of a full window; `None` for `all`.
        window_parameter: The parameter that sizes the window, if one does.
        block_length: Positions of a full window, at most `gen_length`.
        max_masks: The most masks in a sliding window; 1 for other shapes.
        floor_per_step: The least positions that a step commits while the window has enough masks; 0 if a step
            may commit none.
        drafts: Drafts verified in one forward, with the next step; 1 drafts nothing.
        branches: Candidates that a step makes; 1 without `branch`.
        rows_per_forward: The most rows that one row of the batch adds to a forward: drafts or candidates,
            twice with guidance.
        guidance: The scale of classifier-free guidance; `None` for a policy without.
        max_forwards: The proved bound on the forwards of one row.
        caches: The KV caches that the policy may use.
        deterministic: Whether nothing is drawn at random.
        revises: Whether a step may revoke or edit a committed position.
        noise: Whether the denoiser sees random ids at positions that are not written, and not MASK.
    """

    gen_length: int
    window: str
    window_size: int | None
    window_parameter: str | None
    block_length: int
    max_masks: int
    floor_per_step: int
    drafts: int
    branches: int
    rows_per_forward: int
    guidance: float | None
    max_forwards: int
    caches: tuple[str, ...]
    deterministic: bool
    revises: bool
    noise: bool
    _facts: Facts = field(repr=False, compare=False)
    _parameters: Mapping[str, Value] = field(repr=False, compare=False)

    def max_forwards_of(self, length: int, given_inside: bool = False) -> int:
        """The proved bound on the forwards of a row of another length.

        `given_inside`: some of its positions hold text from the start, so that a window may have fewer masks.
        """
        return self._facts.forwards_bound(length, self._parameters, given_inside)

    def max_forwards_of_block(self, positions: int) -> int:
        """The proved bound on the forwards of a block of whole windows, in a host that shows one block at a
        time. Some of its positions may hold text from the start.
        """
        return self._facts.forwards_bound_of_block(positions, self.gen_length, self._parameters)

    def kept_bytes(self, vocab_size: int) -> int:
        """Bytes for each position of the distributions that the policy stores between steps."""
        return self._facts.kept_bytes(vocab_size, self._parameters)


def plan_of(
    facts: Facts, parameters: Mapping[str, Value], gen_length: int, drafts: int | None = None
) -> Plan:
    """The plan under these parameter values. `drafts` replaces the policy's number of drafts."""
    block_length = facts.block_length(gen_length, parameters)
    floor = facts.floor_per_step
    drafts = facts.lookahead(parameters) if drafts is None else drafts
    return Plan(
        gen_length=gen_length,
        window=facts.window,
        window_size=int_of(facts.window_size, parameters),
        window_parameter=facts.window_size if isinstance(facts.window_size, str) else None,
        block_length=block_length,
        max_masks=int_of(facts.window_masks, parameters) or 1,
        floor_per_step=block_length if floor == "all" else int_of(floor, parameters) or 0,
        drafts=drafts,
        branches=facts.candidates(parameters),
        rows_per_forward=drafts * facts.candidates(parameters) * facts.rows_per_draft,
        guidance=facts.guidance(parameters),
        max_forwards=facts.forwards_bound(gen_length, parameters),
        caches=facts.caches,
        deterministic=facts.deterministic,
        revises=facts.revises,
        noise=facts.noise,
        _facts=facts,
        _parameters=parameters,
    )
