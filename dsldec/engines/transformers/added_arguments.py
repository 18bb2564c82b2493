"""Which arguments does dsldec add to `generate`?

Not here: the arguments that `generate` has itself (`generate_arguments`), and where all of them are read
(`call_site`).
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch

from ...diagnostics import Diagnostic, UsageError
from ...policy import Policy


@dataclass(frozen=True, slots=True)
class AddedArguments:
    """The arguments of one call that are dsldec's.

    Attributes:
        seed: Seed of a policy that draws.
        generator: The source of the seed, unless one is given. Default: torch's own generator.
        policy, parameters: The policy of this call, and values of its parameters (`call_policy`).
        stop: Stop strings, as `dsldec.decode` takes them.
        constrain: A pattern, or one for each prompt, as `dsldec.decode` takes them.
    """

    seed: int | None = None
    generator: torch.Generator | None = None
    policy: Any = None
    parameters: Any = None
    stop: str | Sequence[str] | None = None
    constrain: Any = None

    @classmethod
    def taken(cls, arguments: MutableMapping[str, Any]) -> Self:
        """Takes them out of the arguments of a call."""
        return cls(**{one.name: arguments.pop(one.name, None) for one in fields(cls)})

    def seed_of(self, policy: Policy, default: int | None) -> int:
        """The seed of the call. A policy that draws takes it from a generator, like every sampler. Other
        policies do not advance the generator. Raises `UsageError` (E0409).
        """
        given = self.seed if self.seed is not None else default
        if given is not None or policy.facts.deterministic:
            return given or 0
        generator = self.generator
        if generator is not None and not isinstance(generator, torch.Generator):
            message = f"`generator` takes a `torch.Generator`, not `{type(generator).__name__}`"
            raise UsageError(
                Diagnostic("E0409", message, help="`generator=torch.Generator().manual_seed(7)`, or `seed=7`")
            )
        device = "cpu" if generator is None else generator.device
        return int(torch.randint(-(2**63), 2**63 - 1, (), generator=generator, device=device))
