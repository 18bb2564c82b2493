"""The turns of a chat, as applications write them: a list of `{"role": ..., "content": ...}`.

The forms are those of OpenAI's API for texts. Needs no torch. Not here: the chat template that makes one text
of the turns (`models.chat_template`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..spelling import shown

Message = dict[str, Any]
EXAMPLE = '[{"role": "user", "content": "What is 14+18?"}]'
PART = '{"type": "text", "text": "..."}'


class WrongMessagesError(ValueError):
    """The messages have a wrong form. The text says where and why, the subject first."""


def is_chat(prompt: object) -> bool:
    """Whether a prompt is a list of messages, and not of ids or of encodings of a tokenizer."""
    return (
        isinstance(prompt, list | tuple)
        and bool(prompt)
        and all(isinstance(one, Mapping) and "input_ids" not in one for one in prompt)
    )


def turns_of(messages: object) -> list[Message]:
    """The messages, each with a text as its content: the parts of a content are joined by line feeds. Other
    fields of a message stay. Raises `WrongMessagesError`.
    """
    if not isinstance(messages, list | tuple) or not messages:
        raise WrongMessagesError(f"the messages are a list of at least one message, not {shown(messages)}")
    return [_turn(number, one) for number, one in enumerate(messages)]


def with_system(messages: Sequence[Message], system: str | None) -> list[Message]:
    """The messages behind a system turn. Raises `WrongMessagesError` if they have one already."""
    if system is None:
        return list(messages)
    if any(one["role"] == "system" for one in messages):
        raise WrongMessagesError("the messages have a system turn, and another one is given")
    return [{"role": "system", "content": system}, *messages]


def _turn(number: int, message: object) -> Message:
    where = f"message {number}"
    if not isinstance(message, Mapping):
        raise WrongMessagesError(f"{where} is an object with `role` and `content`, not {shown(message)}")
    for name in ("role", "content"):
        if name not in message:
            raise WrongMessagesError(f"{where} has no `{name}`")
    role, content = message["role"], message["content"]
    if not isinstance(role, str) or not role:
        raise WrongMessagesError(f"the `role` of {where} is a text, not {shown(role)}")
    if isinstance(content, list | tuple):
        content = "\n".join(_text(where, part) for part in content)
    if not isinstance(content, str):
        raise WrongMessagesError(
            f"the `content` of {where} is a text or a list of text parts, not {shown(content)}"
        )
    return {**message, "role": role, "content": content}


def _text(where: str, part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else part
    raise WrongMessagesError(f"a part of {where} is no text ({PART}), but {shown(kind)}")
