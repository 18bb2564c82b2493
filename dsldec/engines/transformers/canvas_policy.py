"""How does a policy decode inside the `generate` of a DiffusionGemma?

That model has its own loop: canvas by canvas, and step by step in a canvas. It asks `_prepare_sampler` for a
sampler in each call, and makes each step in `_denoising_step`. Both are replaced here on one model. The
encoder, the caches, images, streamers and the end of a text stay those of `generate`. Not here: the loop of
`decode` (`models.diffusion_gemma`).

Shapes: B rows, C positions of a canvas, V vocabulary.
"""

from __future__ import annotations

import math
import os
from typing import Any

import torch
from torch import Tensor

from ...backends import noise
from ...backends.vocabulary import cooled
from ...calls import checks_arguments
from ...checks.values import Value
from ...diagnostics import Diagnostic, UsageError
from ...models.denoiser import require_shown_mask
from ...policy import Policy, in_use, load
from ...runtime.block_host import for_blocks, why_not_by_block
from ...runtime.requests import block_shown
from ...runtime.session import Session

HOOKS = ("_prepare_sampler", "_denoising_step")
COMPILED = ("_compiled_accept_canvas", "_compiled_renoise_canvas")  # `generate` stores methods of its sampler
LARGEST_SEED = 2**62


@checks_arguments('use_policy(model, "diffusion_gemma")', in_use)
def use_policy(
    model: Any, policy: Policy | str | os.PathLike[str], /, *, seed: int | None = None, **parameters: Value
) -> CanvasPolicy:
    """Lets a policy decode in the `generate` of a loaded `DiffusionGemmaForBlockDiffusion`.

    Args:
        model: The model. Its `generate` uses the policy until `remove` of the result is called, or until the
            end of a `with` block.
        policy: A policy as `dsldec.load` takes it, with `noise uniform`. A parameter that sizes its windows
            is set to the length of a canvas, unless its windows divide a canvas.
        seed: Seed of the random numbers. Default: each call draws one from torch's generator, so that
            `torch.manual_seed(7)` before a call repeats it.
        parameters: Values of the policy's parameters.

    The policy decides temperatures, draws and the number of steps: `sampler_config`, `t_min`, `t_max`,
    `max_denoising_steps`, `stability_threshold` and `confidence_threshold` of `generate` have no effect.
    Raises `PolicyError` and `UsageError` (E0450, E0500, E0503).
    """
    _require_canvases(model)
    loaded = policy if isinstance(policy, Policy) else load(policy)
    loaded = loaded.bound(parameters, frozenset({"seed"}))
    length, size = int(model.config.canvas_length), loaded.plan(1).window_size
    if size is not None and length % size:
        loaded = for_blocks(loaded, length)
    if (refused := why_not_by_block(loaded, length, shows_noise=True)) is not None:
        raise UsageError(refused)
    require_shown_mask(loaded.name, noise=loaded.facts.noise, guided=False)
    return CanvasPolicy(model, loaded, seed)


def _require_canvases(model: Any) -> None:
    """Raise `UsageError` (E0503) for a model whose `generate` has no such hooks."""
    if all(callable(getattr(model, name, None)) for name in HOOKS) and hasattr(model.config, "canvas_length"):
        return
    message = f"`use_policy` takes a loaded `DiffusionGemmaForBlockDiffusion`, not a `{type(model).__name__}`"
    help_ = "other models decode with `custom_generate`; DiffusionGemma needs transformers 5.24 or newer"
    raise UsageError(Diagnostic("E0503", message, help=help_))


class CanvasPolicy:
    """A policy in the `generate` of one model. Use it in a `with` block, or call `remove`."""

    def __init__(self, model: Any, policy: Policy, seed: int | None) -> None:
        self.model, self.policy, self.seed = model, policy, seed
        for name in (*HOOKS, *COMPILED):  # of an earlier policy, or of the model's own sampler
            vars(model).pop(name, None)
        model._prepare_sampler = self.sampler
        model._denoising_step = self.step

    def __enter__(self) -> CanvasPolicy:
        return self

    def __exit__(self, *why: object) -> None:
        self.remove()

    def remove(self) -> None:
        """The model's own sampler decodes again."""
        for name in (*HOOKS, *COMPILED):
            vars(self.model).pop(name, None)

    def sampler(self, generation_config: Any) -> CanvasSampler:
        """The sampler of one call of `generate`. Sets the most steps of a canvas, which the loop reads."""
        length = int(self.model.config.canvas_length)
        total = max(1, math.ceil(_new_tokens(generation_config) / length)) * length
        plan = self.policy.plan(total)
        generation_config.max_denoising_steps = plan.max_forwards_of_block(length)
        seed = int(torch.randint(LARGEST_SEED, ())) if self.seed is None else self.seed
        return CanvasSampler(self.policy, length, self.model.config.get_text_config().vocab_size, total, seed)

    def step(
        self,
        decoder_forward: Any,
        current_canvas: Tensor,
        argmax_canvas: Tensor,
        input_ids: Tensor,
        decoder_position_ids: Tensor,
        self_conditioning_logits: Tensor | None,
        mask_mapping: Any,
        cache: Any,
        finished_denoising: Tensor,
        cur_step: int,
        sampler: CanvasSampler,
        logits_processor: Any,
        diffusion_stopping_criteria: Any,
        **model_kwargs: Any,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One step of `generate`: the next canvas, the text of the canvas, the logits for the next call of
        the model, and the rows that are done. Rows that were done before do not change.
        """
        raw = decoder_forward(
            decoder_input_ids=current_canvas,
            self_conditioning_logits=self_conditioning_logits,
            decoder_attention_mask=mask_mapping,
            cache=cache,
            decoder_position_ids=decoder_position_ids,
            **model_kwargs,
        ).logits
        scores = _processed(logits_processor, input_ids, raw, cur_step)
        text = sampler.accept_canvas(current_canvas, current_canvas, scores, cur_step)
        canvas, before = sampler.renoise_canvas(text, cur_step), finished_denoising
        temperature = sampler.temperature
        seen = scores if temperature is None else cooled(scores, temperature.unsqueeze(1))
        seen = seen.to(self.model.get_input_embeddings().weight.dtype)
        if self_conditioning_logits is not None:
            seen = torch.where(before[:, None, None], self_conditioning_logits, seen)
        text = torch.where(before[:, None], argmax_canvas, text)
        canvas = torch.where(before[:, None], current_canvas, canvas)
        return canvas, text, seen, before | sampler.done


def _new_tokens(config: Any) -> int:
    """The number of tokens to generate. Raises `UsageError` (E0503) where only the length of the prompt would
    tell.
    """
    if config.max_length and config.max_new_tokens == 256:
        message = "with `max_length`, the number of tokens to generate depends on the prompt"
        raise UsageError(Diagnostic("E0503", message, help="write `max_new_tokens=512` instead"))
    return int(config.max_new_tokens)


def _processed(processors: Any, input_ids: Tensor, logits: Tensor, cur_step: int) -> Tensor:
    """The logits after the caller's own processors. The model's schedule of temperatures is not among them:
    the policy has its own.
    """
    for processor in processors:
        if type(processor).__name__ != "LinearTemperatureScheduleLogitsProcessor":
            logits = processor(input_ids, logits, cur_step=torch.tensor(cur_step, device=logits.device))
    return logits


class CanvasSampler:
    """The rows of one call of `generate`. `total`: tokens to generate; `temperature [B]`: of the last step,
    `None` for a policy without; `done [B]` bool: rows whose canvas is finished.
    """

    def __init__(self, policy: Policy, length: int, vocab_size: int, total: int, seed: int) -> None:
        self.policy, self.length, self.vocab_size, self.total = policy, length, vocab_size, total
        self.seed, self.canvas_number = seed, 0
        self.session: Session | None = None
        self.temperature: Tensor | None = None
        self.done: Tensor

    def initialize_canvas(self, batch_size: int, device: torch.device) -> Tensor:
        """The first canvas `[B, C]` of the next block."""
        start, masks = self.canvas_number * self.length, [self.vocab_size] * self.length
        self.canvas_number += 1
        if self.session is None:
            self.session = Session.of(
                self.policy,
                slots=batch_size,
                columns=self.length,
                mask_id=self.vocab_size,
                vocab_size=self.vocab_size,
                device=device,
                stop_at_eos=False,
                gen_length=self.total,
            )
            keys = [noise.key(self.seed, row) for row in range(batch_size)]
            requests = [
                block_shown(row, masks, 0, self.total, self.vocab_size, key) for row, key in enumerate(keys)
            ]
            self.session.admit_all(dict(enumerate(requests)))
        else:
            self.session.show_all(dict.fromkeys(range(batch_size), (masks, start)))
        return self.session.canvas

    def accept_canvas(
        self, current_canvas: Tensor, denoiser_canvas: Tensor, logits: Tensor, cur_step: int
    ) -> Tensor:
        """The text of the canvas `[B, C]` after one step with `logits [B, C, V]`; the likeliest ids where
        nothing is written. Raises `UsageError` (E0406) for logits that are not finite.
        """
        assert self.session is not None
        output = self.session.step(logits)
        for row in self.session.state.failed.nonzero().flatten().tolist():
            if (failed := self.session.error(row, half=logits.dtype != torch.float32)) is not None:
                raise UsageError(failed)
        self.temperature, self.done = output.events.temperature, output.done
        likeliest = logits.argmax(-1)
        return torch.where(output.canvas == self.vocab_size, likeliest, output.canvas)

    def renoise_canvas(self, accepted_canvas: Tensor, cur_step: int) -> Tensor:
        """The canvas `[B, C]` that the model sees next."""
        assert self.session is not None
        return self.session.canvas
