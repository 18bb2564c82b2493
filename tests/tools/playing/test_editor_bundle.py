"""Is the committed bundle of the editor made of the committed sources, and does it say whose code is in it?

`make editor` makes it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "editors" / "codemirror"
ASSETS = ROOT / "dsldec" / "tools" / "playing" / "assets"
DIGESTS = json.loads((FOLDER / "digests.json").read_text())


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_the_bundle_is_current(name: str) -> None:
    found = hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
    assert found == DIGESTS[name], f"{name} has changed: type `make editor`"


def test_every_source_has_a_digest() -> None:
    sources = {
        f"editors/codemirror/{one.name}"
        for one in FOLDER.iterdir()
        if one.is_file() and one.name != "digests.json"
    }
    assert sources | {"dsldec/tools/playing/assets/editor.js"} == set(DIGESTS)


def test_the_licences_name_every_package_at_its_locked_version() -> None:
    text = (ASSETS / "editor.licenses.txt").read_text()
    named = dict(re.findall(r"^((?:@[\w-]+/)?[\w-]+) (\d+\.\d+\.\d+) \(MIT\)$", text, re.MULTILINE))
    lock = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    assert {"@codemirror/view", "@lezer/highlight", "style-mod"} <= set(named)
    for name, version in named.items():
        assert lock[f"node_modules/{name}"]["version"] == version
    assert text.count("Permission is hereby granted") == len(named)


def test_the_bundle_asks_no_other_machine() -> None:
    text = (ASSETS / "editor.js").read_text()
    assert text.isascii()
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|importScripts|eval)\(", text)
