"""Converts prompts of every accepted form to lists of ids.

A list of texts, of ids or of chats; one of these alone; a tensor or an array, one prompt a row; the encoding
of a tokenizer, without its padding. Not here: the ids that a denoiser takes (`models.denoiser`), the form of
messages (`messages`), the requests made of prompts (`requests`).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..diagnostics import Diagnostic, UsageError
from ..spelling import option, shown
from .messages import EXAMPLE, Message, WrongMessagesError, is_chat, turns_of, with_system

PromptInput = str | Sequence[int] | Sequence[Mapping[str, Any]] | Tensor
Prompts = Sequence[PromptInput] | PromptInput | Mapping[str, Any]


def listed(denoiser: Any, prompts: Any) -> list[Any]:
    """The prompts one by one, as they were given. Raises `UsageError` (E0409)."""
    if isinstance(prompts, str):
        return [prompts]
    if isinstance(prompts, Mapping):
        return _of_encoding(denoiser, prompts)
    if _is_array(prompts):
        return _of_array(denoiser, prompts)
    if isinstance(prompts, bytes | bytearray) or not isinstance(prompts, Iterable):
        raise _wrong(
            f"the prompts are a list, and this is {shown(prompts)}",
            "write `decode(denoiser, [prompt], policy)`",
        )
    one_by_one = list(prompts)
    alone = is_chat(one_by_one) or (bool(one_by_one) and all(_is_id(one) for one in one_by_one))
    return [one_by_one] if alone else one_by_one


def ids_of(denoiser: Any, prompt: Any, infill: bool, system: str | None = None) -> list[int]:
    """The ids of a prompt. With `infill`, the gaps of a text become masks. `system`: a system turn in front
    of it. Raises `UsageError` (E0409).
    """
    chat = isinstance(prompt, list | tuple) and any(isinstance(one, Mapping) for one in prompt)
    if chat or system is not None:
        return _ids_of_chat(denoiser, prompt, chat, infill, system)
    if isinstance(prompt, str):
        encode = getattr(denoiser, "encode_gaps" if infill else "encode", None)
        if encode is None:
            raise _wrong(
                "this denoiser has no tokenizer, and a prompt is text", "give prompts as lists of ids"
            )
        return list(encode(prompt))
    if isinstance(prompt, Mapping):
        rows = _of_encoding(denoiser, prompt)
        prompt = rows[0] if len(rows) == 1 else rows
    elif _is_array(prompt):
        if getattr(prompt, "ndim", 1) == 2 and len(prompt) == 1:  # the form of one prompt from a tokenizer
            prompt = prompt[0]
        prompt = prompt.tolist()
    ids = list(prompt) if isinstance(prompt, Iterable) and not isinstance(prompt, bytes | bytearray) else None
    if ids is None or not all(_is_id(one) for one in ids):
        what = (
            "ids are whole numbers"
            if ids and all(isinstance(one, float) for one in ids)
            else f"this is {shown(prompt)}"
        )
        help = "write `decode(denoiser, [ids], policy)`, or `decode(denoiser, [text], policy)`"
        raise _wrong(f"a prompt is a text or a flat list of ids, and {what}", help)
    return [operator.index(one) for one in ids]


def _ids_of_chat(denoiser: Any, prompt: Any, chat: bool, infill: bool, system: str | None) -> list[int]:
    """The ids of messages (`chat`), or of a text behind a system turn, in the model's chat template."""
    given = option("system") if system is not None else "a list of messages"
    if infill:
        why = f"{given} needs the chat template, and {option('infill', True)} uses none"
        raise _wrong(why, "write the whole text with its masks, as one prompt")
    if not chat and not isinstance(prompt, str):
        why = f"{option('system')} is for prompts that are texts or messages, and this prompt is ids"
        raise _wrong(why, "put the system turn into the ids")
    encode = getattr(denoiser, "encode_messages", None)
    if encode is None:
        why = f"this denoiser has no chat template, which {given} needs"
        raise _wrong(why, "give prompts as texts or ids, or give the denoiser a method `encode_messages`")
    return list(encode(chat_of(prompt, system)))


def chat_of(prompt: Any, system: str | None) -> list[Message]:
    """The messages of a prompt, a text or messages, behind a system turn. Raises `UsageError` (E0409)."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    try:
        return with_system(turns_of(messages), system)
    except WrongMessagesError as wrong:
        help = f"delete one of them: {option('system')}, or the turn" if system is not None else ""
        raise _wrong(
            str(wrong), help if "system turn" in str(wrong) else f"for example `{EXAMPLE}`"
        ) from None


def _of_encoding(denoiser: Any, encoding: Mapping[str, Any]) -> list[Any]:
    """The prompts in the output of a tokenizer. `attention_mask`, if present, marks the padding of
    `input_ids`.
    """
    if "input_ids" not in encoding:
        help = "give a list of messages: `decode(denoiser, [message], policy)`"
        if "content" not in encoding:
            help = "give a tokenizer's output, with `input_ids`, or a list of texts: `decode(denoiser, [text], policy)`"
        raise _wrong(
            f"a dict without `input_ids` is not a prompt: it has {', '.join(f'`{name}`' for name in encoding) or 'nothing'}",
            help,
        )
    ids, mask = encoding["input_ids"], encoding.get("attention_mask")
    if mask is None:
        return listed(denoiser, ids)
    rows, masks = (listed(None, each) for each in (ids, mask))
    if len(rows) != len(masks) or any(
        len(row) != len(hidden) for row, hidden in zip(rows, masks, strict=True)
    ):
        raise _wrong(
            "`input_ids` and `attention_mask` have other shapes", "give the encoding as the tokenizer gave it"
        )
    return [_unpadded(row, hidden) for row, hidden in zip(rows, masks, strict=True)]


def _unpadded(row: Any, hidden: Any) -> list[Any]:
    filled = [bool(one) for one in hidden]
    begin = filled.index(True) if True in filled else len(filled)
    end = len(filled) - filled[::-1].index(True) if True in filled else begin
    if not all(filled[begin:end]):
        raise _wrong(
            "the attention mask hides something within a prompt",
            "remove the hidden ids from the prompt",
        )
    return list(row[begin:end])


def _of_array(denoiser: Any, array: Any) -> list[Any]:
    """A tensor or an array: one prompt, or one a row."""
    if array.ndim == 1:
        return [array]
    if array.ndim != 2:
        raise _wrong(
            f"prompts are a tensor [prompts, ids], and this has the shape {list(array.shape)}",
            "write `prompts.reshape(B, L)`",
        )
    pad_id = getattr(getattr(denoiser, "tokenizer", None), "pad_token_id", None)
    padded = (
        [bool(len(row)) and pad_id in (int(row[0]), int(row[-1])) for row in array]
        if pad_id is not None
        else []
    )
    # In a padded batch the longest prompt has no padding.
    if any(padded) and not all(padded):
        help = "give the whole encoding, which marks the padding: `decode(denoiser, tokenizer(texts, padding=True), policy)`; "
        help += "a list is used unchanged: `ids.tolist()`"
        raise _wrong(
            f"some rows begin or end with the id of padding, {pad_id}, and it is unclear whether it belongs to the prompt",
            help,
        )
    return list(array)


def _is_array(value: Any) -> bool:
    return hasattr(value, "tolist") and hasattr(value, "ndim") and hasattr(value, "shape")


def _is_id(value: Any) -> bool:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return False
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor of several, or with a fraction
        return False
    return True


def _wrong(message: str, help: str) -> UsageError:
    return UsageError(Diagnostic("E0409", message, help=help))
