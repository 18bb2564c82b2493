"""Can the files of a model's folder be read, before transformers reads them?

transformers opens what it finds and reads it whole: a named pipe would stall it, an endless file or JSON that
is nested deep end it. Not here: what the files say (`loading`), or the numbers of the weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import LARGEST_CONFIG, LARGEST_TOKENIZER, NotJSON, Unreadable, opened, read_json, read_text

CONFIG = "config.json"
# What transformers reads of a folder by its name, the code that it runs where that is trusted, and the
# weights.
JSON = (
    CONFIG, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json",
    "processor_config.json", "preprocessor_config.json", "adapter_config.json",
)  # fmt: skip
LARGE_JSON = ("tokenizer.json", "tokenizer.*.json", "vocab.json", "*.index.json")
TEXT = ("chat_template.jinja", "additional_chat_templates/*.jinja", "*.py")
OURS = "modeling_dsldec.py"  # `dsldec export-hf` puts it there, or judges what stands in its place; nothing here reads it
LARGE_TEXT = ("vocab.txt", "merges.txt")
BYTES = ("*.safetensors", "*.bin", "*.model")
# The most that a configuration may say of these: far more than any model has, and few enough to be built
# without its numbers.
MOST = {
    "vocab_size": 2**31, "hidden_size": 2**24, "d_model": 2**24, "intermediate_size": 2**28, "num_attention_heads": 2**16,
    "n_heads": 2**16, "num_hidden_layers": 4096, "n_layers": 4096,
}  # fmt: skip


class UnfitFile(Exception):
    """A file of the folder cannot be read; the text is a sentence: which, and why."""


def require_readable(folder: Path) -> None:
    """Raises `UnfitFile` for the first file that transformers might read and cannot, or not in bounded time
    and memory.
    """
    for file in _files(folder, (*JSON, *LARGE_JSON)):
        _read(file, LARGEST_CONFIG if file.name in JSON else LARGEST_TOKENIZER, as_json=True)
    for file in _files(folder, (*TEXT, *LARGE_TEXT)):
        if file.name == OURS:
            continue
        _read(file, LARGEST_TOKENIZER if file.name in LARGE_TEXT else LARGEST_CONFIG, as_json=False)
    for file in _files(folder, BYTES):
        _read(file, 0, as_json=False)


def config_of(folder: Path) -> dict[str, Any]:
    """The object in a folder's `config.json`. Raises `UnfitFile`."""
    config = _read(folder / CONFIG, LARGEST_CONFIG, as_json=True)
    if not isinstance(config, dict):
        raise UnfitFile(f"`{folder / CONFIG}` is not JSON of an object")
    return config


def require_sizes(config: Mapping[str, Any], name: str) -> None:
    """Raises `UnfitFile` for a size that no model has. transformers itself reports values that are no
    numbers.
    """
    for field, most in MOST.items():
        size = config.get(field)
        if isinstance(size, int) and not 1 <= size <= most:
            raise UnfitFile(
                f"the configuration of `{name}` says `{field}` {size}, and a model has from 1 to {most:,}"
            )


def _files(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        # A link that leads nowhere is no file for transformers either: it says which it misses.
        yield from sorted(
            file for file in folder.glob(pattern) if os.path.exists(file) and not os.path.isdir(file)
        )


def _read(file: Path, largest: int, *, as_json: bool) -> Any:
    """The content of the file; with `largest` 0, the file is only opened."""
    try:
        if as_json:
            return read_json(file, largest)
        if largest:
            return read_text(file, largest)
        with opened(file):
            return None
    except Unreadable as error:
        raise UnfitFile(f"`{file}` cannot be read: {error.why}") from None
    except NotJSON as error:
        raise UnfitFile(f"`{file}` {error.why}") from None
    except UnicodeDecodeError:
        raise UnfitFile(f"`{file}` is not UTF-8 text") from None
