"""The arguments of `tune`: parameter values are searched against a floor under the accuracy.

Not here: the work of the verb (`tools.tune`), how a value is parsed (`values`).
"""

from __future__ import annotations

from ..options import DecodeOptions, LoadOptions
from .arguments import Parser, parsed
from .evaluating import add_code, add_limit, add_model_of_prompts, add_scorer
from .flags import POLICY, add_decoding, taken
from .values import count, one_of

EXAMPLES = """\
examples:
  dsldec tune threshold --set confidence=0.5..0.99 --floor accuracy=0.98x
  dsldec tune klass --set confidence=0.4..0.95 --set 'calm=0.001..0.1 log' --floor accuracy=0.9 --out tuned
  dsldec tune dico --set seeds=2,4,8,16 --set block=48 --floor accuracy=1x --baseline static
  dsldec tune threshold --set confidence=0.5..0.99 --floor accuracy=0.98x --task mine.jsonl --scorer number

values: A..B is a range (`A..B log`: even in the logarithm), A,B,C a list, A one value for all settings
floors: accuracy=0.95, or accuracy=0.98x: 0.98 times the accuracy of the baseline on the same prompts
--seed is also the seed of the shuffle and of the search; the same seed gives the same trials
with --out, the same command goes on where it stopped; more --trials continue the search
exit status: 0 found, 1 no setting reaches the floor or decoding failed, 2 wrong usage, 130 interrupted
"""


def tune(arguments: list[str]) -> int:
    values = parsed(_tune_parser(), arguments)
    if values is None:
        return 0
    from ..tools.evaluation.code_runner import CodeLimits
    from ..tools.tune import verb as tool
    from ..tools.tune.tune_options import TuneOptions

    limits = CodeLimits(values.pop("code_seconds"), values.pop("code_memory"))
    settings = tuple(values.pop("settings") or ())
    load, decode = taken(values, LoadOptions), taken(values, DecodeOptions)
    return tool.tune(TuneOptions(settings=settings, load=load, decode=decode, limits=limits, **values))


def _tune_parser() -> Parser:
    parser = Parser(
        prog="dsldec tune",
        description="Search parameter values of a policy: the fewest forwards, or the least time, with an accuracy above a floor.\n"
        "The search sees calibration prompts; the report is on held-out prompts.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    add("policy", metavar="NAME|FILE", help=POLICY)
    help = "the values of a parameter that are searched: A..B or A,B,C; one value is the same in all trials; may be repeated"
    add("--set", dest="settings", action="append", metavar="NAME=VALUES", help=help)
    help = "the least accuracy: accuracy=0.95, or accuracy=0.98x of the baseline's"
    add("--floor", required=True, metavar="accuracy=A", help=help)
    help = "the policy to compare with (default: the same policy with its default values)"
    add("--baseline", metavar="NAME|FILE", help=help)
    help = "what is minimised: forwards, or seconds (default: forwards)"
    add(
        "--minimise",
        type=one_of("--minimise", ("forwards", "seconds")),
        default="forwards",
        metavar="WHAT",
        help=help,
    )
    add(
        "--trials",
        type=count("--trials", 10_000),
        default=24,
        metavar="N",
        help="settings that are tried (default: 24)",
    )
    help = "allow static parameters: each value compiles another step"
    add("--static", action="store_true", help=help)
    _add_prompts(parser)
    add_model_of_prompts(parser)
    add_decoding(parser)
    help = "store the study and each answer as soon as it is finished; the same command goes on"
    add("--out", metavar="FOLDER", help=help)
    add("--json", metavar="FILE", help="write every figure")
    return parser


def _add_prompts(parser: Parser) -> None:
    add = parser.add_argument
    help = "the prompts and their right answers, as for `dsldec evaluate` (default: word_problems)"
    add("--task", default="word_problems", metavar="NAME|FILE.jsonl", help=help)
    add_scorer(parser)
    add_limit(parser)
    help = "calibration prompts (default: half of the task)"
    add("--calibration", type=count("--calibration"), metavar="N", help=help)
    help = "the held-out prompts: dev, the other prompts of the task, or test, its test split (default: dev)"
    add("--report", type=one_of("--report", ("dev", "test")), default="dev", metavar="SPLIT", help=help)
    add_code(parser)
