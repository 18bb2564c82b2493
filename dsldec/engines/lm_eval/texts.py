"""Texts of the harness to ids and back.

The harness gives prompts as finished texts. It asks for the chat template (`--apply_chat_template`), and cuts
answers at texts that may begin with a line break, so that no blank is removed from an answer. Not here:
how a template is rendered (`models.chat_template`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...models.chat_template import TemplateFailedError, in_template

# Marks the end of an unfinished message, while the template is rendered.
GOES_ON = "[the answer goes on here] "


class InTemplate(str):
    """A prompt that is in the chat template: it has its special tokens."""

    __slots__ = ()


class Texts:
    """Encodes prompts and decodes answers with the tokenizer of a denoiser. Raises `UsageError` (E0409) where
    the denoiser has no tokenizer.
    """

    def __init__(self, denoiser: Any, add_bos_token: bool | None) -> None:
        self.tokenizer: Any = getattr(denoiser, "tokenizer", None)
        if self.tokenizer is None:
            message = "this denoiser has no tokenizer, and the harness gives prompts as texts"
            help = "give the folder of a model: `pretrained=./MODEL`"
            raise UsageError(Diagnostic("E0409", message, help=help))
        # Tokenizers of encoders close a text with an end token. The model would write nothing after it.
        ends = (getattr(denoiser, "eos_id", None), getattr(self.tokenizer, "sep_token_id", None))
        self._closing = {one for one in ends if one is not None}
        self._bos_id, self._bos = self.tokenizer.bos_token_id, self.tokenizer.bos_token
        self._add_bos_token = add_bos_token
        if add_bos_token and self._bos_id is None:
            message = "`add_bos_token` is True, and the model's tokenizer has no begin-of-text token"
            raise UsageError(Diagnostic("E0409", message, help="leave `add_bos_token` out"))

    def encode(self, text: str) -> list[int]:
        """The ids of a prompt. Special tokens are added once: a text in the chat template, or one that begins
        with the begin-of-text token, has them.
        """
        begins = bool(self._bos) and text.startswith(str(self._bos))
        if self._add_bos_token is None and not (begins or isinstance(text, InTemplate)):
            ids = list(self.tokenizer(str(text))["input_ids"])
            return ids[:-1] if len(ids) > 1 and ids[-1] in self._closing else ids
        ids = self.encode_plain(text)
        return [self._bos_id, *ids] if self._add_bos_token and not begins else ids

    def encode_plain(self, text: str) -> list[int]:
        """The ids of a text without special tokens."""
        return list(self.tokenizer(str(text), add_special_tokens=False)["input_ids"])

    def encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The ids of a prompt and of its continuation. Blanks at the end of the prompt belong to the
        continuation, as in the harness.
        """
        if not context:
            return [], self.encode_plain(continuation)
        bare = context.rstrip()
        kind = type(context) if isinstance(context, InTemplate) else str
        whole = self.encode(kind(context + continuation))
        prompt = self.encode(kind(bare))
        return prompt, whole[len(prompt) :]

    def decode(self, ids: Sequence[int], ends: Sequence[int]) -> str:
        """The text of generated ids, up to the first of the ids in `ends`, without special tokens."""
        content = list(ids)
        end = next((at for at, one in enumerate(content) if one in ends), len(content))
        return str(self.tokenizer.decode(content[:end], skip_special_tokens=True))

    def special(self, texts: Sequence[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The ids of the texts that are one special token, such as `<|im_end|>`, and the other texts. A
        decoded text has no special tokens.
        """
        ids = self.tokenizer.get_added_vocab()
        here = tuple(int(ids[text]) for text in texts if text in ids)
        return here, tuple(text for text in texts if text not in ids)

    def in_chat(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> InTemplate:
        """Messages in the chat template. Without `add_generation_prompt`, the last message is the begin of
        the answer. Raises `UsageError` (E0409).
        """
        self.require_template()
        if not add_generation_prompt:
            last = dict(messages[-1])
            messages = [*messages[:-1], last | {"content": last["content"] + GOES_ON}]
        try:
            text = in_template(self.tokenizer, messages, add_generation_prompt=add_generation_prompt)
        except Exception as error:  # a template is a program from the model's folder
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            why = why if isinstance(error, TemplateFailedError) else f"{type(error).__name__}: {why}"
            message = f"the chat template of the model's tokenizer fails: {why}"
            help = "leave `--apply_chat_template` out"
            if any(one.get("role") == "system" for one in messages):
                help = f"leave `--system_instruction` out if the template knows no system message, or {help}"
            raise UsageError(Diagnostic("E0409", message, help=help)) from error
        if add_generation_prompt or GOES_ON.strip() not in text:
            return InTemplate(text)
        before, _, after = text.rpartition(GOES_ON.strip())
        # A template that removes blanks at the end of a message removes those of the answer's begin too.
        return InTemplate(before if after.startswith(" ") else before.rstrip())

    def require_template(self, name: object = True) -> None:
        """Raise `UsageError` (E0409) where the tokenizer has no chat template, or a name is given."""
        if not getattr(self.tokenizer, "chat_template", None):
            message = "the model's tokenizer has no chat template"
            raise UsageError(Diagnostic("E0409", message, help="leave `--apply_chat_template` out"))
        if isinstance(name, str):
            message = "`--apply_chat_template` takes no name here: the tokenizer's default template is used"
            raise UsageError(Diagnostic("E0409", message, help="write `--apply_chat_template` alone"))
