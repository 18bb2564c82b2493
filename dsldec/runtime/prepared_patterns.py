"""The automaton of a pattern over the ids of a denoiser: prepared once, and stored in a folder of the user.

Not here: patterns (`dsldec.patterns`), which request has which pattern (`constraints`).
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import patterns
from ..backends import user_folder
from ..backends.user_folder import Unusable
from ..diagnostics import Diagnostic, UsageError
from ..lru import LRUCache
from ..models.token_texts import TokenTexts, token_texts
from ..patterns import Pattern
from ..patterns.automaton import TokenAutomaton
from ..patterns.byte_automaton import as_shown, byte_automaton
from ..patterns.over_ids import TooLarge, over_ids, shortest
from ..patterns.regular import located
from ..patterns.stored import Damaged, of_bytes, to_bytes

log = logging.getLogger("dsldec")

FOLDER, VARIABLE, SUFFIX = "patterns", "DSLDEC_PATTERNS", ".pattern"
MOST_STORED = 256 * 2**20  # bytes of all files
MOST_IN_MEMORY = 64  # automata


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPattern:
    """A pattern as an automaton. `shortest`: the fewest ids of a match. `seconds`: of the preparation, or of
    reading it from the folder (`stored`).
    """

    pattern: Pattern
    automaton: TokenAutomaton
    shortest: int
    seconds: float
    stored: bool

    @property
    def bytes(self) -> int:
        """The memory of the automaton."""
        one = self.automaton
        return int(one.next_state.nbytes + one.class_of.nbytes + one.final.nbytes)

    def __str__(self) -> str:
        """The facts in a line."""
        how = "read from the cache" if self.stored else "prepared"
        return (
            f"pattern: {self.automaton.states} states, {self.automaton.classes} classes of ids, {self.bytes:,} bytes, "
            f"{how} in {1000 * self.seconds:.0f} ms; a match has {self.shortest} token{'s' * (self.shortest != 1)} or more"
        )


_prepared: LRUCache[str, PreparedPattern] = LRUCache(MOST_IN_MEMORY)


def prepared(pattern: Pattern, denoiser: Any, infill: bool = False) -> PreparedPattern:
    """The automaton of a pattern for a denoiser. `infill`: of the filled region, which has no end of text,
    and whose spaces stay.

    Raises `UsageError`: E0490 for an expression that the library refuses, E0494 beyond a limit, E0495
    without the texts of ids, E0496 if no sequence of ids matches.
    """
    texts, eos_id = _texts_of(denoiser), getattr(denoiser, "eos_id", None)
    eos_id = None if infill or eos_id is None else int(eos_id)
    never = _without_text(denoiser)
    parts = (_version(), pattern.regex, texts.digest, eos_id, sorted(never), infill)
    key = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return _prepared.get_or_make(key, lambda: _made_or_read(key, pattern, texts, never, eos_id, infill))


def _made_or_read(
    key: str, pattern: Pattern, texts: TokenTexts, never: frozenset[int], eos_id: int | None, infill: bool
) -> PreparedPattern:
    begun = time.perf_counter()
    try:
        file = user_folder.folder(FOLDER, VARIABLE) / f"{key}{SUFFIX}"
    except Unusable as error:
        log.info("patterns are not stored: %s", error)
        automaton, is_stored = _made(pattern, texts, never, eos_id, infill), False
    else:
        with user_folder.locked(file):
            found = _read(file, len(texts.texts))
            is_stored = found is not None
            automaton = found or _made(pattern, texts, never, eos_id, infill)
            if not is_stored:
                _store(automaton, file)
    made = PreparedPattern(pattern, automaton, shortest(automaton), time.perf_counter() - begun, is_stored)
    log.debug("%s", made)
    return made


def _made(
    pattern: Pattern, texts: TokenTexts, never: frozenset[int], eos_id: int | None, infill: bool
) -> TokenAutomaton:
    try:
        automaton = byte_automaton(pattern.regex)
    except UsageError as refused:
        if refused.diagnostic.code == "E0490":
            raise UsageError(located(pattern.text, refused.diagnostic)) from None
        raise
    shown = (
        automaton if infill and not texts.space_first else as_shown(automaton, space_first=texts.space_first)
    )
    allowed = [None if id_ in never else text for id_, text in enumerate(texts.texts)]
    try:
        made = over_ids(shown, allowed, eos_id)
    except TooLarge as error:
        help = "write a shorter pattern: fewer fields, fewer or smaller repeats such as `{1,500}`"
        raise UsageError(Diagnostic("E0494", f"the pattern is too large: {error}", help=help)) from None
    if made is not None:
        return made
    if automaton.states and not shown.states:
        why, help = (
            "each match begins or ends with a space, and an answer is shown without these",
            "leave the spaces at its ends out",
        )
    elif automaton.states:
        why, help = (
            "the tokenizer has no tokens for its characters",
            "use characters that the model can write",
        )
    else:
        why, help = "its matches hold the character NUL", "leave `\\x00` out"
    raise UsageError(Diagnostic("E0496", f"the pattern can match no answer: {why}", help=help))


def _texts_of(denoiser: Any) -> TokenTexts:
    """The bytes of the ids of a denoiser. Raises `UsageError` (E0495)."""
    read, tokenizer = getattr(denoiser, "token_texts", None), getattr(denoiser, "reader", None)
    if read is None and tokenizer is not None:
        return token_texts(tokenizer, denoiser.vocab_size)
    if read is None:
        message = "a pattern needs the text of each id, and this denoiser has no tokenizer"
        help = "give it a method `token_texts()` that returns the bytes of each id, None for no text"
        raise UsageError(Diagnostic("E0495", message, help=help))
    texts = read()
    valid = isinstance(texts, Sequence) and len(texts) == denoiser.vocab_size
    if not valid or not all(text is None or isinstance(text, bytes) for text in texts):
        message = "`token_texts()` of the denoiser does not return bytes or None for each id"
        raise UsageError(Diagnostic("E0495", message, help=f"return a list of {denoiser.vocab_size} entries"))
    return TokenTexts.of(list(texts))


def _without_text(denoiser: Any) -> frozenset[int]:
    """Ids that no match contains, whatever their text: MASK, the ends of a text, ids that are never written."""
    ids = {int(denoiser.mask_id), *(int(one) for one in getattr(denoiser, "stop_ids", ()))}
    never = getattr(denoiser, "never", None)
    return frozenset(ids | (set() if never is None else {int(one) for one in never}))


def _read(file: Path, ids: int) -> TokenAutomaton | None:
    """The automaton in a file of the folder; `None` if there is none, or if it cannot be used."""
    try:
        user_folder.require_private(file)
        if file.stat().st_size > MOST_STORED:
            raise Damaged
        automaton = of_bytes(user_folder.content(file), ids)
    except FileNotFoundError:
        return None
    except (Damaged, Unusable, OSError) as error:
        log.info("`%s` is not used, and the pattern is prepared again: %s", file, error or "it is damaged")
        return None
    user_folder.used(file)
    return automaton


def _store(automaton: TokenAutomaton, file: Path) -> None:
    try:
        user_folder.stored(to_bytes(automaton), file, MOST_STORED)
    except OSError as error:  # for example a full disk
        log.info("the pattern is not stored in `%s`: %s", file.parent, (error.strerror or str(error)).lower())


@functools.cache
def _version() -> str:
    """A digest of the code that prepares patterns, and of the library."""
    digest = hashlib.sha256()
    for source in sorted(Path(patterns.__file__).parent.glob("*.py")):
        digest.update(user_folder.content(source))
    try:
        digest.update(version("outlines-core").encode())
    except PackageNotFoundError:
        digest.update(b"none")
    return digest.hexdigest()
