"""How is a text with gaps encoded and filled? `[MASK]` is one masked token, `[MASK*8]` eight; the tokenizer's
own mask works too.

Not here: decoding in place (`runtime.requests`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ..diagnostics import Diagnostic, UsageError

MARKER = r"\[MASK(?:\*(0*[1-9]\d{0,4}))?\]"
# Misspelt gaps. They would stay in the text unchanged.
MISWRITTEN = re.compile(r"\[ *mask(?!\w)[^\[\]\n]{0,20}\]", re.IGNORECASE)


def encoded(tokenizer: Any, mask_id: int, text: str) -> list[int]:
    """A text as ids, with `mask_id` in its gaps and the special tokens that the tokenizer puts around a text.
    Raises `UsageError` (E0409).
    """
    if not text.strip():
        raise UsageError(
            Diagnostic(
                "E0429",
                "a text to be infilled is empty",
                help="write `[MASK*8]` for eight tokens",
            )
        )
    written = tokenizer.convert_ids_to_tokens(mask_id)
    pieces = list(_pieces(text, written))
    help = 'write `[MASK]` for one token, `[MASK*8]` for eight: "3*6=[MASK]. The answer is [MASK*2]."'
    for wrong in (gap for piece in pieces if isinstance(piece, str) for gap in MISWRITTEN.findall(piece)):
        raise UsageError(Diagnostic("E0409", f"`{wrong}` in the text is not a gap", help=help))
    masks = sum(piece for piece in pieces if isinstance(piece, int))
    if not masks:
        raise UsageError(Diagnostic("E0409", "the text has no gap to fill", help=help))
    if isinstance(written, str):
        ids = list(
            tokenizer("".join(piece if isinstance(piece, str) else written * piece for piece in pieces))[
                "input_ids"
            ]
        )
        if ids.count(mask_id) == masks:
            return ids
    # The tokenizer does not read its mask as one token, so the text between the gaps is encoded piece by
    # piece.
    parts = [
        [mask_id] * piece
        if isinstance(piece, int)
        else tokenizer(piece, add_special_tokens=False)["input_ids"]
        for piece in pieces
    ]
    return [id_ for part in parts for id_ in part]


def filled(tokenizer: Any, mask_id: int, text: str, ids: Sequence[int]) -> str:
    """The text with the decoded tokens in its gaps and no other change. `ids` are those of `encoded`,
    decoded.
    """
    masked = encoded(tokenizer, mask_id, text)
    places = (at for at, id_ in enumerate(masked) if id_ == mask_id)
    whole = ""
    for piece in _pieces(text, tokenizer.convert_ids_to_tokens(mask_id)):
        if isinstance(piece, str):
            whole += piece
            continue
        gap = list(islice(places, piece))
        content = _between(tokenizer, ids, gap[0], gap[-1] + 1)
        # Many tokens include the space before a word.
        whole += content.lstrip(" ") if not whole or whole[-1].isspace() else content
    return whole


def _pieces(text: str, written: Any) -> Iterator[str | int]:
    """The pieces of text between the gaps, and the lengths of the gaps, in order."""
    also = f"|{re.escape(written)}" if isinstance(written, str) and written else ""
    end = 0
    for marker in re.finditer(MARKER + also, text):
        if marker.start() > end:
            yield text[end : marker.start()]
        end = marker.end()
        yield int(marker[1] or 1)
    if end < len(text):
        yield text[end:]


def _between(tokenizer: Any, ids: Sequence[int], begin: int, end: int) -> str:
    """The text of some ids, given the ids before them."""
    before, after = (str(tokenizer.decode(list(ids[:at]), skip_special_tokens=True)) for at in (begin, end))
    return (
        after[len(before) :]
        if after.startswith(before)
        else str(tokenizer.decode(list(ids[begin:end]), skip_special_tokens=True))
    )
