"""Carries a wheel that does not fit into one transfer to a machine without a network: as parts, joined there.

    pip download --no-deps -d .trt onnxruntime-ep-nv-tensorrt-rtx-cu13
    python -m tests.gpu.carried split .trt/*.whl     here: .trt/part-0, .trt/part-1, ...
    python -m tests.gpu.carried take                 there, once for each part that is carried

Not here: what uses the package (`tensorrt_rtx`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from .process import ROOT

PART_BYTES = 52 * 2**20  # a transfer takes 64 MiB with the checkout
HERE, THERE = ROOT / ".trt", Path(tempfile.gettempdir()) / "dsldec-trt"
MANIFEST = "parts.json"


def split(wheel: Path, folder: Path, size: int = PART_BYTES) -> list[Path]:
    """Write a file as parts, and a manifest with its hash into the first one's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = wheel.read_bytes()
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    manifest = {"name": wheel.name, "parts": len(parts), "sha256": hashlib.sha256(content).hexdigest()}
    written = []
    for number, part in enumerate(parts):
        place = folder / f"part-{number}"
        place.mkdir(exist_ok=True)
        (place / "bytes").write_bytes(part)
        (place / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        written.append(place)
    return written


def take(source: Path, target: Path) -> list[str]:
    """Copy the parts that are there to a folder that stays when the next call replaces the checkout."""
    target.mkdir(parents=True, exist_ok=True)
    for place in sorted(source.glob("part-*")):
        shutil.copytree(place, target / place.name, dirs_exist_ok=True)
    return sorted(place.name for place in target.glob("part-*"))


def join(folder: Path) -> Path:
    """Unpack the wheel of all parts; returns the folder of its packages. Raises ValueError if a part is
    missing or damaged.
    """
    places = sorted(folder.glob("part-*"), key=lambda place: int(place.name.removeprefix("part-")))
    if not places:
        raise ValueError(f"no parts are in {folder}")
    manifest = json.loads((places[0] / MANIFEST).read_text(encoding="utf-8"))
    if len(places) != manifest["parts"]:
        raise ValueError(f"{len(places)} of {manifest['parts']} parts are in {folder}")
    content = b"".join((place / "bytes").read_bytes() for place in places)
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise ValueError("the parts are damaged: their hash is another one")
    wheel, site = folder / manifest["name"], folder / "site"
    wheel.write_bytes(content)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def main() -> int:
    match sys.argv[1:]:
        case ["split", wheel]:
            print(*split(Path(wheel), HERE), sep="\n")
        case ["take"]:
            print(*take(HERE, THERE))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
