"""The arguments of `dsldec compare`, and its two policies.

Not here: how options are spelt (`cli.comparing`), the comparison (`verb`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...diagnostics import Diagnostic, PolicyError, UsageError
from ...language import syntax
from ...options import DEFAULT_DECODE, DEFAULT_LOAD, DecodeOptions, LoadOptions
from ...policy import Policy, load
from ...spelling import typed
from ...terminal import printable
from .. import quoted
from ..policy_words import names_of, title_of
from ..settings import with_settings
from .case_text import ComparedSide

TRIES, SECONDS = 20_000, 60


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """The arguments of the command line. None: not given. `settings`: of both policies; `html`: the file of
    the page; `show`: the id of the prompt to look into.
    """

    a: str
    b: str
    settings: tuple[str, ...] = ()
    settings_a: tuple[str, ...] = ()
    settings_b: tuple[str, ...] = ()
    tries: int | None = None
    seconds: int | None = None
    rounding: bool = False
    prompts: tuple[str, ...] = ()
    file: str | None = None
    task: str | None = None
    limit: int | None = None
    model: str | None = None
    html: str | None = None
    show: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    decode: DecodeOptions = DEFAULT_DECODE

    @property
    def decodes(self) -> bool:
        """Whether prompts are decoded."""
        return bool(self.prompts) or self.file is not None or self.task is not None


def sides_of(options: CompareOptions) -> tuple[ComparedSide, ComparedSide]:
    """The two policies as they are loaded. Raises `PolicyError` and `UsageError`."""
    names = (options.a, options.b)
    words = (
        (*options.settings, *options.settings_a),
        (*options.settings, *options.settings_b),
    )
    policies = [load(name) for name in names]
    _require_in_both(options.settings, policies)
    bound = [with_settings(policy, given) for policy, given in zip(policies, words, strict=True)]
    for policy in bound:
        policy.require_bound()
    if policies[0].facts.source == policies[1].facts.source and bound[0].parameters == bound[1].parameters:
        message = f"both are {quoted(options.a)} with equal parameter values"
        raise UsageError(Diagnostic("E0521", message, help=_other_value(bound[1])))
    titles = _titles(names, bound, words)
    first, second = (
        ComparedSide(policy, title, given)
        for policy, title, given in zip(policies, titles, words, strict=True)
    )
    return first, second


def _require_in_both(words: Sequence[str], policies: Sequence[Policy]) -> None:
    """Raise `UsageError` (E0522) for a `--set` of a parameter that only one policy has."""
    for word in words:
        name = word.partition("=")[0].strip()
        has = [name in policy.parameters for policy in policies]
        if any(has) and not all(has):
            lacks = policies[has.index(False)].name
            message = f"`--set` is of both policies, and {quoted(lacks)} has no parameter {quoted(name)}"
            help = f"set it in the other one alone: `--set-{'ab'[has.index(True)]} {typed(word)}`"
            raise UsageError(Diagnostic("E0522", message, help=help))


def _other_value(policy: Policy) -> str:
    """Help with a value of a parameter that differs, and that the parameter takes."""
    for name, value in policy.parameters.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        for other in (value + 1, value - 1) if isinstance(value, int) else (value / 2, value / 2 + 0.25):
            try:
                policy.bind(**{name: other})
            except PolicyError:
                continue
            return f"give one of them another value: `--set-b {typed(f'{name}={other:g}')}`"
    return "name another policy"


def bound_policy(side: ComparedSide) -> Policy:
    """The policy of a side with its parameter values."""
    return with_settings(side.policy, side.settings)


def _titles(names: Sequence[str], policies: Sequence[Policy], words: Sequence[Sequence[str]]) -> list[str]:
    """A short title of each policy; they differ."""
    titles = [policy.name for policy in policies]
    if len({*titles}) == 1:
        titles = [
            title_of(policy.name, policy, names_of(given))
            for policy, given in zip(policies, words, strict=True)
        ]
    if len({*titles}) == 1:
        titles = [printable(Path(name).name) for name in names]
    if len({*titles}) == 1:
        titles = [printable(name) for name in names]
    return [title.replace("#", "_") for title in titles]


def require_searchable(side: ComparedSide, policy: Policy) -> None:
    """Raise `UsageError` (E0520) for a policy that a search cannot run."""
    help = "compare them on prompts: `--task word_problems`"
    if policy.plan(1).branches > 1:
        message = f"the policy {quoted(side.title)} makes several candidates (`branch`), and a case compares no scores"
        raise UsageError(Diagnostic("E0520", message, help=help))
    if policy.constrains is not None:
        message = f"the policy {quoted(side.title)} has a pattern, and a case has none"
        raise UsageError(Diagnostic("E0520", message, help=f"{help}, with `--constrain`"))


def not_compared(sides: Sequence[ComparedSide], policies: Sequence[Policy]) -> Iterator[str]:
    """The parts that a search does not compare, a sentence each."""
    kinds = {"logits": syntax.Logits, "draw": syntax.Draw, "noise": syntax.Noise}
    for word, kind in kinds.items():
        texts = [_texts(policy, kind) for policy in policies]
        if texts[0] != texts[1]:
            yield f"the lines `{word}`: the numbers are those after them"
    for side, policy in zip(sides, policies, strict=True):
        if not policy.facts.exact and policy.plan(1).drafts > 1:
            yield f"the drafts that {side.title} accepts: only its steps"


def _texts(policy: Policy, kind: type[syntax.Node]) -> list[str]:
    return [one.span.text for one in policy.facts.policy.statements if isinstance(one, kind)]
