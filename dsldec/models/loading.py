"""A folder or a hub's name to transformers' objects: configuration, tokenizer, model; and what is wrong where there are none.

Not here: which models can denoise (`families`), how code of a model's own is run (`remote`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..diagnostics import Diagnostic, UsageError
from ..resources import embedded_model_folder
from .denoiser import memory_ran_out
from .families import Family, family_of, stock_of
from .folder import UnfitFile, config_of, require_readable, require_sizes

# What `dsldec export-hf` puts beside a model: transformers' own class with `generate`, which is nothing to a denoiser.
OUR_MODELING = "modeling_dsldec"
DTYPES = ("float32", "bfloat16", "float16")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opened:
    """A model before its weights. `name` is a folder or a hub's name, `raw` what `config.json` holds, `generation` may be None."""

    name: str
    family: Family
    raw: dict[str, Any]
    config: Any
    generation: Any
    tokenizer: Any

    @property
    def own_code(self) -> str | None:
        """The Auto class that the model brings code of its own for, where that code is what runs."""
        return next((one for one in self.family.auto if one in (self.raw.get("auto_map") or {})), None) if self.asks_for_trust else None

    @property
    def asks_for_trust(self) -> bool:
        """Whether it cannot be loaded without running what its folder brings."""
        return bool(self.raw.get("auto_map")) and self.family.stock is None


def opened(name_or_path: str | os.PathLike[str] | None, trust_remote_code: bool) -> Opened:
    """Read everything but the weights. Raises `UsageError` (E0405)."""
    path = embedded_model_folder() if name_or_path is None else Path(name_or_path)
    name = str(path)
    if not _is_hub_name(name) or os.path.exists(path):
        _require_folder(path)
    from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig

    _quiet()
    with _told(
        f"no configuration could be read from `{name}`", "give the folder that `save_pretrained` wrote, or a name on a hub you can reach"
    ):
        raw = PreTrainedConfig.get_config_dict(name)[0]
    _require_names(raw, name)
    raw["auto_map"] = {auto: code for auto, code in (raw.get("auto_map") or {}).items() if not str(code).startswith(f"{OUR_MODELING}.")}
    stock = stock_of(raw)
    if raw.get("auto_map") and stock is None and not trust_remote_code:
        raise wrong(f"`{name}` brings its own Python code", "read it first; to run it add `--trust-remote-code` (`trust_remote_code=True`)")
    family, trust = family_of(raw, name), trust_remote_code and stock is None
    with _told(f"the configuration of `{name}` does not load", "see whether its `model_type` is one that the installed transformers knows"):
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust) if stock is None else _as_stock(raw, stock)
    if not trust and "/" in str(config._attn_implementation):
        config._attn_implementation = None  # a kernel on a hub is code too
    if os.path.isdir(path) and not any((path / file).is_file() for file in TOKENIZER_FILES):
        raise wrong(f"`{name}` has no tokenizer", f'put its files beside `config.json`: `tokenizer.save_pretrained("{name}")`')
    with _told(f"the tokenizer of `{name}` does not load", "put the files it was saved to beside `config.json`"):
        tokenizer = AutoTokenizer.from_pretrained(name, config=config, trust_remote_code=trust)
    return Opened(name, family, raw, config, _generation(name), tokenizer)


def already_loaded(model: Any, tokenizer: Any) -> Opened:
    """What `opened` would have read of a model that is here with its weights. Raises `UsageError` (E0405)."""
    config, name = model.config, model.name_or_path or type(model).__name__
    # The class that runs, which need not be the one that the weights were saved from, and may be somebody's own form of a known one.
    raw = config.to_dict() | {"architectures": [one.__name__ for one in type(model).__mro__ if hasattr(one, "base_model_prefix")]}
    return Opened(name, family_of(raw, name), raw, config, getattr(model, "generation_config", None), tokenizer)


def _as_stock(raw: dict[str, Any], stock: str) -> Any:
    """The configuration as transformers' own class reads it; what names code, a class or a kernel of the makers is left out."""
    from transformers import AutoConfig

    # What is missing would be filled with the sizes of a large model.
    if lacking := [name for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads") if name not in raw]:
        raise ValueError(f"it does not say `{lacking[0]}`")
    named = ("auto_map", "model_type", "architectures", "attn_implementation", "_attn_implementation", "transformers_version")
    return AutoConfig.for_model(stock, **{name: value for name, value in raw.items() if name not in named})


def with_weights(model: Opened, dtype: torch.dtype, device: torch.device) -> Any:
    """The model, ready to be called. Raises `UsageError` (E0405)."""
    import transformers

    help = "give a folder with a whole model: configuration, weights and tokenizer"
    with _told(f"`{model.name}` does not load", help), memory_told(model.name, dtype, device):
        if model.own_code:
            from .remote import built

            found = built(model.name, model.config, model.family.auto, dtype)
        else:
            auto = getattr(transformers, model.family.auto[0])
            # Never asked for at a terminal either: code that may run has been found by now.
            safely = {"trust_remote_code": False, "output_loading_info": True}
            found, report = auto.from_pretrained(model.name, config=model.config, dtype=dtype, **safely)
            if lacking := sorted(report["missing_keys"]):
                raise ValueError(f"its files hold no weights for `{lacking[0]}`: it was saved without its language-model head")
            if (extra := sorted(report["unexpected_keys"])) and model.family.stock:
                raise ValueError(f"its files hold `{extra[0]}`, which `{type(found).__name__}` has no place for")
    # A canvas is read anew each time; keys and values kept from it would only fill memory.
    found.config.use_cache = False
    with memory_told(model.name, dtype, device):
        return found.to(device).eval()


def without_weights(model: Opened) -> Any:
    """transformers' own class for the model, with shapes and no numbers: nothing is read, and nothing takes memory."""
    import transformers

    with torch.device("meta"):
        return getattr(transformers, model.family.auto[0]).from_config(model.config, trust_remote_code=False)


def dtype_of(given: str | torch.dtype) -> torch.dtype:
    """`float32`, `bfloat16` or `float16`. Raises `UsageError` (E0405)."""
    name = str(given).removeprefix("torch.")
    if name in DTYPES:
        found: torch.dtype = getattr(torch, name)
        return found
    raise wrong(f"a model cannot be loaded as `{name}`", f"one of {', '.join(f'`{one}`' for one in DTYPES)}")


def device_of(given: str | torch.device | None) -> torch.device:
    """Where the model goes: an NVIDIA GPU if there is one, unless said otherwise. Raises `UsageError` (E0405)."""
    if given is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(given)
    except RuntimeError:
        raise wrong(f"there is no device `{given}`", "`cpu`, `cuda`, `cuda:1`, say, or `mps`") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
    if there <= (device.index or 0):
        raise wrong(f"there is no device `{given}` on this machine", "leave `--device` out for the best there is, or `--device cpu`")
    return device


def wrong(message: str, help: str) -> UsageError:
    return UsageError(Diagnostic("E0405", message, help=help))


@contextmanager
def memory_told(name: str, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Inside, memory that does not suffice is said in words. Raises `UsageError` (E0405)."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not memory_ran_out(error):
            raise
        other = "a smaller model, or a `--device` with more memory, is needed"
        help = f"load it smaller: `--dtype bfloat16`; or {other}" if dtype == torch.float32 else other
        raise wrong(f"`{name}` in {str(dtype).removeprefix('torch.')} does not fit into the memory of `{device}`", help) from None


@contextmanager
def _told(message: str, help: str) -> Iterator[None]:
    """transformers, and a model's own code, raise nearly anything for what they cannot use; the first line says why."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise wrong(f"{message}: {why}", help) from error


def _is_hub_name(name: str) -> bool:
    """`owner/model`; anything else can only be a folder, and asking a hub for it would take long to fail."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None


def _require_folder(path: Path) -> None:
    """Tell apart what is wrong with a local path before anything is imported for it."""
    if not os.path.exists(path):
        raise wrong(f"there is no `{path}`", "give the folder of a Hugging Face model, or leave `--model` out for the embedded one")
    if not os.path.isdir(path):
        raise wrong(f"`{path}` is a file", f"give the folder it is in: `{path.parent}`")
    if not (path / "config.json").exists():
        raise wrong(f"`{path}` is no Hugging Face model: it has no `config.json`", "give the folder that `save_pretrained` wrote")
    try:
        config_of(path)
        require_readable(path)
    except UnfitFile as error:
        raise wrong(str(error), "give the folder that `save_pretrained` wrote") from None


def _require_names(raw: dict[str, Any], name: str) -> None:
    """What names classes is asked before transformers reads the rest, and need not be what it should."""
    classes, code = raw.get("architectures") or [], raw.get("auto_map") or {}
    if not (isinstance(code, dict) and isinstance(classes, list) and all(isinstance(one, str) for one in classes)):
        which = "`architectures`, a list of classes" if isinstance(code, dict) else "`auto_map`, a table of classes"
        raise wrong(f"the configuration of `{name}` is not as transformers writes it: see {which}", "give it as `save_pretrained` wrote it")
    try:
        require_sizes(raw, name)
    except UnfitFile as error:
        raise wrong(str(error), "give it as `save_pretrained` wrote it") from None


def _generation(name: str) -> Any:
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(name)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _quiet() -> None:
    """No bar for loading weights: it would stand among a program's own lines."""
    from transformers.utils import logging

    logging.disable_progress_bar()
