"""The denoiser of a Hugging Face model: logits, and texts by its tokenizer.

Not here: loading a model (`huggingface`), the traits of a model (`traits`), its probes (`probe`).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..backends.on_device import on_device
from ..diagnostics import Diagnostic, UsageError
from ..renamed import former, warn_of_former
from ..spelling import option
from . import infill
from .attention_hooks import AttentionHook
from .chat_template import TemplateFailedError, in_template
from .head import Head
from .kv_cache import KVCache, attention_hook_of
from .probe import MaskBuilder, counts_padding, keys_mask
from .shifted import before, shifted


class LengthsOnDevice:
    """Lengths of rows as a tensor `[b, 1]`. The same as in the call before are not copied again, so that the
    call can be recorded in a CUDA graph.
    """

    def __init__(self) -> None:
        self.last: tuple[list[int], Tensor] | None = None

    def __call__(self, lengths: list[int], device: torch.device) -> Tensor:
        known = self.last
        if known is None or known[0] != lengths or known[1].device != device:
            # A copy: the caller may change the list.
            self.last = known = list(lengths), on_device(lengths, device).unsqueeze(1)
        return known[1]


class HuggingFaceDenoiser:
    """A model with a logit for every id at every position, and its tokenizer, as a denoiser.

    `ids [b, L] -> logits [b, L, V]`. Rows of mixed lengths are padded on the right. The attention mask hides
    the padding, so every row keeps its own positions. `mask=None`: the model ignores masks, and a call takes
    rows of one length only. `shift_logits`: the logits at position i predict position i + 1. An answer ends
    at `eos_id`, and at any of `stop_ids`. `raw`: prompts are not put into the chat template. `block_length`:
    the model is block-causal, and `mask` is a `BlockMask`. `never`: ids without a token; their logits are
    -inf, so they are never written. `ends` is the former name of `stop_ids`.
    """

    selects_columns = True
    bos_id: int | None = None
    pad_id: int | None = None
    chooses, padding, ends = former("selects_columns"), former("pads"), former("stop_ids")

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        mask_id: int,
        eos_id: int | None,
        gen_length: int,
        *,
        shift_logits: bool = False,
        vocab_size: int | None = None,
        max_length: int | None = None,
        stop_ids: Sequence[int] = (),
        mask: MaskBuilder | None = keys_mask,
        raw: bool = False,
        block_length: int | None = None,
        never: Sequence[int] = (),
        ends: Sequence[int] | None = None,
    ) -> None:
        if ends is not None:
            warn_of_former("ends", "stop_ids")
            stop_ids = ends
        self.model = model
        self.head = Head(model)
        self.tokenizer = tokenizer
        self.mask_id = mask_id
        self.eos_id = eos_id
        self.gen_length = gen_length
        self.shift_logits = shift_logits
        self.vocab_size: int = model.config.vocab_size if vocab_size is None else vocab_size
        limit = None if max_length is not None else getattr(model.config, "max_position_embeddings", None)
        self.max_length = limit if max_length is None else max_length
        self.stop_ids = frozenset(stop_ids) | ({eos_id} if eos_id is not None else frozenset())
        self.mask, self.pads = mask, mask is not None
        self.raw = raw
        if tokenizer is None:
            self.decode_text = None  # type: ignore[method-assign, assignment]  # as of a denoiser that never had one
        self.block_length = block_length
        # The class of the hook that fits this model, or the reason why none does. Copies share it.
        self._hook: dict[str, Any] = {}
        self._lengths = LengthsOnDevice()
        self.device: torch.device = next(model.parameters()).device
        self.never: Tensor | None = torch.tensor(sorted(never), device=self.device) if never else None

    @property
    def reader(self) -> Any:
        """The tokenizer of prompts and answers."""
        return self.tokenizer

    @torch.inference_mode()
    def __call__(
        self,
        ids: Tensor,
        lengths: Sequence[int] | None = None,
        columns: Tensor | None = None,
        *,
        at: Tensor | None = None,
    ) -> Tensor:
        """Logits `[b, L, V]` of `ids [b, L]`. Row i has `lengths[i]` tokens; by default all of them.

        With `columns [b, W]` int64, one list per row: `[b, W, V]`, the logits there. `at` is the former name
        of `columns`.
        """
        if at is not None:
            warn_of_former("at", "columns")
            columns = at
        longest, hidden = ids.shape[1], {}
        lengths = [longest] * len(ids) if lengths is None else list(lengths)
        if self.mask is not None and (self._always_masked or any(length != longest for length in lengths)):
            filled = torch.arange(longest, device=ids.device) < self._lengths(lengths, ids.device)
            hidden = {"attention_mask": self.mask(filled)}
        if columns is not None:
            return self.without_never(
                self.head(ids, before(columns) if self.shift_logits else columns, **hidden)
            )
        logits: Tensor = self.model(input_ids=ids, **hidden).logits
        return self.without_never(shifted(logits) if self.shift_logits else logits)

    def without_never(self, logits: Tensor) -> Tensor:
        """Set the logits `[b, L, V]` to -inf, in place, at the ids that are never written."""
        # An expanded tensor stores one number for many positions.
        return (
            logits if self.never is None else logits.contiguous().index_fill_(-1, self.never, float("-inf"))
        )

    def kv_cache(self, rows: int, length: int) -> KVCache:
        """A KV cache for `rows` canvases of at most `length` columns. Raises `UsageError` (E0414) where the
        model allows none.
        """
        return KVCache(self, self._attention_hook, rows, length)

    def kept(self, rows: int, length: int) -> KVCache:
        """The former name of `kv_cache`."""
        warn_of_former("kept", "kv_cache")
        return self.kv_cache(rows, length)

    @cached_property
    def _always_masked(self) -> bool:
        """Whether the model needs a mask even where no row is padded: a block-causal model, or one that
        infers padding from the ids.
        """
        if self.block_length is not None:
            return True
        pad_id = getattr(self.model.config, "pad_token_id", None)
        if self.mask is None or not isinstance(pad_id, int):
            return False
        return counts_padding(self.model, pad_id, self.vocab_size, self.mask, self.device)

    @cached_property
    def _attention_hook(self) -> AttentionHook:
        if "refused" in self._hook:
            raise UsageError(self._hook["refused"])
        if "kind" not in self._hook:
            try:
                plain = copy.copy(self)  # two calls cannot be compared by -inf
                plain.never = None
                self._hook["kind"] = type(attention_hook_of(plain))
            except UsageError as refused:
                self._hook["refused"] = refused.diagnostic
                raise
        hook: AttentionHook = self._hook["kind"](self.model)
        return hook

    def without_model(self) -> HuggingFaceDenoiser:
        """A copy without the model, with all results of its probes. `with_model` adds the model again."""
        self.head.probe(torch.full((1, 2), self.mask_id, device=self.device))
        other = copy.copy(self)
        vars(other)["_always_masked"] = self._always_masked
        vars(other).pop("_attention_hook", None)
        other.model, other.head, other._lengths = None, Head(None, self.head.picks), LengthsOnDevice()
        return other

    def with_model(self, model: Any) -> HuggingFaceDenoiser:
        """A copy with this model."""
        other = copy.copy(self)
        other.model, other.head = model, Head(model, self.head.picks)
        other.device = next(model.parameters()).device
        other.never = None if self.never is None else self.never.to(other.device)
        return other

    def encode(self, text: str) -> list[int]:
        """A prompt as ids, in the chat template if the tokenizer has one. Raises `UsageError` (E0409) where
        encoding fails.
        """
        _require_tokenizer(self.reader)
        if getattr(self.reader, "chat_template", None) and not self.raw:
            return self.encode_messages([{"role": "user", "content": text}])
        ids = self._ids(text)
        # Tokenizers of encoders close a text with an end token. The model would write nothing after it.
        closing = {self.eos_id, getattr(self.reader, "sep_token_id", None)} - {None}
        return ids[:-1] if len(ids) > 1 and ids[-1] in closing else ids

    def encode_messages(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """The turns of a chat as ids, in the chat template. Raises `UsageError` (E0409) without a template."""
        require_template(self.reader, self.raw)
        return self._ids(_in_chat(self.reader, messages), add_special_tokens=False)

    def encode_gaps(self, text: str) -> list[int]:
        """A text with gaps, `[MASK]` or `[MASK*8]`, as ids, without the chat template. Raises `UsageError`
        (E0409) where the text has no gap.
        """
        _require_tokenizer(self.reader)
        with _reading():
            return infill.encoded(self.reader, self.mask_id, text)

    def filled(self, text: str, ids: Sequence[int]) -> str:
        """The text with its gaps filled. `ids` are the decoded ids of `encode_gaps`."""
        return infill.filled(self.reader, self.mask_id, text, ids)

    def _ids(self, text: str, **how: Any) -> list[int]:
        with _reading():
            return list(self.reader(text, **how)["input_ids"])

    def decode_text(self, ids: Sequence[int]) -> str:
        """Generated ids as text: up to the first end of text or of turn, without special tokens."""
        return self.unstripped_text(ids).strip()

    def unstripped_text(self, ids: Sequence[int]) -> str:
        """Generated ids as text, with the spaces at its ends."""
        content = list(itertools.takewhile(lambda one: one not in self.stop_ids, ids))
        return str(self.reader.decode(content, skip_special_tokens=True))

    def special_id(self, text: str) -> int | None:
        """The id of a special token with this text, which no decoded text contains, or `None`."""
        return _special_id(self.reader, text)


def _special_id(tokenizer: Any, text: str) -> int | None:
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return next((id_ for id_, one in added.items() if one.special and one.content == text), None)


def _require_tokenizer(tokenizer: Any) -> None:
    if tokenizer is None:
        message = "this denoiser has no tokenizer, and a prompt is text"
        raise UsageError(Diagnostic("E0409", message, help="give prompts as lists of ids"))


def require_template(tokenizer: Any, raw: bool) -> None:
    """Raise `UsageError` (E0409) where messages have no chat template."""
    _require_tokenizer(tokenizer)
    if raw:
        message = f"messages need the model's chat template, and {option('raw', True)} uses none"
        raise UsageError(Diagnostic("E0409", message, help=f"leave {option('raw')} out"))
    if not getattr(tokenizer, "chat_template", None):
        message = "the model's tokenizer has no chat template, which messages need"
        raise UsageError(Diagnostic("E0409", message, help="give each prompt as one text"))


def _in_chat(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> str:
    """Messages in the chat template. Raises `UsageError` (E0409) if the template fails."""
    try:
        return in_template(tokenizer, messages)
    # A template is a program from the model's folder: it may lack a value, or raise any error.
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        why = why if isinstance(error, TemplateFailedError) else f"{type(error).__name__}: {why}"
        message = f"the chat template of the model's tokenizer fails: {why}"
        help = f"use prompts without the template: {option('raw', True)}"
        raise UsageError(Diagnostic("E0409", message, help=help)) from error


@contextmanager
def _reading() -> Iterator[None]:
    """Inside, an error of the tokenizer becomes a diagnostic. Raises `UsageError` (E0409)."""
    try:
        yield
    except UsageError:
        raise
    # Rules in a tokenizer's files are programs too: a pattern may not terminate, or an unknown character may
    # have no token. A panic of its Rust code is not an `Exception`.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"the model's tokenizer cannot read a prompt: {why}"
        raise UsageError(
            Diagnostic("E0409", message, help="check that the tokenizer belongs to this model; or give ids")
        ) from error
