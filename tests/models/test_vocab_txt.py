"""A tokenizer is built from `vocab.txt` if transformers finds none: with it, a real pretrained model fills
gaps.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers

import dsldec
from dsldec.cli import main
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained
from dsldec.models.vocab_txt import build, entries_of, reads

from . import tiny

SPECIAL = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ATOMS = [*"CcNOno()=123.", "Cl", ">>", "[nH]", "[C@H]", "%10"]
WORDS = ["the", "cat", "sat", "on", "mat", "."]
PIECES = ["un", "##able", "##s", *WORDS]


def written(folder: Path, entries: Sequence[str]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(entries) + "\n")
    return folder / "vocab.txt"


def made(folder: Path, entries: Sequence[str]) -> tuple[transformers.PreTrainedTokenizerFast, str]:
    found = entries_of(written(folder, entries))
    assert found is not None
    built = build(found, [])
    assert built is not None
    return built.tokenizer, built.how


@pytest.mark.parametrize(
    ("entries", "how", "text", "tokens"),
    [
        (
            ATOMS,
            "whole entries, the longest first",
            "Clc1c[nH]c1%10",
            ["Cl", "c", "1", "c", "[nH]", "c", "1", "%10"],
        ),
        (ATOMS, "whole entries, the longest first", "C[Xx]>>C Cl", ["C", "[UNK]", ">>", "C", "Cl"]),
        (ATOMS, "whole entries, the longest first", "CBrC", ["C", "[UNK]", "C"]),
        (WORDS, "whole words", "The cat sat.", ["the", "cat", "sat", "."]),
        (PIECES, "words and their pieces (WordPiece)", "unables cat", ["un", "##able", "##s", "cat"]),
        ([*"ACDEFGHIKLMN"], "whole entries, the longest first", "ACD", ["A", "C", "D"]),
    ],
)
def test_what_a_vocabulary_looks_like_tells_how_its_text_is_split(
    entries: list[str], how: str, text: str, tokens: list[str], tmp_path: Path
) -> None:
    tokenizer, said = made(tmp_path, [*SPECIAL, *entries])
    assert said == how
    ids = tokenizer(text)["input_ids"]
    assert [
        token if token in entries else "[UNK]" for token in tokenizer.convert_ids_to_tokens(ids)[1:-1]
    ] == tokens
    assert (ids[0], ids[-1]) == (3, 4)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 2, 5)
    if "[UNK]" not in tokens:
        assert tokenizer.decode(ids, skip_special_tokens=True) == {"The cat sat.": "the cat sat."}.get(
            text, text
        )


def test_entries_keep_their_lines(tmp_path: Path) -> None:
    file = written(tmp_path, [])
    file.write_bytes(b"[PAD]\r\na\r\n\r\nb\na\n")
    assert entries_of(file) == {"[PAD]": 0, "a": 4, "b": 3}
    for unreadable in (b"\xff\xfe", b"", b"\n\n"):
        file.write_bytes(unreadable)
        assert entries_of(file) is None


def test_a_tokenizer_that_reads_the_file_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path / "bert", "bert")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    entries = [*SPECIAL, *PIECES, *(f"w{number}" for number in range(tiny.SIZE - len(SPECIAL) - len(PIECES)))]
    found = entries_of(written(folder, entries))
    assert found is not None
    assert reads(transformers.AutoTokenizer.from_pretrained(folder), found)
    denoiser = from_pretrained(folder, device="cpu")
    assert denoiser.mask_id == 5
    assert denoiser.encode("unables cat")[1:] == [6, 7, 8, 10]


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_a_folder_whose_vocabulary_transformers_does_not_read(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """transformers makes one of special tokens for the first, and splits these entries to pieces for the
    second.
    """
    folder = tiny.saved(tmp_path / family, family)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text("{}")
    written(
        folder,
        [*SPECIAL, *ATOMS, *(f"[1{number}C]" for number in range(tiny.SIZE - len(SPECIAL) - len(ATOMS)))],
    )
    assert main(["model", str(folder), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "50 tokens, built from `vocab.txt`: whole entries, the longest first" in shown
    assert "mask         5, from the tokenizer" in shown
    denoiser = from_pretrained(folder, device="cpu")
    assert denoiser.never is None
    decoded = dsldec.decode(denoiser, ["C[nH][MASK*2]Cl"], "static", infill=True)
    text = str(decoded.text[0])
    assert text.startswith("C[nH]")
    assert text.endswith("Cl")


PACKAGE = "rxnmapper==0.4.3"
INSIDE = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k"


@pytest.fixture(scope="module")
def reactions() -> Path:
    """The folder of a masked language model of chemical reactions, as its package has it (MIT; IBM Research,
    10.1126/sciadv.abe4166).
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dsldec" / "tests-rxnmapper"
    if not (cache / "done").exists():
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        quickly = ["--retries", "1", "--timeout", "10", "--disable-pip-version-check"]
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary",
            ":all:",
            *quickly,
            "-d",
            str(cache),
            PACKAGE,
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            pytest.skip(
                f"{PACKAGE} cannot be downloaded here: {(ran.stderr.strip().splitlines() or ['no reason given'])[-1]}"
            )
        with zipfile.ZipFile(next(cache.glob("*.whl"))) as wheel:
            wheel.extractall(cache, [name for name in wheel.namelist() if name.startswith(INSIDE)])
        (cache / "done").touch()
    return cache / INSIDE


@pytest.fixture(scope="module")
def chemist(reactions: Path) -> HuggingFaceDenoiser:
    denoiser: HuggingFaceDenoiser = from_pretrained(reactions, device="cpu")
    return denoiser


def test_a_real_model_is_shown_as_it_is(reactions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", str(reactions), "--device", "cpu", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    about = json.loads(out)
    assert (about["mask_id"]["value"], about["pad_id"]["value"], about["eos_id"]) == (14, 0, None)
    assert (about["vocab_size"], about["tokens"], about["warnings"]) == (591, 591, [])
    assert about["tokenizer_built"] == "whole entries, the longest first"


@pytest.mark.parametrize(
    ("reaction", "product", "right"),
    [
        # Fischer esterifications: acetic acid and ethanol, benzoic acid and ethanol, p-chlorobenzoic acid and
        # methanol
        ("CC(=O)O.CCO>>", "CC(=O)[MASK][MASK]C", "CC(=O)OCC"),
        ("CCO.O=C(O)c1ccccc1>>", "CC[MASK]C([MASK]O)c1ccccc1", "CCOC(=O)c1ccccc1"),
        ("CO.O=C(O)c1ccc(Cl)cc1>>", "COC(=O)c1ccc([MASK])cc1", "COC(=O)c1ccc(Cl)cc1"),
        # an amide instead, and a Suzuki coupling that keeps the pyridine
        ("CCN.O=C(O)c1ccccc1>>", "CC[MASK]C(=O)c1ccccc1", "CCNC(=O)c1ccccc1"),
        ("Brc1ccccc1.OB(O)c1ccncc1>>", "c1ccc(-c2cc[MASK]cc2)cc1", "c1ccc(-c2ccncc2)cc1"),
    ],
)
def test_the_real_model_knows_its_chemistry(
    reaction: str, product: str, right: str, chemist: HuggingFaceDenoiser
) -> None:
    decoded = dsldec.decode(chemist, [reaction + product], "static", infill=True)
    assert decoded.text == [reaction + right]
    # Sure of it, too: a wrong tokenizer leaves nothing but noise.
    ids = chemist.encode_gaps(reaction + product)
    gap = ids.index(14)
    assert float(chemist(torch.tensor([ids]))[0, gap].softmax(-1).max()) > 0.9
