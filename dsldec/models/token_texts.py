"""What text does each id of a tokenizer stand for, as bytes?

The texts of ids that follow each other join to the text that `decode` gives, apart from spaces at its ends.
Random ids check this for each tokenizer. Not here: patterns over these texts (`patterns`).
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..files import json_of

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # a token of byte fallback
BEFORE, AFTER = "a", "b"  # ordinary tokens on both sides of a token, whose text is sought
TRIALS, LONGEST_TRIAL = 64, 12


@dataclass(frozen=True, slots=True)
class TokenTexts:
    """The bytes of each id, `None` for an id that no text contains: a special token, or an id without one.

    `space_first`: the tokenizer puts a space in front of a word, and removes it from a text's start. `digest`
    names the contents.
    """

    texts: tuple[bytes | None, ...]
    space_first: bool
    digest: str

    @classmethod
    def of(cls, texts: list[bytes | None], space_first: bool = False) -> TokenTexts:
        """With the digest of these texts."""
        digest = hashlib.sha256(b"spaced" if space_first else b"plain")
        for text in texts:
            digest.update(b"-" if text is None else b"%d:%b" % (len(text), text))
        return cls(tuple(texts), space_first, digest.hexdigest())


@functools.lru_cache(maxsize=4)
def token_texts(tokenizer: Any, vocab_size: int) -> TokenTexts:
    """The texts of the ids of a tokenizer of `tokenizers`, or one of transformers that holds such a one.

    Raises `UsageError` (E0495) for another tokenizer, and for one whose texts do not join in this way.
    """
    rust = getattr(tokenizer, "backend_tokenizer", None) or getattr(tokenizer, "_tokenizer", None)
    if rust is None or not hasattr(rust, "get_added_tokens_decoder"):
        raise UsageError(_unknown(f"the tokenizer `{type(tokenizer).__name__}` is no fast tokenizer"))
    special = {id_ for id_, one in rust.get_added_tokens_decoder().items() if one.special}
    special |= {id_ for id_ in getattr(tokenizer, "all_special_ids", ()) if isinstance(id_, int)}
    decoder = rust.decoder
    kinds = _kinds(decoder)
    read = _reader(decoder, kinds)
    texts: list[bytes | None] = [None] * vocab_size
    for token, id_ in rust.get_vocab(with_added_tokens=True).items():
        if 0 <= id_ < vocab_size and id_ not in special:
            texts[id_] = read(token) or None
    # Without a decoder, tokens are joined by spaces.
    made = TokenTexts.of(texts, decoder is None or "WordPiece" in kinds)
    _require_joined(tokenizer, made)
    return made


def _kinds(decoder: Any) -> set[str]:
    """The names of the parts of a decoder."""
    if decoder is None:
        return set()
    written = json_of(decoder.__getstate__().decode())
    parts = written.get("decoders", [written])
    return {str(part.get("type")) for part in parts}


def _reader(decoder: Any, kinds: set[str]) -> Callable[[str], bytes]:
    """The function from a token to its bytes."""
    if decoder is None:
        return lambda token: b" " + token.encode()
    if kinds == {"ByteLevel"}:
        return _byte_level
    tail = decoder.decode([BEFORE, AFTER])[len(BEFORE) :]

    def read(token: str) -> bytes:
        if "ByteFallback" in kinds and (byte := BYTE.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        whole = str(decoder.decode([BEFORE, token, AFTER]))
        return whole[len(BEFORE) : len(whole) - len(tail)].encode("utf-8", "replace")

    return read


def _byte_level(token: str) -> bytes:
    """The bytes of a token of byte-level BPE. A token with another letter is text, as an added one."""
    try:
        return bytes(_BYTES[letter] for letter in token)
    except KeyError:
        return token.encode("utf-8", "replace")


def _byte_letters() -> dict[str, int]:
    """The byte of each letter of byte-level BPE: printable bytes are themselves, the others follow at 256."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


_BYTES = _byte_letters()


def _require_joined(tokenizer: Any, made: TokenTexts) -> None:
    """Raise `UsageError` (E0495) if the texts of random ids do not join to their decoded text."""
    ids = [id_ for id_, text in enumerate(made.texts) if text]
    if not ids:
        raise UsageError(_unknown("the tokenizer has no token that is text"))
    draw = random.Random(0)
    for _ in range(TRIALS):
        some = draw.choices(ids, k=draw.randint(1, LONGEST_TRIAL))
        if made.space_first and not (made.texts[some[0]] or b"").startswith(b" "):
            continue  # the rest of a word at the start of a text: no pattern allows it
        joined = b"".join(made.texts[id_] or b"" for id_ in some).decode("utf-8", "replace")
        decoded = str(tokenizer.decode(some, skip_special_tokens=True))
        if "\ufffd" not in joined and joined.strip() != decoded.strip():
            raise UsageError(_unknown(f"the texts of its ids do not join to the decoded text: ids {some}"))


def _unknown(why: str) -> Diagnostic:
    help = "give the denoiser a method `token_texts()` that returns the bytes of each id, None for no text"
    return Diagnostic("E0495", f"a pattern cannot be used with this tokenizer: {why}", help=help)
