"""The arguments of `frontier`: accuracy against forwards of policies and grids of their parameters.

Not here: the work of the verb (`tools`), the grids (`tools.frontier.grids`).
"""

from __future__ import annotations

from ..options import DecodeOptions, LoadOptions
from .arguments import Parser, parsed
from .evaluating import add_code, add_in_order, add_limit, add_model_of_prompts, add_scorer, require_task_for
from .flags import POLICY, add_decoding, taken
from .values import one_of, text

EXAMPLES = """\
examples:
  dsldec frontier --task word_problems --out results --html frontier.html --svg frontier.svg
  dsldec frontier --task word_problems --policy threshold --set confidence=0.5..0.9/5 --policy static --set tokens=1,2,4
  dsldec frontier --model ./LLaDA-8B-Instruct --trust-remote-code --task test.jsonl --scorer number --out results
  dsldec frontier --results results/a.json --results results/b.json --html frontier.html

grids: one value, a list 0.5,0.7,0.9, a range 0.5..0.9/3 (three values), for whole numbers also 1..4;
several --set of a policy give all combinations. Without --policy: twelve shipped policies, three values each
Results are stored in --out, one file a setting; the same command goes on after an interruption, and decodes only new
settings. Tasks, splits and scorers are those of `dsldec evaluate`. Pictures need `pip install "dsldec[frontier]"`
exit status: 0 all decoded, 1 a policy or a prompt failed, 2 wrong usage, 130 interrupted
"""
OF_THE_TASK = ("scorer", "split", "limit", "model", "out", "run_code")
OF_THE_PICTURE = ("results", "title", "html", "svg", "json", "markdown")


def frontier(arguments: list[str]) -> int:
    parser = _frontier_parser()
    values = parsed(parser, arguments)
    if values is None:
        return 0
    from ..tools.evaluation.code_runner import CodeLimits
    from ..tools.evaluation.evaluate_options import EvaluateOptions
    from ..tools.frontier import verb as tool
    from ..tools.frontier.frontier_options import FrontierOptions

    picture = {name: values.pop(name) for name in OF_THE_PICTURE}
    picture["results"] = tuple(picture["results"] or ())
    if values["task"] is None:
        require_task_for(parser, values, (*OF_THE_TASK, "policies"))
        return tool.frontier(FrontierOptions(None, **picture))
    limits = CodeLimits(values.pop("code_seconds"), values.pop("code_memory"))
    policies = tuple(values.pop("policies") or ())
    load, decode = taken(values, LoadOptions), taken(values, DecodeOptions)
    evaluate = EvaluateOptions(policies=policies, load=load, decode=decode, limits=limits, **values)
    return tool.frontier(FrontierOptions(evaluate, **picture))


def _frontier_parser() -> Parser:
    parser = Parser(
        prog="dsldec frontier",
        description="Measure policies and grids of their parameters on a task: accuracy with its 95 % interval, forwards, the settings that\n"
        "no other one beats, and AUP of each policy, as a table and as a picture.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    add("--task", metavar="NAME|FILE.jsonl", help="the prompts and their right answers")
    help = f"{POLICY} (default: twelve of the shipped ones)"
    add_in_order(parser, "policy", "policies", help, "values of a parameter", "VALUES")
    add_scorer(parser)
    help = "the prompts of a task of a small model: dev, to choose; test, to report once at the end (default: dev)"
    add("--split", type=one_of("--split", ("dev", "test")), metavar="SPLIT", help=help)
    add_limit(parser)
    help = "a result file of lm-evaluation-harness, whose tasks become points; may be repeated"
    add("--results", action="append", metavar="FILE.json", help=help)
    add("--out", metavar="FOLDER", help="store each result as soon as it is finished, in one file a setting")
    add(
        "--html",
        metavar="FILE",
        help="write a page with the interactive picture and the tables; needs no network",
    )
    add("--svg", metavar="FILE", help="write the picture")
    add("--json", metavar="FILE", help="write every figure")
    add("--markdown", action="store_true", help="print the tables as Markdown")
    add("--title", type=text("--title"), metavar="TEXT", help="of the picture and the page")
    add_model_of_prompts(parser)
    add_decoding(parser)
    add_code(parser)
    return parser
