"""Is the command line read as written, and does every mistake get a message and the right exit status?"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import dsldec.tools.run
from dsldec.cli import main
from dsldec.diagnostics import Diagnostic, PolicyError
from dsldec.options import DecodeOptions, LoadOptions
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
    arguments = "run a --batch 2 b --set x=1 --set y=2 --live --policy p c --resume --out o --seed 3 --model m --gen-length 4 --backend eager"
    assert main([*arguments.split(), "--trust-remote-code"]) == 0
    assert asked == [
        RunOptions(
            prompts=("a", "b", "c"), settings=("x=1", "y=2"), live=True, policy="p", resume=True, out="o", model="m",
            load=LoadOptions(trust_remote_code=True), decode=DecodeOptions(batch=2, gen_length=4, seed=3, backend="eager"),
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
        (["run", "--backend", "cuda", "x"], "E0422", "one of `auto`, `reference`"),
        (["run", "x", "--show-steps"], "E0420", "`--live` shows it on the terminal"),
        (["run", "x", "--stop-words", "###"], "E0420", "it is called `--stop '###'`"),
        (["run", "x", "--stop-token-ids", "5"], "E0420", "it is called `--stop-id 5`"),
        (["run", "x", "--system-prompt", "a"], "E0420", "it is called `--system a`"),
        (["run", "x", "--min-tokens", "5"], "E0420", "it is called `--min-length 5`"),
        (["run", "x", "--steps", "128"], "E0420", "`commit top(masked, even(128), by=conf)`"),
        (["run", "x", "--temperature", "0.7"], "E0420", "`draw gumbel(temperature=0.7)`"),
        (["run", "x", "--temperature=0"], "E0420", "leave it out: 0 is what all shipped policies do"),
        (["run", "x", "--top-p", "0.5"], "E0420", "`draw nucleus(temperature=1, top_p=0.5)`"),
        (["run", "x", "--top_k=5"], "E0420", "`draw nucleus(temperature=1, top_p=1, top_k=5)`"),
        (["run", "x", "--max-new-tokens", "64"], "E0420", "it is called `--gen-length 64`"),
        (["run", "x", "--max_tokens=64"], "E0420", "it is called `--gen-length 64`"),
        (["run", "x", "--max-new-token", "64"], "E0420", "it is called `--gen-length 64`"),
        (
            ["run", "x", "-n", "64"],
            "E0420",
            "for the number of tokens write `--gen-length 64`; for several samples `--n 64`",
        ),
        (
            ["run", "x", "--num-samples", "4"],
            "E0420",
            "it is called `--n 4`",
        ),
        (["run", "x", "--confidence", "0.8"], "E0420", "`--set confidence=0.8`"),
        (["run", "x", "--confidnce", "0.8"], "E0420", "`--set confidence=0.8`"),
        (["run", "x", "--threshold", "0.8"], "E0420", "`--set confidence=0.8`"),
        (
            ["run", "x", "--policy", "static", "--threshold", "0.8"],
            "E0420",
            "`--policy threshold --set confidence=0.8`",
        ),
        (["run", "x", "--factor", "1"], "E0420", "`--policy factor --set budget=1`"),
        (["run", "x", "--block-size", "32"], "E0420", "`--set block=32`"),
        (
            ["run", "x", "--block_length", "32"],
            "E0420",
            "`--set block=32`; of a model that sees one block after the other",
        ),
        (["run", "x", "--remasking", "random"], "E0420", "`commit sample(masked, 1, by=1)`"),
        (["run", "x", "--alg", "topk_margin"], "E0420", "`commit top(masked, 1, by=margin)`"),
        (["run", "x", "--cfg-scale", "1.5"], "E0420", "`logits cfg(1.5)`"),
        (["run", "--prompt", "hi you"], "E0420", "`dsldec run 'hi you'`"),
        (["run", "x", "-o", "a.jsonl"], "E0420", "it is called `--out a.jsonl`"),
        (["run", "x", "-m", "./m"], "E0420", "it is called `--model ./m`"),
        (["run", "x", "--quiet"], "E0420", "it is called `--no-live`"),
        (["run", "x", "--json"], "E0420", "`dsldec run --out -`"),
        (["run", "x", "--device_map", "auto"], "E0420", "a GPU is taken where there is one"),
        (["run", "x", "--torch-dtype", "bfloat16"], "E0420", "it is called `--dtype bfloat16`"),
        (["run", "x", "--dtype", "fp16"], "E0422", "did you mean `--dtype float16`?"),
        (["run", "x", "--cache", "true"], "E0422", "did you mean `--cache auto`?"),
        (
            ["run", "x", "--top-p", "1", "--max-tokens", "4"],
            "E0420",
            "has no options `--top-p`, `--max-tokens`\n",
        ),
        (["run", "x", "--stage", "ir"], "E0420", "`dsldec show` has `--stage ir`"),
        (["run", "x", "--raw=true"], "E0420", "`--raw` takes no value"),
        (["run", "x", "--out"], "E0420", "write `--out FILE`"),
        (
            ["run", "x", "--policy", "threshold(confidence=.8)"],
            "E0401",
            "`--policy threshold --set confidence=.8`",
        ),
        (["run", "x", "--set", "gen_length=64"], "E0403", "`--gen-length 64`"),
        (["run", "x", "--set", "conf=0.8"], "E0403", "`--set confidence=0.8`"),
        (["run", "x", "--set", "confidence=8"], "E0402", "for example `--set confidence=0.9`"),
        (["check", "--policy", "threshold"], "E0420", "`dsldec check threshold`"),
        (["check", "threshold", "--json"], "E0420", "write `--format json`"),
        (["check"], "E0420", "for example `dsldec check mine.policy`"),
        (["build", "threshold", "--vocab-size", "8"], "E0420", "it is called `--vocab 8`"),
        (["evaluate", "5"], "E0420", "`dsldec evaluate` takes no `5`"),
        (["explain", "E0301", "--set", "x=1"], "E0423", "`--set` has no meaning for the code `E0301`"),
        (["explain", "E0301", "--gen-length", "4"], "E0423", "`--gen-length` has no meaning"),
        (["generate", "x"], "E0421", "it is called `dsldec run`"),
        (["serve"], "E0421", "`transformers serve"),
        (["--policy", "threshold", "x"], "E0421", "options go after the verb"),
        (["mine.policy"], "E0421", "`dsldec check mine.policy`"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_a_sentence(arguments, code, says, monkeypatch, asked, capsys):
    if code in ("E0401", "E0402", "E0403"):  # what a run says before anything is loaded, of a policy
        monkeypatch.undo()
    assert main(arguments) == (1 if code in ("E0401", "E0402", "E0403") else 2)
    out, err = capsys.readouterr()
    assert asked == []
    assert out == ""
    assert err.startswith(f"error[{code}]: ")
    assert says in err
    assert "usage:" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--policy", "static", "--policy", "threshold"],
            "`--policy static` has no effect: `--policy threshold` comes after it",
        ),
        (
            ["--set", "block=4", "--set", "tokens=1", "--set", "block=8"],
            "`--set block=4` has no effect: `--set block=8` comes after it",
        ),
        (["--live", "--no-live"], "`--live` has no effect: `--no-live` comes after it"),
        (["--seed=1", "--seed", "2"], "`--seed 1` has no effect: `--seed 2` comes after it"),
        (["--seed=1", "--seed", "1"], ""),
        (["--set", "block=4", "--set", "tokens=1", "--raw", "--raw"], ""),
    ],
)
def test_an_option_that_another_hides_is_told(arguments, says, asked, capsys):
    assert main(["run", *arguments, "x"]) == 0
    err = capsys.readouterr().err
    assert says in err
    assert err.count("W0404") == bool(says)


def test_a_seed_that_nothing_draws_with_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--seed", "3", "--gen-length", "4", "--no-live", "x"]) == 0
    assert "W0401" in capsys.readouterr().err
    (tmp_path / "drawn.policy").write_text(
        "policy drawn():\n  window all\n  draw gumbel(0.5)\n  commit masked\n"
    )
    assert (
        main(["run", "--seed", "3", "--gen-length", "4", "--no-live", "--policy", "drawn.policy", "x"]) == 0
    )
    assert "W0401" not in capsys.readouterr().err


def test_an_empty_prompt_is_decoded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.jsonl").write_text('""\n{"prompt": "", "id": "empty"}\n"What is 14+18?"\n')
    assert main(["run", "--gen-length", "8", "--no-live", "--out", "a.jsonl", ""]) == 0
    assert main(["run", "--gen-length", "8", "--no-live", "--out", "b.jsonl", "--prompts", "p.jsonl"]) == 0
    (alone,) = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    together = {line["id"]: line for line in map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines())}
    assert together[0]["ids"] == together["empty"]["ids"] == alone["ids"]
    assert main(["run", "--infill", "--no-live", ""]) == 1
    assert "E0429" in capsys.readouterr().err


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
