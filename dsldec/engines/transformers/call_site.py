"""Which arguments did the caller of `generate` write? They are read from the frame of `generate`.

A function given as `custom_generate=` also gets arguments that `generate` itself made. It does not get the
streamer, the assistant, or the caller's list of processors (transformers 5.3 to 5.24). The frame shows the
arguments of the caller alone, also for arguments that a new version of transformers adds. Not here: the
meaning of the arguments (`generate_arguments`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any

# Parameters of `generate`, and the ones that request something. `generate` does not pass them all on.
IN_ORDER = (
    "inputs", "generation_config", "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "synced_gpus", "assistant_model",
    "streamer", "negative_prompt_ids", "negative_prompt_attention_mask", "custom_generate",
)  # fmt: skip
PARAMETERS = tuple(
    name for name in IN_ORDER if name not in ("inputs", "generation_config", "streamer", "custom_generate")
)
NAMED = frozenset(IN_ORDER)


@dataclass(frozen=True, slots=True, repr=False)
class CallerArguments:
    """The parameters of `generate` listed in NAMED, and all other arguments of the caller."""

    parameters: Mapping[str, Any]
    keywords: Mapping[str, Any]


# The arguments of `CustomGenerate.generate`, where it is the caller of `generate`.
_CALL: ContextVar[CallerArguments | None] = ContextVar("_CALL", default=None)


def by_name(inputs: tuple[Any, ...], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of `generate`, by their names in `generate`."""
    return dict(zip(IN_ORDER, inputs, strict=False)) | dict(arguments)


def split(arguments: Mapping[str, Any]) -> CallerArguments:
    """The arguments of a call by name. Arguments listed in NAMED are separate."""
    parameters = {name: arguments.get(name) for name in NAMED}
    return CallerArguments(
        parameters, {name: value for name, value in arguments.items() if name not in NAMED}
    )


@contextmanager
def calling(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Inside, these are the arguments of the caller of `generate`."""
    token = _CALL.set(split(arguments))
    try:
        yield
    finally:
        _CALL.reset(token)


def written(model: Any) -> CallerArguments | None:
    """The caller's arguments. None where no frame holds them, as in compiled code. Only valid within
    `custom_generate`.
    """
    frame = _frame_of_generate(model)
    if frame is None:
        return _CALL.get()
    code, values = frame.f_code, dict(frame.f_locals)
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    keywords = values.get(_catch_all(code))
    keywords = dict(keywords) if isinstance(keywords, Mapping) else {}
    # `generate` may have filled in a parameter that dsldec does not know. The call above shows whether the
    # caller wrote it.
    above = {} if frame.f_back is None else frame.f_back.f_locals.get("kwargs")
    news = {
        name: above[name]
        for name in names
        if name not in NAMED and isinstance(above, Mapping) and name in above
    }
    # `generate` takes the tokenizer out of its keywords, and passes it on to its own functions alone.
    if isinstance(above, Mapping) and above.get("tokenizer") is not None:
        news["tokenizer"] = above["tokenizer"]
    named = {name: values.get(name, keywords.get(name)) for name in NAMED}
    if not _of_transformers(frame.f_globals.get("__name__")):
        # Other code may store its own objects under the name of the argument.
        named |= {
            name: not_of_transformers(named[name]) for name in ("logits_processor", "stopping_criteria")
        }
    return CallerArguments(named, keywords | news)


def not_of_transformers(made: Any) -> Any:
    """The processors and criteria that are not transformers' own. transformers creates its own ones from the
    configuration.
    """
    return (
        [one for one in made if not _of_transformers(type(one).__module__)]
        if isinstance(made, list | tuple)
        else made
    )


def _of_transformers(module: Any) -> bool:
    return str(module).partition(".")[0] == "transformers"


def _frame_of_generate(model: Any) -> FrameType | None:
    """The nearest frame of `generate` for this model: transformers' method, an override, or a replacement."""
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        takes_any = code.co_argcount and code.co_flags & inspect.CO_VARKEYWORDS
        if code.co_name == "generate" and takes_any and frame.f_locals.get(code.co_varnames[0]) is model:
            return frame
        frame = frame.f_back
    return None


def _catch_all(code: Any) -> str:
    """The name of `**kwargs`."""
    name: str = code.co_varnames[
        code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    ]
    return name
