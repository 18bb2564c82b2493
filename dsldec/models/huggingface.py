"""How does a Hugging Face model become a denoiser? It sees the whole canvas or its block; the embedded model
is no exception.

Not here: decoding (`runtime`), families and loading (`families`, `loading`), probing (`probe`). Remote code
runs only when the caller allows it.
"""

from __future__ import annotations

import copy
import itertools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..calls import checks_arguments
from ..diagnostics import Diagnostic, UsageError
from ..renamed import former, warn_of_former
from ..spelling import N, option, setting
from . import infill
from .attention_hooks import AttentionHook
from .blocks import probe_blocks
from .chat_template import TemplateFailedError, in_template
from .denoiser import require_denoiser
from .head import Head
from .kv_cache import KVCache, attention_hook_of
from .loading import (
    Opened,
    already_loaded,
    device_of,
    dtype_of,
    memory_diagnosed,
    opened,
    require_kinds,
    require_name,
    with_weights,
    wrong,
)
from .probe import MaskBuilder, Probed, counts_padding, keys_mask, probe
from .shifted import before, shifted
from .tokenizer_fit import fit_of
from .traits import Overrides, Traits, require_block_length, require_mask, traits_of

log = logging.getLogger("dsldec")


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
        self.max_length = (
            getattr(model.config, "max_position_embeddings", None) if max_length is None else max_length
        )
        self.stop_ids = frozenset(stop_ids) | ({eos_id} if eos_id is not None else frozenset())
        self.mask = mask
        self.pads = mask is not None
        self.raw = raw
        if tokenizer is None:
            self.decode_text = None  # type: ignore[method-assign, assignment]  # as of a denoiser that never had one
        self.block_length = block_length
        self._hook: dict[
            str, Any
        ] = {}  # the class of the hook that fits this model, or the reason why none does; copies share it
        self.device: torch.device = next(model.parameters()).device
        self.never: Tensor | None = torch.tensor(sorted(never), device=self.device) if never else None

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
            filled = torch.arange(longest, device=ids.device) < torch.tensor(
                lengths, device=ids.device
            ).unsqueeze(1)
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
        other.model, other.head = None, Head(None, self.head.picks)
        return other

    def with_model(self, model: Any) -> HuggingFaceDenoiser:
        """A copy with this model."""
        other = copy.copy(self)
        other.model, other.head, other.device = (
            model,
            Head(model, self.head.picks),
            next(model.parameters()).device,
        )
        other.never = None if self.never is None else self.never.to(other.device)
        return other

    def encode(self, text: str) -> list[int]:
        """A prompt as ids, in the chat template if the tokenizer has one. Raises `UsageError` (E0409) where
        encoding fails.
        """
        _require_tokenizer(self.tokenizer)
        if getattr(self.tokenizer, "chat_template", None) and not self.raw:
            return self.encode_messages([{"role": "user", "content": text}])
        ids = self._ids(text)
        # Tokenizers of encoders close a text with an end token. The model would write nothing after it.
        closing = {self.eos_id, getattr(self.tokenizer, "sep_token_id", None)} - {None}
        return ids[:-1] if len(ids) > 1 and ids[-1] in closing else ids

    def encode_messages(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """The turns of a chat as ids, in the chat template. Raises `UsageError` (E0409) without a template."""
        require_template(self.tokenizer, self.raw)
        return self._ids(_in_chat(self.tokenizer, messages), add_special_tokens=False)

    def encode_gaps(self, text: str) -> list[int]:
        """A text with gaps, `[MASK]` or `[MASK*8]`, as ids, without the chat template. Raises `UsageError`
        (E0409) where the text has no gap.
        """
        _require_tokenizer(self.tokenizer)
        with _reading():
            return infill.encoded(self.tokenizer, self.mask_id, text)

    def filled(self, text: str, ids: Sequence[int]) -> str:
        """The text with its gaps filled. `ids` are the decoded ids of `encode_gaps`."""
        return infill.filled(self.tokenizer, self.mask_id, text, ids)

    def _ids(self, text: str, **how: Any) -> list[int]:
        with _reading():
            return list(self.tokenizer(text, **how)["input_ids"])

    def decode_text(self, ids: Sequence[int]) -> str:
        """Generated ids as text: up to the first end of text or of turn, without special tokens."""
        return self.unstripped_text(ids).strip()

    def unstripped_text(self, ids: Sequence[int]) -> str:
        """Generated ids as text, with the spaces at its ends."""
        content = list(itertools.takewhile(lambda one: one not in self.stop_ids, ids))
        return str(self.tokenizer.decode(content, skip_special_tokens=True))

    def special_id(self, text: str) -> int | None:
        """The id of a special token with this text, which no decoded text contains, or `None`."""
        return _special_id(self.tokenizer, text)


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


@checks_arguments('from_pretrained("./MODEL")')
def from_pretrained(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    trust_remote_code: bool = False,
    mask_id: int | None = None,
    eos_id: int | None = None,
    shift_logits: bool | None = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    raw: bool = False,
    block_length: int | None = None,
    all_ids: bool = False,
) -> HuggingFaceDenoiser:
    """Load a denoiser from a Hugging Face folder or name; by default the embedded model.

    `mask_id`, `eos_id`: found in the model's files unless given.

    `shift_logits`: the logits at position i predict position i + 1, as in Dream; found in the model's files
    unless given.

    `block_length`: the model is block-causal with blocks of this many tokens; found in the files of known
    families unless given.

    `dtype`: of the weights and logits. `device`: default a GPU if there is one. `raw`: use no chat template.
    `all_ids`: ids without a token may be written too; by default their logits are -inf.

    A tokenizer that does not fit is logged (W0402). Raises `UsageError`. E0405: the model does not see both
    sides, or has no tokenizer or no mask token, or its code is not trusted. E0408: impossible ids.
    """
    require_name(name_or_path)
    flags = {
        "trust_remote_code": trust_remote_code,
        "shift_logits": shift_logits,
        "raw": raw,
        "all_ids": all_ids,
    }
    require_kinds(flags, {"mask_id": mask_id, "eos_id": eos_id, "block_length": block_length})
    kind, place = dtype_of(dtype), device_of(device)
    source = opened(name_or_path, trust_remote_code)
    traits = _traits(source, Overrides(mask_id, eos_id, shift_logits, block_length))
    if block_length is not None and not source.family.block_causal and source.raw.get("block_length") is None:
        log.info("the model is treated as block-causal with blocks of %d tokens, because of %s; the blocks of a policy are set by %s",
                 block_length, option("block_length", block_length), setting("block", block_length))  # fmt: skip
    denoiser = _denoiser(source, with_weights(source, kind, place), traits, raw, all_ids)
    if not (raw or getattr(source.tokenizer, "chat_template", None)):
        log.info(
            "the tokenizer has no chat template: prompts are used unchanged (%s hides this line)",
            option("raw", True),
        )
    return denoiser


@checks_arguments("denoiser_of(model, tokenizer)")
def denoiser_of(
    model: Any,
    tokenizer: Any = None,
    *,
    mask_id: int | None = None,
    eos_id: int | None = None,
    shift_logits: bool | None = None,
    block_length: int | None = None,
    raw: bool = False,
    all_ids: bool = False,
) -> HuggingFaceDenoiser:
    """A denoiser from a model that transformers has loaded already. The model stays on its device and
    unchanged.

    Ids and traits are found as in `from_pretrained`: in the model's configurations and the tokenizer. Without
    a tokenizer, prompts are ids. A few forwards probe the model, so it must be in `eval` mode. Raises
    `UsageError` as `from_pretrained` does.
    """
    source = already_loaded(model, tokenizer)
    flags = {"shift_logits": shift_logits, "raw": raw, "all_ids": all_ids}
    require_kinds(flags, {"mask_id": mask_id, "eos_id": eos_id, "block_length": block_length})
    return _denoiser(
        source, model, _traits(source, Overrides(mask_id, eos_id, shift_logits, block_length)), raw, all_ids
    )


def _traits(source: Opened, overrides: Overrides) -> Traits:
    """The traits of the model, with a MASK id."""
    traits = traits_of(source, overrides)
    require_mask(traits, source.name)
    return traits


def _denoiser(source: Opened, model: Any, traits: Traits, raw: bool, all_ids: bool) -> HuggingFaceDenoiser:
    blocks = require_block_length(traits, source.family, source.name)
    probed = _probed(source, model, traits, next(model.parameters()).device)
    compared = fit_of(source, traits, probed.vocab_size)
    for warning in compared.warnings(all_ids) if compared is not None else ():
        log.warning("%s", warning)
    denoiser = HuggingFaceDenoiser(
        model,
        source.tokenizer,
        require_mask(traits, source.name),
        None if traits.eos_id is None else traits.eos_id.value,
        traits.gen_length.value,
        shift_logits=traits.shift_logits.value,
        vocab_size=probed.vocab_size,
        max_length=None if traits.context is None else traits.context.value,
        stop_ids=traits.stop_ids,
        mask=probed.mask,
        raw=raw,
        block_length=blocks,
        never=() if compared is None or all_ids else compared.without_token,
    )
    require_denoiser(denoiser)
    return denoiser


def _probed(source: Opened, model: Any, traits: Traits, device: torch.device) -> Probed:
    avoid = {one.value for one in (traits.mask_id, traits.eos_id, traits.pad_id) if one is not None} | set(
        traits.stop_ids
    )
    context = None if traits.context is None else traits.context.value
    blocks, arguments = traits.block_length, (source.config.vocab_size, sorted(avoid), context, device)
    try:
        with memory_diagnosed(source.name, next(model.parameters()).dtype, device):
            probed = (
                probe(model, *arguments) if blocks is None else probe_blocks(model, *arguments, blocks.value)
            )
    except UsageError:
        raise
    # A model's own code may raise any error. A diagnostic now is better than a failure during a run.
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        help = "a denoiser is called `model(input_ids=ids, attention_mask=mask)` and returns something with `.logits`"
        raise wrong(
            f"`{source.name}` ({type(model).__name__}) cannot be called as a denoiser: {type(error).__name__}: {why}",
            help,
        ) from error
    if probed.sees_both_sides:
        return probed
    is_a = f"`{source.name}` ({type(model).__name__})"
    if blocks is None:
        help = "a model that sees the whole canvas is needed (LLaDA, Dream, any masked one); for a block-causal one write "
        help += option("block_length", N)
        raise wrong(f"{is_a} is causal or block-causal: its last position does not affect the first", help)
    help = "use a model whose code takes a mask for each pair of positions: SDAR, LLaDA2, transformers' own decoders"
    raise wrong(f"{is_a} ignores masks that show its own block of {blocks.value} and hide later blocks", help)
