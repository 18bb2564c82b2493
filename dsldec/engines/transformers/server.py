"""How does a model's `generate` answer `transformers serve`? With errors and lengths that it understands.

Read in transformers 5.23 and 5.24 (`transformers.cli.serving`). The server calls `generate` in a thread for
each model, one request after the other. A plain request gets status 500 without a reason for every exception
but FastAPI's own `HTTPException`, whose status and detail it gets. A stream gets the text of any exception.
A request has one field that reaches `generate` as it is: `generation_config`, a JSON object in a string. Not
here: the fields of dsldec in it (`call_policy`).
"""

from __future__ import annotations

import sys
from typing import Any

from ...diagnostics import Diagnostic, PolicyError, UsageError

SERVER = "transformers.cli."  # of the modules of the command line of transformers
CALLING_MODELS = frozenset(f"{__package__}.{module}" for module in ("call_denoiser", "call_answers"))
# Codes of failures that no other request would prevent: the model, its files, the machine.
FAILURES = frozenset({"E0404", "E0405", "E0406", "E0408", "E0410"})


def is_serving() -> bool:
    """Whether a server of transformers called this code."""
    frame = sys._getframe()
    while (above := frame.f_back) is not None:
        if str(above.f_globals.get("__name__")).startswith(SERVER):
            return True
        frame = above
    return False


def as_response(mistake: UsageError | PolicyError) -> Exception:
    """The exception that the server reports to a plain request: status 400 for a mistake of the request, 500
    for a failure, with the diagnostic as the detail.
    """
    from starlette.exceptions import HTTPException  # the server runs on it, so it is installed

    codes = [mistake.diagnostic] if isinstance(mistake, UsageError) else mistake.diagnostics
    failed = any(one.code in FAILURES for one in codes)
    return HTTPException(500 if failed else 400, detail=str(mistake))


def as_refusal(mistake: ValueError) -> Exception | None:
    """The exception for a mistake that transformers found before it called a policy, such as a wrong length.
    None for an error of the model.
    """
    from starlette.exceptions import HTTPException

    trace = mistake.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") in CALLING_MODELS:
            return None
        trace = trace.tb_next
    return HTTPException(400, detail=str(mistake))


def require_one_answer(config: Any) -> None:
    """Raise `UsageError` (E0409) for several samples: the server (5.23, 5.24) returns the first one."""
    if getattr(config, "num_return_sequences", None) not in (None, 1):
        message = (
            "`num_return_sequences` requests several answers, and `transformers serve` returns one answer"
        )
        raise UsageError(
            Diagnostic("E0409", message, help="leave it out, and send the request several times")
        )


def on_one_line(mistake: UsageError | PolicyError) -> str:
    """The text of a mistake for a stream. The server (5.23, 5.24) puts it unescaped into a string of JSON, on
    one line.
    """
    return " ".join(str(mistake).split()).replace('"', "'").replace("\\", "\\\\")


def limit(config: Any, most: int | None) -> None:
    """Set the number of tokens of a request that requests more than the folder's `gen_length`, or no number.

    The server compares the number in the configuration with the length of the answer to tell `length` from
    `stop`.
    """
    if most is None or config is None:
        return
    given = config.max_new_tokens
    if given > most if given is not None else config.max_length is None:
        config.max_new_tokens = most
