"""What do the verbs take that ask a model: `run`, `evaluate`, `model`?

Not here: what they do (`tools`), what may stand for a value (`values`).
"""

from __future__ import annotations

from .arguments import YES_OR_NO, Parser, parsed
from .model_options import add_placing, add_reading
from .values import BACKENDS, CACHES, backend, count, device, drafts, one_of, output_format, packing, seed

EXAMPLES = """\
examples:
  dsldec run "How many apples are left?"
  dsldec run --policy threshold --set confidence=0.8 --prompts questions.txt
  dsldec run --prompts questions.jsonl --out results.jsonl       (again with --resume: goes on where it stopped)
  dsldec run --policy mine.policy --model ./LLaDA-8B-Instruct --trust-remote-code < questions.txt

a line of a .jsonl file is a string, "...", or an object, {"prompt": "...", "id": 7};
other fields of an object are copied to its result; those with the name of a result's field go under "input"
blank lines of a file are skipped; write "" for the empty prompt
exit status: 0 all decoded, 1 a policy or a prompt failed, 2 wrong usage, 130 interrupted
"""


def run(arguments: list[str]) -> int:
    # What stands after `--` are prompts whatever they look like; argparse forgets that when prompts stand
    # between options.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    values = parsed(_run_parser(), arguments[:end])
    if values is None:
        return 0
    from ..tools import run as tool

    prompts, settings = (*values.pop("prompts"), *arguments[end + 1 :]), tuple(values.pop("settings") or ())
    return tool.run(tool.RunOptions(prompts=prompts, settings=settings, **values))


def _run_parser() -> Parser:
    parser = Parser(
        prog="dsldec run",
        description="Decode prompts with a diffusion language model under a policy.",
        epilog=EXAMPLES,
        as_written=True,
    )
    parser.add_argument(
        "prompts",
        nargs="*",
        metavar="PROMPT",
        help="a prompt; `-`, or nothing, reads one a line from standard input",
    )
    add = parser.add_argument
    add(
        "--prompts",
        dest="file",
        metavar="FILE",
        help="one prompt a line: JSONL if the name ends in .jsonl, else text",
    )
    add(
        "--policy",
        default="threshold",
        metavar="NAME|FILE",
        help="a shipped policy's name or a .policy file (default: threshold)",
    )
    add(
        "--set",
        dest="settings",
        action="append",
        metavar="NAME=VALUE",
        help="set a parameter of the policy; may be repeated",
    )
    add(
        "--model", metavar="PATH", help="a Hugging Face model folder (default: the small model inside dsldec)"
    )
    add_reading(parser)
    add_placing(parser)
    add(
        "--infill",
        action="store_true",
        help="fill the gaps of a prompt, `[MASK]` or, for 8 tokens, `[MASK*8]`; no chat template",
    )
    add("--raw", action="store_true", help="use prompts without the model's chat template")
    add(
        "--gen-length",
        type=count("--gen-length"),
        metavar="N",
        help="tokens to generate (default: the model's own)",
    )
    add(
        "--batch",
        type=count("--batch"),
        default=8,
        metavar="N",
        help="prompts decoded side by side (default: 8)",
    )
    add(
        "--lookahead",
        type=drafts,
        metavar="N",
        help="verify N drafts in a forward: the same answers in fewer forwards (default: no drafts)",
    )
    add(
        "--cache",
        type=one_of("--cache", CACHES),
        default="auto",
        metavar="NAME",
        help="KV cache: exact, prefix, dual, none or auto (default: auto: exact for a block-causal model, else none)",
    )
    add(
        "--verify-rows",
        type=packing,
        default="batch",
        metavar="WAY",
        help="verify rows of drafts in one `batch` (the default) or one by one (`sequential`)",
    )
    add(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="seed of policies that draw at random; the same seed gives the same answers (default: 0)",
    )
    add(
        "--backend",
        type=backend,
        default="auto",
        metavar="NAME",
        help=f"one of {', '.join(BACKENDS)} (default: auto)",
    )
    add(
        "--out",
        metavar="FILE",
        help="write one JSON object a prompt to FILE as each finishes; `-` is standard output (default: answers as text)",
    )
    add(
        "--resume",
        action="store_true",
        help="continue the file of --out: answered prompts are skipped, failed ones tried again",
    )
    add("--live", action=YES_OR_NO, help="show the canvas filling in (default: when printing to a terminal)")
    return parser


def evaluate(arguments: list[str]) -> int:
    values = parsed(_evaluate_parser(), arguments)
    if values is None:
        return 0
    from ..tools import evaluate as tool

    return tool.evaluate(values.pop("count"), values.pop("model"), **values)


def _evaluate_parser() -> Parser:
    parser = Parser(
        prog="dsldec evaluate",
        description="Print a table of the shipped policies: the share of right answers to held-out prompts, and the forwards.",
    )
    parser.add_argument(
        "--count", type=count("--count"), metavar="N", help="prompts of each task (default: all 200)"
    )
    parser.add_argument(
        "--model", metavar="PATH", help="a Hugging Face model folder (default: the small model inside dsldec)"
    )
    add_reading(parser)
    add_placing(parser)
    return parser


def model(arguments: list[str]) -> int:
    values = parsed(_model_parser(), arguments)
    if values is None:
        return 0
    from ..tools import model as tool

    return tool.model(tool.ModelOptions(as_json=values.pop("format") == "json", **values))


def _model_parser() -> Parser:
    parser = Parser(
        prog="dsldec model",
        description="Print the properties of a model that decoding needs: its family, ids, lengths, and the source of each. No weight is loaded.",
        epilog="exit status: 0 shown, 1 shown, but its mask or block length is not found, 2 wrong usage or no model that can be decoded",
    )
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        help="a Hugging Face model folder (default: the small model inside dsldec)",
    )
    add_reading(parser)
    parser.add_argument(
        "--device",
        type=device,
        metavar="NAME",
        help="cpu, cuda, cuda:1 or mps (default: cuda if there is a GPU, else cpu)",
    )
    parser.add_argument(
        "--format",
        type=output_format,
        default="human",
        metavar="human|json",
        help="json: one object on standard output (default: human)",
    )
    return parser
