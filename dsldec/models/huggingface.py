"""A Hugging Face masked language model as a denoiser; the embedded model is one like any other.

Not here: how decoding uses a denoiser (`runtime`). Remote code runs only when the caller says so.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..diagnostics import Diagnostic, UsageError
from ..resources import embedded_model_folder
from .shifted import shifted

DEFAULT_GEN_LENGTH = 256


class HuggingFaceDenoiser:
    """A model with a masked-language-model head and its tokenizer, as a denoiser.

    `ids [b, L] -> logits [b, L, V]`. Rows of mixed lengths are padded on the right and hidden by the attention mask,
    so that every row keeps its own positions. `shift_logits`: the model's logits at a position speak of the next one.
    """

    padding = True

    def __init__(
        self, model: Any, tokenizer: Any, mask_id: int, eos_id: int | None, gen_length: int, *, shift_logits: bool = False
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.mask_id = mask_id
        self.eos_id = eos_id
        self.gen_length = gen_length
        self.shift_logits = shift_logits
        self.vocab_size: int = model.config.vocab_size
        self.max_length: int | None = getattr(model.config, "max_position_embeddings", None)
        self.device: torch.device = next(model.parameters()).device

    @torch.inference_mode()
    def __call__(self, ids: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Logits `[b, L, V]` of `ids [b, L]`; row i has `lengths[i]` tokens (all of them, if not given)."""
        longest, hidden = ids.shape[1], {}
        if lengths is not None and any(length != longest for length in lengths):
            filled = torch.arange(longest, device=ids.device) < torch.tensor(list(lengths), device=ids.device).unsqueeze(1)
            hidden = {"attention_mask": filled.long()}
        logits: Tensor = self.model(input_ids=ids, **hidden).logits
        return shifted(logits) if self.shift_logits else logits

    def encode(self, text: str) -> list[int]:
        """A prompt as ids, put into the chat template if the tokenizer has one."""
        if getattr(self.tokenizer, "chat_template", None):
            said = [{"role": "user", "content": text}]
            whole: str = self.tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
            return list(self.tokenizer(whole, add_special_tokens=False)["input_ids"])
        return list(self.tokenizer(text)["input_ids"])

    def decode_text(self, ids: Sequence[int]) -> str:
        """Generated ids as text: up to the first end-of-text token, without special tokens."""
        content = list(ids)
        if self.eos_id is not None and self.eos_id in content:
            content = content[: content.index(self.eos_id)]
        return str(self.tokenizer.decode(content, skip_special_tokens=True)).strip()


def from_pretrained(
    name_or_path: str | os.PathLike[str] | None = None, *, trust_remote_code: bool = False, shift_logits: bool = False
) -> HuggingFaceDenoiser:
    """A denoiser from a Hugging Face folder or name; the embedded model by default.

    `shift_logits` is for models made from autoregressive ones (Dream): their logits at a position speak of the next.
    Raises `UsageError` (E0405) where there is no model, no tokenizer, no mask token, or code that is not trusted.
    """
    path = embedded_model_folder() if name_or_path is None else Path(name_or_path)
    if not _is_hub_name(str(path)) or path.exists():
        _require_folder(path, trust_remote_code)
    tokenizer, model, generation = _loaded(str(path), trust_remote_code)
    mask_id = _mask_id(tokenizer, model)
    eos_id = model.config.eos_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    eos_id = eos_id[0] if isinstance(eos_id, list) else eos_id
    return HuggingFaceDenoiser(model, tokenizer, mask_id, eos_id, generation, shift_logits=shift_logits)


def _wrong(message: str, help: str) -> UsageError:
    return UsageError(Diagnostic("E0405", message, help=help))


def _is_hub_name(name: str) -> bool:
    """`owner/model`; anything else can only be a folder, and asking a hub for it would take long to fail."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None


def _require_folder(path: Path, trust_remote_code: bool) -> None:
    """Tell apart what is wrong with a local path before anything is imported for it."""
    if not path.exists():
        raise _wrong(f"there is no `{path}`", "give the folder of a Hugging Face model, or leave `--model` out for the embedded one")
    if not path.is_dir():
        raise _wrong(f"`{path}` is a file", f"give the folder it is in: `{path.parent}`")
    if not (path / "config.json").is_file():
        raise _wrong(f"`{path}` is no Hugging Face model: it has no `config.json`", "give the folder that `save_pretrained` wrote")
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError):
        raise _wrong(f"`{path / 'config.json'}` is not JSON", "give the folder that `save_pretrained` wrote") from None
    if isinstance(config, dict) and "auto_map" in config and not trust_remote_code:
        raise _wrong(
            f"`{path}` brings its own Python code", "read it first; to run it add `--trust-remote-code` (`trust_remote_code=True`)"
        )


def _loaded(name: str, trust_remote_code: bool) -> tuple[Any, Any, int]:
    from transformers import AutoModelForMaskedLM, AutoTokenizer, GenerationConfig

    try:
        _quiet()
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
        model = AutoModelForMaskedLM.from_pretrained(name, trust_remote_code=trust_remote_code, dtype=torch.float32)
    # transformers raises nearly anything for a folder it cannot use; the first line says why.
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _wrong(
            f"no masked language model could be loaded from `{name}`: {why}", "give a folder with a model and its tokenizer"
        ) from error
    try:
        wanted = GenerationConfig.from_pretrained(name).max_new_tokens
    except (OSError, ValueError):
        wanted = None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return tokenizer, model.to(device).eval(), wanted or DEFAULT_GEN_LENGTH


def _quiet() -> None:
    """No bar for loading weights: it would stand among a program's own lines."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _mask_id(tokenizer: Any, model: Any) -> int:
    for found in (tokenizer.mask_token_id, getattr(model.config, "mask_token_id", None)):
        if isinstance(found, int):
            return found
    raise _wrong("this model has no mask token", 'give one whose tokenizer has it: `tokenizer.mask_token = "..."`, saved again')
