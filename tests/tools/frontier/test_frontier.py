"""Does `dsldec frontier` measure, keep, continue and show as promised, with any text from outside?"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.dom import minidom

import pytest

import dsldec.models.huggingface
from dsldec.cli import main
from dsldec.tools.frontier.harness_results import points_of_file
from dsldec.tools.frontier.points import Point, frontier_of, plain

from ..test_run import Echo, control_c

pytest.importorskip("scipy")
vl_convert = pytest.importorskip("vl_convert")
NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&\x1b[31m"


@pytest.fixture
def model(monkeypatch, tmp_path) -> Echo:
    denoiser = Echo()
    monkeypatch.setattr(dsldec.models.huggingface, "from_pretrained", lambda *path, **how: denoiser)
    monkeypatch.chdir(tmp_path)
    lines = [{"prompt": "a", "answer": "A"}, {"prompt": "bc", "answer": "BC"}, {"prompt": "d", "answer": "e"}]
    (tmp_path / "task.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return denoiser


def frontier(*arguments: str) -> int:
    return main(["frontier", "--task", "task.jsonl", "--scorer", "exact", *arguments])


TWO = ("--policy", "threshold", "--set", "confidence=0.0,1.0", "--policy", "static", "--set", "tokens=4")


def figures(name: str = "f.json") -> dict:
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def test_settings_are_measured_kept_and_compared(model, capsys):
    assert frontier(*TWO, "--out", "r", "--json", "f.json") == 0
    out = capsys.readouterr().out
    assert "threshold(confidence=0)  0.667" in re.sub(r" +", "  ", out)
    found = figures()
    assert [one["title"] for one in found["points"]] == [
        "threshold(confidence=0)", "threshold(confidence=1)", "static(tokens=4)"
    ]  # fmt: skip
    assert all(one["accuracy"] == pytest.approx(2 / 3) and one["prompts"] == 3 for one in found["points"])
    assert [one["on_front"] for one in found["points"]] == [True, False, False]
    assert set(found["aup"]) == {"threshold", "static(tokens=4)"}
    assert len(os.listdir("r")) == 3
    before = len(model.calls)
    assert frontier(*TWO, "--out", "r", "--markdown") == 0
    assert len(model.calls) == before
    assert capsys.readouterr().out.startswith("| setting | right |")


def test_an_interrupted_run_shows_what_is_there_and_goes_on(model, capsys):
    model.fails_at[3] = control_c
    assert frontier(*TWO, "--out", "r", "--batch", "1") == 130
    out, err = capsys.readouterr()
    assert "of 3" in out
    assert "the same command goes on from there" in err
    model.fails_at.clear()
    assert frontier(*TWO, "--out", "r", "--batch", "1", "--json", "f.json") == 0
    assert [one["prompts"] for one in figures()["points"]] == [3, 3, 3]


def test_a_static_parameter_in_a_grid_is_said(model, capsys):
    assert frontier("--policy", "static", "--set", "block=4,8") == 0
    assert "static: `block` is static: each of its values makes a step of its own" in capsys.readouterr().err


def test_a_policy_that_cannot_run_is_left_out(model, capsys):
    assert frontier("--lookahead", "2", "--policy", "freedave", "--policy", "static", "--json", "f.json") == 1
    assert "freedave is left out: error[E0411]" in capsys.readouterr().err
    assert [one["curve"] for one in figures()["points"]] == ["static"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--policy", "threshold", "--set", "confidance=0.5"), 1, "E0403"),
        (("--policy", "threshold", "--set", "confidence=0.5,7"), 1, "E0402"),
        (("--policy", "threshold", "--set", "confidence="), 2, "E0512"),
        (("--set", "confidence=0.5"), 2, "E0423"),
        (("--policy", "threshold", "--svg", "no/folder.svg"), 2, "E0432"),
        (("--policy", "threshold", "--svg", "x", "--html", "x"), 2, "E0423"),
        (("--policy", "threshold", "--n", "2"), 2, "E0423"),
        (("--policy", "threshold", "--results", "none.json"), 2, "E0514"),
        (("--policy", "no_such_policy"), 1, "E0401"),
    ],
)
def test_wrong_usage_is_a_sentence_before_decoding(arguments, code, says, model, capsys):
    assert frontier(*arguments) == code
    assert says in capsys.readouterr().err
    assert model.calls == []


def test_a_task_or_results_are_needed(model, capsys):
    assert main(["frontier"]) == 2
    assert "E0420" in capsys.readouterr().err
    assert main(["frontier", "--policy", "static", "--results", "x.json"]) == 2
    assert "`--policy` needs `--task`" in capsys.readouterr().err


def test_a_missing_package_gives_the_line_of_pip(model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    assert frontier("--policy", "static", "--svg", "x.svg") == 2
    err = capsys.readouterr().err
    assert "E0515" in err
    assert 'pip install "dsldec[frontier]"' in err


class Elements(HTMLParser):
    """The elements of a page, and its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_text_from_outside_is_never_markup(model, tmp_path, capsys):
    """The name of a policy file, a title, and a result file name with markup and control codes."""
    folder = tmp_path / "policies"
    folder.mkdir()
    named = folder / (NASTY.replace("/", "_") + ".policy")
    named.write_text("policy static():\n  window all\n  commit top(masked, 2, by=conf)\n")
    assert (
        frontier(
            "--policy",
            str(named),
            "--title",
            f"<b>{NASTY}",
            "--html",
            "f.html",
            "--svg",
            "f.svg",
            "--markdown",
        )
        == 0
    )
    out, _ = capsys.readouterr()
    assert "\x1b" not in out
    page = Path("f.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert elements.tags.count("script") == 3
    assert not {"img", "b"} & set(elements.tags)
    assert f"<b>{plain(NASTY)}" in elements.text
    assert "http-equiv" in page
    assert "src=" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL).replace(
        "src=x onerror", ""
    )
    data = re.search(r'<script id="chart-data" type="application/json">(.*?)</script>', page)
    chart = json.loads(data[1])
    assert chart["title"]["text"] == f"<b>{plain(NASTY)}"
    assert chart["data"]["values"][0]["policy"].endswith(plain("\x1b[31m"))
    svg = Path("f.svg").read_text(encoding="utf-8")
    assert not re.search(r"<(script|img|b)\b", svg)


def test_plain_text_is_valid_in_every_file():
    for text in ("\x00\x1b\x7f\x9b", "\ud800", "\udcff", "\ufffe\uffff", "\u202e", "a\nb"):
        minidom.parseString(f"<a>{plain(text)}</a>".encode())
    assert plain("a\nb") == "a b"


def test_the_picture_has_a_point_for_each_setting_and_words_for_readers(model):
    assert frontier(*TWO, "--svg", "f.svg") == 0
    svg = Path("f.svg").read_text(encoding="utf-8")
    root = minidom.parseString(svg).documentElement
    assert root.getAttribute("width") == "800"
    (title,) = (one for one in root.childNodes if one.nodeName == "title")
    assert "3 settings of 2 policies" in title.firstChild.data
    assert "threshold" in svg


def result_file(tmp_path: Path, **changes) -> str:
    whole = {
        "results": {"gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.5, "exact_match_stderr,strict-match": 0.05}},
        "n-samples": {"gsm8k": {"original": 1319, "effective": 100}},
        "config": {
            "model": "dsldec",
            "dsldec": {
                "policy": "threshold", "parameters": {"confidence": 0.8},
                "tasks": {"gsm8k": {"answers": 100, "tokens": 2000, "seconds": 10.0, "forwards_per_answer": 40.0, "tokens_per_forward": 0.5}},
            },
        },
    } | changes  # fmt: skip
    path = tmp_path / "harness.json"
    path.write_text(json.dumps(whole))
    return str(path)


def test_results_of_the_harness_are_points(model, tmp_path, capsys):
    name = result_file(tmp_path)
    (one,) = points_of_file(name)
    assert (one.title, one.accuracy, one.forwards) == ("threshold(confidence=0.8)", 0.5, 40.0)
    assert (one.tokens_per_forward, one.tokens_per_second, one.prompts) == (0.5, 200.0, 100)
    assert one.interval == pytest.approx((0.402, 0.598), abs=1e-3)
    assert main(["frontier", "--results", name, "--svg", "f.svg"]) == 0
    assert "threshold(confidence=0.8)" in capsys.readouterr().out
    assert model.calls == []


def test_results_of_another_model_have_no_forwards(tmp_path):
    (one,) = points_of_file(result_file(tmp_path, config={"model": "hf"}))
    assert (one.title, one.forwards, one.tokens_per_forward) == ("hf", None, 0.0)
    assert not frontier_of([one]).points[0].on_front


@pytest.mark.parametrize(
    "text", ["no json", "[]", '{"results": 7}', '{"results": {"x": {"acc": "high"}}}', "{}"]
)
def test_another_file_is_no_result_file(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x.json").write_text(text)
    assert main(["frontier", "--results", "x.json"]) == 2
    assert "E0514" in capsys.readouterr().err


def test_a_span_of_forwards_has_an_axis_that_fits():
    from dsldec.tools.frontier.chart import chart_of

    def axis(*forwards: float) -> dict:
        points = [Point("a", f"a{one}", {}, 9, 9, 0.5, (0.4, 0.6), "", one, 1.0) for one in forwards]
        return chart_of(frontier_of(points), "t", "s", interactive=True)["layer"][0]["encoding"]["x"]

    assert axis(4, 40)["scale"]["type"] == "log"
    assert axis(4, 40)["axis"]["values"] == [5, 7, 10, 20, 30]
    assert "type" not in axis(4, 8)["scale"]


def test_the_embedded_model_on_six_prompts_and_two_policies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ("--policy", "threshold", "--set", "confidence=0.6", "--policy", "static", "--set", "tokens=8")
    assert main(["frontier", "--task", "word_problems", "--limit", "6", *settings, "--json", "f.json"]) == 0
    threshold, static = figures()["points"]
    assert threshold["accuracy"] > 0.5
    # Each text ends in the first block of 32, of which a step writes 8.
    assert static["forwards"] == 4.0
    assert all(one["prompts"] == 6 and one["tokens_per_second"] > 0 for one in (threshold, static))


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path):
    command = [
        sys.executable, "-m", "dsldec", "frontier", "--task", "word_problems", "--limit", "40", "--out", "r", "--batch", "4",
        "--policy", "threshold", "--set", "confidence=0.7,0.9", "--json", "f.json",
    ]  # fmt: skip
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        files = list((tmp_path / "r").glob("*.jsonl")) if (tmp_path / "r").exists() else []
        if sum(file.read_bytes().count(b"\n") for file in files) > 8:
            break
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    kept = sum(file.read_bytes().count(b'"right"') for file in (tmp_path / "r").glob("*.jsonl"))
    assert 0 < kept < 80
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert [one["prompts"] for one in json.loads((tmp_path / "f.json").read_text())["points"]] == [40, 40]
