"""The command of lm-evaluation-harness with the model class `dsldec`, and mistakes as one sentence.

`python -m dsldec.engines.lm_eval --tasks gsm8k --model_args policy=dico,pretrained=./MODEL`: every flag is
the harness's own. Not here: the model class (`model`).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ... import terminal
from ...diagnostics import Diagnostic, PolicyError, UsageError
from ...runtime.forward import DenoiserFailed
from ...terminal import printable
from .installed import require_harness

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
HERE = str(Path(__file__).parent.parent.parent)  # the package of dsldec
STORED = "`--use_cache FILE` stores each answer as soon as it is decoded; the same command then goes on"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the harness's command, and return its exit status."""
    with terminal.escaped():
        try:
            require_harness()
            return _run([*(sys.argv[1:] if arguments is None else arguments)])
        except UsageError as mistake:
            return _reported(str(mistake.diagnostic), WRONG_USAGE)
        except PolicyError as mistake:
            return _reported("\n\n".join(map(str, mistake.diagnostics)), FAILED)
        except KeyboardInterrupt:
            return _reported(f"interrupted\n  = help: {STORED}", INTERRUPTED)
        except DenoiserFailed as failure:
            if os.environ.get("DSLDEC_DEBUG"):
                traceback.print_exception(failure)
            why = printable(str(failure.__cause__ or failure)).strip().split("\n")[0]
            message = f"the denoiser failed: {type(failure.__cause__ or failure).__name__}: {why}"
            return _reported(
                str(Diagnostic("E0410", message, help=f"{STORED}; `DSLDEC_DEBUG=1` shows where")), FAILED
            )
        except Exception as failure:
            if os.environ.get("DSLDEC_DEBUG") or _is_ours(failure):
                raise
            return _reported(str(_of_the_harness(failure)), WRONG_USAGE)


def _run(arguments: list[str]) -> int:
    from lm_eval.__main__ import cli_evaluate

    from . import model  # noqa: F401  # registers the class

    command = "run"
    if arguments and arguments[0] in ("run", "ls", "validate"):
        command, *arguments = arguments
    if command == "run" and not any(
        one in ("-M", "--model") or one.startswith("--model=") for one in arguments
    ):
        arguments = ["--model", "dsldec", *arguments]
    before = sys.argv
    sys.argv = ["lm_eval", command, *arguments]
    try:
        cli_evaluate()
    except SystemExit as end:  # argparse: help, or its own message about a flag
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return 0


def _is_ours(failure: BaseException) -> bool:
    """Whether code of dsldec below this file raised: then it is a bug, and its place is shown."""
    frames = traceback.extract_tb(failure.__traceback__)
    return any(frame.filename.startswith(HERE) and frame.filename != __file__ for frame in frames)


def _of_the_harness(failure: BaseException) -> Diagnostic:
    """A failure of the harness itself: an unknown task, a data set that is not found, a wrong flag."""
    first = next(iter(printable(str(failure)).strip().splitlines()), "")
    message = f"lm-evaluation-harness: {type(failure).__name__}{': ' * bool(first)}{first[:300]}"
    help = "`DSLDEC_DEBUG=1` shows where"
    if "Tasks not found" in first or "No tasks specified" in first:
        help = f"`lm-eval ls tasks` lists the tasks; {help}"
    return Diagnostic("E0409", message, help=help)


def _reported(text: str, status: int) -> int:
    print(text, file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
