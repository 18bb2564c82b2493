"""Can the files of a model's folder be read, before transformers reads them?

transformers opens every file that it knows and reads it whole. A named pipe would block it. An endless file,
or deeply nested JSON, would crash it. Not here: the content of the files (`loading`), and the weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import LARGEST_CONFIG, LARGEST_TOKENIZER, NotJSON, Unreadable, opened, read_json, read_text

CONFIG = "config.json"
# Files that transformers reads by name, code that it runs where that is trusted, and weights.
JSON = (
    CONFIG, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json",
    "processor_config.json", "preprocessor_config.json", "adapter_config.json",
)  # fmt: skip
LARGE_JSON = ("tokenizer.json", "tokenizer.*.json", "vocab.json", "*.index.json")
TEXT = ("chat_template.jinja", "additional_chat_templates/*.jinja", "*.py")
# `dsldec export-hf` writes it, or judges a file of that name; nothing here reads it
OURS = "modeling_dsldec.py"
LARGE_TEXT = ("vocab.txt", "merges.txt")
BYTES = ("*.safetensors", "*.bin", "*.model")
# Upper bounds for sizes in a configuration. No model has more, and a model of these sizes can be built
# without its weights.
MOST = {
    "vocab_size": 2**31, "hidden_size": 2**24, "d_model": 2**24, "intermediate_size": 2**28, "num_attention_heads": 2**16,
    "n_heads": 2**16, "num_hidden_layers": 4096, "n_layers": 4096,
}  # fmt: skip


class UnfitFile(Exception):
    """A file of the folder cannot be read. The text is a sentence with the file and the reason."""


def require_readable(folder: Path) -> None:
    """Raise `UnfitFile` for the first file that transformers cannot read in bounded time and memory."""
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
        raise UnfitFile(f"`{folder / CONFIG}` is not a JSON object")
    return config


def require_sizes(config: Mapping[str, Any], name: str) -> None:
    """Raise `UnfitFile` for a size that no model has. transformers itself reports values that are not
    numbers.
    """
    for field, limit in MOST.items():
        size = config.get(field)
        if isinstance(size, int) and not 1 <= size <= limit:
            raise UnfitFile(f"the configuration of `{name}` has `{field}` {size}, outside of 1 to {limit:,}")


def _files(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        # transformers does not see a dangling link either. It reports the missing file itself.
        yield from sorted(
            file for file in folder.glob(pattern) if os.path.exists(file) and not os.path.isdir(file)
        )


def _read(file: Path, largest: int, *, as_json: bool) -> Any:
    """The content of the file. With `largest` 0, the file is only opened."""
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
