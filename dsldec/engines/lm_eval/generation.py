"""Which length and ends has a request of `generate_until`? The policy decides how a token is drawn.

Not here: the arguments of the model (`arguments`), decoding (`model`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...diagnostics import Diagnostic, UsageError, did_you_mean
from ...options import is_whole
from ...policy import Policy
from ...spelling import shown

# The names of the length, in the order in which the harness reads them.
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
LEAST_LENGTHS = ("min_length", "min_gen_toks", "min_new_tokens", "min_tokens")
SAMPLING = ("do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p")
KNOWN = ("until", *LENGTHS, *LEAST_LENGTHS, *SAMPLING)


@dataclass(frozen=True, slots=True)
class RequestedAnswer:
    """The length of an answer in tokens, the texts before which it ends, and the least length."""

    gen_length: int
    until: tuple[str, ...] = ()
    min_length: int = 0


def read_generation(gen_kwargs: Mapping[str, Any], gen_length: int | None, default: int) -> RequestedAnswer:
    """The request's length and ends. `gen_length`: that of the model's arguments, which counts first. Raises
    `UsageError` (E0409) for an argument without a meaning under a policy.
    """
    for name in gen_kwargs:
        if name not in KNOWN:
            raise _unknown(name)
    asked = _count(gen_kwargs, LENGTHS, default, 1)
    least = _count(gen_kwargs, LEAST_LENGTHS, 0, 0)
    until = gen_kwargs.get("until") or ()
    texts = (until,) if isinstance(until, str) else tuple(until)
    if not all(isinstance(text, str) for text in texts):
        message = f"`until` is a text or a list of texts, not {shown(until)}"
        raise UsageError(Diagnostic("E0409", message, help='in the task\'s file: `until: ["Question:"]`'))
    length = asked if gen_length is None else int(gen_length)
    return RequestedAnswer(length, tuple(text for text in texts if text), min(least, length))


def _count(gen_kwargs: Mapping[str, Any], names: Sequence[str], default: int, least: int) -> int:
    """The number under the first of the names that is given."""
    asked: Any = next((gen_kwargs[name] for name in names if gen_kwargs.get(name) is not None), default)
    if not is_whole(asked) or asked < least:
        message = f"`{names[0]}` must be a whole number of {least} or more, not {shown(asked)}"
        raise UsageError(Diagnostic("E0409", message, help=f"for example `--gen_kwargs {names[0]}=256`"))
    return int(asked)


def _unknown(name: str) -> UsageError:
    close = did_you_mean(name, KNOWN)
    message = f"the generation argument `{name}` has no meaning where a policy decides"
    help = (
        f"did you mean `{close}`?"
        if close
        else "leave it out; parameters of the policy go into `--model_args`"
    )
    return UsageError(Diagnostic("E0409", message, help=help))


def sampling_warnings(gen_kwargs: Mapping[str, Any], policy: Policy) -> Iterator[Diagnostic]:
    """Warnings (W0401) about sampling arguments that the policy overrules."""
    given = {name: gen_kwargs[name] for name in SAMPLING if gen_kwargs.get(name) is not None}
    samples = given.get("do_sample") or (given.get("temperature") and "do_sample" not in given)
    draws = not policy.facts.deterministic
    if bool(samples) == draws and not (draws and any(name in given for name in SAMPLING[1:])):
        return
    if not given or (not draws and not samples):
        return
    names = ", ".join(f"`{name}={value}`" for name, value in given.items())
    rule = "draws by its own `draw` statement" if draws else "takes the likeliest token"
    message = f"{names} of the task has no effect: the policy `{policy.name}` {rule}"
    help = "the policy decides how a token is drawn: `draw gumbel(temperature=0.7)`, or `draw argmax`"
    yield Diagnostic("W0401", message, help=help)


def request_ids(contexts: Sequence[str]) -> list[int]:
    """An id for each prompt, which names its random numbers: a hash of its text.

    It depends neither on the order of the requests nor on the batch. A prompt that comes several times, as
    with `repeats`, gets a new id each time.
    """
    seen: Counter[str] = Counter()
    ids = []
    for context in contexts:
        text = f"{seen[context]}\n{context}".encode(errors="surrogatepass")
        ids.append(int.from_bytes(hashlib.sha256(text).digest()[:8], "big", signed=True))
        seen[context] += 1
    return ids


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first of the ends."""
    return text[: min((at for end in until if (at := text.find(end)) >= 0), default=len(text))]
