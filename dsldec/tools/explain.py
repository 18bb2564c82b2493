"""The output of `dsldec explain`: the facts of a policy, a word of the language, or a diagnostic's code.

Not here: how a fact is proved (`checks`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..checks.arguments import signature
from ..checks.patterns import TEXT_MATCHES
from ..codes import CODES, Code
from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..language.words import DRAWS, NOISES, STATEMENTS, TRANSFORMS, WINDOWS, WORDS
from ..policy import Policy, check
from ..resources import shipped_policies
from . import target
from .settings import chosen

LONGEST_EXAMPLE = 400
GEN_LENGTH = 256
CODE = r"[EeWw]\d{4}"
LARGE_VOCABULARY = 126_464  # of LLaDA
WINDOW_SHAPES = {
    "blocks": "blocks of",
    "sliding": "a sliding window of at most",
    "until": "windows of at most",
}


def explain(subject: str, gen_length: int | None, settings: Sequence[str], engine: str | None = None) -> int:
    """Print the explanation, and return the exit status. `engine`: one of `target.TARGETS`. Raises
    `PolicyError` and `UsageError` as loading does, and `UsageError` (E0450) for a policy that the engine
    cannot run.
    """
    flags = {"--set": settings, "--gen-length": gen_length, "--target": engine}
    given = [name for name, value in flags.items() if value]
    require_policy(subject, given)
    if re.fullmatch(CODE, subject):
        lines = _of_code(_code(subject.upper()))
    elif subject not in shipped_policies() and (entries := [*_entries(subject)]):
        lines = iter(entries)
    elif engine is not None:
        if gen_length is not None:
            message = "`--gen-length` has no meaning with `--target`: a request to the engine has the length"
            raise UsageError(Diagnostic("E0423", message, help="leave `--gen-length` out"))
        names = frozenset(setting.partition("=")[0].strip() for setting in settings)
        lines = target.lines(chosen(subject, settings), names)
    else:
        lines = _of_policy(chosen(subject, settings), gen_length or GEN_LENGTH)
    print("\n".join(lines))
    return 0


def require_policy(subject: str, given: Sequence[str]) -> None:
    """Raise `UsageError` (E0423) if options of a policy are given for a code or for a word."""
    code = re.fullmatch(CODE, subject)
    word = subject not in shipped_policies() and any(True for _ in _entries(subject))
    if not given or not (code or word):
        return
    what = "code" if code else "word"
    message = f"`{given[0]}` has no meaning for the {what} `{subject}`: it belongs to a policy"
    help = f"leave it out, or name a policy: `dsldec explain threshold {given[0]} ...`"
    raise UsageError(Diagnostic("E0423", message, help=help))


def _entries(name: str) -> Iterator[str]:
    """The entries of the language's reference under a name; none where it is no word of the language."""
    if name in STATEMENTS:
        form, meaning = STATEMENTS[name]
        yield f"statement `{form}`: {meaning}"
    for place, words in (("window", WINDOWS), ("noise", NOISES), ("draw", DRAWS), ("logits", TRANSFORMS)):
        if name in words:
            yield f"after `{place}`: `{signature(words[name])}`: {words[name].meaning}"
    if name in WORDS:
        word = WORDS[name]
        yield f"word `{signature(word)}`: {word.meaning}"
        if word.gives is not None:
            yield f"  kind: {word.gives.kind}"
        if word.within is not None:
            yield f"  only in the arguments of `{word.within}`"


def _code(name: str) -> Code:
    if name in CODES:
        return CODES[name]
    close = did_you_mean(name, CODES)
    raise UsageError(
        Diagnostic(
            "E0422",
            f"there is no code `{name}`",
            help=f"did you mean `{close}`?" if close else "codes look like `E0301`",
        )
    )


def _of_code(code: Code) -> Iterator[str]:
    yield f"{code.code}: {code.sentence}"
    if not code.bad:
        return
    if len(code.bad) > LONGEST_EXAMPLE:
        yield from ("", "for example a text that is too large or too deep to print here")
    else:
        yield from ("", "a policy with this diagnostic:", "", *_indented(code.bad))
        yield from ("", *(line for d in check(code.bad, "example.policy")[1] for line in str(d).splitlines()))
    yield from ("", "a policy without it:", "", *_indented(code.good))


def _indented(text: str) -> Iterator[str]:
    return (f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))


def _of_policy(policy: Policy, gen_length: int) -> Iterator[str]:
    values = policy.parameters
    yield f"{policy.name}: {policy.doc}" if policy.doc else policy.name
    yield ""
    for name, kind in policy.parameter_kinds.items():
        about = (
            "each request may have its own"
            if kind == "pattern"
            else "static: fixed in the step, another value compiles again"
            if name in policy.facts.static
            else "dynamic: an input of the compiled step"
        )
        kind = " | ".join(policy.program.parameters[name].choices) or kind
        value = f" = {values[name]}" if values.get(name) is not None else ""
        yield f"  {name}: {kind}{value}   ({about})"
    yield ""
    yield from fact_lines(policy, gen_length)


def fact_lines(policy: Policy, gen_length: int) -> Iterator[str]:
    """The facts of a policy in words, under its parameter values and for a length."""
    facts, values = policy.facts, policy.parameters
    for phase, reason in facts.reasons.items():
        yield f"  {f'phase {phase}' if phase else 'it ends'}: {reason}"
    plan = policy.plan(gen_length)
    window = "all at once" if plan.window == "all" else f"in {WINDOW_SHAPES[plan.window]} {plan.block_length}"
    bound = f"for gen_length {gen_length} {window}: {plan.max_forwards}"
    yield f"  forwards: at most {facts.forwards_formula}; {bound}"
    yield f"  input rows for each row of the batch in a forward: {plan.rows_per_forward}"
    if plan.branches > 1:
        yield f"  each step makes {plan.branches} candidates (`branch`), and the next forward has a row for each one that differs"
    yield f"  carried between steps: {facts.state_bytes_per_position} bytes a position"
    if facts.kept_ids:
        ids = " and ".join(str(values.get(str(keep), keep)) for keep in facts.kept_ids)
        size = plan.kept_bytes(LARGE_VOCABULARY)
        yield f"  carried of a distribution: its {ids} likeliest ids (all ids of a smaller vocabulary), {size:,} bytes a position"
    yield f"  passes over the vocabulary in a step: {facts.vocabulary_passes}"
    for name, inputs in facts.networks.items():
        yield f"  the network `{name}` has {inputs} input{'s' * (inputs != 1)} at each position"
    yield f"  KV caches that it may use: {', '.join(facts.caches)}"
    if facts.constrains is not None:
        yield f"  {TEXT_MATCHES.format(facts.constrains)}"
    yield "  a step writes only in its window, and no row depends on another row"
    yield f"  it is {'deterministic' if facts.deterministic else 'random: the same seed and request id give the same tokens'}"
    yield f"  lossless: {facts.lossless}"
    for assumption in facts.assumptions:
        yield f"  assumed: {assumption}"
