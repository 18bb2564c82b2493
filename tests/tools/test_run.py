"""Does `dsldec run` answer, store the finished results and end as promised, with any model?"""

from __future__ import annotations

import io
import json
import os
import signal
import sys

import pytest
import torch

import dsldec.models.huggingface
from dsldec.cli import main

VOCABULARY, EOS, MASK, START = 130, 0, 128, 129


class Echo:
    """Answers a prompt with itself in capitals, then the end of the text; surer of some positions than of
    others.

    `fails_at` maps the number of a call (from 1) to what happens in it.
    """

    mask_id, eos_id, vocab_size = MASK, EOS, VOCABULARY
    tokenizer = reader = None
    max_length = 48
    gen_length = 16

    def __init__(self) -> None:
        self.calls: list[torch.Size] = []
        self.fails_at = {}

    def encode(self, text: str) -> list[int]:
        return [*text.encode("ascii"), START]

    def decode_text(self, ids: list[int]) -> str:
        ids = ids[: ids.index(EOS)] if EOS in ids else ids
        return bytes(i for i in ids if i < 128).decode("ascii")

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        self.calls.append(ids.shape)
        if len(self.calls) in self.fails_at:
            self.fails_at[len(self.calls)]()
        logits = torch.zeros(*ids.shape, VOCABULARY)
        for row, canvas in enumerate(ids.tolist()):
            begin = canvas.index(START) + 1
            answer = bytes(canvas[: begin - 1]).upper() + bytes(len(canvas))
            for position in range(begin, len(canvas)):
                logits[row, position, answer[position - begin]] = 4.0 + 7 * position % 5
        return logits


@pytest.fixture
def model(monkeypatch, tmp_path) -> Echo:
    denoiser = Echo()
    monkeypatch.setattr(dsldec.models.huggingface, "from_pretrained", lambda *path, **trust: denoiser)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", None)
    return denoiser


def run(*arguments: str, out: str | None = "r.jsonl") -> int:
    return main(["run", "--backend", "eager", *(("--out", out) if out else ()), *arguments])


def results(name: str = "r.jsonl") -> list[dict]:
    with open(name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def out_of_memory() -> None:
    raise RuntimeError("out of memory\nTried to allocate 20 GiB")


def control_c() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_one_prompt_gives_just_its_answer(model, capsys):
    assert run("what?", out=None) == 0
    out, err = capsys.readouterr()
    assert out == "WHAT?\n"
    assert err.splitlines()[-1].startswith("1 prompt, ")
    assert err.splitlines()[-1].endswith(" tokens/s")


def test_several_answers_come_in_order_each_under_its_prompt(model, capsys):
    # Prompts of one length are decoded together, so the second is finished after the third.
    assert run("a", "bb\nb", "c", out=None) == 0
    assert capsys.readouterr().out == "> a\nA\n\n> bb\n> b\nBB\nB\n\n> c\nC\n\n"


def test_a_result_says_what_it_cost(model):
    assert run("abc", "--policy", "static", "--gen-length", "8") == 0
    (line,) = results()
    assert line["seconds"] > 0
    ids = [*b"ABC", 0, 0, 0, 0, 0]
    assert line == {
        "id": 0, "prompt": "abc", "text": "ABC", "finish_reason": "stop", "ids": ids, "forwards": len(model.calls), "rows": len(model.calls), "tokens": 3,
        "tokens_per_forward": round(3 / len(model.calls), 4), "seconds": line["seconds"],
        "policy": "static(tokens=1, block=32)", "run": line["run"],
    }  # fmt: skip
    assert model.calls[0] == (1, 4 + 8)


def test_a_parameter_reaches_the_policy(model):
    assert run("abcdefgh", "--policy", "static", "--set", "tokens=4", "--gen-length", "8") == 0
    assert results()[0]["forwards"] == 2


def test_batch_bounds_the_rows_of_a_forward(model):
    assert run("a", "b", "c", "d", "e", "--batch", "2") == 0
    assert max(shape[0] for shape in model.calls) == 2
    assert sorted(line["id"] for line in results()) == [0, 1, 2, 3, 4]


def test_a_file_of_prompts_gives_its_ids(model, tmp_path):
    (tmp_path / "p.jsonl").write_text('"a"\n\n{"prompt": "b", "id": "second"}\n')
    assert run("--prompts", "p.jsonl") == 0
    assert [(line["id"], line["text"]) for line in results()] == [(0, "A"), ("second", "B")]


@pytest.mark.parametrize(
    ("arguments", "status", "code", "says"),
    [
        (("--set", "confidence"), 2, "E0424", "`--set` takes name=value, not `confidence`"),
        (("--set", "=3"), 2, "E0424", "name=value"),
        (("--set", "confidence=high"), 2, "E0424", "the parameter `confidence` is a number, not `high`"),
        (("--set", "confidence=nan"), 2, "E0424", "not `nan`"),
        (("--set", "block=1.5"), 2, "E0424", "the parameter `block` is a whole number, not `1.5`"),
        (("--set", "confidence=1.5"), 1, "E0402", "not a probability"),
        (("--set", "block=0"), 1, "E0402", "1..65536"),
        (("--set", "confidnce=0.5"), 1, "E0403", "did you mean `confidence`?"),
        (("--policy", "treshold"), 1, "E0401", "did you mean `threshold`?"),
        (("--policy", "none.policy"), 1, "E0401", "none.policy"),
        (("--resume", "--out", "-"), 2, "E0423", "--resume"),
        (("--gen-length", "48"), 2, "E0430", "leaves no room for a prompt: the model takes 48 tokens in all"),
        (("--out", "none/r.jsonl"), 2, "E0432", "mkdir -p"),
    ],
)
def test_a_wrong_request_is_told_before_decoding(arguments, status, code, says, model, tmp_path, capsys):
    assert run("a", *arguments) == status
    err = capsys.readouterr().err
    assert err.startswith(f"error[{code}]: ")
    assert says in err
    assert model.calls == []
    assert list(tmp_path.iterdir()) == [], "a refused run leaves nothing that would stop the next"


def test_resume_needs_a_file(model, capsys):
    assert run("a", "--resume", out=None) == 2
    assert "error[E0423]: `--resume` needs `--out`" in capsys.readouterr().err


def test_a_prompt_with_an_id_outside_the_vocabulary_fails_alone(model, capsys, monkeypatch):
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda text: [VOCABULARY] if text == "b" else encode(text))
    assert run("a", "b", "c") == 1
    assert [
        line.get("text", line.get("error")) for line in sorted(results(), key=lambda line: line["id"])
    ] == [
        "A",
        f"E0409: the prompt holds the id {VOCABULARY}, and the vocabulary has {VOCABULARY} "
        "(encode the text with the model's own tokenizer)",
        "C",
    ]
    assert "prompt `1`: error[E0409]: " in capsys.readouterr().err


def test_a_prompt_that_is_too_long_fails_alone(model, capsys):
    assert run("a", "b" * 40, "c") == 1
    assert {line["id"]: line.get("text", line.get("error", "")[:5]) for line in results()} == {
        0: "A",
        1: "E0407",
        2: "C",
    }
    err = capsys.readouterr().err
    assert "prompt `1`: error[E0407]: " in err
    assert "2 of 3 prompts" in err


def test_all_prompts_too_long_is_no_crash(model, capsys):
    assert run("b" * 40, out=None) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "0 of 1 prompts" in err


def test_logits_that_are_not_finite_fail_the_prompt(model):
    model.__class__ = type(
        "Broken", (Echo,), {"__call__": lambda self, ids: torch.full((*ids.shape, VOCABULARY), torch.nan)}
    )
    assert run("a") == 1
    assert results()[0]["error"].startswith("E0406: ")


def test_a_model_that_fails_half_way_keeps_what_is_finished(model, capsys):
    model.fails_at = {3: out_of_memory}
    assert run("a", "b", "c", "--batch", "1", "--policy", "static", "--set", "tokens=16") == 1
    assert [line.get("text") for line in results()] == ["A", "B", None]
    assert (
        "the denoiser failed before this prompt was finished: RuntimeError: out of memory ("
        in results()[2]["error"]
    )
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "GiB" not in err
    assert "DSLDEC_DEBUG=1" in err


@pytest.mark.parametrize(
    ("failure", "arguments", "says"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
            "--batch 6",
            "need less memory: `--batch 3`; ",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "",
            "need less memory: `--batch 4`; ",
        ),
        (
            MemoryError(),
            "--batch 1",
            "a smaller `--gen-length` makes the canvas shorter and `--dtype bfloat16` halves the model; ",
        ),
        (MemoryError(), "--batch 1 --dtype float16", "a smaller `--gen-length` makes the canvas shorter; "),
        (RuntimeError("shapes differ"), "", "= help: `DSLDEC_DEBUG=1` shows where"),
    ],
)
def test_memory_that_does_not_suffice_names_the_flag_that_needs_less(failure, arguments, says, model, capsys):
    def fail():
        raise failure

    model.fails_at = {1: fail}
    assert run("a", *arguments.split()) == 1
    err = capsys.readouterr().err
    assert "error[E0410]: the denoiser failed" in err
    assert says in err


def test_the_traceback_is_there_for_who_asks(model, monkeypatch, capsys):
    monkeypatch.setenv("DSLDEC_DEBUG", "1")
    model.fails_at = {1: out_of_memory}
    assert run("a") == 1
    assert "in out_of_memory" in capsys.readouterr().err


def test_a_prompt_that_cannot_be_encoded_is_a_failure_too(model):
    assert run("caf\u00e9") == 1
    assert "UnicodeEncodeError" in results()[0]["error"]


class Panic(BaseException):
    """What a tokenizer in Rust raises: no Exception."""


FAILURES = [
    SystemExit(0),
    GeneratorExit(),
    Panic("panicked"),
    RecursionError("too deep"),
    MemoryError(),
    StopIteration(),
    UnicodeDecodeError,
]


def raising(failure):
    def fail(*given):
        raise failure if not isinstance(failure, type) else failure("utf-8", b"x", 0, 1, "bad")

    return fail


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_whatever_a_model_raises_what_is_finished_is_kept(failure, model, capsys):
    model.fails_at = {3: raising(failure)}
    assert run("a", "b", "c", "d", "--batch", "1", "--policy", "static", "--set", "tokens=16") == 1
    assert [line.get("text") for line in results()] == ["A", "B", None, None]
    err = capsys.readouterr().err
    assert " failed before this prompt was finished: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("name", ["encode", "decode_text"])
def test_a_tokenizer_fails_its_prompt_alone(name, failure, model, monkeypatch, capsys):
    true, fail = getattr(model, name), raising(failure)
    monkeypatch.setattr(
        model, name, lambda given: fail() if given == "bb" or given[:2] == [66, 66] else true(given)
    )
    assert run("a", "bb", "c") == 1
    found = {line["id"]: line for line in results()}
    assert (found[0]["text"], found[2]["text"]) == ("A", "C")
    assert "E0410: the tokenizer failed " in found[1]["error"]
    if name == "decode_text":
        assert found[1]["ids"][:3] == [66, 66, 0]
    assert "Traceback" not in capsys.readouterr().err


def test_memory_that_runs_out_in_the_step_is_not_the_denoisers(model, monkeypatch, capsys):
    from dsldec.runtime.step_runner import StepRunner

    true, made = StepRunner.__call__, []
    monkeypatch.setattr(
        StepRunner,
        "__call__",
        lambda *given: made.append(1) or (out_of_memory() if len(made) > 2 else true(*given)),
    )
    assert run("a", "b", "c", "--batch", "1", "--policy", "static", "--set", "tokens=16") == 1
    assert [line.get("text") for line in results()] == ["A", "B", None]
    assert (
        "decoding failed before this prompt was finished: RuntimeError: out of memory"
        in capsys.readouterr().err
    )


def test_logits_that_go_wrong_half_way_lose_nothing(model, monkeypatch, capsys):
    kinds = {3: lambda logits: logits.long()}
    monkeypatch.setattr(
        Echo,
        "__call__",
        lambda self, ids, call=Echo.__call__: kinds.get(len(self.calls) + 1, lambda x: x)(call(self, ids)),
    )
    assert run("a", "b", "c", "--batch", "1", "--policy", "static", "--set", "tokens=16") == 2
    assert [line["text"] for line in results()] == ["A", "B"]
    err = capsys.readouterr().err
    assert "error[E0408]: the denoiser gave whole numbers (int64)" in err
    assert "2 of 3 prompts are decoded" in err


def test_a_view_that_cannot_be_shown_is_no_failure_of_the_denoisers(model, monkeypatch):
    from dsldec.tools.live import LiveDisplay

    on_terminal(monkeypatch, "stdout")
    monkeypatch.setattr(LiveDisplay, "step", raising(BrokenPipeError()))
    assert run("a") == 141


def test_the_other_fields_of_a_line_come_back_and_those_like_ours_are_told(model, tmp_path, capsys):
    given = [
        {"prompt": "a", "answer": "42", "text": "theirs"},
        {"prompt": "b" * 60, "meta": {"level": [1]}},
        {"prompt": "c", "id": 0},
    ]
    (tmp_path / "p.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in given))
    assert run("--prompts", "p.jsonl") == 1
    found = {line["prompt"] if "prompt" in line else line["id"]: line for line in results()}
    assert (found["a"]["id"], found["a"]["text"], found["a"]["answer"], found["a"]["input"]) == (
        "line 1",
        "A",
        "42",
        {"text": "theirs"},
    )
    assert found[1]["meta"] == {"level": [1]}
    assert "are under `input` in the results: `text`" in capsys.readouterr().err
    assert run("--prompts", "p.jsonl", "--resume") == 1
    assert len(results()) == 3


@pytest.mark.parametrize("prompts", [["a"], ["a", "b"]])
def test_what_a_crash_left_goes_whether_or_not_something_is_left_to_do(prompts, model, capsys):
    assert run("a") == 0
    with open("r.jsonl", "ab") as file:
        file.write(b'{"id": 1, "te\0\0')
    assert run(*prompts, "--resume") == 0
    assert len(results()) == len(prompts)
    assert "1 line of `r.jsonl` removed, cut off" in capsys.readouterr().err


def test_a_run_that_is_refused_gives_its_file_back(model, capsys):
    assert run("a", "--gen-length", "48") == 2
    assert run("a") == 0


def test_resume_tries_again_what_failed_and_only_that(model, capsys):
    model.fails_at = {3: out_of_memory}
    arguments = ("a", "b", "c", "--batch", "1", "--policy", "static", "--set", "tokens=16")
    assert run(*arguments) == 1
    assert run(*arguments, "--resume") == 0
    assert len(model.calls) == 4
    assert "retried after an earlier failure: 1 of 1 prompts" in capsys.readouterr().err
    assert [(line["id"], line["text"]) for line in results()] == [(0, "A"), (1, "B"), (2, "C")]


@pytest.mark.parametrize("stop", [control_c, terminate])
def test_an_interrupted_run_keeps_what_is_finished_and_can_go_on(stop, model, capsys):
    model.fails_at = {3: stop}
    arguments = ("a", "b", "c", "d", "--batch", "1", "--policy", "static", "--set", "tokens=16")
    handler = signal.getsignal(signal.SIGTERM)
    assert run(*arguments) == 130
    assert signal.getsignal(signal.SIGTERM) is handler
    assert [line["text"] for line in results()] == ["A", "B"]
    err = capsys.readouterr().err
    assert "interrupted: 2 of 4 prompts are decoded and stored in `r.jsonl`" in err
    assert "the same command with `--resume` decodes the other 2" in err
    assert run(*arguments, "--resume") == 0
    assert [line["text"] for line in results()] == ["A", "B", "C", "D"]


def test_an_interrupted_run_prints_answers_that_waited_for_earlier_ones(model, capsys):
    model.fails_at = {2: control_c}
    # `c` is decoded with `a`; `bb` in the second forward, which never ends.
    assert run("a", "bb", "c", "--policy", "static", "--set", "tokens=16", out=None) == 130
    out, err = capsys.readouterr()
    assert out == "> a\nA\n\n> c\nC\n\n"
    assert "2 of 3" in err


def test_a_finished_file_needs_no_model(model, monkeypatch, capsys):
    assert run("a") == 0
    monkeypatch.setattr(dsldec.models.huggingface, "from_pretrained", None)
    assert run("a", "--resume") == 0
    assert "nothing is left to do" in capsys.readouterr().err


def test_a_request_keeps_its_number_when_resumed(model, monkeypatch):
    import dsldec.runtime.decode

    asked = []
    original = dsldec.runtime.decode.stream_rows
    monkeypatch.setattr(
        dsldec.runtime.decode, "stream_rows", lambda *a: asked.append(a[3].request_ids) or original(*a)
    )
    assert run("a", "b", "--batch", "1") == 0
    assert run("a", "b", "c", "--resume") == 0
    assert asked == [[0, 1], [2]]


def test_results_on_standard_output_are_lines_of_json(model, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    assert run("a", out="-") == 0
    assert json.loads(out.buffer.getvalue())["text"] == "A"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch, *streams: str) -> Terminal:
    """Put a terminal in the place of `streams`. Not a fixture: pytest's own capture begins after those."""
    terminal = Terminal()
    for stream in streams:
        monkeypatch.setattr(sys, stream, terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "20")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("dsldec.tools.live.FRAME_SECONDS", 0.0)
    return terminal


def test_a_terminal_gets_the_live_view(model, monkeypatch):
    terminal = on_terminal(monkeypatch, "stdout")
    assert run("abc", out=None) == 0
    shown = terminal.getvalue()
    assert "░" in shown
    assert "threshold(confidence=0.9, block=32)" in shown
    assert "\x1b[" in shown


@pytest.mark.parametrize(("arguments", "env"), [(("--no-live",), {}), ((), {"TERM": "dumb"})])
def test_the_live_view_can_be_left_out(arguments, env, model, monkeypatch):
    terminal = on_terminal(monkeypatch, "stdout")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert run("abc", *arguments, out=None) == 0
    assert terminal.getvalue() == "ABC\n"


def test_an_answer_cannot_command_the_terminal(model, monkeypatch):
    terminal = on_terminal(monkeypatch, "stdout")
    assert run("a\x1b[2j", "--no-live", out=None) == 0
    assert "\x1b" not in terminal.getvalue()


def test_live_with_piped_answers_draws_on_the_terminal_that_is_left(model, monkeypatch):
    piped, terminal = io.StringIO(), on_terminal(monkeypatch, "stderr")
    monkeypatch.setattr(sys, "stdout", piped)
    assert run("abc", "--live", out=None) == 0
    assert piped.getvalue() == "ABC\n"
    assert "░" in terminal.getvalue()


def test_many_prompts_get_a_bar_on_standard_error(model, monkeypatch):
    terminal = on_terminal(monkeypatch, "stderr")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert run("a", "b", "c") == 0
    assert "3/3" in terminal.getvalue()


def test_what_is_said_of_the_model_reaches_it(model, monkeypatch):
    heard = []
    monkeypatch.setattr(
        dsldec.models.huggingface,
        "from_pretrained",
        lambda path, **given: heard.append((path, given)) or model,
    )
    assert (
        run(
            "a",
            "--model",
            "m",
            "--mask-id",
            "128",
            "--eos-id",
            "0",
            "--no-shift-logits",
            "--block-length",
            "4",
        )
        == 0
    )
    ((path, given),) = heard
    assert path == "m"
    assert given["block_length"] == 4
    assert {
        "mask_id": 128,
        "eos_id": 0,
        "shift_logits": False,
        "dtype": "float32",
        "device": None,
        "raw": False,
    }.items() <= given.items()
    assert (
        run("a", "--dtype", "bfloat16", "--device", "cuda:1", "--raw", "--shift-logits", out="other.jsonl")
        == 0
    )
    said = {
        "mask_id": None,
        "shift_logits": True,
        "dtype": "bfloat16",
        "device": "cuda:1",
        "raw": True,
        "block_length": None,
    }
    assert said.items() <= heard[1][1].items()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--dtype floot16", "did you mean `--dtype float16`?"),
        ("--dtype int8", "one of `float32`, `bfloat16`, `float16`"),
        ("--device gpu", "use `--device cpu`, `cuda`, `cuda:1` or `mps`"),
        ("--mask-id -1", "`--mask-id` is at least 0"),
        ("--eos-id x", "`--eos-id` is a whole number"),
    ],
)
def test_a_wrong_word_about_the_model_is_told(arguments, says, model, capsys):
    assert run("a", *arguments.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E0422]: ")
    assert says in err


def test_answers_of_two_runs_are_not_mixed(model, tmp_path, capsys):
    begun = ["run", "--no-live", "--policy", "static", "--out", "r.jsonl", "one"]
    assert main(begun) == 0
    (line,) = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert line["policy"] == "static(tokens=1, block=32)"
    go_on = [*begun, "two", "--resume"]
    for other, says in [
        (
            ["--set", "tokens=2"],
            "by `static(tokens=1, block=32)` (`--set tokens=1`, and now `--set tokens=2`): answers would be mixed",
        ),
        (
            ["--policy", "threshold"],
            "another policy, by `static(tokens=1, block=32)` (`--policy static`, and now `--policy threshold`)",
        ),
        (["--seed", "7"], "(`--seed 0`, and now `--seed 7`)"),
        (["--gen-length", "9"], "(no `--gen-length`, and now `--gen-length 9`)"),
        (
            ["--mask-id", "3", "--dtype", "bfloat16"],
            "(`--dtype float32`, and now `--dtype bfloat16`; no `--mask-id`, and now `--mask-id 3`)",
        ),
        (["--raw"], "(no `--raw`, and now `--raw`)"),
        (["--cache", "dual"], "(no `--cache`, and now `--cache dual`)"),
    ]:
        assert main([*go_on, *other]) == 2
        told = capsys.readouterr().err
        assert "E0437" in told
        assert says in told
    assert (
        main(
            [
                *go_on,
                "--batch",
                "1",
                "--cache",
                "none",
                "--lookahead",
                "2",
                "--backend",
                "eager",
                "--verify-rows",
                "sequential",
            ]
        )
        == 0
    )
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2


def test_a_policy_of_one_name_with_another_text_is_another(model, tmp_path, capsys):
    text = "policy mine():\n  window blocks(32)\n  commit top(masked, {}, by=conf)\n"
    begun = ["run", "--no-live", "--policy", "mine.policy", "--out", "r.jsonl", "one"]
    (tmp_path / "mine.policy").write_text(text.format(1))
    assert main(begun) == 0
    (tmp_path / "mine.policy").write_text(text.format(2))
    assert main([*begun, "--resume"]) == 2
    assert "by `mine()` (the text of the policy `mine`): answers would be mixed" in capsys.readouterr().err


def test_a_file_that_notes_no_more_than_a_digest_is_refused_in_words(model, tmp_path, capsys):
    begun = ["run", "--no-live", "--out", "r.jsonl", "one"]
    assert main(begun) == 0
    line = json.loads((tmp_path / "r.jsonl").read_text())
    (tmp_path / "r.jsonl").write_text(json.dumps({**line, "run": line["run"]["digest"]}) + "\n")
    assert main([*begun, "--resume"]) == 0
    for other in ("0", 3, {}, {"set": [], "options": None, "policy": 4}, {**line["run"], "digest": 0}):
        (tmp_path / "r.jsonl").write_text(json.dumps({**line, "run": other}) + "\n")
        assert main([*begun, "--resume"]) == 2
        assert (
            "error[E0437]: line 1 of `r.jsonl` was written with another model, seed or option, by `threshold("
            in capsys.readouterr().err
        )


def test_a_file_of_before_runs_were_noted_is_continued(model, tmp_path):
    assert main(["run", "--no-live", "--out", "r.jsonl", "one"]) == 0
    line = json.loads((tmp_path / "r.jsonl").read_text())
    del line["policy"], line["run"]
    (tmp_path / "r.jsonl").write_text(json.dumps(line) + "\n")
    assert main(["run", "--no-live", "--policy", "static", "--out", "r.jsonl", "--resume", "one", "two"]) == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2


def test_infilling_writes_the_gaps_and_leaves_a_prompt_without_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = "<|user|>What is 14+18?<|assistant|>14+18=[MASK]. It is [MASK]."
    assert (
        main(
            ["run", "--infill", "--no-live", "--out", "r.jsonl", "--policy", "static", text, "nothing to do"]
        )
        == 1
    )
    first, second = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    if first["id"] == 1:
        first, second = second, first
    assert first["text"] == "<|user|>What is 14+18?<|assistant|>14+18=32. It is 32."
    assert (first["forwards"], first["tokens"]) == (2, 2)
    assert "no gap" in second["error"]
    assert "[MASK*8]" in capsys.readouterr().err


def test_masks_in_a_prompt_that_is_not_filled_in_are_told(model, capsys):
    assert run("a [MASK]", "plain", "[MASK*2] b") == 0
    assert (
        "masks in a prompt are not filled (prompt `0` and 1 more): use `--infill`" in capsys.readouterr().err
    )
    assert run("plain", out=None) == 0
    assert "masks" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--infill", "--gen-length", "4"], "E0423", "leave `--gen-length` out"),
        (["--cache", "dul"], "E0422", "did you mean `--cache dual`?"),
        (["--cache", "exact"], "E0414", "`--cache prefix` or `--cache dual`"),
        (["--cache", "prefix", "--verify-rows", "sequential"], "E0414", "`--verify-rows batch`"),
    ],
)
def test_caches_and_infilling_that_cannot_be_are_told(arguments, code, says, capsys):
    assert main(["run", "--no-live", *arguments, "What is 14+18?"]) == 2
    told = capsys.readouterr().err
    assert code in told
    assert says in told


def test_gaps_larger_than_the_model_are_told_without_a_length_to_generate(capsys):
    assert main(["run", "--no-live", "--infill", "[MASK*2000]"]) == 1
    told = capsys.readouterr().err
    assert "tokens are more than the model's limit of 1024" in told
    assert "shorten the text, or its gaps, to 1024 tokens" in told


def test_a_cache_answers(capsys):
    for cache in ("prefix", "dual", "none"):
        assert main(["run", "--no-live", "--cache", cache, "What is 14+18?"]) == 0
        assert "32" in capsys.readouterr().out
