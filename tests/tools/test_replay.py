"""A case recorded from a run passes: `replay` runs the steps of a policy as `decode` does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends.vocabulary import divergence, jensen_shannon, log_probabilities, observe, probability
from dsldec.language.words import OBSERVATIONS
from dsldec.source import Source
from dsldec.tools.cases import TOKENS, read_cases
from dsldec.tools.verdict import outcome_of

from ..toy import MASK, ToyDenoiser

END = 3
PUBLISHED = sorted((Path(__file__).parents[1] / "published").glob("*.policy"))
OWN = {
    "blocks": "window blocks(5)\ncommit masked and conf > 0.6 at least 1 by conf",
    "all": "window all\ncommit top(masked, even(4), by=margin) at least 1 by margin",
    "sliding": "window sliding(max_masks=4, max_length=7)\nstate calm: int each = 0 per block\n"
    "set calm = calm + 1 if conf > before(conf) else 0\ncommit masked and calm >= 1 at least 1 by conf",
    "calm": "window blocks(8)\ncommit masked and kl(before) < 0.3 at least 1 by conf",
    "sliding calm": "window sliding(max_masks=4, max_length=7)\ncommit masked and kl(before) < 0.3 at least 1 by conf",
    "stable": "window blocks(8)\ncommit masked and js(before) < 0.1 at least 1 by conf",
    "until a mask": "window until(conf > 0.5 and pos % 3 == 1, min=2, max=6, by=margin)\ncommit masked and conf > 0.4 at least 1 by conf",
    "length by a state": "window until(length=2 + seen, max=5)\nstate seen: int = 0 per sequence\n"
    "set seen = seen + 1\ncommit masked and conf > 0.6 at least 1 by conf",
    "groups": "window all\nfull = count(masked, each=pos // 4)\n"
    "commit masked and (full <= 2 or conf >= max(conf, each=run(masked))) at least 1 by conf",
    "until": "window until(4, 9, min=2, max=6)\ncommit masked and conf > 0.4 at least 1 by -entropy",
    "phases": "window blocks(8)\nphase wide at most 2 visits else narrow:\n  commit masked and conf > 0.8\n  next narrow when idle\n"
    "phase narrow:\n  commit top(masked, 2, by=logit_margin)\n  next wide when steps_in_phase >= 1",
    "revokes": "window blocks(8)\ncommit masked and conf > 0.3 at least 2 by conf\n"
    "revoke committed and p(canvas) < 0.5 at most 1 by doubt\n"
    "fill when steps_in_window + 1 >= 12",
    "before": "window blocks(6)\ncommit masked and conf > before(conf) and same(before) at least 1 by conf",
    "random": "window all\ncommit chance(masked, 0.3) at least 1 by conf",
    "closes": "window all\ncommit masked and conf > 0.5 at least 1 by conf\nfinish when eos_closed",
}


class Watched(ToyDenoiser):
    """Remembers what it was asked and what it said."""

    eos_id = END

    def __init__(self, seed: int) -> None:
        super().__init__(seed, 2.0)
        self.said: list[tuple[Tensor, Tensor]] = []

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        self.said.append((ids.clone(), logits))
        return logits


def row(name: str, values: Tensor) -> str:
    """Values as a case has them; float32 as digits that give it back."""
    words = [
        ("eos" if value == END else str(value)) if name in TOKENS else repr(max(0.0, float(value)))
        for value in values[0].tolist()
    ]
    return f"  {name} {' '.join(words)}"


def forward_rows(said: list[tuple[Tensor, Tensor]], forward: int) -> list[str]:
    canvas, logits = said[forward]
    seen = observe(logits, MASK, OBSERVATIONS)
    rows = [row(name, seen[name]) for name in OBSERVATIONS]
    rows.append(row("p", probability(logits, torch.where(canvas == MASK, seen["token"], canvas))))
    if forward:
        before = log_probabilities(said[forward - 1][1], 256)
        rows += [row("kl", divergence(logits, before, 256)), row("js", jensen_shannon(logits, before, 256))]
    return rows


def case_of(policy: dsldec.Policy, gen_length: int, seed: int) -> str:
    denoiser = Watched(seed)
    decoded = dsldec.decode(denoiser, [[]], policy, gen_length=gen_length, backend="reference", trace=True)
    lines = ["case as it ran"]
    for forward, step in enumerate(decoded.trace[0]):
        lines += forward_rows(denoiser.said, forward)
        lines += [
            f"  {kind} {' '.join(map(str, where))}"
            for kind, where in (("commit", step.committed), ("revoke", step.revoked), ("edit", step.edited))
        ]
        lines += [f"  phase {step.phase}"] if step.phase else []
    return "\n".join([*lines, "  done\n"])


def assert_passes(policy: dsldec.Policy, gen_length: int, seed: int) -> None:
    text = case_of(policy, gen_length, seed)
    (case,), wrong = read_cases(Source(text))
    assert wrong == []
    outcome = outcome_of(case, policy, "")
    assert outcome.diagnostics == (), str(outcome)


@pytest.mark.parametrize("name", OWN)
def test_a_run_written_down_passes(name: str) -> None:
    text = f"policy own():\n{''.join(f'  {line}{chr(10)}' for line in OWN[name].splitlines())}"
    policy, diagnostics = dsldec.check(text)
    assert policy is not None, diagnostics
    for seed in range(4):
        assert_passes(policy, (13, 16, 7, 1)[seed], seed)


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_a_run_of_a_published_policy_passes(file: Path) -> None:
    text = file.read_text()
    if re.search(r"\bdraw\b|\bcfg\b|\bp\((?!canvas)", text):
        pytest.skip("what it sees is not what the denoiser says")
    assert_passes(dsldec.load(file), 12, 5)
