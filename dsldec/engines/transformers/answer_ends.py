"""Where do the ids of an answer of `generate` end? With a stop id, or before a stop string.

`decode` ends a text before a stop string. `generate` and its streamers give ids, and others make the text of
them. If a token begins before a stop string and ends in it, the ids of the text before the stop string take
its place: so the text of an answer is the one of `decode`. Not here: when a row ends (`runtime.stops`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ...models.huggingface import HuggingFaceDenoiser
from ...options import DecodeOptions
from ...runtime.prompt_options import ids_of, texts_of
from ...runtime.stops import INCOMPLETE


@dataclass(frozen=True, slots=True)
class AnswerEnds:
    """The ends of the answers of one call.

    `read`: the text of ids; `write`: the ids of a text; both only where there are stop strings.
    """

    stop_ids: frozenset[int]
    stop: tuple[str, ...] = ()
    read: Callable[[Sequence[int]], str] = str
    write: Callable[[str], list[int]] | None = None

    @classmethod
    def of(cls, denoiser: HuggingFaceDenoiser, options: DecodeOptions) -> Self:
        """The ends that a call has with these options. `options.stop` needs a tokenizer."""
        stop_ids, stop = denoiser.stop_ids | set(ids_of(options.stop_ids)), []
        for text in texts_of(options.stop):
            special = denoiser.special_id(text)  # ends a row like a stop id
            if special is None:
                stop.append(text)
            else:
                stop_ids |= {special}
        tokenizer: Any = denoiser.tokenizer
        if not stop:
            return cls(stop_ids)
        return cls(
            stop_ids,
            tuple(stop),
            denoiser.unstripped_text,
            lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"]),
        )

    def answer(self, ids: Sequence[int]) -> tuple[list[int], int]:
        """The answer in the ids of a row that has ended, and how many of its ids are the row's."""
        content, end = self._apart(ids)
        if not self.stop or (found := self._first(self.read(content))) is None:
            return content + end, len(content + end)
        text = self.read(content)[:found]
        whole = self._within(content, text)
        rest = text[len(self.read(whole)) :]
        written = self.write(rest) if rest and self.write is not None else []
        return whole + written if self.read(whole + written) == text else whole, len(whole)

    def certain(self, ids: Sequence[int]) -> list[int]:
        """The ids that are in the answer of a row which begins with these final ids: the text of the others
        may be a part of a stop string.
        """
        content, end = self._apart(ids)
        if not self.stop:
            return content + end
        text = self.read(content).rstrip(INCOMPLETE)
        found = self._first(text)
        if end and found is None:
            return content + end
        return self._within(content, text[: len(text) - self._held(text) if found is None else found])

    def _apart(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """The ids before the first stop id, and that id."""
        content = list(itertools.takewhile(lambda one: one not in self.stop_ids, ids))
        return content, list(ids[len(content) : len(content) + 1])

    def _first(self, text: str) -> int | None:
        """Where the first stop string of a text begins."""
        return min((at for at in map(text.find, self.stop) if at >= 0), default=None)

    def _held(self, text: str) -> int:
        """The characters at the end of a text with which a stop string may begin."""
        longest = max(map(len, self.stop)) - 1
        return next(
            (
                n
                for n in range(longest, 0, -1)
                if text.endswith(tuple(s[:n] for s in self.stop if len(s) > n))
            ),
            0,
        )

    def _within(self, ids: list[int], text: str) -> list[int]:
        """The longest prefix of some ids whose text is a prefix of `text`."""
        return next(ids[:n] for n in range(len(ids), -1, -1) if text.startswith(self.read(ids[:n])))
