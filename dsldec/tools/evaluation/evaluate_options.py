"""The arguments of `dsldec evaluate --task`, and the mistakes in them that show before anything is decoded.

Not here: the task (`tasks`), the policies (`chosen_policies`), the scorer (`scorers`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...diagnostics import Diagnostic, UsageError
from ...options import DEFAULT_DECODE, DEFAULT_LOAD, DecodeOptions, LoadOptions
from ...policy import samples_warning, seed_warning
from ...runtime.prompt_options import require_of_infill
from .. import quoted_path
from ..line_options import require_no_infill
from ..output_places import make_folder, require_place
from ..process import say
from .chosen_policies import ChosenPolicy
from .code_runner import CodeLimits
from .problems import Problem


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """The arguments of the command line. `policies`: `("policy", name)` and `("set", "name=value")`, in
    order. None: not given.
    """

    task: str
    policies: tuple[tuple[str, str], ...] = ()
    scorer: str | None = None
    split: str | None = None
    limit: int | None = None
    model: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    decode: DecodeOptions = DEFAULT_DECODE
    out: str | None = None
    resume: bool = False
    rescore: bool = False
    run_code: bool = False
    limits: CodeLimits = field(default_factory=CodeLimits)
    json: str | None = None
    markdown: bool = False


def require_sensible(options: EvaluateOptions) -> None:
    """Raise `UsageError` (E0423) for options without a meaning together."""
    for name, given in (("--resume", options.resume), ("--rescore", options.rescore)):
        if given and options.out is None:
            help = f"name the folder of the results: `--out results {name}`"
            raise UsageError(Diagnostic("E0423", f"`{name}` needs `--out`", help=help))
    if options.out is not None and os.path.exists(options.out) and not os.path.isdir(options.out):
        message = f"`--out` is a folder, and {quoted_path(options.out)} is a file"
        raise UsageError(Diagnostic("E0432", message, help="for example `--out results`"))
    if options.json is not None:
        require_place(options.json, "--json figures.json")


def require_infill(options: EvaluateOptions, problems: Sequence[Problem]) -> None:
    """Raise `UsageError` (E0423) for options and lines that `--infill` cannot follow."""
    if not options.decode.infill:
        return
    require_of_infill(options.decode)
    if options.decode.gen_length is not None:
        help = "leave `--gen-length` out: the gaps give the number of tokens, `[MASK*8]` is eight"
        raise UsageError(Diagnostic("E0423", "`--gen-length` cannot be used with `--infill`", help=help))
    for problem in problems:
        require_no_infill(problem.prompt.given, problem.prompt.messages, problem.place)


def check_policies(chosen: Sequence[ChosenPolicy], options: EvaluateOptions, samples: int) -> None:
    """Mistakes of policies and warnings about them, before a model is loaded. `samples`: the most of a
    prompt.
    """
    for one in chosen:
        one.policy.drafts(options.decode.lookahead)
        seed = seed_warning(one.policy, options.decode.seed)
        for warning in (seed, samples_warning(one.policy, samples)):
            if warning is not None:
                say(f"{one.title}: {warning}" if len(chosen) > 1 else str(warning))


def results_file(out: str | None, chosen: ChosenPolicy) -> str | None:
    """The results file of a policy, in the folder `out`, which is made."""
    if out is None:
        return None
    make_folder(out, "--out results")
    return os.path.join(out, chosen.file)
