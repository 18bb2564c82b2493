"""Changed packages: each is refused with a message before torch reads it, and none ends the process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dsldec
from dsldec import packages
from dsldec.backends import aot, sealed

from ..conftest import Built

Said = dict[str, Any]
Members = dict[str, bytes]


def members(file: Path) -> Members:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(file: Path, of: Members, compression: int = zipfile.ZIP_STORED) -> Path:
    """The members as a package with a right digest, as somebody would make it who knows how."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in of.items():
            archive.writestr(name, data)
    sealed.seal(file)
    return file


def metadata(of: Members) -> str:
    (name,) = (name for name in of if name.endswith("wrapper_metadata.json"))
    return name


def refusal(file: Path, read: Callable[[Path], object]) -> str:
    with pytest.raises(dsldec.UsageError) as caught:
        read(file)
    assert caught.value.diagnostic.code == "E0413"
    assert "\n" not in caught.value.diagnostic.message
    return caught.value.diagnostic.message


def refused_by_both(file: Path) -> str:
    said = {refusal(file, aot.about), refusal(file, lambda file: packages.load(file, mask_id=1))}
    assert len(said) == 1
    return said.pop()


# In a process of their own: the files given, one after the other. Torch's loader may end the process on any
# of them.
EACH = """
import sys
import dsldec
from dsldec import packages
for file in sys.argv[1:]:
    try:
        packages.load(file, mask_id=1)
        print("loaded", flush=True)
    except dsldec.UsageError as error:
        print(error.diagnostic.code, error.diagnostic.message, flush=True)
"""


def load_each(*files: Path) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", EACH, *map(str, files)], capture_output=True, text=True)
    assert ran.returncode == 0, f"{ran.stdout[-1000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout.splitlines()


def test_torch_alone_loads_a_sealed_package(built: Built) -> None:
    assert json.loads(
        torch._inductor.aoti_load_package(str(built.file)).get_metadata()["dsldec"]
    ) == aot.about(built.file)
    assert zipfile.ZipFile(built.file).comment.startswith(sealed.MARK)


def test_every_flipped_bit_is_found(built: Built, tmp_path: Path) -> None:
    """All over the file, closely at its ends: headers, padding, machine code, metadata, the table of members,
    the digest.
    """
    data, generator = built.file.read_bytes(), torch.Generator().manual_seed(0)
    anywhere = torch.randint(len(data), (60,), generator=generator).tolist()
    (tmp_path / "flipped").mkdir()
    for count, place in enumerate([*range(0, 64, 8), *anywhere, *range(len(data) - 400, len(data), 7)]):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(torch.randint(8, (), generator=generator))
        (tmp_path / "flipped" / f"{count}.pt2").write_bytes(flipped)
    files = sorted((tmp_path / "flipped").iterdir())
    said = load_each(*files)
    assert len(said) == len(files) > 100
    assert {line.split()[0] for line in said} == {"E0413"}
    assert all("it was changed after it was built" in line or "its end is missing" in line for line in said)


def test_every_truncated_file_is_found(built: Built, tmp_path: Path) -> None:
    data, file = built.file.read_bytes(), tmp_path / "short.pt2"
    for length in (
        0,
        1,
        21,
        22,
        77,
        78,
        100,
        4096,
        len(data) // 2,
        len(data) - 79,
        len(data) - 78,
        len(data) - 77,
        len(data) - 1,
    ):
        file.write_bytes(data[:length])
        assert "it is not a package built by dsldec, or its end is missing" in refused_by_both(file)
    file.write_bytes(data + b"\0")
    assert "or its end is missing" in refused_by_both(file)


def test_members_edited_or_dropped_are_found(built: Built, tmp_path: Path) -> None:
    """By any tool that writes archives, which keeps the comment or drops it."""
    of, file = members(built.file), tmp_path / "edited.pt2"
    comment = zipfile.ZipFile(built.file).comment
    for name in of:
        for kept in (comment, b""):
            with zipfile.ZipFile(file, "w") as archive:
                for each, data in of.items():
                    if each != name:
                        archive.writestr(each, data)
                archive.comment = kept
            assert "it was changed" in (said := refused_by_both(file)) or "its end is missing" in said
    file.write_bytes(built.file.read_bytes())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("more", "of it")
    assert "it was changed" in refused_by_both(file)


def test_no_dropped_member_ends_the_process(built: Built, tmp_path: Path) -> None:
    """Even with a right digest."""
    of = members(built.file)
    files = [
        pack(tmp_path / f"{count}.pt2", {each: data for each, data in of.items() if each != name})
        for count, name in enumerate(of)
    ]
    said = load_each(*files)
    assert len(said) == len(of)
    assert all(line == "loaded" or line.startswith("E0413") for line in said)
    assert any("it holds no machine code" in line for line in said)


def test_an_archive_that_would_unpack_to_much_or_elsewhere_is_refused(built: Built, tmp_path: Path) -> None:
    of = members(built.file)
    assert "are compressed" in refused_by_both(
        pack(tmp_path / "bomb.pt2", of | {"step/zeros": bytes(2**24)}, zipfile.ZIP_DEFLATED)
    )
    for name in ("../outside", "/outside", "step/../../outside", "step\\..\\outside"):
        assert "not a package" in refused_by_both(pack(tmp_path / "outside.pt2", of | {name: b""}))
    many = of | {f"step/{number}": b"" for number in range(2000)}
    assert "not a package" in refused_by_both(pack(tmp_path / "many.pt2", many))
    huge = tmp_path / "huge.pt2"
    with huge.open("wb") as stream:
        stream.truncate(sealed.MOST_BYTES + 1)
    assert "larger than the limit for a package, 1024 MiB" in refused_by_both(huge)


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    assert "it is a folder" in refused_by_both(tmp_path)
    assert "null" in refused_by_both(Path("a\0b.pt2"))
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        assert "it is not a regular file" in refused_by_both(tmp_path / "pipe")
        assert "it is not a regular file" in refused_by_both(Path("/dev/zero"))


TEXTS = {
    "nothing": "",
    "no JSON": "{",
    "no object": "[]",
    "no key": "{}",
    "no text": '{"dsldec": 3}',
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep inside": json.dumps({"dsldec": "[" * 100_000}),
    "a long number": '{"dsldec": ' + "9" * 10_000 + "}",
    "an object no more": json.dumps({"dsldec": "[]"}),
    "null": json.dumps({"dsldec": "null"}),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_metadata_that_is_none_is_refused(built: Built, tmp_path: Path, text: str) -> None:
    of = members(built.file)
    file = pack(tmp_path / "other.pt2", of | {metadata(of): text.encode()})
    assert "not a package built by dsldec" in (said := refused_by_both(file)) or "no valid `dsldec`" in said


def said_by(built: Built) -> Said:
    return aot.about(built.file)


def changed(built: Built, file: Path, change: Callable[[Said], object]) -> Path:
    of, said = members(built.file), said_by(built)
    change(said)
    whole = json.loads(of[metadata(of)]) | {"dsldec": json.dumps(said)}
    return pack(file, of | {metadata(of): json.dumps(whole).encode()})


WRONG = (
    None,
    True,
    3,
    -1,
    2.5,
    "text",
    "",
    [],
    [[]],
    {},
    {"a": 1},
    float("nan"),
    10**40,
    {"dtype": "float33", "shape": [1]},
)


def test_no_entry_of_a_wrong_type_raises_anything_else(built: Built, tmp_path: Path) -> None:
    """Every entry, at every depth, missing and with every kind of value that JSON has; some of them may still
    be right.
    """
    paths: list[tuple[str, ...]] = []

    def walk(of: Said, path: tuple[str, ...]) -> None:
        for name, value in of.items():
            paths.append((*path, name))
            if isinstance(value, dict) and path[:1] != ("facts",):
                walk(value, (*path, name))

    walk(said_by(built), ())
    assert len(paths) > 50

    def alter(path: tuple[str, ...], value: object) -> Callable[[Said], None]:
        def change(said: Said) -> None:
            for name in path[:-1]:
                said = said[name]
            if value is KeyError:
                del said[path[-1]]
            else:
                said[path[-1]] = value

        return change

    taken = []
    for count, path in enumerate(paths):
        for value in (KeyError, WRONG[count % len(WRONG)], WRONG[(count * 5 + 3) % len(WRONG)]):
            file = changed(built, tmp_path / "changed.pt2", alter(path, value))
            with contextlib.suppress(dsldec.UsageError):  # and nothing else
                packages._program(aot.about(file), file)  # all of `load` but torch's own part
                taken.append(path)
    assert len(taken) < len(paths)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda said: said.pop("torch"), "no valid `torch`"),
        (lambda said: said.update(torch="new"), "it was built by torch new, and the installed torch is"),
        (
            lambda said: said.update(torch="99.1.0"),
            "it was built by torch 99.1.0, and the installed torch is",
        ),
        (lambda said: said["machine"].update(processor="riscv"), "on riscv, not Linux on"),
        (
            lambda said: said["machine"].update(vectors="AVX1024"),
            "for processors with AVX1024, and torch finds",
        ),
        (lambda said: said.update(device="tpu"), "no valid `device`"),
        (lambda said: said["sizes"].update(T=2**40), "its policy is another step for this one"),
        (lambda said: said["sizes"].update(V=0), "its policy is another step for this one"),
        (lambda said: said["params"]["block"].update(value="32"), "no valid `params`"),
        (lambda said: said["params"]["block"].update(value=10**6), "its policy is another step for this one"),
        (
            lambda said: said["params"]["confidence"].update(value=[0.5] * 3),
            "its policy is another step for this one",
        ),
        (
            lambda said: said["params"]["confidence"].update(dtype="float64"),
            "its policy is another step for this one",
        ),
        (lambda said: said["events"].pop("not_finite"), "no valid `events`"),
        (
            lambda said: said["events"]["not_finite"].update(shape=[3]),
            "its policy is another step for this one",
        ),
        (lambda said: said["state"]["step"].update(shape=[3]), "its policy is another step for this one"),
        (
            lambda said: said.update(state=dict(reversed(said["state"].items()))),
            "its policy is another step for this one",
        ),
        (lambda said: said["logits"].update(shape=[2, 32, 819]), "its policy is another step for this one"),
    ],
)
def test_what_no_longer_fits_is_said(
    built: Built, tmp_path: Path, change: Callable[[Said], object], says: str
) -> None:
    file = changed(built, tmp_path / "changed.pt2", change)
    assert says in refusal(file, lambda file: packages.load(file, mask_id=1))


def test_entries_that_nobody_knows_are_left_alone(built: Built, tmp_path: Path) -> None:
    file = changed(built, tmp_path / "changed.pt2", lambda said: said.update(later={"a": [1]}))
    assert load_each(file) == ["loaded"]
