"""The options of one prompt of a run: those of `DecodeOptions` that may differ between prompts.

Needs no torch. Not here: the checks of values (`options`), the fields of a JSONL line
(`tools.line_options`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..options import DEFAULT_GEN_LENGTH, DecodeOptions
from ..patterns import Pattern
from ..spelling import N, option
from .requests import Request


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """The options of one prompt, and which of its samples are decoded. Names as in `DecodeOptions`.
    `parameters`: values that replace those of the policy.
    """

    gen_length: int = DEFAULT_GEN_LENGTH
    samples: tuple[int, ...] = (0,)
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    min_length: int = 0
    seed: int = 0
    system: str | None = None
    constrain: Pattern | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict)

    def problem(self) -> Diagnostic | None:
        """The diagnostic (E0409) about options that cannot be met together."""
        if self.min_length <= self.gen_length:
            return None
        message = (
            f"{option('min_length', self.min_length)} is more than the {self.gen_length} tokens to generate"
        )
        return Diagnostic("E0409", message, help=f"generate more: {option('gen_length', self.min_length)}")


def options_of_prompts(options: DecodeOptions, count: int) -> list[PromptOptions]:
    """The options of each of `count` prompts, which are the same unless `gen_length` is a list. Raises
    `UsageError` (E0409).
    """
    lengths, patterns = lengths_of(options, count), patterns_given(options, count)
    each = [
        prompt_options(options, length, pattern) for length, pattern in zip(lengths, patterns, strict=True)
    ]
    for one in {one.gen_length: one for one in each}.values():
        if not options.infill and (problem := one.problem()):
            raise UsageError(problem)
    return each


def prompt_options(options: DecodeOptions, gen_length: int, pattern: Pattern | None = None) -> PromptOptions:
    """The options of a prompt with `gen_length` tokens to generate and this pattern."""
    return PromptOptions(
        gen_length=gen_length,
        samples=tuple(range(int(options.n))),
        stop=texts_of(options.stop),
        stop_ids=ids_of(options.stop_ids),
        min_length=int(options.min_length),
        seed=int(options.seed),
        system=options.system,
        constrain=pattern,
    )


def lengths_of(options: DecodeOptions, count: int) -> list[int]:
    """The tokens to generate for each of `count` prompts. Raises `UsageError` (E0409)."""
    given = options.gen_length
    if not isinstance(given, list | tuple):
        return [DEFAULT_GEN_LENGTH if given is None else int(given)] * count  # type: ignore[arg-type]
    if len(given) != count:
        prompts = "is 1 prompt" if count == 1 else f"are {count} prompts"
        message = f"there {prompts} and {len(given)} values of `gen_length`"
        raise UsageError(
            Diagnostic("E0409", message, help=f"give one for each prompt, or one for all: `gen_length={N}`")
        )
    return [int(one) for one in given]


def patterns_given(options: DecodeOptions, count: int) -> list[Pattern | None]:
    """The pattern of each of `count` prompts. Raises `UsageError` (E0490 to E0494, E0499)."""
    given = options.constrain
    if not isinstance(given, list | tuple):
        return [None if given is None else Pattern.of(given)] * count
    if len(given) != count:
        prompts = "is 1 prompt" if count == 1 else f"are {count} prompts"
        message = f"there {prompts} and {len(given)} values of `constrain`"
        help = 'give one for each prompt, or one for all: `constrain="[0-9]+"`'
        raise UsageError(Diagnostic("E0499", message, help=help))
    return [None if one is None else Pattern.of(one) for one in given]


def texts_of(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """The values of an option that takes one text or several."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def ids_of(given: int | Sequence[int] | None) -> tuple[int, ...]:
    """The values of an option that takes one id or several."""
    if given is None:
        return ()
    return tuple(int(one) for one in (given if isinstance(given, list | tuple) else (given,)))


def with_ends(request: Request, denoiser: Any, own: PromptOptions) -> Request:
    """The request with the ends that its prompt's options name. A stop string that is a special token is a
    stop id: no decoded text contains it. Raises `UsageError` (E0409) for stop strings without a tokenizer.
    """
    stop, stop_ids = list[str](), list(own.stop_ids)
    if own.stop and getattr(denoiser, "decode_text", None) is None:
        message = f"{option('stop')} takes texts, and this denoiser has no tokenizer"
        raise UsageError(Diagnostic("E0409", message, help=f"give ids: {option('stop_ids', 2)}"))
    special = getattr(denoiser, "special_id", None)
    for text in own.stop:
        id_ = None if special is None else special(text)
        if id_ is None:
            stop.append(text)
        else:
            stop_ids.append(id_)
    return replace(
        request,
        stop=tuple(stop),
        stop_ids=tuple(dict.fromkeys(stop_ids)),
        text_ends=tuple(sorted(getattr(denoiser, "stop_ids", ()))),
        min_length=own.min_length,
    )


# Options without a meaning for an infilling, and why.
NOT_WITH_INFILL = {
    "stop": "the text after a gap stays, so that nothing ends an answer",
    "stop_ids": "the text after a gap stays, so that nothing ends an answer",
    "min_length": "the gaps give the number of tokens",
    "system": "an infilling uses no chat template",
}


def require_of_infill(options: DecodeOptions) -> None:
    """Raise `UsageError` (E0423) for an option that an infilling cannot follow."""
    for name, why in NOT_WITH_INFILL.items():
        if options.infill and getattr(options, name):
            message = f"{option(name)} cannot be used with {option('infill', True)}: {why}"
            raise UsageError(Diagnostic("E0423", message, help=f"leave {option(name)} out"))
