"""The arguments of `evaluate`: a task under several policies, or the table of the shipped policies.

Not here: the work of the verb (`tools`), how a value is parsed (`values`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..options import LOAD, DecodeOptions, LoadOptions
from ..spelling import flag
from .arguments import Parser, parsed
from .flags import POLICY, add_decoding, add_model, add_option, add_placing, add_reading, taken
from .values import count, one_of

EXAMPLES = """\
examples:
  dsldec evaluate --task word_problems --policy static --policy threshold
  dsldec evaluate --task word_problems --policy threshold --set confidence=0.8 --policy threshold --set confidence=0.95
  dsldec evaluate --model ./LLaDA-8B-Instruct --trust-remote-code --task test.jsonl --scorer number --out results
  dsldec evaluate --model ./LLaDA-8B-Instruct --trust-remote-code --task humaneval --run-code
  dsldec evaluate                                     (the table of the shipped policies on the small models)

tasks: word_problems, sudoku, equations (of the small models inside dsldec), humaneval, or a file whose name ends in .jsonl
splits: dev, to choose policies and parameters; test, to report once at the end
a line of the file is an object: {"prompt": "...", "answer": "32", "id": 7}; `answer` may be a list of right answers;
for the scorer `python`: {"prompt": "...", "test": "assert double(2) == 4", "entry_point": "double"}

scorers: exact   the answer is the right one, apart from spaces around it
         number  the answer ends with the number of the right one (after the last `####`, where there is one)
         regex:PATTERN   group 1 of the first match, or the match, is the right answer
         python  the code of the answer passes `test` (needs --run-code)
exit status: 0 all decoded, 1 a policy or a prompt failed, 2 wrong usage, 130 interrupted
"""
# Without `--task` these have a meaning, too.
OF_THE_TABLE = ("limit", "split", "model", "trust_remote_code", "mask_id", "eos_id", "shift_logits", "all_ids", "block_length",
                "dtype", "device")  # fmt: skip


def evaluate(arguments: list[str]) -> int:
    parser = _evaluate_parser()
    values = parsed(parser, arguments)
    if values is None:
        return 0
    if values["task"] is None:
        return _table(parser, values)
    from ..tools.evaluation import verb as tool
    from ..tools.evaluation.code_runner import CodeLimits
    from ..tools.evaluation.evaluate_options import EvaluateOptions

    limits = CodeLimits(values.pop("code_seconds"), values.pop("code_memory"))
    policies = tuple(values.pop("policies") or ())
    load, decode = taken(values, LoadOptions), taken(values, DecodeOptions)
    return tool.evaluate_task(
        EvaluateOptions(policies=policies, load=load, decode=decode, limits=limits, **values)
    )


def _table(parser: Parser, values: dict[str, Any]) -> int:
    """The table of the shipped policies. Raises `UsageError` (E0423) for an option that needs a task."""
    others = [name for name in values if name not in OF_THE_TABLE]
    require_task_for(parser, values, others, "; `dsldec evaluate --help` lists tasks")
    from ..tools import evaluate as tool

    model, limit, split = values.pop("model"), values.pop("limit"), values.pop("split")
    load = {name: values[name] for name in OF_THE_TABLE if name in values}
    return tool.evaluate(limit, model, split or "dev", **load)


def _evaluate_parser() -> Parser:
    parser = Parser(
        prog="dsldec evaluate",
        description="Evaluate policies on a task: accuracy with its 95 % interval, forwards, tokens a second, and the difference to the\n"
        "first policy on the same prompts. Without --task: print the table of the shipped policies on held-out prompts.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    add("--task", metavar="NAME|FILE.jsonl", help="the prompts and their right answers")
    add_in_order(parser, "policy", "policies", f"{POLICY} (default: threshold)", "set a parameter")
    add_scorer(parser)
    help = "the prompts of a task of a small model: dev, to choose; test, to report once at the end (default: dev)"
    add("--split", type=one_of("--split", ("dev", "test")), metavar="SPLIT", help=help)
    add_limit(parser)
    add_model_of_prompts(parser)
    add_decoding(parser)
    _add_results(parser)
    add_code(parser)
    return parser


def _add_results(parser: Parser) -> None:
    add = parser.add_argument
    help = "store each answer with its score as soon as it is finished, in one file a policy"
    add("--out", metavar="FOLDER", help=help)
    help = "continue the files of --out: skip answered prompts, retry failed ones"
    add("--resume", action="store_true", help=help)
    help = "decode nothing: score the answers in --out again, for example with another --scorer"
    add("--rescore", action="store_true", help=help)
    add("--json", metavar="FILE", help="write every figure")
    add("--markdown", action="store_true", help="print the tables as Markdown")


def add_in_order(
    parser: Parser, option: str, dest: str, help: str, set_help: str, values: str = "VALUE"
) -> None:
    """`--policy`, or another `option`, and the `--set` after it: both go into one list, in their order."""
    helps = {
        option: f"{help}; may be repeated",
        "set": f"{set_help} of the --{option} before it; may be repeated",
    }
    for name, metavar in ((option, "NAME|FILE"), ("set", f"NAME={values}")):
        parser.add_argument(
            f"--{name}", dest=dest, type=_kept(name), action="append", metavar=metavar, help=helps[name]
        )


def _kept(kind: str) -> Callable[[str], tuple[str, str]]:
    return lambda text: (kind, text)


def add_scorer(parser: Parser) -> None:
    help = "exact, number, regex:PATTERN or python (default: of a built-in task, its own)"
    parser.add_argument("--scorer", metavar="NAME", help=help)


def add_limit(parser: Parser) -> None:
    help = "the first N prompts (default: all)"
    parser.add_argument("--limit", "--count", dest="limit", type=count("--limit"), metavar="N", help=help)


def add_model_of_prompts(parser: Parser) -> None:
    """The flags of a model, of loading it, and of its prompts."""
    add_model(parser)
    add_reading(parser)
    add_placing(parser)
    add_option(parser, LOAD["raw"])


def require_task_for(parser: Parser, values: dict[str, Any], names: Iterable[str], more: str = "") -> None:
    """Raise `UsageError` (E0423) for an option of these that is given, because there is no `--task`."""
    for name in names:
        if values[name] != parser.get_default(name):
            shown = f"--{values[name][0][0]}" if name == "policies" else flag(name)
            help = f"for example `{parser.prog} --task word_problems {shown} ...`{more}"
            raise UsageError(Diagnostic("E0423", f"`{shown}` needs `--task`", help=help))


def add_code(parser: Parser) -> None:
    add = parser.add_argument
    help = "run code that the model writes, in a process with limits. This is no sandbox: use a container without anything of importance"
    add("--run-code", action="store_true", help=help)
    help = "the most seconds that a program runs (default: 10)"
    add("--code-seconds", type=count("--code-seconds", 86_400), default=10, metavar="N", help=help)
    help = "the most memory of a program, in MiB (default: 1024)"
    add("--code-memory", type=count("--code-memory", 2**20), default=1024, metavar="N", help=help)
