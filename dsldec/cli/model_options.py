"""Which options say how a model's files are read, and how it is loaded? Not here: which verbs take them
(`decoding`, `exporting`).
"""

from __future__ import annotations

from .arguments import YES_OR_NO, Parser
from .values import DTYPES, count, device, one_of, token_id


def add_reading(parser: Parser) -> None:
    """How a model's files are read."""
    add = parser.add_argument
    add("--trust-remote-code", action="store_true", help="run the Python code in the model's folder")
    add(
        "--mask-id",
        type=token_id("--mask-id"),
        metavar="N",
        help="the id of the model's mask token (default: found in its files)",
    )
    add(
        "--eos-id",
        type=token_id("--eos-id"),
        metavar="N",
        help="the id that ends a text (default: found in its files)",
    )
    add(
        "--shift-logits",
        action=YES_OR_NO,
        help="the model's logits at position i predict position i + 1 (default: yes for Dream and Fast-dLLM v2)",
    )
    add(
        "--all-ids",
        action="store_true",
        help="allow ids without a token (default: they are never written)",
    )
    help = "the model is block-causal, in blocks of N tokens (default: found in its files)"
    add("--block-length", type=count("--block-length"), metavar="N", help=help)


def add_placing(parser: Parser) -> None:
    """How a model is loaded."""
    parser.add_argument(
        "--dtype",
        type=one_of("--dtype", DTYPES),
        default="float32",
        metavar="NAME",
        help=f"of the model: {', '.join(DTYPES)} (default: float32)",
    )
    parser.add_argument(
        "--device",
        type=device,
        metavar="NAME",
        help="cpu, cuda, cuda:1 or mps (default: cuda if there is a GPU, else cpu)",
    )
