"""The answers to the prompts of one call of `generate`: decoded and streamed.

Not here: which arguments a call has (`generate_arguments`),
when a token can be streamed (`streaming`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...models.denoiser import too_long
from ...models.huggingface import HuggingFaceDenoiser
from ...options import DecodeOptions
from ...policy import Policy
from ...runtime.decode import stream_rows
from ...runtime.forward import DenoiserFailed
from .answer_ends import AnswerEnds
from .generate_output import Answer
from .streaming import Columns


def require_room(denoiser: HuggingFaceDenoiser, prompts: Sequence[Sequence[int]], gen_length: Any) -> None:
    """Raise `UsageError` (E0407) for a prompt that leaves the model too few positions."""
    for prompt in prompts:
        if problem := too_long(denoiser, len(prompt), gen_length):
            fits = (denoiser.max_length or 0) - len(prompt)
            help = (
                f"generate less: `max_new_tokens={fits}` (for a server: `max_tokens`)"
                if fits > 0
                else problem.help
            )
            raise UsageError(Diagnostic(problem.code, problem.message, help=help))


def answers_of(
    denoiser: HuggingFaceDenoiser,
    prompts: list[list[int]],
    policy: Policy,
    options: DecodeOptions,
    streamer: Any,
    pad_id: int,
) -> list[Answer]:
    """The generated ids of each sample of each prompt, up to their end. The streamer gets them as soon as
    they are final.
    """
    rows, ends, columns = len(prompts) * options.n, AnswerEnds.of(denoiser, options), None
    if streamer is not None:
        columns = Columns(streamer, rows, ends, pad_id, denoiser.mask_id)
    watch = columns.watch if columns is not None and not policy.facts.revises else None
    answers = [Answer([])] * rows
    try:
        for row in stream_rows(denoiser, prompts, policy, options, watch):
            if row.error is not None:
                raise UsageError(row.error)
            ids, written = ends.answer(row.generated.tolist())
            answers[row.index] = Answer(ids, row.logprobs, written)
            if columns is not None:
                columns.finish(row.index, ids)
    except DenoiserFailed as failed:
        raise failed.__cause__ or failed from None  # callers of `generate` expect the model's own error
    if streamer is not None:
        streamer.end()
    return answers
