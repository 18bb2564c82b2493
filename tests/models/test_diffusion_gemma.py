"""The policy `diffusion_gemma` on a DiffusionGemma: transformers' own `generate`, id for id and forward for
forward.

Each canvas that the decoder sees is compared too.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.models import diffusion_gemma
from dsldec.models.huggingface import denoiser_of

from .diffusion_gemma import SETTINGS, WITH_ENDS, Published, Setting, tiny

POLICY = "policy plain(block: int = 4 in 1..64):\n  window blocks(block)\n  noise uniform\n  commit top(masked, 2, by=conf)\n"


def decoded(
    model: Any, setting: Setting, monkeypatch: pytest.MonkeyPatch, policy: Any = None, **how: Any
) -> tuple[Any, list[list[Tensor]]]:
    """The answers, and the canvases that the decoder saw for each row."""
    seen: list[list[Tensor]] = [[] for _ in setting.prompts]
    logits = diffusion_gemma.GemmaCanvases.logits

    def watched(self: Any, row: int, text: Tensor, canvas: Tensor, temperature: Tensor | None) -> Tensor:
        seen[row].append(canvas.clone())
        return logits(self, row, text, canvas, temperature)

    policy = dsldec.load("diffusion_gemma", **setting.parameters()) if policy is None else policy
    with monkeypatch.context() as patch:
        patch.setattr(diffusion_gemma.GemmaCanvases, "logits", watched)
        how = {"gen_length": setting.new_tokens, "seed": setting.seed} | how
        return dsldec.decode(denoiser_of(model), setting.ids(), policy, **how), seen


@pytest.mark.parametrize("setting", SETTINGS, ids=range(len(SETTINGS)))
def test_the_policy_is_the_published_sampler(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(setting)
    published = Published(model, setting, monkeypatch)
    expected = published()
    answers, (seen,) = decoded(model, setting, monkeypatch)
    assert answers.ids[0].tolist() == expected[0]
    assert answers.forwards.tolist() == [len(published.canvases)]
    assert [one.tolist() for one in seen] == [one[0].tolist() for one in published.canvases]


def test_the_settings_differ_in_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some canvases end early, some at the limit."""
    early = 0
    for setting in SETTINGS:
        published = Published(tiny(setting), setting, monkeypatch)
        published()
        early += len(published.canvases) < setting.steps * setting.canvases
    assert 2 <= early < len(SETTINGS)


def test_a_text_ends_with_the_canvas_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end-of-text id that a step accepts may be taken back, so only a finished canvas ends a text."""
    shorter = 0
    for setting in WITH_ENDS:
        model, begin = tiny(setting), setting.prompts[0]
        published = Published(model, setting, monkeypatch)
        (expected,) = published()
        answers, _ = decoded(model, setting, monkeypatch)
        assert answers.forwards.tolist() == [len(published.canvases)]
        assert cut(answers.ids[0].tolist()[begin:], setting.eos) == cut(expected[begin:], setting.eos)
        shorter += len(expected) < begin + setting.new_tokens
    assert shorter >= 3


def cut(ids: list[int], eos: int | None) -> list[int]:
    return ids[: ids.index(eos)] if eos in ids else ids


def test_a_row_is_the_same_alone_and_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(seed=8, prompts=(3, 9, 3, 17), canvases=2, steps=5, calm=1.5)
    model = tiny(setting)
    together, _ = decoded(model, setting, monkeypatch, batch=3)
    for row, ids in enumerate(setting.ids()):
        policy = dsldec.load("diffusion_gemma", **setting.parameters())
        how = {"gen_length": setting.new_tokens, "seed": setting.seed, "request_ids": [row]}
        alone = dsldec.decode(denoiser_of(model), [ids], policy, **how)
        assert alone.ids[0].tolist() == together.ids[row].tolist()


def test_rows_of_one_length_are_those_of_a_published_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(seed=9, prompts=(6, 6, 6), canvases=1, steps=6, calm=1.0, spread=0.3)
    model = tiny(setting)
    expected = Published(model, setting, monkeypatch)()
    answers, _ = decoded(model, setting, monkeypatch)
    assert [ids.tolist() for ids in answers.ids] == expected


def test_other_policies_decode_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows share a canvas, and the last canvas may be short: it is shown whole."""
    setting = Setting(prompts=(4, 7))
    answers, seen = decoded(tiny(setting), setting, monkeypatch, dsldec.load(POLICY), gen_length=18)
    assert [len(ids) for ids in answers.ids] == [4 + 18, 7 + 18]
    assert {len(canvas) for row in seen for canvas in row} == {setting.canvas}
    assert all(0 <= int(canvas.min()) <= int(canvas.max()) < 40 for row in seen for canvas in row)


@pytest.mark.parametrize(
    ("policy", "how", "code", "part"),
    [
        ("threshold", {}, "E0500", "`threshold` shows MASK"),
        (POLICY.replace("uniform\n", "uniform\n  logits cfg(1)\n"), {}, "E0501", "hides the prompt"),
        (POLICY, {"lookahead": 3}, "E0502", "without drafts"),
        (POLICY.replace("= 4", "= 3"), {}, "E0502", "`window blocks(8)`"),
        (POLICY.replace("blocks(block)", "all"), {}, "E0502", "`window blocks(8)`"),
        (POLICY, {"cache": "exact"}, "E0414", "no KV cache"),
    ],
)
def test_mistakes(policy: str, how: dict[str, Any], code: str, part: str) -> None:
    setting = Setting()
    if "block: int" in policy and "all" in policy:
        policy = policy.replace("(block: int = 4 in 1..64)", "()")
    with pytest.raises(dsldec.UsageError, match=code) as caught:
        dsldec.decode(denoiser_of(tiny(setting)), setting.ids(), policy, gen_length=16, **how)
    assert part in str(caught.value)


def test_an_empty_prompt_is_a_mistake() -> None:
    with pytest.raises(dsldec.UsageError, match="E0502"):
        dsldec.decode(denoiser_of(tiny(Setting())), [[]], POLICY, gen_length=16)


def test_the_denoiser_alone_is_not_called() -> None:
    with pytest.raises(dsldec.UsageError, match="E0502"):
        denoiser_of(tiny(Setting()))(torch.zeros(1, 3, dtype=torch.int64))
