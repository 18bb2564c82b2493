"""Does `dsldec explain --html` write the page of a policy, and name the mistakes of its user?"""

from __future__ import annotations

import pytest

from dsldec.cli import main


def explain(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(["explain", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_the_page_has_the_facts_and_the_text(capsys, tmp_path):
    file = tmp_path / "policy.html"
    options = ("--set", "confidence=0.8", "--gen-length", "512", "--html", str(file))
    assert explain(capsys, "threshold", *options) == (0, "", f"`{file}` shows the policy threshold\n")
    html = file.read_text(encoding="utf-8")
    assert "<title>threshold: a policy of dsldec</title>" in html
    assert "for gen_length 512 in blocks of 32: 512" in html
    assert ">0.8</td>" in html
    assert "Fast-dLLM" in html
    assert explain(capsys, "klass", "--html", str(file))[0] == 0  # its own page is replaced
    assert "<title>klass" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "help_"),
    [
        (("conf", "--html", "a.html"), "E0423", "`dsldec explain threshold --html ...`"),
        (("E0301", "--html", "a.html"), "E0423", "`dsldec explain threshold --html ...`"),
        (("threshold", "--target", "sglang", "--html", "a.html"), "E0423", "leave one of them out"),
        (("threshold", "--html", "no/a.html"), "E0432", "--html"),
        (("threshold", "--html", "mine.policy"), "E0436", "--html"),
        (("nope", "--html", "a.html"), "E0401", "`dsldec list`"),
    ],
)
def test_a_mistake_has_a_diagnostic(capsys, monkeypatch, tmp_path, arguments, code, help_):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.policy").write_text("policy mine():\n")
    status, out, err = explain(capsys, *arguments)
    assert (status != 0, out) == (True, "")
    assert err.startswith(f"error[{code}]: ")
    assert help_ in err
    assert not (tmp_path / "a.html").exists()
