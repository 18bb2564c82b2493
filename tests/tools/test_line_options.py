"""Does a line of JSONL set options for its own prompt, and does `--resume` continue by id and sample?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.cli import main
from dsldec.tools.differences import digest
from dsldec.tools.run import RunOptions, made_by

HOT = "policy hot():\n  window blocks(8)\n  draw gumbel(temperature=3)\n  commit top(masked, 4, by=conf)\n"
QUESTION = "What is 14+18?"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hot.policy").write_text(HOT)


def run(lines: list[Any], *more: str, status: int = 0, policy: str = "threshold") -> None:
    Path("p.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    given = [
        "--no-live",
        "--policy",
        policy,
        "--gen-length",
        "16",
        "--prompts",
        "p.jsonl",
        "--out",
        "r.jsonl",
    ]
    assert main(["run", *given, *more]) == status


def results() -> dict[tuple[Any, int], dict[str, Any]]:
    lines = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    found = {(line["id"], line.get("sample", 0)): line for line in lines}
    assert len(found) == len(lines)
    return found


def test_a_line_sets_options_for_its_prompt() -> None:
    lines = [
        {"prompt": QUESTION, "id": "plain"},
        {"prompt": QUESTION, "id": "stop", "stop": "It"},
        {"prompt": QUESTION, "id": "long", "gen_length": 24, "min_length": 20},
        {"messages": [{"role": "user", "content": QUESTION}], "id": "chat"},
        {"prompt": QUESTION, "id": "none", "stop": None, "seed": None},
    ]
    run(lines)
    found = {id_: line for (id_, _), line in results().items()}
    assert [found[id_]["text"] for id_ in ("plain", "stop", "chat", "none")] == [
        "18+14=32. It is 32. #### 32", "18+14=32.", "18+14=32. It is 32. #### 32", "18+14=32. It is 32. #### 32",
    ]  # fmt: skip
    assert (found["stop"]["finish_reason"], found["stop"]["stop"]) == ("stop", "It")
    assert (len(found["long"]["ids"]), found["long"]["tokens"] >= 20) == (24, True)
    assert found["chat"]["messages"] == lines[3]["messages"]
    assert "prompt" not in found["chat"]
    denoiser = dsldec.from_pretrained()
    alone = dsldec.decode(denoiser, QUESTION, "threshold", gen_length=24, min_length=20)
    assert found["long"]["ids"] == alone.ids[0][-24:].tolist()
    run(lines, "--resume")
    assert len(results()) == 5


def test_samples_are_those_of_decode_and_are_continued_one_by_one() -> None:
    lines: list[Any] = [{"prompt": QUESTION, "id": 7, "n": 3}, {"prompt": "Compute 3*6.", "seed": 5}]
    run(lines, policy="hot.policy")
    whole = results()
    assert sorted(whole) == [(1, 0), (7, 0), (7, 1), (7, 2)]
    assert "sample" not in whole[1, 0]
    denoiser = dsldec.from_pretrained()
    samples = dsldec.decode(denoiser, QUESTION, HOT, gen_length=16, n=3)
    seeded = dsldec.decode(denoiser, "Compute 3*6.", HOT, gen_length=16, seed=5, request_ids=[1])
    assert [whole[7, sample]["ids"] for sample in range(3)] == [ids[-16:].tolist() for ids in samples.ids]
    assert whole[1, 0]["ids"] == seeded.ids[0][-16:].tolist()
    kept = [line for line in Path("r.jsonl").read_text().splitlines() if '"sample": 1' not in line]
    Path("r.jsonl").write_text("".join(f"{line}\n" for line in kept))
    run(lines, "--resume", policy="hot.policy")
    assert {key: line["ids"] for key, line in results().items()} == {
        key: line["ids"] for key, line in whole.items()
    }
    run(lines, "--resume", "--n", "2", policy="hot.policy")  # the lines without an `n` get one sample more
    more = results()
    assert more.keys() - whole.keys() == {(1, 1)}
    assert all(more[key]["ids"] == whole[key]["ids"] for key in whole)


def test_flags_are_for_all_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    run(
        [QUESTION, {"prompt": QUESTION, "stop": "32"}], "--stop", "####", "--stop", "xyz", "--min-length", "2"
    )
    assert [results()[at, 0]["text"] for at in range(2)] == ["18+14=32. It is 32.", "18+14="]
    run([QUESTION, {"prompt": QUESTION, "stop": "32"}], "--resume", status=2)
    assert "`--stop" in capsys.readouterr().err


def test_an_answer_with_another_option_is_not_mixed_in(capsys: pytest.CaptureFixture[str]) -> None:
    run([{"prompt": QUESTION, "stop": "a", "n": 1}])
    run([{"prompt": QUESTION, "stop": "b", "n": 1}], "--resume", status=2)
    assert "answers the prompt `0` with another `stop`: `a`, and now `b`" in capsys.readouterr().err
    run([{"messages": [{"role": "user", "content": QUESTION}], "stop": "a"}], "--resume", status=2)
    assert "E0435" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "flags", "says"),
    [
        ({"prompt": "[MASK]", "stop": "a"}, ["--infill"], "prompt `0` has `stop`, which cannot be used with"),
        (
            {"messages": [{"role": "user", "content": "a"}]},
            ["--infill"],
            "has `messages`, which cannot be used",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}]},
            ["--raw"],
            "messages need the model's chat template",
        ),
        ("a", ["--raw", "--system", "b"], "messages need the model's chat template"),
        ("a", ["--min-length", "40"], "`--min-length 40` is more than the 16 tokens to generate"),
        ("a", ["--stop", ""], "`--stop` is a text"),
        ("a", ["--infill", "--stop", "x"], "`--stop` cannot be used with `--infill`"),
    ],
)
def test_what_cannot_be_is_refused_before_decoding(
    line: Any, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("p.jsonl").write_text(f"{json.dumps(line)}\n")
    length = [] if "--infill" in flags else ["--gen-length", "16"]
    assert main(["run", "--no-live", "--prompts", "p.jsonl", *length, "--out", "r.jsonl", *flags]) == 2
    assert says in capsys.readouterr().err
    assert not Path("r.jsonl").exists()


def test_a_line_that_cannot_be_met_fails_alone() -> None:
    run([{"prompt": QUESTION, "min_length": 40}, QUESTION], status=1)
    found = results()
    assert found[0, 0]["error"].startswith("E0409: `--min-length 40` is more than the 16 tokens")
    assert found[1, 0]["text"]


def test_the_digest_without_the_newer_options_is_that_of_older_files() -> None:
    """Older files are continued: their digest is of these names alone."""
    policy = dsldec.load("threshold")
    older: dict[str, Any] = dict.fromkeys(
        ("model", "mask_id", "eos_id", "shift_logits", "block_length", "gen_length", "cache")
    )
    older |= {"dtype": "float32", "raw": False, "infill": False, "seed": 0}
    whole = json.dumps([str(policy.program), policy.parameters, older], sort_keys=True)
    assert made_by(policy, RunOptions())["run"]["digest"] == digest(whole)
