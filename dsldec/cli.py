"""How the command line is read, and which exit status a mistake gets.

Not here: what a verb does (`tools`, one file a verb). Nothing here imports torch: `--help` is instant.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .diagnostics import Diagnostic, PolicyError, UsageError, did_you_mean
from .resources import version
from .tools import quoted

FAILED, WRONG_USAGE, INTERRUPTED, PIPE_BROKEN = 1, 2, 130, 141
BACKENDS = ("auto", "reference", "eager", "inductor", "tensorrt")
CACHES = ("auto", "none", "exact", "prefix", "dual")
DTYPES = ("float32", "bfloat16", "float16")
MEASURED_DTYPES = ("float32", "bfloat16")
# What a seed may be: torch takes no more than 64 bits, and a negative seed would be a second name of a positive one.
LARGEST_SEED = 2**63 - 1

EXAMPLES = """\
examples:
  dsldec run "How many apples are left?"
  dsldec run --policy threshold --set confidence=0.8 --prompts questions.txt
  dsldec run --prompts questions.jsonl --out results.jsonl       (again with --resume: goes on where it stopped)
  dsldec run --policy mine.policy --model ./LLaDA-8B-Instruct --trust-remote-code < questions.txt

a line of a .jsonl file is a string, "...", or an object, {"prompt": "...", "id": 7}
exit status: 0 all decoded, 1 a policy or a prompt failed, 2 wrong usage, 130 interrupted
"""


BENCH_HELP = """\
usage: dsldec bench step|loop|batch ...

  step   the step of a policy on random logits, as a multiple of one read of them
  loop   whole decodes with the small model inside dsldec, as a multiple of a plain loop
  batch  many prompts side by side, as a multiple of batches one after the other

`dsldec bench step --help` and the like show the options
"""


class _Parser(argparse.ArgumentParser):
    """Raises our diagnostics instead of printing usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(_misread(message, self.prog))


def main(arguments: Sequence[str] | None = None) -> int:
    """The `dsldec` command: returns its exit status, and prints every mistake as a diagnostic on standard error."""
    # A terminal that cannot show a character shows its code: better than losing the answer around it.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return status
    except UsageError as mistake:
        return _said(str(mistake.diagnostic), WRONG_USAGE)
    except PolicyError as mistake:
        return _said("\n\n".join(str(diagnostic) for diagnostic in mistake.diagnostics), FAILED)
    except KeyboardInterrupt:
        return _said("interrupted before the first answer", INTERRUPTED)
    except BrokenPipeError:
        return _reader_left()


def _said(text: str, status: int) -> int:
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        _reader_left()
    return status


def _reader_left() -> int:
    """Whoever read our output (`head`, `less`) has gone: end without a word, also from the interpreter's own last flush."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    return PIPE_BROKEN


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(), end="")
        return 0 if arguments else WRONG_USAGE
    if arguments[0] == "--version":
        print(f"dsldec {version()}")
        return 0
    if arguments[0] not in VERBS:
        raise UsageError(_unknown_verb(arguments[0]))
    return VERBS[arguments[0]][1](arguments[1:])


def _run(arguments: list[str]) -> int:
    # What stands after `--` are prompts whatever they look like; argparse forgets that when prompts stand between options.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    values = _parsed(_run_parser(), arguments[:end])
    if values is None:
        return 0
    from .tools.run import RunOptions, run

    prompts, settings = (*values.pop("prompts"), *arguments[end + 1 :]), tuple(values.pop("settings") or ())
    return run(RunOptions(prompts=prompts, settings=settings, **values))


def _evaluate(arguments: list[str]) -> int:
    values = _parsed(_evaluate_parser(), arguments)
    if values is None:
        return 0
    from .tools.evaluate import evaluate

    return evaluate(values.pop("count"), values.pop("model"), **values)


def _parsed(parser: _Parser, arguments: list[str]) -> dict[str, Any] | None:
    """The options by name; None where help was asked for and has been printed."""
    try:
        parsed, unknown = parser.parse_known_intermixed_args(arguments)
    except SystemExit:
        return None
    if unknown:
        raise UsageError(_unknown_option(unknown[0], parser))
    return vars(parsed)


def _check(arguments: list[str]) -> int:
    values = _parsed(_check_parser(), arguments)
    if values is None:
        return 0
    from .tools.check import check

    return check(values["policies"], as_json=values["format"] == "json")


def _fmt(arguments: list[str]) -> int:
    values = _parsed(_fmt_parser(), arguments)
    if values is None:
        return 0
    from .tools.fmt import fmt

    return fmt(values["files"], check=values["check"], diff=values["diff"])


def _test(arguments: list[str]) -> int:
    values = _parsed(_test_parser(), arguments)
    if values is None:
        return 0
    from .tools.test import test

    return test(values["names"], as_json=values["format"] == "json")


def _show(arguments: list[str]) -> int:
    values = _parsed(_show_parser(), arguments)
    if values is None:
        return 0
    from .tools.show import show

    return show(values["policy"], values["stage"], tuple(values["settings"] or ()))


def _bench(arguments: list[str]) -> int:
    if arguments and arguments[0] in BENCHES:
        return BENCHES[arguments[0]](arguments[1:])
    if arguments and arguments[0] in ("-h", "--help"):
        print(BENCH_HELP, end="")
        return 0
    lacking = "`dsldec bench` lacks what to measure" if not arguments else f"`dsldec bench` cannot measure {quoted(arguments[0])}"
    near = did_you_mean(arguments[0], BENCHES) if arguments else None
    help = f"did you mean `dsldec bench {near}`?" if near else "write `dsldec bench step`, `dsldec bench loop` or `dsldec bench batch`"
    raise UsageError(Diagnostic("E0421" if arguments else "E0420", lacking, help=help))


def _bench_step(arguments: list[str]) -> int:
    values = _parsed(_bench_step_parser(), arguments)
    if values is None:
        return 0
    from .tools.bench_step import StepOptions, bench_step

    several: dict[str, Any] = {name: tuple(values.pop(name) or ()) for name in ("shapes", "dtypes", "policies", "backends")}
    return bench_step(StepOptions(**several, **values))


def _bench_loop(arguments: list[str]) -> int:
    values = _parsed(_bench_loop_parser(), arguments)
    if values is None:
        return 0
    from .tools.bench_loop import LoopOptions, bench_loop

    several: dict[str, Any] = {name: tuple(values.pop(name) or ()) for name in ("policies", "backends")}
    return bench_loop(LoopOptions(**several, **values))


def _bench_batch(arguments: list[str]) -> int:
    values = _parsed(_bench_batch_parser(), arguments)
    if values is None:
        return 0
    from .tools.bench_batch import BatchOptions, bench_batch

    return bench_batch(BatchOptions(settings=tuple(values.pop("settings") or ()), **values))


BENCHES: dict[str, Callable[[list[str]], int]] = {"step": _bench_step, "loop": _bench_loop, "batch": _bench_batch}


def _explain(arguments: list[str]) -> int:
    values = _parsed(_explain_parser(), arguments)
    if values is None:
        return 0
    from .tools.explain import explain

    return explain(values["subject"], values["gen_length"] or 256, tuple(values["settings"] or ()))


def _build(arguments: list[str]) -> int:
    values = _parsed(_build_parser(), arguments)
    if values is None:
        return 0
    from .tools.build import BuildOptions, build

    settings = tuple(values.pop("settings") or ())
    return build(BuildOptions(settings=settings, **values))


def _export_hf(arguments: list[str]) -> int:
    values = _parsed(_export_hf_parser(), arguments)
    if values is None:
        return 0
    from .tools.export_hf import ExportOptions, export_hf

    settings = tuple(values.pop("settings") or ())
    return export_hf(ExportOptions(settings=settings, **values))


def _model(arguments: list[str]) -> int:
    values = _parsed(_model_parser(), arguments)
    if values is None:
        return 0
    from .tools.model import ModelOptions, model

    return model(ModelOptions(as_json=values.pop("format") == "json", **values))


# Each verb: what it is for, and the function that reads its arguments.
VERBS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "run": ("decode prompts under a policy", _run),
    "check": ("say what is wrong with policies, before anything runs", _check),
    "fmt": ("write policies in their one form", _fmt),
    "test": ("run the cases that stand beside policies", _test),
    "explain": ("say what a policy does and what was proved of it, or what a code means", _explain),
    "show": ("print what a stage makes of a policy: tree, facts, operations, torch graph", _show),
    "build": ("compile a policy's step into a file that torch alone can run", _build),
    "export-hf": ("write a policy into a model's folder, so that transformers decodes and serves with it", _export_hf),
    "bench": ("measure how long steps and whole decodes take, as ratios", _bench),
    "model": ("say what a model is to decoding, and where each of its ids was found", _model),
    "evaluate": ("measure the shipped policies on the embedded model's held-out prompts", _evaluate),
}


def _run_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec run",
        description="Decode prompts with a diffusion language model under a policy.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="a prompt; `-`, or nothing, reads one a line from standard input")
    add = parser.add_argument
    add("--prompts", dest="file", metavar="FILE", help="one prompt a line: JSONL if the name ends in .jsonl, else text")
    add("--policy", default="threshold", metavar="NAME|FILE", help="a shipped policy's name or a .policy file (default: threshold)")
    add("--set", dest="settings", action="append", metavar="NAME=VALUE", help="set a parameter of the policy; may be repeated")
    add("--model", metavar="PATH", help="a Hugging Face model folder (default: the small model inside dsldec)")
    _add_reading(parser)
    _add_placing(parser)
    add("--infill", action="store_true", help="write in place, where a prompt has `[MASK]` or, for 8 tokens, `[MASK*8]`")
    add("--raw", action="store_true", help="give prompts as they are, not in the model's chat template")
    add("--gen-length", type=_count("--gen-length"), metavar="N", help="tokens to generate (default: what the model is usually run with)")
    add("--batch", type=_count("--batch"), default=8, metavar="N", help="prompts decoded side by side (default: 8)")
    add("--lookahead", type=_drafts, metavar="N", help="verify N drafts in a forward: the same answers in fewer forwards")
    add(
        "--cache",
        type=_one_of("--cache", CACHES),
        default="auto",
        metavar="NAME",
        help="keep keys and values: `exact`, `prefix`, `dual`, `none`, or `auto`",
    )
    add("--verify-rows", type=_packing, default="batch", metavar="WAY", help="feed drafts `batch` (at once, the default) or `sequential`ly")
    add("--seed", type=_seed, default=0, metavar="N", help="seed of policies that draw at random (default: 0)")
    add("--backend", type=_backend, default="auto", metavar="NAME", help=f"one of {', '.join(BACKENDS)} (default: auto)")
    add("--out", metavar="FILE", help="write one JSON object a prompt to FILE as each finishes; `-` is standard output")
    add("--resume", action="store_true", help="continue the file of --out: answered prompts are skipped, failed ones tried again")
    add("--live", action=argparse.BooleanOptionalAction, help="show the canvas filling in (default: when printing to a terminal)")
    return parser


def _check_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec check",
        description="Check policies: every mistake with its place and what to type.",
        epilog="exit status: 0 clean or warnings only, 1 errors, 2 wrong usage",
        allow_abbrev=False,
    )
    parser.add_argument("policies", nargs="+", metavar="NAME|FILE", help="a .policy file, or a shipped policy's name")
    parser.add_argument("--format", type=_format, default="human", metavar="human|json", help="json: one object on standard output")
    return parser


def _fmt_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec fmt",
        description="Write policies in their one form: spaces, brackets, line breaks and blank lines. Comments stay.",
        epilog="exit status: 0 done, 1 errors in a policy or, with --check, a policy in another form, 2 wrong usage",
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a .policy file, a folder of them, or `-` for standard input to output")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; print the names of files in another form, and fail if there are any"
    )
    parser.add_argument("--diff", action="store_true", help="write nothing; print what would change")
    return parser


def _test_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec test",
        description="Run cases: what is observed, forward by forward, and what a policy must write. Those of x.policy stand in x.cases.",
        epilog="exit status: 0 all pass, 1 a case fails or a file has errors, 2 wrong usage",
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="+", metavar="NAME|FILE", help="a .policy file, its .cases file, or a shipped policy's name")
    parser.add_argument("--format", type=_format, default="human", metavar="human|json", help="json: one object on standard output")
    return parser


def _show_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec show",
        description="Print what a stage makes of a policy, as text that stays the same.",
        allow_abbrev=False,
    )
    parser.add_argument("policy", metavar="NAME|FILE", help="a shipped policy's name or a .policy file")
    parser.add_argument("--stage", required=True, metavar="STAGE", help="tree, facts, ir (the operations of a step) or torch (their graph)")
    parser.add_argument(
        "--set", dest="settings", action="append", metavar="NAME=VALUE", help="set a parameter of the policy; may be repeated"
    )
    return parser


def _explain_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec explain",
        description="Explain a policy (what it does, what was proved) or a diagnostic's code (a bad and a good policy).",
        allow_abbrev=False,
    )
    parser.add_argument("subject", metavar="CODE|NAME|FILE", help="a code like E0301, a shipped policy's name or a .policy file")
    parser.add_argument(
        "--set", dest="settings", action="append", metavar="NAME=VALUE", help="set a parameter of the policy; may be repeated"
    )
    parser.add_argument("--gen-length", type=_count("--gen-length"), metavar="N", help="tokens to generate, for the bound (default: 256)")
    return parser


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec build",
        description="Compile one step of a policy into a package (.pt2) that runs with torch alone, for any model of that vocabulary.",
        epilog="exit status: 0 built, 1 errors in the policy, 2 wrong usage or no compiler, 130 interrupted",
        allow_abbrev=False,
    )
    parser.add_argument("policy", metavar="NAME|FILE", help="a shipped policy's name or a .policy file")
    add = parser.add_argument
    add("-o", "--out", metavar="FILE", help="the package to write, a name that ends in .pt2; one that exists is replaced")
    add("--vocab", type=_count("--vocab"), metavar="V", help="size of the model's vocabulary: the last dimension of its logits")
    add("--window", type=_count("--window"), metavar="T", help="positions of a step's window (default: as many as the policy says)")
    add("--batch", type=_count("--batch"), default=1, metavar="B", help="rows of a step (default: 1)")
    add("--dtype", default="float32", metavar="NAME", help="of the logits: float32 (the default), bfloat16 or float16")
    add("--device", default="cpu", metavar="NAME", help="cpu (the default) or cuda (not measured on a GPU)")
    add(
        "--set",
        dest="settings",
        action="append",
        metavar="NAME=VALUE",
        help="set a parameter: for good if it is static, else the value that the package names as its default; may be repeated",
    )
    return parser


def _export_hf_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec export-hf",
        description="Write a policy into the folder of a Hugging Face model: `generate` decodes under it wherever transformers loads the "
        "folder with trust_remote_code=True, and `transformers serve FOLDER --trust-remote-code` answers with it.",
        epilog="exit status: 0 written, 1 errors in the policy, 2 wrong usage or no model that can be decoded",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="FOLDER", help="the model's folder, which is written to")
    parser.add_argument("policy", metavar="NAME|FILE", help="a shipped policy's name or a .policy file")
    add = parser.add_argument
    add("--set", dest="settings", action="append", metavar="NAME=VALUE", help="set a parameter of the policy; may be repeated")
    add("--gen-length", type=_count("--gen-length"), metavar="N", help="the most tokens to generate, whatever `generate` is told")
    add("--lookahead", type=_drafts, metavar="N", help="verify N drafts in a forward: the same answers in fewer forwards")
    add("--cache", type=_one_of("--cache", CACHES), metavar="NAME", help=f"of keys and values: one of {', '.join(CACHES)} (default: auto)")
    _add_reading(parser)
    add("--force", action="store_true", help="replace files that are there already")
    return parser


def _evaluate_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec evaluate",
        description="Print a table: how often the shipped policies answer the held-out prompts rightly, and in how many forwards.",
        allow_abbrev=False,
    )
    parser.add_argument("--count", type=_count("--count"), metavar="N", help="prompts of each task (default: all 200)")
    parser.add_argument("--model", metavar="PATH", help="a Hugging Face model folder (default: the small model inside dsldec)")
    _add_reading(parser)
    _add_placing(parser)
    return parser


def _bench_step_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec bench step",
        description="Measure the step of policies on random logits, in multiples of one read of the logits, side by side with what "
        "published decoders compute. With nothing said it may take an hour, mostly to compile; standard error tells how far it is.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--shape", dest="shapes", type=_shape, action="append", metavar="BxTxV", help="rows, positions, vocabulary; may be repeated")
    add(
        "--dtype",
        dest="dtypes",
        type=_one_of("--dtype", MEASURED_DTYPES),
        action="append",
        metavar="NAME",
        help=_may_repeat(MEASURED_DTYPES),
    )
    add("--policy", dest="policies", action="append", metavar="NAME|FILE", help="may be repeated (default: all shipped)")
    known = ("eager", "inductor", "aot")
    help = "one of eager, inductor, aot (a minute a step to build); may be repeated (default: eager and inductor)"
    add("--backend", dest="backends", type=_one_of("--backend", known), action="append", metavar="NAME", help=help)
    add("--rounds", type=_count("--rounds"), default=10, metavar="N", help="how often everything is timed (default: 10)")
    add("--threads", type=_count("--threads"), metavar="N", help="of the CPU (default: as torch chooses)")
    add("--device", type=_one_of("--device", ("cpu", "cuda")), default="cpu", metavar="NAME", help="cpu (default) or cuda")
    add("--json", metavar="FILE", help="write everything measured, seconds too")
    add("--plot", metavar="FILE.svg", help="draw the table")
    return parser


def _bench_loop_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec bench loop",
        description="Measure whole decodes with the small model inside dsldec, in multiples of a plain loop's tokens a second.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--policy", dest="policies", action="append", metavar="NAME|FILE", help="may be repeated (default: static and threshold)")
    known = ("eager", "inductor")
    add("--backend", dest="backends", type=_one_of("--backend", known), action="append", metavar="NAME", help=_may_repeat(known))
    add("--prompts", type=_count("--prompts"), default=4, metavar="N", help="held-out prompts (default: 4)")
    add("--gen-length", type=_count("--gen-length"), default=48, metavar="N", help="tokens to generate (default: 48)")
    add("--rounds", type=_count("--rounds"), default=5, metavar="N", help="how often everything is timed (default: 5)")
    add("--threads", type=_count("--threads"), metavar="N", help="of the CPU (default: as torch chooses)")
    add("--json", metavar="FILE", help="write everything measured, seconds too")
    return parser


def _bench_batch_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec bench batch",
        description="Measure many prompts side by side, in multiples of the tokens a second of batches one after the other.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--policy", default="threshold", metavar="NAME|FILE", help="a shipped policy or a policy file (default: threshold)")
    add("--set", dest="settings", action="append", metavar="NAME=VALUE", help="set a parameter of the policy; may be repeated")
    add("--model", metavar="PATH", help="a Hugging Face model (default: the small one inside dsldec)")
    add("--prompts", type=_count("--prompts"), default=200, metavar="N", help="held-out prompts (default: 200)")
    add("--batch", type=_count("--batch"), default=8, metavar="N", help="rows side by side (default: 8)")
    add("--gen-length", type=_count("--gen-length"), default=48, metavar="N", help="tokens to generate at most (default: 48)")
    add("--backend", type=_one_of("--backend", ("eager", "inductor")), default="eager", metavar="NAME", help="eager (default) or inductor")
    add("--rounds", type=_count("--rounds"), default=3, metavar="N", help="how often everything is timed (default: 3)")
    add("--threads", type=_count("--threads"), metavar="N", help="of the CPU (default: as torch chooses)")
    add("--json", metavar="FILE", help="write everything measured, seconds too")
    return parser


def _may_repeat(known: Sequence[str]) -> str:
    return f"one of {', '.join(known)}; may be repeated (default: all)"


def _one_of(option: str, known: Sequence[str]) -> Callable[[str], str]:
    def chosen(text: str) -> str:
        if text in known:
            return text
        near = did_you_mean(text, known)
        help = f"did you mean `{option} {near}`?" if near else f"one of {', '.join(f'`{name}`' for name in known)}"
        raise UsageError(Diagnostic("E0422", f"`{option}` takes no {quoted(text)}", help=help))

    return chosen


def _shape(text: str) -> tuple[int, int, int]:
    numbers = text.split("x")
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        message = f"`--shape` is rows x positions x vocabulary, not {quoted(text)}"
        raise UsageError(Diagnostic("E0422", message, help="`--shape 1x32x126464`, say"))
    B, T, V = map(int, numbers)
    if B < 1 or T < 1 or V < 8:
        message = f"`--shape` has at least 1 row, 1 position and 8 ids, not {quoted(text)}"
        raise UsageError(Diagnostic("E0422", message, help="`--shape 1x32x126464`, say"))
    return B, T, V


def _model_parser() -> _Parser:
    parser = _Parser(
        prog="dsldec model",
        description="Say what a model is to decoding: its family, ids, lengths, and where each was found. No weight is loaded.",
        epilog="exit status: 0 shown, 1 shown, but its mask or block length is not found, 2 wrong usage or no model that can be decoded",
        allow_abbrev=False,
    )
    parser.add_argument("path", nargs="?", metavar="PATH", help="a Hugging Face model folder (default: the small model inside dsldec)")
    _add_reading(parser)
    parser.add_argument(
        "--device", type=_device, metavar="NAME", help="cpu, cuda, cuda:1 or mps (default: cuda if there is a GPU, else cpu)"
    )
    parser.add_argument("--format", type=_format, default="human", metavar="human|json", help="json: one object on standard output")
    return parser


def _add_reading(parser: _Parser) -> None:
    """How a model's files are read."""
    add = parser.add_argument
    add("--trust-remote-code", action="store_true", help="run the Python code that the model's folder brings")
    add("--mask-id", type=_id("--mask-id"), metavar="N", help="the id of the model's mask token (default: found in its files)")
    add("--eos-id", type=_id("--eos-id"), metavar="N", help="the id that ends a text (default: found in its files)")
    add(
        "--shift-logits",
        action=argparse.BooleanOptionalAction,
        help="the model's logits at a position speak of the next one (default: so they do for Dream and Fast-dLLM v2)",
    )
    help = "the model is block-causal, in blocks of N tokens (default: found in its files)"
    add("--block-length", type=_count("--block-length"), metavar="N", help=help)


def _add_placing(parser: _Parser) -> None:
    """How a model is loaded."""
    parser.add_argument(
        "--dtype",
        type=_one_of("--dtype", DTYPES),
        default="float32",
        metavar="NAME",
        help=f"of the model: {', '.join(DTYPES)} (default: float32)",
    )
    parser.add_argument(
        "--device", type=_device, metavar="NAME", help="cpu, cuda, cuda:1 or mps (default: cuda if there is a GPU, else cpu)"
    )


def _count(option: str) -> Callable[[str], int]:
    return lambda text: _whole_number(option, text, 1, 2**31 - 1)


def _id(option: str) -> Callable[[str], int]:
    return lambda text: _whole_number(option, text, 0, 2**31 - 1)


def _seed(text: str) -> int:
    return _whole_number("--seed", text, 0, LARGEST_SEED)


def _whole_number(option: str, text: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise UsageError(Diagnostic("E0422", f"`{option}` is a whole number, not {quoted(text)}", help=f"`{option} 8`, say")) from None
    if not least <= number <= most:
        message = f"`{option}` is at least {least}{f' and at most {most}' if number > most else ''}, not {quoted(text)}"
        raise UsageError(Diagnostic("E0422", message, help=f"`{option} 8`, say"))
    return number


def _backend(text: str) -> str:
    if text in BACKENDS:
        return text
    near = did_you_mean(text, BACKENDS)
    help = f"did you mean `--backend {near}`?" if near else f"one of {', '.join(f'`{name}`' for name in BACKENDS)}"
    raise UsageError(Diagnostic("E0422", f"there is no backend {quoted(text)}", help=help))


def _device(text: str) -> str:
    if re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", text):
        return text
    raise UsageError(Diagnostic("E0422", f"`--device` knows no {quoted(text)}", help="`--device cpu`, `cuda`, `cuda:1`, say, or `mps`"))


def _drafts(text: str) -> int:
    from .checks.kinds import MOST_DRAFTS

    return _whole_number("--lookahead", text, 1, MOST_DRAFTS)


def _packing(text: str) -> str:
    if text in ("batch", "sequential"):
        return text
    help = "write `--verify-rows batch` or `--verify-rows sequential`"
    raise UsageError(Diagnostic("E0422", f"there is no way {quoted(text)} to feed rows", help=help))


def _format(text: str) -> str:
    if text in ("human", "json"):
        return text
    raise UsageError(Diagnostic("E0422", f"there is no format {quoted(text)}", help="write `--format human` or `--format json`"))


def _unknown_verb(word: str) -> Diagnostic:
    near = did_you_mean(word, [*VERBS, "--help", "--version"])
    if near is not None:
        return Diagnostic("E0421", f"dsldec has no verb {quoted(word)}", help=f"did you mean `dsldec {near}`?")
    return Diagnostic("E0421", f"dsldec has no verb {quoted(word)}", help="`dsldec --help` lists the verbs; prompts go after `dsldec run`")


def _unknown_option(option: str, parser: _Parser) -> Diagnostic:
    known = [name for action in parser._actions for name in action.option_strings]
    near = did_you_mean(option.partition("=")[0], known)
    help = f"did you mean `{near}`?" if near else f"`{parser.prog} --help` lists the options; after `--` a prompt may begin with `-`"
    return Diagnostic("E0420", f"`{parser.prog}` has no option {quoted(option)}", help=help)


def _misread(message: str, prog: str) -> Diagnostic:
    """What argparse says of an option, as `argument --policy: expected one argument`, in our words."""
    option, colon, why = message.removeprefix("argument ").partition(": ")
    if not colon:
        return Diagnostic("E0420", quoted(message).strip("`"), help=f"`{prog} --help` lists the options")
    if option == "the following arguments are required":
        return Diagnostic("E0420", f"`{prog}` lacks `{why}`", help=f"`{prog} --help` shows what it takes")
    why = why.replace("expected one argument", "a value is missing")
    return Diagnostic("E0420", f"`{option}`: {why}", help=f"`{prog} --help` shows what it takes")


def _help() -> str:
    verbs = "\n".join(f"  {name:<12}{what}" for name, (what, _) in VERBS.items())
    return (
        "usage: dsldec VERB ...\n\na policy language for decoding diffusion language models\n\n"
        f"verbs:\n{verbs}\n\n`dsldec VERB --help` shows a verb's options; `dsldec --version` the version\n"
    )
