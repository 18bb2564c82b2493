"""Runs with patterns: random automata, policies of every kind, and denoisers that want something else.

Not here: what a run must give (`test_constrained`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import dsldec
from dsldec.patterns.automaton import TokenAutomaton
from dsldec.patterns.tables import tables_of
from dsldec.runtime import decode as decoding
from dsldec.runtime.decode import Decoded

from ..backends.automata import matches, random_automaton
from ..backends.policies import constrained, random_policy
from ..shipped import CORE
from ..toy import mix
from .families import MASK, VOCABULARY, ByRow, Ids

EOS = 4
MOODS = ("plain", "dull", "banning", "hostile")
CONSTRAINED = "  logits constrain(shape)\n"
OWN = (
    "policy first(shape: pattern):\n  window all\n" + CONSTRAINED + "  commit top(masked, 1, by=conf)\n",
    "policy many(shape: pattern):\n  window blocks(4)\n"
    + CONSTRAINED
    + "  commit masked and conf > 0.2 at least 2 by conf\n  finish when eos_closed\n",
    "policy redone(shape: pattern):\n  window blocks(5)\n"
    + CONSTRAINED
    + "  commit masked and conf > 0.1 at least 1 by conf\n"
    "  revoke committed and p(canvas) < 0.3 at most committed_now - 1 by -p(canvas)\n",
    "policy edits(shape: pattern):\n  window blocks(4)\n"
    + CONSTRAINED
    + "  commit masked as before(token) at least 2 by conf\n  commit top(masked, 1, by=margin)\n"
    "  edit committed as before(token) at most 2\n  stay at most 2 when edited_now > 0\n",
    "policy slides(shape: pattern):\n  window sliding(max_masks=3, max_length=6)\n"
    + CONSTRAINED
    + "  commit masked and conf > 0.3 at least 1 by conf\n"
    "  revoke committed and conf < 0.2 at most committed_before - 1 by doubt\n",
    "policy until_four(shape: pattern):\n  window until(4, 7, min=2, max=6)\n"
    + CONSTRAINED
    + "  commit top(masked, 2, by=-entropy)\n",
    "policy drawn(shape: pattern, warm: real = 0.8):\n  window blocks(6)\n  draw gumbel(warm)\n  logits ban(3, 4)\n"
    + CONSTRAINED
    + "  commit top(masked, 2, by=conf)\n",
    "policy nucleus(shape: pattern):\n  window blocks(4)\n"
    + CONSTRAINED
    + "  logits bias(5, 2)\n  draw nucleus(0.7, 0.5, 3)\n  fill when steps_in_window >= 1\n  commit top(masked, 1, by=conf)\n",
    "policy guided(shape: pattern):\n  window blocks(7)\n  logits cfg(0.5)\n"
    + CONSTRAINED
    + "  commit masked and conf > 0.4 at least 1 by conf\n",
)


class Moody(ByRow):
    """Random logits that depend on the canvas. `dull`: only two values; `banning`: most ids have no
    probability; `hostile`: nearly all probability is at the ids that no match contains.
    """

    def __init__(self, seed: int, mood: str, never: Sequence[int], eos_id: int | None) -> None:
        super().__init__()
        self.seed, self.mood, self.never, self.eos_id = seed, mood, [*never], eos_id

    def row(self, ids: Ids) -> Tensor:
        generator = torch.Generator().manual_seed(mix(self.seed, *ids) % 2**62)
        shape = (len(ids), VOCABULARY)
        if self.mood == "dull":
            return torch.randint(0, 2, shape, generator=generator).float()
        logits = 3 * torch.randn(shape, generator=generator)
        if self.mood == "banning":
            banned = torch.rand(shape, generator=generator) < 0.9
            banned[:, MASK] = False  # so the logits are finite
            logits = torch.where(banned, float("-inf"), logits)
        if self.mood == "hostile":
            logits[:, self.never] += 60
        return logits


@dataclass(frozen=True, slots=True)
class Trial:
    """One decoding with patterns; the same seed gives the same trial."""

    policy: dsldec.Policy
    denoiser: Moody
    prompts: list[list[int]]
    lengths: list[int]
    patterns: list[TokenAutomaton | None]
    infill: bool
    lookahead: int | None

    def run(self, *, alone: int | None = None, **how: Any) -> Decoded:
        """`alone`: only this prompt."""
        these = range(len(self.prompts)) if alone is None else [alone]
        lengths = {} if self.infill else {"gen_length": [self.lengths[at] for at in these]}
        given = {"backend": "eager", "lookahead": self.lookahead, "batch": 3, **lengths, **how}
        with patterns_of({n: self.patterns[at] for n, at in enumerate(these)}):
            return dsldec.decode(
                self.denoiser,
                [self.prompts[at] for at in these],
                self.policy,
                infill=self.infill,
                request_ids=list(these),
                **given,
            )

    def text(self, decoded: Decoded, at: int, of: int) -> list[int]:
        """The text of the prompt `of`, which is result `at`."""
        ids, prompt = decoded.ids[at].tolist(), self.prompts[of]
        if self.infill:
            masks = [place for place, id_ in enumerate(prompt) if id_ == MASK]
            return ids[masks[0] : masks[-1] + 1]
        return ids[len(prompt) :]


@contextmanager
def patterns_of(patterns: Mapping[int, TokenAutomaton | None]) -> Iterator[None]:
    """Each request gets the pattern of its prompt."""
    made = decoding._requests

    def with_pattern(*given: Any) -> Any:
        return [replace(one, pattern=patterns[one.index]) for one in made(*given)]

    decoding._requests = with_pattern
    try:
        yield
    finally:
        decoding._requests = made


def random_constrained(rng: random.Random) -> dsldec.Policy:
    """A policy with a pattern: a shipped one, one of `OWN`, or a random one."""
    pick = rng.random()
    if pick < 0.3:
        policy = dsldec.load(rng.choice(CORE))
        given = {
            "block": rng.choice((2, 5, 8)),
            "rounds": 2,
            "seeds": 3,
            "steps": 5,
            "confidence": rng.random(),
        }
        return policy.bind(
            **{name: of for name, of in given.items() if name in policy.parameters}
        ).constrained()
    if pick < 0.7:
        return dsldec.load(rng.choice(OWN))
    while True:
        with suppress(dsldec.PolicyError):  # one that need not end with a pattern: `commit ... as likeliest`
            return dsldec.load(constrained(random_policy(rng.randrange(10**6))[0]))


def random_trial(seed: int) -> Trial:
    rng = random.Random(f"constrained {seed}")
    policy, infill = random_constrained(rng), rng.random() < 0.25
    eos = rng.choice((EOS, EOS, None))
    prompts, lengths, patterns = [], [], list[TokenAutomaton | None]()
    never: set[int] = {MASK}
    while len(prompts) < rng.randint(1, 4):
        states = rng.choice((3, 6, 12))
        never_here = () if eos is None else (eos,)
        automaton = random_automaton(rng, VOCABULARY, MASK, rng.choice((eos, None)), states, never_here)
        length = rng.randint(1, 14)
        if infill:
            prompt = [MASK if rng.random() < 0.6 else rng.choice((*range(5, MASK), 4)) for _ in range(length)]
            prompt[0] = prompt[-1] = MASK
            given = prompt
        else:
            prompt = [rng.randrange(MASK) for _ in range(rng.randint(0, 5))]
            given = [MASK] * length
        if not tables_of(automaton, VOCABULARY, MASK).open_states(given, MASK)[0, 0]:
            continue
        prompts.append(prompt)
        lengths.append(length)
        patterns.append(automaton if rng.random() < 0.9 or not any(patterns) else None)
        never |= {id_ for id_ in range(VOCABULARY) if automaton.class_of[id_] == 0}
    may_draft = policy.facts.drafts is None and policy.facts.branches is None
    lookahead = rng.choice((None, None, 2, 4)) if may_draft else None
    moods = [mood for mood in MOODS if mood != "banning" or policy.facts.guided_by is None]  # -inf - -inf
    denoiser = Moody(seed, rng.choice(moods), sorted(never), eos)
    return Trial(policy, denoiser, prompts, lengths, patterns, infill, lookahead)


def assert_matches(trial: Trial, decoded: Decoded) -> None:
    """Every text matches its pattern, and no row has failed. The loop has compared the forwards with their
    bound.
    """
    assert not any(decoded.errors), decoded.errors
    for at, pattern in enumerate(trial.patterns):
        text = trial.text(decoded, at, at)
        assert MASK not in text
        assert pattern is None or matches(pattern, text), (at, text)
