"""A tiny DiffusionGemma with random weights, and transformers' own `generate` with the random numbers of dsldec.

transformers draws by `torch.multinomial` and `torch.randint`. Here both numbers come from the counters of
dsldec, so the published loop and a policy can be compared id for id. Not here: the comparisons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dsldec.backends.noise import key, mixed_int, shown_id
from dsldec.backends.vocabulary import FOR_DRAWS

REASON = "this transformers has no DiffusionGemma"
generation = pytest.importorskip(
    "transformers.models.diffusion_gemma.generation_diffusion_gemma", reason=REASON
)


@dataclass(frozen=True)
class Setting:
    """One call: the model, the prompt, the sampler."""

    seed: int = 0
    canvas: int = 8
    vocabulary: int = 40
    spread: float = 0.6  # of the weights
    prompts: tuple[int, ...] = (5,)  # their lengths
    canvases: int = 2
    steps: int = 6
    budget: float = 0.1
    calm: float = 0.3
    patience: int = 1
    # The difference of two float32 is exact where one is twice the other; transformers computes it in float64.
    hot: float = 0.8
    eos: int | None = None

    @property
    def new_tokens(self) -> int:
        return self.canvas * self.canvases

    def parameters(self) -> dict[str, Any]:
        """The parameters of the policy `diffusion_gemma`."""
        names = ("steps", "budget", "calm", "patience", "hot")
        return {name: getattr(self, name) for name in names} | {"cold": self.hot / 2, "block": self.canvas}

    def ids(self) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed)
        return [torch.randint(2, self.vocabulary, (n,), generator=generator).tolist() for n in self.prompts]


def tiny(setting: Setting) -> Any:
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, DiffusionGemmaTextConfig
    from transformers.models.gemma4.configuration_gemma4 import Gemma4VisionConfig

    text = DiffusionGemmaTextConfig(
        vocab_size=setting.vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, global_head_dim=8, num_experts=2, top_k_experts=1,
        moe_intermediate_size=8, sliding_window=16, max_position_embeddings=256, eos_token_id=setting.eos,
        layer_types=["sliding_attention", "full_attention"], bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    vision = Gemma4VisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8
    )  # fmt: skip
    images = {f"{name}_token_id": setting.vocabulary + n for n, name in enumerate(("image", "boi", "eoi"))}
    config = DiffusionGemmaConfig(
        text_config=text, vision_config=vision, canvas_length=setting.canvas, **images
    )
    model = DiffusionGemmaForBlockDiffusion(config).eval()
    generator = torch.Generator().manual_seed(setting.seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * setting.spread)
    model.generation_config.eos_token_id = setting.eos
    model.generation_config.pad_token_id = None
    return model


def gumbel(place: int, id_: int) -> float:
    """Gumbel noise of 52 bits."""
    uniform = ((mixed_int(place, id_) % 2**64 >> 12) + 0.5) / 2**52
    return -math.log(-math.log(uniform))


class Published:
    """transformers' `generate` for rows of one length, with draws of the counters. `canvases`: the inputs of the
    decoder, in order.
    """

    def __init__(self, model: Any, setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model, self.setting, self.patch = model, setting, monkeypatch
        self.keys = [key(setting.seed, row) for row in range(len(setting.prompts))]
        self.step, self.block = 0, -1
        self.canvases: list[Tensor] = []

    def __call__(self) -> list[list[int]]:
        setting, model = self.setting, self.model
        forward, prepare, ids = model.forward, model._prepare_denoiser_inputs, torch.tensor(setting.ids())

        def counted(**how: Any) -> Any:
            self.canvases.append(how["decoder_input_ids"].clone())
            return forward(**how)

        def prepared(**how: Any) -> Any:
            self.block += 1
            return prepare(**how)

        with self.patch.context() as patch:
            patch.setattr(model, "forward", counted, raising=False)
            patch.setattr(model, "_prepare_denoiser_inputs", prepared, raising=False)
            patch.setattr(generation.torch, "multinomial", self.drawn)
            patch.setattr(generation.torch, "randint", self.shown)
            made = model.generate(
                ids,
                max_new_tokens=setting.new_tokens,
                max_denoising_steps=setting.steps,
                t_min=setting.hot / 2,
                t_max=setting.hot,
                stability_threshold=setting.patience,
                confidence_threshold=setting.calm,
                sampler_config=generation.EntropyBoundSamplerConfig(entropy_bound=setting.budget),
            )
        result: list[list[int]] = made.sequences.tolist()
        return result

    def positions(self) -> range:
        start = self.block * self.setting.canvas
        return range(start, start + self.setting.canvas)

    def shown(self, low: int, high: int, size: tuple[int, int], device: Any) -> Tensor:
        """The random ids of a new canvas."""
        assert (low, high, size) == (0, self.setting.vocabulary, (len(self.keys), self.setting.canvas))
        ids = [[shown_id(one, self.step, at, high, high) for at in self.positions()] for one in self.keys]
        return torch.tensor(ids)

    def drawn(self, probabilities: Tensor, num_samples: int) -> Tensor:
        """An id for each position of all rows, by the Gumbel trick. The canvas made next is one step later."""
        logs = probabilities.double().log().tolist()
        places = [mixed_int(one, self.step, at, FOR_DRAWS) for one in self.keys for at in self.positions()]
        self.step += 1
        return torch.tensor([[likeliest(row, place)] for row, place in zip(logs, places, strict=True)])


def likeliest(logs: list[float], place: int) -> int:
    return max(range(len(logs)), key=lambda id_: logs[id_] + gumbel(place, id_))


# Each value of the sampler changes what it does; the spread of the weights changes how sure the model is.
SETTINGS = [
    Setting(),
    Setting(seed=1, canvas=4, vocabulary=20, spread=0.3, prompts=(1,), canvases=3, steps=12, budget=0.5, calm=1.5, patience=2),
    Setting(seed=2, canvas=12, prompts=(20,), canvases=1, steps=24, budget=8.0, calm=0.005, hot=0.2),
    Setting(seed=3, spread=1.0, steps=1, patience=0),
    Setting(seed=4, spread=0.3, canvases=3, steps=12, budget=2.0, hot=0.06, patience=0, calm=0.3),
    Setting(seed=5, vocabulary=20, steps=3, budget=0.01, hot=0.5),
    Setting(seed=6, spread=1.0, steps=48, canvases=1, calm=0.3, hot=0.06, budget=0.1),
    Setting(seed=7, canvas=4, prompts=(18,), canvases=4, steps=6, budget=2.0, calm=1.5, hot=0.5),
    Setting(seed=6, canvases=2, steps=24, calm=3.0, hot=0.06, spread=0.3),
    Setting(seed=8, canvas=4, canvases=3, steps=12, calm=3.5, patience=0),
]  # fmt: skip
WITH_ENDS = [replace(one, eos=eos, canvases=4) for one in SETTINGS[:2] + SETTINGS[4:5] for eos in (3, 7, 11)]
