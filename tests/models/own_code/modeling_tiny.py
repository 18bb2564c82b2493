"""A tiny masked diffusion model as folders bring their own: one layer, rotary positions, written as code for
transformers 4 was.

No `post_init`, a `tie_weights` without arguments, tied keys as a list, and frequencies that are computed when
it is built.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


class TinyConfig(PretrainedConfig):
    model_type = "tiny_own_code"

    def __init__(
        self,
        d_model=16,
        vocab_size=50,
        max_sequence_length=64,
        heeds="keys",
        causal=False,
        gives="logits",
        **others,
    ):
        self.d_model, self.vocab_size, self.max_sequence_length = d_model, vocab_size, max_sequence_length
        self.heeds, self.causal, self.gives = heeds, causal, gives
        super().__init__(**others)


class DreamConfig(TinyConfig):
    model_type = "Dream"

    def __init__(self, rope_theta=100.0, **settings):
        super().__init__(**settings)
        self.rope_theta, self.hidden_size, self.num_attention_heads = rope_theta, self.d_model, 1


class LladaConfig(TinyConfig):
    model_type = "llada"

    def __init__(self, **settings):
        super().__init__(**settings)


class Llada2MoeConfig(TinyConfig):
    model_type = "llada2_moe"

    def __init__(self, **settings):
        super().__init__(**settings)


class TinyBody(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.mix = nn.Linear(config.d_model, 3 * config.d_model)
        self.back = nn.Linear(config.d_model, config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        half = config.d_model // 2
        frequencies = 100.0 ** (-torch.arange(half, dtype=torch.float32) / half)
        if config.model_type == "Dream":
            frequencies, _ = ROPE_INIT_FUNCTIONS["default"](config, None)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def turned(self, x):
        angles = torch.arange(x.shape[1], device=x.device).unsqueeze(1) * self.frequencies
        even, odd = x.chunk(2, dim=-1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        return torch.cat([even * cos - odd * sin, even * sin + odd * cos], dim=-1)

    def forward(self, ids, attention_mask):
        x = self.embedding(ids)
        q, k, v = self.mix(x).chunk(3, dim=-1)
        q, k, v = self.turned(q).unsqueeze(1), self.turned(k).unsqueeze(1), v.unsqueeze(1)
        if self.config.heeds == "nothing" or (attention_mask is None and self.config.heeds != "its own"):
            attention_mask = None
        elif self.config.heeds == "keys":
            attention_mask = attention_mask.bool()[:, None, None, :]
        elif self.config.heeds == "scores":
            attention_mask = attention_mask.to(x.dtype)
        elif self.config.heeds == "weights":
            attention_mask = (1.0 - attention_mask) * -1e9
        elif self.config.heeds == "its own":
            block = torch.arange(x.shape[1], device=x.device) // 4
            attention_mask = (block <= block.unsqueeze(1))[None, None]
        x = x + self.back(
            F.scaled_dot_product_attention(
                q, k, v, attn_mask=attention_mask, is_causal=self.config.causal
            ).squeeze(1)
        )
        return self.head(x)


class TinyModel(PreTrainedModel):
    config_class = TinyConfig
    base_model_prefix = "model"
    _tied_weights_keys = ["model.head.weight"]  # noqa: RUF012

    def __init__(self, config):
        super().__init__(config)
        self.model = TinyBody(config)

    def forward(self, input_ids=None, attention_mask=None):
        logits = self.model(input_ids, attention_mask)
        return MaskedLMOutput(**{self.config.gives: logits if self.config.gives == "logits" else (logits,)})

    def get_input_embeddings(self):
        return self.model.embedding

    def get_output_embeddings(self):
        return self.model.head

    def tie_weights(self):
        if self.config.tie_word_embeddings:
            self.model.head.weight = self.model.embedding.weight


class DreamModel(TinyModel):
    config_class = DreamConfig


class LladaModel(TinyModel):
    config_class = LladaConfig


class Llada2MoeModel(TinyModel):
    config_class = Llada2MoeConfig

    def __init__(self, config):
        # LLaDA2 asks so where its modelling file is read; here its configuration, which is read without the
        # model, is in one file with it.
        from transformers.utils.import_utils import is_torch_fx_available

        assert not is_torch_fx_available()
        super().__init__(config)
