"""A policy inside the `generate` of a DiffusionGemma: the model's own sampler id for id, other policies, and
mistakes.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dsldec
from dsldec.engines.transformers import use_policy

from ..models.diffusion_gemma import SETTINGS, Published, Setting, tiny

SURE = """policy sure(block: int = 32 in 1..256):
  window blocks(block)
  noise uniform
  commit masked and conf > 0.3 at least 1 by conf
"""


@pytest.mark.parametrize("setting", SETTINGS, ids=range(len(SETTINGS)))
def test_the_policy_is_the_model_s_own_sampler(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(setting)
    published = Published(model, setting, monkeypatch)
    expected = published()
    seen: list[Any] = []
    forward = model.forward

    def counted(**how: Any) -> Any:
        seen.append(how["decoder_input_ids"].tolist())
        return forward(**how)

    parameters = {name: value for name, value in setting.parameters().items() if name != "block"}
    monkeypatch.setattr(model, "forward", counted, raising=False)
    with use_policy(model, "diffusion_gemma", seed=setting.seed, **parameters):
        made = model.generate(torch.tensor(setting.ids()), max_new_tokens=setting.new_tokens)
    assert made.sequences.tolist() == expected
    assert seen == [one.tolist() for one in published.canvases]


def test_another_policy_writes_its_own_canvas() -> None:
    """Its tokens are those of `decode` with the same seed."""
    setting = Setting(prompts=(6, 6))
    model, prompts = tiny(setting), torch.tensor(setting.ids())
    with use_policy(model, SURE, seed=3) as installed:
        first = model.generate(prompts, max_new_tokens=16).sequences
        again = model.generate(prompts, max_new_tokens=16).sequences
        assert installed.policy.parameters == {"block": setting.canvas}
    assert torch.equal(first, again)
    from dsldec.models.huggingface import denoiser_of

    policy = dsldec.load(SURE, block=setting.canvas)
    alone = dsldec.decode(denoiser_of(model), prompts, policy, gen_length=16, seed=3)
    assert [ids.tolist() for ids in alone.ids] == first.tolist()


def test_without_a_seed_torch_s_generator_decides() -> None:
    model, prompts = tiny(Setting()), torch.tensor(Setting().ids())
    with use_policy(model, "diffusion_gemma", steps=3):
        torch.manual_seed(7)
        first, second = (model.generate(prompts, max_new_tokens=16).sequences for _ in range(2))
        torch.manual_seed(7)
        again = model.generate(prompts, max_new_tokens=16).sequences
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_the_model_s_own_sampler_comes_back() -> None:
    model, prompts = tiny(Setting()), torch.tensor(Setting().ids())
    torch.manual_seed(1)
    own = model.generate(prompts, max_new_tokens=8, max_denoising_steps=3).sequences
    use_policy(model, SURE).remove()
    torch.manual_seed(1)
    assert torch.equal(own, model.generate(prompts, max_new_tokens=8, max_denoising_steps=3).sequences)


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ("threshold", "E0500"),
        (SURE.replace("(block)", "(7)").replace("(block: int = 32 in 1..256)", "()"), "E0450"),
        (SURE.replace("  noise", "  lookahead 3\n  noise"), "E0450"),
        (SURE.replace("noise uniform", "noise uniform\n  logits cfg(1)"), "E0450"),
    ],
)
def test_policies_that_cannot_run(policy: str, code: str) -> None:
    with pytest.raises(dsldec.UsageError, match=code):
        use_policy(tiny(Setting()), policy)


def test_mistakes_of_a_call() -> None:
    with pytest.raises(dsldec.UsageError, match="E0503"):
        use_policy(torch.nn.Linear(2, 2), SURE)
    with pytest.raises(dsldec.PolicyError, match="E0403"):
        use_policy(tiny(Setting()), SURE, blocks=3)
    model = tiny(Setting())
    with use_policy(model, SURE), pytest.raises(dsldec.UsageError, match="E0503"):
        model.generate(torch.tensor(Setting().ids()), max_length=40)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with use_policy(model, SURE), pytest.raises(dsldec.UsageError, match="E0406"):
        model.generate(torch.tensor(Setting().ids()), max_new_tokens=8)
