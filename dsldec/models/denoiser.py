"""What does decoding need of a model? A callable from ids to logits, a mask id and a vocabulary size."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ..diagnostics import Diagnostic, UsageError
from ..renamed import warn_of_former
from ..spelling import option, reads_flags


@runtime_checkable
class Denoiser(Protocol):
    """Any callable `ids [b, L] int64 -> logits [b, L, V]` with these two attributes.

    Optional attributes:

    `eos_id`: decoding of a row stops at it. `max_length`: prompt and generated tokens. `gen_length`: default
    number of tokens to generate. `device`. `bos_id`, `pad_id`: the words `bos` and `pad` of a policy.

    `pads = True`: one call takes rows of mixed lengths, `denoiser(ids, lengths=[b])`. Each row is padded on
    the right.

    `selects_columns = True`: one call returns the logits of some columns, chosen per row: `denoiser(ids,
    columns=[b, W] int64) -> [b, W, V]`. They equal the logits of the whole call at these columns.

    `captures = True`: its call can be recorded in a CUDA graph. It reads no value of a tensor, makes no
    tensor of a list, computes on the current stream, and does nothing on the host that each call needs. On a
    CUDA GPU, its call and the step are then recorded together. *Not measured on a GPU.*

    `kv_cache(rows, length)`: returns a `kv_cache.KVCache`, which takes a part of the canvas as input.

    `block_length`: the model is block-causal. A position sees its own block in both directions, and the
    blocks before it. Blocks are counted from the first column of the canvas.

    `canvas_length`, `canvases()`: the model reads the finished text, and after it one canvas of this many
    positions (`diffusion_gemma.GemmaCanvases`). Then the denoiser itself is not called.

    `encode(text) -> ids` and `decode_text(ids) -> text`; for texts with gaps `encode_gaps(text) -> ids` and
    `filled(text, ids) -> text`; for a chat `encode_messages(messages) -> ids`, each message a dict with the
    texts `role` and `content`.

    `stop_ids`: ids at which `decode_text` ends a text. `unstripped_text(ids) -> text`: as `decode_text`, with
    the spaces at its ends; stop strings are found in it. `special_id(text) -> id`: of a special token, which
    no text contains, or `None`.

    `token_texts()`: the bytes that each id stands for, a list with one entry for each id; `None` for an id
    that no text contains. A pattern (`constrain`) needs it.
    `mask_id` may be `vocab_size`, which is no id: then the model has no MASK. It decodes with policies that
    show random ids in place of MASK (`noise uniform`).

    A plain callable is only called with `[b, len(prompt) + gen_length]`, and only with prompts of one length
    together.
    """

    mask_id: int
    vocab_size: int

    def __call__(self, ids: Tensor) -> Tensor: ...


def other_ids(denoiser: object) -> dict[str, int | None]:
    """The ids of a denoiser that a policy may name beside `eos`, by their words."""
    return {"bos": getattr(denoiser, "bos_id", None), "pad": getattr(denoiser, "pad_id", None)}


# Optional attributes whose names have changed. The former names work until version 0.3.
FORMER = {"pads": "padding", "selects_columns": "chooses", "kv_cache": "kept"}


def capability(denoiser: Any, name: str) -> Any:
    """An optional attribute of a denoiser; `None` where it has none. A former name gives a
    `DeprecationWarning`.
    """
    if hasattr(denoiser, name):
        return getattr(denoiser, name)
    value = getattr(denoiser, FORMER[name], None)
    if value is not None:
        _warn_once(type(denoiser).__qualname__, name)
    return value


@functools.lru_cache(maxsize=128)
def _warn_once(kind: str, name: str) -> None:
    # Decoding asks for a capability in every forward.
    warn_of_former(FORMER[name], name)


def columns_keyword(denoiser: Any) -> str:
    """The keyword for columns in a call of this denoiser: `columns`, or `at` if it has the former names."""
    return "columns" if hasattr(denoiser, "selects_columns") or not hasattr(denoiser, "chooses") else "at"


def kv_cache_of(denoiser: Any, rows: int, length: int) -> Any:
    """A KV cache for `rows` rows of `length` columns; `None` where the denoiser has none. Raises the errors
    of the denoiser.
    """
    make = capability(denoiser, "kv_cache")
    if make is None:
        return None
    return make(rows, length) if hasattr(denoiser, "kv_cache") else _FormerCache(make(rows, length))


class _FormerCache:
    """Wraps a KV cache that has the former names of its method and keyword."""

    def __init__(self, cache: Any) -> None:
        self.cache, self.store = cache, cache.keep

    def __call__(self, ids: Tensor, inputs: Sequence[Tensor], columns: Tensor) -> Any:
        return self.cache(ids, *inputs, at=columns)


def require_denoiser(denoiser: Any, *, with_mask: bool = False) -> None:
    """Raise `UsageError` (E0408) for an object that is not a denoiser; `with_mask`: also for one without
    MASK.
    """
    lacking = [
        name for name in ("mask_id", "vocab_size") if not hasattr(getattr(denoiser, name, None), "__index__")
    ]
    if not callable(denoiser):
        message = f"a denoiser must be callable, and a `{type(denoiser).__name__}` is not"
        example = f'"{denoiser}"' if isinstance(denoiser, str) and denoiser.isprintable() else ""
        raise UsageError(
            Diagnostic("E0408", message, help=f"give a function, or `dsldec.from_pretrained({example})`")
        )
    if not lacking:
        _require_ids_that_fit(denoiser, denoiser.vocab_size - with_mask)
    else:
        names = " and ".join(f"`{name}`" for name in lacking)
        help = f"set it: `denoiser.{lacking[0]} = ...` (an int)"
        if hasattr(denoiser, "config") and hasattr(denoiser, "parameters"):
            help = "a model of transformers: `from dsldec.models.huggingface import denoiser_of`, and `denoiser_of(model, tokenizer)`"
        raise UsageError(Diagnostic("E0408", f"this denoiser lacks {names}", help=help))


def _require_ids_that_fit(denoiser: Denoiser, greatest_mask: int) -> None:
    size, eos_id, blocks = (
        denoiser.vocab_size,
        getattr(denoiser, "eos_id", None),
        getattr(denoiser, "block_length", None),
    )
    wrong, help_ = "", f"{option('mask_id')} and {option('eos_id')} must be two different ids below {size}"
    if not reads_flags():
        help_ += "; without an end of text, `eos_id` is None"
    if size < 2 or not 0 <= denoiser.mask_id <= greatest_mask:
        wrong = f"its `mask_id` is {denoiser.mask_id} and its `vocab_size` {size}"
    elif eos_id is not None and (not hasattr(eos_id, "__index__") or eos_id == denoiser.mask_id):
        wrong = f"its `eos_id` is {eos_id}{', and so is its `mask_id`' * (eos_id == denoiser.mask_id)}"
    elif blocks is not None and (not hasattr(blocks, "__index__") or blocks < 1):
        wrong, help_ = (
            f"its `block_length` is {blocks}",
            "a block has 1 token or more; a model that sees the whole canvas has none",
        )
    if wrong:
        raise UsageError(Diagnostic("E0408", f"this denoiser is not valid: {wrong}", help=help_))


def require_ids(denoiser: Denoiser, prompts: Sequence[Sequence[int]], gen_lengths: Sequence[int]) -> None:
    """Raise `UsageError` (E0409, E0407) for prompts that the denoiser cannot take, with the tokens to
    generate for each.
    """
    for index, (prompt, gen_length) in enumerate(zip(prompts, gen_lengths, strict=True)):
        if unknown := unknown_id(denoiser, prompt, f"prompt {index}"):
            raise UsageError(unknown)
        if problem := too_long(denoiser, len(prompt), gen_length):
            raise UsageError(
                Diagnostic("E0407", f"prompt {index} is too long: {problem.message}", help=problem.help)
            )


def memory_ran_out(error: BaseException) -> bool:
    """Whether the error means that memory ran out: in torch on any device, or in Python."""
    match = re.search(
        r"out of memory|not enough memory|can't allocate memory|unable to allocate", str(error), re.IGNORECASE
    )
    return isinstance(error, MemoryError) or match is not None


def require_shown_mask(policy: str, *, noise: bool, guided: bool, vocab_size: int | None = None) -> None:
    """Raise `UsageError` (E0500, E0501) where a model without MASK would see MASK: `noise`: the policy shows
    random ids where nothing is written; `guided`: it has classifier-free guidance; `vocab_size`: of a
    denoiser whose `mask_id` says that it has none.
    """
    if not noise:
        message = f"the model has no MASK, and the policy `{policy}` shows MASK where nothing is written"
        help_ = "add `noise uniform` in a line below `window`, or use the policy `diffusion_gemma`"
        if vocab_size is not None:
            help_ += f"; a denoiser with MASK has a `mask_id` below {vocab_size}, its `vocab_size`"
        raise UsageError(Diagnostic("E0500", message, help=help_))
    if guided:
        message = f"the model has no MASK, and `logits cfg` of the policy `{policy}` hides the prompt by MASK"
        raise UsageError(Diagnostic("E0501", message, help="delete the line with `logits cfg`"))


def unknown_id(denoiser: Denoiser, prompt: Sequence[int], name: str = "the prompt") -> Diagnostic | None:
    """A diagnostic about a prompt with an id outside the vocabulary; `name`: the prompt in the message."""
    outside = next((id_ for id_ in prompt if not 0 <= id_ < denoiser.vocab_size), None)
    if outside is None:
        return None
    message = f"{name} holds the id {outside}, and the vocabulary has {denoiser.vocab_size}"
    return Diagnostic("E0409", message, help="encode the text with the model's own tokenizer")


def too_long(denoiser: Denoiser, prompt_length: int, gen_length: int) -> Diagnostic | None:
    """Why a prompt of this many tokens does not fit. None where it fits."""
    limit: int | None = getattr(denoiser, "max_length", None)
    if limit is None or prompt_length + gen_length <= limit:
        return None
    message = f"{prompt_length} tokens{f' and {gen_length} to generate' * bool(gen_length)} are more than the model's limit of {limit}"
    fits = limit - prompt_length
    help_ = (
        f"shorten the prompt to fewer than {limit} tokens"
        if gen_length
        else f"shorten the text, or its gaps, to {limit} tokens"
    )
    if fits > 0:
        help_ = f"generate less: {option('gen_length', fits)}"
    return Diagnostic("E0407", message, help=help_)
