"""How is a tokenizer made from a folder's `vocab.txt`, where transformers does not read that file? The file
has one entry a line.

The model type of a folder decides which tokenizer class transformers takes. If that class reads no
`vocab.txt`, the tokenizer has only special tokens, and transformers gives no warning. The form of the entries
shows how text is split.

Not here: detecting such folders (`loading`), whether a tokenizer fits its model (`tokenizer_fit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import LARGEST_CONFIG, LARGEST_TOKENIZER, Unreadable, read_json, read_text

MOST_ENTRIES = 100_000  # limit for a vocabulary whose entries are matched one by one
FIELD_FILES = ("tokenizer_config.json", "special_tokens_map.json")  # files that name the special tokens
TRIED = 200  # entries that are tested with a tokenizer
# The names in BERT and RoBERTa. Names in the folder's files take precedence.
SPECIAL_NAMES = {
    "unk_token": ("[UNK]", "<unk>"), "sep_token": ("[SEP]", "</s>"), "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]", "<s>"), "mask_token": ("[MASK]", "<mask>"), "bos_token": (), "eos_token": (),
}  # fmt: skip
PLACEHOLDER = re.compile(r"\[unused\d+\]|\[(UNK|SEP|PAD|CLS|MASK)\]|<.*>")


@dataclass(frozen=True, slots=True)
class Built:
    """A tokenizer that was built here. `how`: words that can follow "built from `vocab.txt`"."""

    tokenizer: Any
    how: str


def entries_of(file: Path) -> dict[str, int] | None:
    """The entries of a `vocab.txt` and their ids; None for a file that is not such a list. Of equal entries
    the last one counts.
    """
    try:
        lines = read_text(file, LARGEST_TOKENIZER).split("\n")
    except (Unreadable, ValueError):
        return None
    entries = {line.removesuffix("\r"): at for at, line in enumerate(lines) if line.removesuffix("\r")}
    return entries or None


def reads(tokenizer: Any, entries: Mapping[str, int]) -> bool:
    """Whether a tokenizer has these entries under these ids, and finds them in a text."""
    vocabulary = tokenizer.get_vocab()
    if any(vocabulary.get(entry) != id_ for entry, id_ in entries.items()):
        return False
    if _has_pieces(entries):
        return True
    ordinary = _ordinary(entries)
    tried = ordinary[:: -(-len(ordinary) // TRIED) or 1]
    return 2 * sum(bool(tokenizer.tokenize(entry) == [entry]) for entry in tried) >= len(tried)


def build(entries: Mapping[str, int], field_files: Iterable[Path]) -> Built | None:
    """Build a tokenizer of these entries. `saying`: files that may name its special tokens. None for a
    vocabulary with too many entries.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    fields = _fields_of(field_files)
    special = _special(entries, fields)
    unknown = special.get("unk_token")
    if _has_pieces(entries) or _has_words(entries):
        made = Tokenizer(models.WordPiece(dict(entries), unk_token=str(unknown)))
        lowercase = fields.get("do_lower_case")
        lowercase = (
            lowercase
            if isinstance(lowercase, bool)
            else all(entry == entry.lower() for entry in _ordinary(entries))
        )
        made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        how = "words and their pieces (WordPiece)" if _has_pieces(entries) else "whole words"
    elif len(entries) <= MOST_ENTRIES:
        made = Tokenizer(models.WordLevel(dict(entries), unk_token=str(unknown)))
        made.pre_tokenizer = _longest_first(entries)
        made.decoder = decoders.Fuse()
        how = "whole entries, the longest first"
    else:
        return None
    return Built(_whole(made, special, entries, fields), how)


def _fields_of(files: Iterable[Path]) -> dict[str, Any]:
    """The merged fields of these files. Files that hold no JSON object are skipped."""
    fields: dict[str, Any] = {}
    for file in files:
        with suppress(Unreadable, ValueError):
            read = read_json(file, LARGEST_CONFIG)
            fields |= read if isinstance(read, dict) else {}
    return fields


def _whole(
    made: Any, special: Mapping[str, str], entries: Mapping[str, int], fields: Mapping[str, Any]
) -> Any:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    if "cls_token" in special and "sep_token" in special:
        first, last = special["cls_token"], special["sep_token"]
        around = [(name, entries[name]) for name in {first, last}]
        pieces: dict[str, Any] = {"single": [first, "$A", last], "pair": [first, "$A", last, "$B", last]}
        made.post_processor = processors.TemplateProcessing(**pieces, special_tokens=around)
    limit = fields.get("model_max_length")
    length = {"model_max_length": limit} if isinstance(limit, int) and limit > 0 else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=made, clean_up_tokenization_spaces=False, **special, **length
    )


def _longest_first(entries: Mapping[str, int]) -> Any:
    """Splits a text without spaces into entries. Text between brackets is one entry, known or unknown."""
    from tokenizers import Regex, pre_tokenizers

    names = sorted(_ordinary(entries), key=len, reverse=True)
    patterns = [re.escape(name).replace("\\ ", " ") for name in names]
    patterns += [r"\[[^\[\]]*\]"] if not {"[", "]"} & entries.keys() else []
    return pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("|".join(patterns)), "isolated")]
    )


def _special(entries: Mapping[str, int], fields: Mapping[str, Any]) -> dict[str, str]:
    special: dict[str, str] = {}
    for name, usual in SPECIAL_NAMES.items():
        stated = fields.get(name)
        stated = stated.get("content") if isinstance(stated, dict) else stated
        candidates = [one for one in (stated, *usual) if isinstance(one, str) and one in entries]
        special |= {name: candidates[0]} if candidates else {}
    return special


def _ordinary(entries: Mapping[str, int]) -> list[str]:
    return [entry for entry in entries if not PLACEHOLDER.fullmatch(entry)]


def _has_pieces(entries: Mapping[str, int]) -> bool:
    return any(entry.startswith("##") and len(entry) > 2 for entry in entries)


def _has_words(entries: Mapping[str, int]) -> bool:
    ordinary = _ordinary(entries)
    return 2 * sum(len(entry) > 1 and entry.isalpha() for entry in ordinary) > len(ordinary)
