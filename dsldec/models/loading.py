"""How does a folder or a hub's name become transformers' objects: configuration, tokenizer, model? Each
failure is a diagnostic.

Not here: the families that can denoise (`families`), running remote code (`remote_code`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..backends import toolchain
from ..diagnostics import Diagnostic, UsageError
from ..options import DTYPES
from ..resources import EMBEDDED_MODELS, embedded_model_folder
from ..spelling import option, reads_flags, shown
from . import hub, vocab_txt
from .denoiser import memory_ran_out
from .embedded_names import PREFIX, embedded_name
from .families import Family, family_of, stock_of
from .folder import UnfitFile, config_of, require_readable, require_sizes
from .weights import SAFE, require_all, require_files, wrong_weights

# `dsldec export-hf` puts this entry beside a model: transformers' own class with `generate`. A denoiser does
# not need it.
OUR_MODELING = "modeling_dsldec"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
# With one of these files, the tokenizer is not made from `vocab.txt`.
VOCABULARIES = tuple(name for name in TOKENIZER_FILES if name not in ("tokenizer_config.json", "vocab.txt"))


@dataclass(frozen=True, slots=True)
class Opened:
    """A model before its weights. `name` is a folder or a hub's name, `raw` the content of `config.json`;
    `generation` may be None.
    """

    name: str
    family: Family
    raw: dict[str, Any]
    config: Any
    generation: Any
    tokenizer: Any
    built: str = ""  # how the tokenizer was built from `vocab.txt`; empty where transformers read the file

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of `config.json` itself. Its class adds default ids of another vocabulary."""
        inner = self.raw.get("text_config")
        return (inner if isinstance(inner, dict) else {}) | self.raw

    @property
    def remote_code(self) -> str | None:
        """The Auto class for which the model brings its own code, where that code is what runs."""
        return (
            next((one for one in self.family.auto if one in (self.raw.get("auto_map") or {})), None)
            if self.needs_trust
            else None
        )

    @property
    def needs_trust(self) -> bool:
        """Whether loading the model would run code of its folder."""
        return bool(self.raw.get("auto_map")) and self.family.stock is None


def opened(name_or_path: str | os.PathLike[str] | None, trust_remote_code: bool) -> Opened:
    """Read everything but the weights. Raises `UsageError` (E0405)."""
    inside = embedded_name(name_or_path)
    path = embedded_model_folder(inside) if inside is not None else Path(name_or_path or "")
    name = str(path)
    # The name as it was given: `./owner/model` means a folder.
    if inside is not None or not hub.is_hub_name(os.fspath(name_or_path or "")) or os.path.exists(path):
        _require_folder(path)
    # Importing a model imports torch's compiler, which creates its cache folder. A failure there is not the
    # model's fault.
    toolchain.require_folder(writing=False)
    from transformers import AutoConfig, PreTrainedConfig

    _quiet()
    if not os.path.exists(path):
        name = hub.reachable(name)
        path = Path(name)
    help = "give the folder that `save_pretrained` wrote, or a name on a hub you can reach"
    with _diagnosed(f"no configuration could be read from `{name}`", help, name):
        raw = PreTrainedConfig.get_config_dict(name)[0]
    _require_names(raw, name)
    raw["auto_map"] = {
        auto: code
        for auto, code in (raw.get("auto_map") or {}).items()
        if not str(code).startswith(f"{OUR_MODELING}.")
    }
    stock = stock_of(raw)
    if raw.get("auto_map") and stock is None and not trust_remote_code:
        raise wrong(
            f"`{name}` needs the Python code in its folder",
            f"read it first; to run it write {option('trust_remote_code', True)}",
        )
    family, trust = family_of(raw, name), trust_remote_code and stock is None
    with _diagnosed(
        f"the configuration of `{name}` does not load",
        "check that the installed transformers knows its `model_type`",
    ):
        config = (
            AutoConfig.from_pretrained(name, trust_remote_code=trust)
            if stock is None
            else _as_stock(raw, stock)
        )
    if not trust and "/" in str(config._attn_implementation):
        config._attn_implementation = None  # a kernel from a hub is code too
    if os.path.isdir(path) and not any((path / file).is_file() for file in TOKENIZER_FILES):
        raise wrong(
            f"`{name}` has no tokenizer",
            f'put its files beside `config.json`: `tokenizer.save_pretrained("{name}")`',
        )
    tokenizer, built = tokenizer_of(name, config, trust_remote_code=trust)
    return Opened(name, family, raw, config, _generation(name), tokenizer, built)


def already_loaded(model: Any, tokenizer: Any) -> Opened:
    """The result of `opened` for a model that is loaded already. Raises `UsageError` (E0405, E0448)."""
    if not (callable(model) and hasattr(model, "config") and hasattr(model, "parameters")):
        help = 'give a model as transformers loads it, or its folder to `dsldec.from_pretrained("./MODEL")`'
        raise UsageError(Diagnostic("E0448", f"{shown(model)} is not a model of transformers", help=help))
    config, name = model.config, model.name_or_path or type(model).__name__
    # The class that runs. It can differ from the class that the weights were saved from, and may be a variant
    # of a known one.
    raw = config.to_dict() | {
        "architectures": [one.__name__ for one in type(model).__mro__ if hasattr(one, "base_model_prefix")]
    }
    return Opened(
        name, family_of(raw, name), raw, config, getattr(model, "generation_config", None), tokenizer
    )


def tokenizer_of(
    name: str, config: Any, *, trust_remote_code: bool = False, local_files_only: bool = False
) -> tuple[Any, str]:
    """The tokenizer, and how it was built from `vocab.txt` where transformers does not read that file. Raises
    `UsageError` (E0405).
    """
    from transformers import AutoTokenizer

    tokenizer, why = None, None
    try:
        with _diagnosed(
            f"the tokenizer of `{name}` does not load", "put the files it was saved to beside `config.json`"
        ):
            how = {"trust_remote_code": trust_remote_code, "local_files_only": local_files_only}
            tokenizer = AutoTokenizer.from_pretrained(name, config=config, **how)
    except UsageError as error:
        why = error
    # If the vocabulary cannot be downloaded, or the tokenizer fails, the tokenizer stays unchanged.
    with suppress(Exception), _silent():
        entries = _entries_unread(name, tokenizer, local_files_only)
        built = (
            None
            if entries is None
            else vocab_txt.build(entries, _beside(name, vocab_txt.FIELD_FILES, local_files_only))
        )
        if built is not None:
            return built.tokenizer, built.how
    if why is not None:
        raise why
    if not _has_words(tokenizer):
        raise wrong(
            f"`{name}` has no tokenizer: its files hold no vocabulary",
            "put the files it was saved to beside `config.json`",
        )
    return tokenizer, ""


def _entries_unread(name: str, tokenizer: Any, local: bool) -> dict[str, int] | None:
    """The entries of `vocab.txt`, where it is the only vocabulary file and the tokenizer does not use it."""
    # Code of the model was trusted, and may use the file in its own way.
    if type(tokenizer).__module__.startswith("transformers_modules.") or any(
        _beside(name, VOCABULARIES, local)
    ):
        return None
    entries = next((vocab_txt.entries_of(file) for file in _beside(name, ("vocab.txt",), local)), None)
    return (
        None
        if entries is None or (tokenizer is not None and vocab_txt.reads(tokenizer, entries))
        else entries
    )


def _beside(name: str, files: Sequence[str], local: bool) -> Iterator[Path]:
    """Which of these files a folder or the hub has. The hub gets one request per file; with `local` it gets
    none.
    """
    if Path(name).is_dir():
        yield from (Path(name) / file for file in files if (Path(name) / file).is_file())
        return
    from transformers.utils.hub import cached_file

    safely = dict.fromkeys(
        ("_raise_exceptions_for_missing_entries", "_raise_exceptions_for_connection_errors"), False
    )
    for file in files:
        if (path := cached_file(name, file, **safely, local_files_only=local)) is not None:
            yield Path(path)


def _has_words(tokenizer: Any) -> bool:
    """Whether a tokenizer has ordinary tokens. Without a vocabulary, transformers makes one of special tokens
    only.
    """
    try:
        special = set(tokenizer.all_special_ids)
        return any(id_ not in special for id_ in tokenizer.get_vocab().values())
    # Remote code may leave the method unimplemented.
    except Exception:
        return True


def _as_stock(raw: dict[str, Any], stock: str) -> Any:
    """The configuration for transformers' own class. Fields that name code, a class or a kernel of the
    authors are left out.
    """
    from transformers import AutoConfig

    # transformers would fill in missing fields with the sizes of a large model.
    if lacking := [
        name
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        if name not in raw
    ]:
        raise ValueError(f"it lacks `{lacking[0]}`")
    named = (
        "auto_map",
        "model_type",
        "architectures",
        "attn_implementation",
        "_attn_implementation",
        "transformers_version",
    )
    return AutoConfig.for_model(stock, **{name: value for name, value in raw.items() if name not in named})


def with_weights(model: Opened, dtype: torch.dtype, device: torch.device) -> Any:
    """The model, ready to be called. Raises `UsageError` (E0405)."""
    import transformers

    help = "give a folder with a whole model: configuration, weights and tokenizer"
    if (folder := Path(model.name)).is_dir():
        require_files(folder)
    with (
        _diagnosed(f"`{model.name}` does not load", help, model.name),
        memory_diagnosed(model.name, dtype, device),
    ):
        if model.remote_code:
            from .remote_code import built

            loaded = built(model.name, model.config, model.family.auto, dtype)
        else:
            auto = getattr(transformers, model.family.auto[0])
            # Never prompt on the terminal either: required code has been detected by now.
            safely = {
                "trust_remote_code": False,
                "output_loading_info": True,
                "ignore_mismatched_sizes": True,
            }
            loaded, report = auto.from_pretrained(model.name, config=model.config, dtype=dtype, **safely)
            require_all(report, loaded, model.name, own_places=model.family.stock is not None)
    # Each forward reads the canvas anew, so transformers' own cache would only use memory.
    loaded.config.use_cache = False
    with memory_diagnosed(model.name, dtype, device):
        return loaded.to(device).eval()


def without_weights(model: Opened) -> Any:
    """transformers' own class for the model, with shapes and without weights: nothing is read or allocated.

    Raises `UsageError` (E0405).
    """
    import transformers

    help = "check its sizes"
    with (
        _diagnosed(f"no model can be made from the configuration of `{model.name}`", help),
        torch.device("meta"),
    ):
        return getattr(transformers, model.family.auto[0]).from_config(model.config, trust_remote_code=False)


def require_kinds(flags: Mapping[str, object], numbers: Mapping[str, object]) -> None:
    """Raise `UsageError` (E0448) for a flag that is not a bool, and for an id or a length that is not a whole
    number. None passes.
    """
    for name, value in flags.items():
        # Any non-empty string would count as true, and one of these flags runs code.
        if value is not None and not isinstance(value, bool):
            raise UsageError(
                Diagnostic(
                    "E0448",
                    f"`{name}` is True or False, not {shown(value)}",
                    help=f"write `{name}=True` or leave it out",
                )
            )
    for name, value in numbers.items():
        if value is not None and (not hasattr(value, "__index__") or isinstance(value, bool)):
            raise UsageError(
                Diagnostic(
                    "E0448", f"`{name}` is a whole number, not {shown(value)}", help=f"for example `{name}=4`"
                )
            )


def require_name(value: object) -> None:
    """Raise `UsageError` (E0448) for a value that cannot name a model."""
    if (
        value is None
        or isinstance(value, str)
        or (isinstance(value, os.PathLike) and isinstance(value.__fspath__(), str))
    ):
        return
    help = 'give a folder or a hub\'s name, `from_pretrained("./MODEL")`, or nothing for the embedded model'
    if callable(value) and hasattr(value, "config"):
        help = "a model that is loaded: `from dsldec.models.huggingface import denoiser_of`, and `denoiser_of(model, tokenizer)`"
    raise UsageError(Diagnostic("E0448", f"{shown(value)} does not name a model", help=help))


def dtype_of(value: str | torch.dtype) -> torch.dtype:
    """`float32`, `bfloat16` or `float16`. Raises `UsageError` (E0405)."""
    name = str(value).removeprefix("torch.")
    if name in DTYPES:
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    raise wrong(f"a model cannot be loaded as `{name}`", f"one of {', '.join(f'`{one}`' for one in DTYPES)}")


def device_of(value: str | torch.device | None) -> torch.device:
    """The device for the model: by default an NVIDIA GPU if there is one. Raises `UsageError` (E0405)."""
    if value is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError):
        raise wrong(f"there is no device `{value}`", "use `cpu`, `cuda`, `cuda:1` or `mps`") from None
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(
        device.type, 0
    )
    if counts <= (device.index or 0):
        raise wrong(
            f"there is no device `{value}` on this machine",
            f"leave {option('device')} out for the default, or write {option('device', 'cpu')}",
        )
    return device


def wrong(message: str, help: str) -> UsageError:
    return UsageError(Diagnostic("E0405", message, help=help))


@contextmanager
def memory_diagnosed(name: str, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Inside, running out of memory becomes a diagnostic. Raises `UsageError` (E0405)."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not memory_ran_out(error):
            raise
        other = f"a smaller model, or a {option('device')} with more memory, is needed"
        help = (
            f"load it smaller: {option('dtype', 'bfloat16')}; or {other}" if dtype == torch.float32 else other
        )
        raise wrong(
            f"`{name}` in {str(dtype).removeprefix('torch.')} does not fit into the memory of `{device}`",
            help,
        ) from None


@contextmanager
def _diagnosed(message: str, help: str, hub_name: str = "") -> Iterator[None]:
    """A diagnostic for an error of transformers or of a model's own code. These raise nearly any type of
    error; its first line gives the reason.
    """
    try:
        with _silent():
            yield
    except UsageError:
        raise
    except Exception as error:
        if hub.is_hub_name(hub_name) and (refused := hub.refusal(error, hub_name)) is not None:
            raise UsageError(refused) from error
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
        if why.startswith("Error no file named"):
            raise wrong_weights(f"{message}: it has no weights, no `model.safetensors`") from error
        if "Weights only load failed" in why:  # torch's next sentences say how to load it anyway
            raise wrong_weights(
                f"{message}: a weight file is a pickle with more than tensors, and could run code", SAFE
            ) from error
        raise wrong(f"{message}: {why}", help) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Silence the reports of transformers and of the hub's library. Our own diagnostics replace them."""
    from huggingface_hub.utils import logging as of_hub
    from transformers.utils import logging as of_transformers

    before = [(library, library.get_verbosity()) for library in (of_hub, of_transformers)]
    try:
        for library, _ in before:
            library.set_verbosity_error()
        yield
    finally:
        for library, level in before:
            library.set_verbosity(level)


def _require_folder(path: Path) -> None:
    """Diagnose a wrong local path before anything is imported for it."""
    if not os.path.exists(path):
        nothing = "leave `--model` out" if reads_flags() else "nothing"
        help = f"give the folder of a Hugging Face model, or {nothing} for the embedded one"
        if str(path) in EMBEDDED_MODELS:
            help = f"the model inside dsldec is `{PREFIX}{path}`"
        raise wrong(f"there is no `{path}`", help)
    if not os.path.isdir(path):
        raise wrong(f"`{path}` is a file", f"give the folder it is in: `{path.parent}`")
    if not (path / "config.json").exists():
        raise wrong(
            f"`{path}` is not a Hugging Face model: it has no `config.json`",
            "give the folder that `save_pretrained` wrote",
        )
    try:
        config_of(path)
        require_readable(path)
    except UnfitFile as error:
        raise wrong(str(error), "give the folder that `save_pretrained` wrote") from None


def _require_names(raw: dict[str, Any], name: str) -> None:
    """Check the fields that name classes before transformers reads the rest. They may hold values of any
    type.
    """
    classes, code = raw.get("architectures") or [], raw.get("auto_map") or {}
    if not (
        isinstance(code, dict) and isinstance(classes, list) and all(isinstance(one, str) for one in classes)
    ):
        which = (
            "`architectures`, a list of classes"
            if isinstance(code, dict)
            else "`auto_map`, a table of classes"
        )
        raise wrong(
            f"the configuration of `{name}` is not in the format of transformers: see {which}",
            "give it as `save_pretrained` wrote it",
        )
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
    """Hide the progress bar of weights: it would mix with the program's own output."""
    from transformers.utils import logging

    logging.disable_progress_bar()
