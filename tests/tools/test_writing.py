"""After any failure, is a replaced file either the old one or the new one, whatever was at its path?"""

from __future__ import annotations

import os
import threading

import pytest
import torch

import dsldec
from dsldec.diagnostics import UsageError
from dsldec.tools import writing
from dsldec.tools.answers import all_decoded
from dsldec.tools.writing import put

from ..runtime.test_decode import Plain

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")


def test_a_new_file_has_the_mode_that_is_usual(tmp_path):
    before = os.umask(0o027)
    try:
        put(str(tmp_path / "a"), "ä")
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_text(encoding="utf-8") == "ä"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_file_keeps_its_mode_and_a_link_its_place(tmp_path):
    (tmp_path / "a").write_text("old")
    os.chmod(tmp_path / "a", 0o604)
    os.symlink("a", tmp_path / "link")
    put(str(tmp_path / "link"), "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "new"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o604
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "link"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_disk_without_room_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch, name):
    def full(*given):
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(writing.os, name, full)
    with pytest.raises(UsageError, match=r"E0432.*no space left on device"):
        put(str(tmp_path / "a"), "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_has_gone_is_told(tmp_path):
    with pytest.raises(UsageError, match="E0432"):
        put(str(tmp_path / "gone" / "a"), "new")
    with pytest.raises(UsageError, match=r"E0432.*is a directory"):
        put(str(tmp_path), "new")


def test_a_pipe_gets_the_text(tmp_path):
    heard: list[str] = []
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text()))
    reader.start()
    put(str(tmp_path / "pipe"), "text")
    reader.join(10)
    assert heard == ["text"]
    assert (tmp_path / "pipe").is_fifo()


def test_two_at_once_leave_one_whole(tmp_path):
    threads = [
        threading.Thread(target=put, args=(str(tmp_path / "a"), str(number) * 100_000)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = (tmp_path / "a").read_text()
    assert text == text[0] * 100_000
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (lambda x: x * float("nan"), "E0406"),
        (lambda x: x.long(), "E0408"),
        (lambda x: torch.empty(0) @ torch.empty(3), "E0410"),
    ],
    ids=["nan", "int", "raises"],
)
def test_what_measures_ends_in_a_sentence_where_a_prompt_has_no_answer(bad, code):
    class Bad(Plain):
        def __call__(self, ids):
            logits = super().__call__(ids)
            return bad(logits) if len(self.calls) > 4 else logits

    with pytest.raises(UsageError, match=code):
        all_decoded(Bad(), [[1], [2]], dsldec.load("static"), gen_length=4, batch=1)
    assert all_decoded(Plain(), [[1]], dsldec.load("static"), gen_length=4).failed == []
