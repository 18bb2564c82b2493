"""The graphs that are given to TensorRT: every shipped policy's step, any policy's text, and a small denoiser
with a step in one.

Not here: what is done with them (`report`, and the tests that need no package).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import dsldec
from dsldec.backends.module import StepModule
from dsldec.backends.numerics import FOR_ENGINES, Numerics
from dsldec.backends.tensorrt import Flat, ModelAndStep

B, L, T, V = 2, 48, 32, 300
MASK, EOS = 5, 3
WITH_MODEL = "with_model"


def graph(name: str, form: Numerics = FOR_ENGINES, window: int = T) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A module of plain tensors, and inputs for it: the step of a policy (a name or a text), or `with_model`."""
    policy = dsldec.load("threshold" if name == WITH_MODEL else name)
    static = {name: policy.parameters[name] for name in policy.facts.static}
    module: nn.Module = StepModule(policy.program, MASK, EOS, static, form)
    step = policy.compile("eager", mask_id=MASK, eos_id=EOS)
    state, editable = step.start(B, window, vocab_size=V), torch.ones(B, window, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    if name == WITH_MODEL:
        module = ModelAndStep(Transformer().eval(), module)
        first = (torch.full((B, L), MASK), torch.arange(8, 8 + window).expand(B, window).contiguous())
    else:
        first = (torch.randn(B, window, V, generator=generator), torch.full((B, window), MASK))
    return Flat(module, list(state), list(step.params)), (
        *first,
        editable,
        *state.values(),
        *step.params.values(),
    )


class Transformer(nn.Module):
    """ids `[B, L]` to logits `[B, L, V]`, of torch's own layers; every position sees every other."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(V, width), nn.Embedding(L, width)
        layer = nn.TransformerEncoderLayer(
            width, nhead=2, dim_feedforward=64, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.head = nn.Linear(width, V)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        logits: Tensor = self.head(self.layers(self.tokens(ids) + self.places(places)))
        return logits
