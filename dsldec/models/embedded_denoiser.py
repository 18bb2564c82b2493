"""An embedded model as a denoiser, without transformers, whose import takes longer than that of torch.

Logits come from `network`, ids and texts from `plain_tokenizer`. `.model`, `.tokenizer` and a KV cache are
those of transformers: their first use loads them, and from then on the logits come from `.model`, which gives
the same. Not here: other models (`huggingface`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..files import LARGEST_CONFIG, read_json
from ..renamed import warn_of_former
from ..resources import DEFAULT_MODEL, embedded_model_folder
from .embedded_names import PREFIX
from .families import family_of
from .folder import CONFIG
from .head import Head
from .huggingface_denoiser import HuggingFaceDenoiser
from .kv_cache import KVCache
from .loading import Opened, opened, with_weights
from .network import Network, computes
from .plain_tokenizer import PlainTokenizer, in_chat
from .shifted import before, shifted

GENERATION, WEIGHTS = "generation_config.json", "model.safetensors"
# transformers would read other files too.
FILES = {
    CONFIG, GENERATION, WEIGHTS, "chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "README.md", "held_out.jsonl",
    "held_out_test.jsonl",
}  # fmt: skip


class EmbeddedDenoiser(HuggingFaceDenoiser):
    """The embedded model `name`. Its calls and attributes are those of `HuggingFaceDenoiser`."""

    def __init__(
        self,
        network: Network,
        tokenizer: PlainTokenizer,
        *values: Any,
        name: str = DEFAULT_MODEL,
        **options: Any,
    ) -> None:
        super().__init__(network, tokenizer, *values, **options)
        self._network, self._plain = network, tokenizer
        # The name and not the folder: a copy may be used on another machine.
        self._path = f"{PREFIX}{name}"
        for name in ("model", "head", "tokenizer"):
            del vars(self)[name]

    @cached_property
    def model(self) -> Any:
        """The model of transformers."""
        return with_weights(opened(self._path, False), self._network.embedding.dtype, self.device)

    @cached_property
    def head(self) -> Head:  # type: ignore[override]
        return Head(self.model)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers."""
        return opened(self._path, False).tokenizer

    def weights(self) -> Iterator[Tensor]:
        """The tensors of the network, without the model of transformers."""
        yield from self._network.parameters()

    @property
    def reader(self) -> Any:
        return vars(self).get("tokenizer", self._plain)

    @torch.inference_mode()
    def __call__(
        self,
        ids: Tensor,
        lengths: Sequence[int] | None = None,
        columns: Tensor | None = None,
        *,
        at: Tensor | None = None,
    ) -> Tensor:
        if "model" in vars(self):
            return super().__call__(ids, lengths, columns, at=at)
        if at is not None:
            warn_of_former("at", "columns")
            columns = at
        longest, filled = ids.shape[1], None
        if lengths is not None and any(length != longest for length in lengths):
            filled = torch.arange(longest, device=ids.device) < self._lengths(list(lengths), ids.device)
        if columns is not None:
            return self.without_never(
                self._network(ids, filled, before(columns) if self.shift_logits else columns)
            )
        logits = self._network(ids, filled)
        return self.without_never(shifted(logits) if self.shift_logits else logits)

    def kv_cache(self, rows: int, length: int) -> KVCache:
        _ = self.model  # before the probe of a copy would load it
        return super().kv_cache(rows, length)

    def encode_messages(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        text = None if self.raw or self.reader is not self._plain else in_chat(messages)
        if text is None:
            _ = self.tokenizer  # its template judges these messages
            return super().encode_messages(messages)
        return self._ids(text, add_special_tokens=False)


def embedded(
    dtype: torch.dtype, device: torch.device, name: str = DEFAULT_MODEL
) -> tuple[Opened, Network] | None:
    """The files of the embedded model `name` and its network; None where they mean more than is read here."""
    folder = embedded_model_folder(name)
    try:
        raw = read_json(folder / CONFIG, LARGEST_CONFIG)
        generation = read_json(folder / GENERATION, LARGEST_CONFIG)
        if not ({file.name for file in folder.iterdir()} <= FILES and computes(raw)):
            return None
        tokenizer = PlainTokenizer(folder)
        from safetensors.torch import load_file

        weights = load_file(folder / WEIGHTS)
        network = Network(raw, {name: weight.to(device, dtype) for name, weight in weights.items()})
    # Of damaged files, and of a device without memory. transformers then says why, in a diagnostic.
    except Exception:
        return None
    config = SimpleNamespace(**raw)
    path = str(folder)
    return Opened(path, family_of(raw, path), raw, config, SimpleNamespace(**generation), tokenizer), network
