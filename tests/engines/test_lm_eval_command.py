"""`python -m dsldec.engines.lm_eval`: the command of the harness, and mistakes as one sentence."""

from __future__ import annotations

import functools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dsldec

ROOT = Path(dsldec.__file__).parent.parent


def test_without_the_harness_a_sentence_has_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dsldec.engines.lm_eval import __main__ as command
    from dsldec.engines.lm_eval import installed

    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    assert command.main(["--tasks", "gsm8k"]) == 2
    assert capsys.readouterr().err == (
        'error[E0409]: lm-evaluation-harness is not installed\n  = help: `pip install "dsldec[eval]"`\n'
    )


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for tasks. The harness lists only these: its own list takes many seconds to read."""
    pytest.importorskip("lm_eval")
    import lm_eval.tasks
    import lm_eval.utils

    # Its log goes to the standard error of its first use, which is that of another test.
    monkeypatch.setattr(lm_eval.utils, "_LOGGING_CONFIGURED", False)
    monkeypatch.setattr(logging.getLogger("lm_eval"), "handlers", [])
    manager = functools.partial(lm_eval.tasks.TaskManager, include_defaults=False)
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", manager)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_the_score_and_the_forwards(
    harness: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dsldec.engines.lm_eval.__main__ import main

    from .lm_eval_tasks import documents, saved_task

    saved_task(harness, "words", documents(4))
    arguments = "--tasks words --apply_chat_template --batch_size 4 --output_path out --include_path ."
    assert main([*arguments.split(), "--model_args", "policy=threshold,confidence=0.8"]) == 0
    printed = capsys.readouterr()
    assert "|words|" in printed.out
    assert "words: 4 answers, " in printed.err
    (file,) = (harness / "out").rglob("results_*.json")
    about = json.loads(file.read_text())["config"]["dsldec"]
    assert about["policy"] == "threshold"
    assert about["parameters"]["confidence"] == 0.8
    assert about["tasks"]["words"]["answers"] == 4
    assert about["tasks"]["words"]["forwards_per_answer"] > 1


MISTAKES = [
    ("--tasks words --model_args policy=dicoo", 1, "error[E0401]: no policy is called `dicoo`\n  = help: did you mean `dico`?\n"),
    ("--tasks words --model_args policy=dico,seads=4", 1, "did you mean `seeds`?"),
    ("--tasks words --model_args pretrained=./none", 2, "error[E0405]: there is no `none`"),
    ("--tasks wrods", 2, "Tasks not found: wrods"),
    ("--tasks words --log_samples", 2, "Specify --output_path"),
    ("--tasks words --gen_kwargs num_beams=4", 2, "`num_beams` has no meaning where a policy decides"),
    ("--tasks words --model_args stop=x", 2, "`stop` is no argument of the model class `dsldec`"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "status", "message"), MISTAKES, ids=[one for one, _, _ in MISTAKES])
def test_a_mistake_is_one_sentence(
    arguments: str, status: int, message: str, harness: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dsldec.engines.lm_eval.__main__ import main

    from .lm_eval_tasks import documents, saved_task

    saved_task(harness, "words", documents(2))
    assert main([*arguments.split(), "--include_path", "."]) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_bug_of_dsldec_shows_its_place(harness: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsldec.engines.lm_eval import texts
    from dsldec.engines.lm_eval.__main__ import main

    from .lm_eval_tasks import documents, saved_task

    saved_task(harness, "words", documents(2))
    monkeypatch.setattr(texts.Texts, "encode", lambda self, text: text.no_such_method())
    with pytest.raises(AttributeError, match="no_such_method"):
        main(["--tasks", "words", "--include_path", "."])


@pytest.mark.slow
def test_the_command_runs_in_a_process(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    from .lm_eval_tasks import documents, saved_task

    saved_task(tmp_path, "words", documents(2))
    command = [sys.executable, "-m", "dsldec.engines.lm_eval", "--include_path", ".", "--tasks", "words"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [*command, "--model_args", "policy=dico,block=48"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "|words|" in ran.stdout
    ran = subprocess.run(
        [*command, "--model_args", "policy=dicoo"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert ran.stderr.endswith("= help: did you mean `dico`?\n")
