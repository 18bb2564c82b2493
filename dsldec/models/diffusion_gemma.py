"""DiffusionGemma as a denoiser: an encoder reads the finished text once, and a decoder reads the canvas after
it.

The decoder sees the keys and values of the text, the whole canvas, and the logits of its last call on the
same canvas (self-conditioning), divided by the temperature of the policy. The model has no MASK: positions
that are not written show random ids. Transformers' `DiffusionGemmaForBlockDiffusion.generate` makes the same
calls.

Shapes: C positions of a canvas, V vocabulary. Not here: which rows are the input (`runtime.canvas_forward`),
a policy inside the model's own `generate` (`engines.transformers.diffusion_gemma`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, NoReturn

import torch
from torch import Tensor

from ..backends.vocabulary import cooled
from ..diagnostics import Diagnostic, UsageError
from .huggingface_denoiser import HuggingFaceDenoiser
from .loading import Opened, wrong
from .traits import Traits


class DiffusionGemmaDenoiser(HuggingFaceDenoiser):
    """A `DiffusionGemmaForBlockDiffusion` and its tokenizer. `canvas_length`: C, positions of a canvas;
    `mask_id` is the size of the vocabulary, which is no id.
    """

    selects_columns = False
    kv_cache = None  # type: ignore[assignment]  # `canvases` stores the keys and values of the text

    def __init__(self, model: Any, *given: Any, canvas_length: int, **how: Any) -> None:
        super().__init__(model, *given, **how)
        self.canvas_length = canvas_length
        self.pads = True

    def __call__(self, ids: Tensor, *given: Any, **how: Any) -> NoReturn:
        """Raises `UsageError` (E0502): one call needs more than the ids."""
        message = "DiffusionGemma needs the place of the canvas and the logits of the call before"
        help_ = (
            "call `dsldec.decode(denoiser, prompts, policy)`, or a policy inside the model's own `generate`"
        )
        raise UsageError(Diagnostic("E0502", message, help=help_))

    def canvases(self) -> GemmaCanvases:
        """The calls for the rows of one batch."""
        return GemmaCanvases(self.model)


@dataclass(slots=True)
class _HeldCanvas:
    """The stored values of one row: keys and values of the text before the canvas, the number of its ids, the
    mask of the decoder, and the logits `[1, C, V]` of the last call on this canvas.
    """

    cache: Any
    text: int
    mask: Any
    logits: Tensor | None = None


class GemmaCanvases:
    """The calls of a DiffusionGemma for rows side by side, one row at a time: no row changes another one."""

    def __init__(self, model: Any) -> None:
        self.model, self.rows = model, dict[int, _HeldCanvas]()

    def admit(self, row: int) -> None:
        """The row holds a new request."""
        self.rows.pop(row, None)

    @torch.inference_mode()
    def logits(self, row: int, text: Tensor, canvas: Tensor, temperature: Tensor | None) -> Tensor:
        """Logits `[C, V]` float32 of a row's `canvas [C]` after the finished ids `text [n]`, both int64.
        `temperature []`: of the policy's step before this call, `None` for a policy without.
        """
        held = self.rows.get(row)
        if held is None or held.text != len(text):
            held = self.rows[row] = self._read(held, text, canvas)
        before = held.logits
        if before is not None:
            before = before if temperature is None else cooled(before, temperature)
            before = before.to(self.model.get_input_embeddings().weight.dtype)
        positions = torch.arange(held.text, held.text + len(canvas), dtype=torch.int32, device=canvas.device)
        held.logits = self.model(
            decoder_input_ids=canvas.unsqueeze(0),
            self_conditioning_logits=before,
            decoder_attention_mask=held.mask,
            cache=held.cache,
            decoder_position_ids=positions.unsqueeze(0),
        ).logits
        return held.logits[0]

    def _read(self, held: _HeldCanvas | None, text: Tensor, canvas: Tensor) -> _HeldCanvas:
        """Reads the ids of the text that are not stored yet."""
        from transformers import DynamicCache

        config, encoder, device = self.model.config, self.model.model.encoder, text.device
        if held is None or held.text > len(text):
            held = _HeldCanvas(DynamicCache(config=config.get_text_config(decoder=True)), 0, None)
        new = text[held.text :].unsqueeze(0)
        positions = torch.arange(held.text, len(text), dtype=torch.int32, device=device).unsqueeze(0)
        seen = torch.ones(1, len(text), dtype=torch.bool, device=device)
        mask = encoder.create_masks_for_generate(
            config=config,
            inputs_embeds=torch.empty(1, new.shape[1], 0, dtype=self.model.dtype, device=device),
            attention_mask=seen,
            cache=held.cache,
            position_ids=positions,
        )
        encoder(input_ids=new, attention_mask=mask, cache=held.cache, position_ids=positions)
        mask = self.model.model.decoder.create_diffusion_decoder_attention_mask(
            config=config,
            inputs_embeds=canvas.view(1, -1, 1),
            cache=held.cache,
            decoder_attention_mask=torch.nn.functional.pad(seen, (0, len(canvas)), value=True),
        )
        return _HeldCanvas(held.cache, len(text), mask)


def require_cache_argument(model: Any, name: str) -> None:
    """Raise `UsageError` (E0405) for the model of a transformers whose calls have other arguments."""
    if "cache" not in signature(type(model).forward).parameters:
        message = f"`{name}` needs a newer transformers: its DiffusionGemma takes no `cache`"
        raise wrong(message, "run `pip install -U transformers` (5.24 or newer)")


def denoiser_of_canvases(source: Opened, model: Any, traits: Traits, *, raw: bool) -> DiffusionGemmaDenoiser:
    """The denoiser of a loaded DiffusionGemma. Raises `UsageError` (E0405)."""
    require_cache_argument(model, source.name)
    config = model.config.get_text_config()
    return DiffusionGemmaDenoiser(
        model,
        source.tokenizer,
        config.vocab_size,
        None if traits.eos_id is None else traits.eos_id.value,
        traits.gen_length.value,
        vocab_size=config.vocab_size,
        max_length=config.max_position_embeddings,
        stop_ids=traits.stop_ids,
        mask=None,
        raw=raw,
        canvas_length=model.config.canvas_length,
    )


def require_canvases(
    denoiser: Any, texts: Sequence[Sequence[int]], window: str, block_length: int, longest: int, unfit: str
) -> None:
    """Raise `UsageError` (E0502) where a model of canvases cannot decode. `texts`: the prompts; `window`,
    `block_length`: of the policy; `longest`: the most positions to generate; `unfit`: an option that such a
    model does not take, empty if there is none.
    """
    length, message, help_ = denoiser.canvas_length, "", ""
    if unfit:
        message, help_ = (
            f"the model reads one canvas after the finished text, without {unfit}",
            f"leave {unfit} out",
        )
    elif longest > length and (window != "blocks" or length % block_length):
        message = f"the model reads one canvas of {length} positions at a time, and a window of the policy may reach beyond"
        help_ = f"use `window blocks({length})`, or generate at most {length} tokens"
    elif empty := [n for n, text in enumerate(texts) if not len(text)]:
        message, help_ = (
            f"prompt {empty[0]} is empty, and the model's encoder reads at least one id",
            "give a prompt",
        )
    if message:
        raise UsageError(Diagnostic("E0502", message, help=help_))
