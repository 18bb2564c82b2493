"""Is the command line read as written, and is every mistake on it told in a sentence, with the right exit status?"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import dsldec.tools.run
from dsldec.cli import main
from dsldec.diagnostics import Diagnostic, PolicyError
from dsldec.tools.run import RunOptions


@pytest.fixture
def asked(monkeypatch) -> list[RunOptions]:
    """What the verb is called with, instead of calling it."""
    options: list[RunOptions] = []
    monkeypatch.setattr(dsldec.tools.run, "run", lambda given: options.append(given) or 0)
    return options


def test_everything_left_out_has_a_default(asked):
    assert main(["run", "a"]) == 0
    assert asked == [RunOptions(prompts=("a",))]


def test_options_may_stand_between_prompts(asked):
    arguments = (
        "run a --batch 2 b --set x=1 --set y=2 --live --policy p c --resume --out o --seed 3 --model m --gen-length 4 --backend eager"
    )
    assert main([*arguments.split(), "--trust-remote-code"]) == 0
    assert asked == [
        RunOptions(
            prompts=("a", "b", "c"), batch=2, settings=("x=1", "y=2"), live=True, policy="p", resume=True, out="o", seed=3, model="m",
            gen_length=4, backend="eager", trust_remote_code=True,
        )
    ]  # fmt: skip


def test_a_prompt_may_begin_with_a_dash_after_two(asked):
    assert main(["run", "--batch", "2", "--", "-5 + 3", "--what"]) == 0
    assert asked[0].prompts == ("-5 + 3", "--what")


def test_no_live_and_files(asked):
    assert main(["run", "--no-live", "--prompts", "q.jsonl"]) == 0
    assert (asked[0].live, asked[0].file, asked[0].prompts) == (False, "q.jsonl", ())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["rn", "x"], "E0421", "did you mean `dsldec run`?"),
        (["What is 3 + 4?"], "E0421", "prompts go after `dsldec run`"),
        (["--verison"], "E0421", "did you mean `dsldec --version`?"),
        (["run", "--polcy", "x", "hi"], "E0420", "did you mean `--policy`?"),
        (["run", "--gen_length=4", "hi"], "E0420", "did you mean `--gen-length`?"),
        (["run", "--frobnicate", "hi"], "E0420", "`dsldec run --help`"),
        (["run", "--pol", "x"], "E0420", "did you mean `--policy`?"),
        (["run", "--policy"], "E0420", "`--policy`: a value is missing"),
        (["run", "--live=3", "x"], "E0420", "--live"),
        (["run", "--batch", "many", "x"], "E0422", "`--batch` is a whole number, not `many`"),
        (["run", "--batch", "0", "x"], "E0422", "`--batch` is at least 1, not `0`"),
        (["run", "--gen-length", "-3", "x"], "E0422", "`--gen-length` is at least 1, not `-3`"),
        (["run", "--gen-length", "9" * 5000, "x"], "E0422", "`--gen-length` is a whole number"),
        (["run", "--seed", "-1", "x"], "E0422", "`--seed` is at least 0"),
        (["run", "--seed", str(2**64), "x"], "E0422", "at most 9223372036854775807"),
        (["run", "--backend", "egaer", "x"], "E0422", "did you mean `--backend eager`?"),
        (["run", "--backend", "cuda", "x"], "E0422", "one of `auto`, `reference`, `eager`, `inductor`"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_a_sentence(arguments, code, says, asked, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert asked == []
    assert out == ""
    assert err.startswith(f"error[{code}]: ")
    assert says in err
    assert "usage:" not in err


def test_a_wrong_policy_exits_with_1_and_every_diagnostic(monkeypatch, capsys):
    def fail(options):
        raise PolicyError([Diagnostic("E0301", "may never end"), Diagnostic("E0201", "no such name")])

    monkeypatch.setattr(dsldec.tools.run, "run", fail)
    assert main(["run", "x"]) == 1
    assert capsys.readouterr().err == "error[E0301]: may never end\n\nerror[E0201]: no such name\n"


def test_an_interrupt_before_anything_exits_with_130(monkeypatch, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(dsldec.tools.run, "run", interrupt)
    assert main(["run", "x"]) == 130
    assert capsys.readouterr().err == "interrupted before the first answer\n"


def test_our_own_mistake_is_not_disguised(monkeypatch):
    def fail(options):
        raise ZeroDivisionError

    monkeypatch.setattr(dsldec.tools.run, "run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["run", "x"])


def test_help_names_the_verbs_and_nothing_at_all_is_wrong_usage(capsys):
    assert main(["--help"]) == 0
    assert main([]) == 2
    out = capsys.readouterr().out
    assert "run         decode prompts" in out


def test_help_and_version_do_not_load_torch():
    program = (
        "import sys; from dsldec.cli import main; main(['--version']); main(['--help']); status = main(['run', '--help'])\n"
        "print(status, {'torch', 'transformers', 'rich'} & set(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stderr == "0 set()\n"
    assert ran.stdout.startswith("dsldec ")
    assert "--trust-remote-code" in ran.stdout


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
def test_a_reader_that_leaves_is_no_mistake():
    read_end, write_end = os.pipe()
    os.close(read_end)
    ran = subprocess.run([sys.executable, "-m", "dsldec", "--help"], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (ran.returncode, ran.stderr) == (141, b"")
