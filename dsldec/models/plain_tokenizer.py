"""The tokenizer of the embedded model, by the library `tokenizers` alone: the ids and texts of transformers'.

It has the part of the interface of a tokenizer of transformers that a denoiser calls. Not here: other
tokenizers (`loading`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import LARGEST_CONFIG, LARGEST_TOKENIZER, read_json, read_text

# The chat template of the embedded model. `in_chat` does the same.
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}<|endoftext|>"
    "{% else %}<|user|>{{ message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Fields of `tokenizer_config.json` that change no ids and no text.
WITHOUT_EFFECT = frozenset(
    "backend extra_special_tokens is_local local_files_only model_max_length padding_side".split()
)
EXPECTED = {"clean_up_tokenization_spaces": False, "tokenizer_class": "TokenizersBackend"}
NAMED = ("eos_token", "mask_token", "pad_token")
MOST_CHARACTERS = 1_000_000  # of a chat; a longer one is rendered in its process


class PlainTokenizer:
    """The tokenizer in the files of `folder`. Raises `ValueError` for files that mean more than is read here,
    and the errors of reading them.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        config = read_json(folder / "tokenizer_config.json", LARGEST_CONFIG)
        self.chat_template = read_text(folder / "chat_template.jinja", LARGEST_CONFIG)
        if self.chat_template != TEMPLATE or config.keys() != {*WITHOUT_EFFECT, *EXPECTED, *NAMED}:
            raise ValueError("the tokenizer has another template, or other fields")
        if any(config[name] != value for name, value in EXPECTED.items()):
            raise ValueError("the tokenizer is of another kind")
        self._tokenizer = Tokenizer.from_str(read_text(folder / "tokenizer.json", LARGEST_TOKENIZER))
        self.added_tokens_decoder: dict[int, Any] = self._tokenizer.get_added_tokens_decoder()
        special = {one.content for one in self.added_tokens_decoder.values() if one.special}
        named = {config[name] for name in NAMED} | {*config["extra_special_tokens"]}
        if special != named or self._tokenizer.padding or self._tokenizer.truncation:
            raise ValueError("the tokenizer has other special tokens, or pads, or cuts")
        self.eos_token_id, self.mask_token_id, self.pad_token_id = (
            self._tokenizer.token_to_id(config[name]) for name in NAMED
        )
        self.model_max_length: int = config["model_max_length"]

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        """The ids of a text, under `input_ids`."""
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of some ids."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def get_vocab(self) -> dict[str, int]:
        """The id of every token."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def convert_ids_to_tokens(self, ids: int | Sequence[int]) -> Any:
        """The token of an id, or of each id; None where there is none."""
        name = self._tokenizer.id_to_token
        return name(ids) if isinstance(ids, int) else [name(one) for one in ids]


def in_chat(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Messages in the template, for the model to continue. None for messages that only the template itself
    should judge: with other values than texts, or very long.
    """
    text = ""
    for message in messages:
        role, content = (message.get(name) if type(message) is dict else None for name in ("role", "content"))
        if type(role) is not str or type(content) is not str:
            return None
        text += f"<|assistant|>{content}<|endoftext|>" if role == "assistant" else f"<|user|>{content}"
    return None if len(text) > MOST_CHARACTERS else f"{text}<|assistant|>"
