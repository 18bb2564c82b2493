"""The texts in a line with recorded values: the prompt, and the text of each id that occurs in it.

A reader without a tokenizer shows them. Needs no torch. Not here: how ids become texts (`runtime`), the
values (`record_lines`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..trajectory_lines import LARGEST_ID, WrongLine, is_int, require

MOST_TOKENS = 2**18
LONGEST_TOKEN = 1000
LONGEST_PROMPT = 2**20


def text_fields(prompt: str | None, tokens: Mapping[int, str]) -> dict[str, Any]:
    """The fields of a line."""
    of_prompt = {} if prompt is None else {"prompt": prompt[:LONGEST_PROMPT]}
    texts = {str(id_): text[:LONGEST_TOKEN] for id_, text in list(tokens.items())[:MOST_TOKENS]}
    return of_prompt | ({"tokens": texts} if texts else {})


def texts_of_line(line: Mapping[str, Any]) -> tuple[str | None, dict[int, str]]:
    """The prompt and the texts of ids in a line with values. Raises `WrongLine`."""
    prompt, tokens = line.get("prompt"), line.get("tokens", {})
    if not (prompt is None or (isinstance(prompt, str) and len(prompt) <= LONGEST_PROMPT)):
        raise WrongLine("has a `prompt` that is no text")
    if not isinstance(tokens, dict) or len(tokens) > MOST_TOKENS:
        raise WrongLine("has `tokens` that are no object")
    for id_, text in tokens.items():
        require(id_.isascii() and id_.isdecimal() and len(id_) < 20, "has an invalid id in `tokens`")
        require(isinstance(text, str) and len(text) <= LONGEST_TOKEN, "has an invalid text in `tokens`")
    texts = {int(id_): text for id_, text in tokens.items()}
    require(all(is_int(id_, 0, LARGEST_ID) for id_ in texts), "has an invalid id in `tokens`")
    return prompt, texts
