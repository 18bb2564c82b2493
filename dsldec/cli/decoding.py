"""The arguments of the verbs that use a model: `run`, `model`.

Not here: the work of the verbs (`tools`), how a value is parsed (`values`).
"""

from __future__ import annotations

from ..options import LOAD, DecodeOptions, LoadOptions
from .arguments import YES_OR_NO, Parser, parsed
from .flags import (
    POLICY,
    add_decoding,
    add_files,
    add_format,
    add_model,
    add_option,
    add_placing,
    add_reading,
    add_set,
    taken,
)

EXAMPLES = """\
examples:
  dsldec run "How many apples are left?"
  dsldec run --policy threshold --set confidence=0.8 --prompts questions.txt
  dsldec run --prompts questions.jsonl --out results.jsonl       (with --resume: continues where it stopped)
  dsldec run --policy mine.policy --model ./LLaDA-8B-Instruct --trust-remote-code < questions.txt

a line of a .jsonl file is a string, "...", or an object, {"prompt": "...", "id": 7};
{"messages": [{"role": "user", "content": "..."}]} is a chat; an object may set options for its
prompt: gen_length, min_length, stop, stop_ids, n, seed, system, logprobs, constrain;
the result contains the other fields of the object, under "input" where a result has a field of that name;
blank lines of a file are skipped; an empty prompt, "" in a .jsonl file, is decoded
exit status: 0 all decoded, 1 a policy or a prompt failed, 2 wrong usage, 130 interrupted
"""


def run(arguments: list[str]) -> int:
    # Everything after `--` is a prompt. argparse ignores this if there are prompts between options.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    values = parsed(_run_parser(), arguments[:end])
    if values is None:
        return 0
    from ..tools import run as tool

    prompts, settings = (*values.pop("prompts"), *arguments[end + 1 :]), tuple(values.pop("settings") or ())
    load, decode = taken(values, LoadOptions), taken(values, DecodeOptions)
    return tool.run(tool.RunOptions(prompts=prompts, settings=settings, load=load, decode=decode, **values))


def _run_parser() -> Parser:
    parser = Parser(
        prog="dsldec run",
        description="Decode prompts with a diffusion language model under a policy.",
        epilog=EXAMPLES,
        as_written=True,
    )
    add = parser.add_argument
    help = "a prompt; `-`, or no prompt, reads one a line from standard input"
    add("prompts", nargs="*", metavar="PROMPT", help=help)
    help = "one prompt a line: JSONL if the name ends in .jsonl, else text"
    add("--prompts", dest="file", metavar="FILE", help=help)
    add("--policy", default="threshold", metavar="NAME|FILE", help=f"{POLICY} (default: threshold)")
    add_set(parser)
    add_model(parser)
    add_reading(parser)
    add_placing(parser)
    add_option(parser, LOAD["raw"])
    add_decoding(parser)
    help = "write one JSON object a prompt to FILE, each as soon as it is finished; `-` is standard output (default: answers as text)"
    add("--out", metavar="FILE", help=help)
    add_files(parser)
    help = (
        "write a page that shows every step of the answer, and why each position was written; for one prompt"
    )
    add("--html", metavar="FILE", help=help)
    help = "show how the canvas fills (default: if standard output is a terminal)"
    add("--live", action=YES_OR_NO, help=help)
    return parser


def model(arguments: list[str]) -> int:
    values = parsed(_model_parser(), arguments)
    if values is None:
        return 0
    from ..tools import model as tool

    load, as_json = LoadOptions.of(values), values["format"] == "json"
    return tool.model(tool.ModelOptions(values["path"], load, as_json))


def _model_parser() -> Parser:
    parser = Parser(
        prog="dsldec model",
        description="Print the properties of a model that decoding needs (family, ids, lengths), and the source of each. Loads no weights.",
        epilog="exit status: 0 shown, 1 shown, but its mask or block length is not found, 2 wrong usage or no model that can be decoded",
    )
    help = "a Hugging Face model folder, or dsldec:equations (default: dsldec:word_problems, a small model inside dsldec)"
    parser.add_argument("path", nargs="?", metavar="PATH", help=help)
    add_reading(parser)
    add_option(parser, LOAD["device"])
    add_format(parser)
    return parser
