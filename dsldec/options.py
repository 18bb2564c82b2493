"""The options of `decode` and of a model's loading: each name, default, unit, choices and check, once.

Two frozen classes hold the values: `DecodeOptions` and `LoadOptions`. Each field carries an `Option`, from
which the command line makes a flag and a message its text. Needs no torch. Not here: how the command line
parses a text (`cli.values`), the effect of an option (`runtime.decode`, `models`), parameters of a policy
(`policy`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, Self

from .diagnostics import Diagnostic, UsageError, did_you_mean
from .spelling import option as spelled
from .spelling import shown

# The choices of an option: each name, and its meaning in one line.
BACKENDS: dict[str, str] = {
    "auto": "`eager`, then `inductor` as soon as that is in the cache or pays",
    "reference": "plain Python, slow: the definition of every operation",
    "eager": "torch operations, nothing is compiled",
    "inductor": "compiled by torch's Inductor and stored; a CPU needs a C++ compiler",
    "tensorrt": "compiled by TensorRT; needs an NVIDIA GPU and the extra of that name",
}
CACHES: dict[str, str] = {
    "auto": "`exact` if the model is block-causal, else `none`",
    "none": "every forward computes the whole canvas",
    "exact": "for block-causal models; changes no answer",
    "prefix": "for bidirectional models; reuses the left of the window, an approximation",
    "dual": "for bidirectional models; reuses both sides of the window, an approximation",
}
PACKINGS: dict[str, str] = {
    "batch": "all rows in one call of the denoiser",
    "sequential": "one call of the denoiser for each row",
}
DTYPES: dict[str, str] = {"float32": "32 bits", "bfloat16": "16 bits", "float16": "16 bits"}

DEFAULT_GEN_LENGTH, DEFAULT_BATCH = 256, 8
LARGEST_SIZE = 2**31 - 1
VALUES = "values"  # of `trace`
MOST_DRAFTS = 1024  # each draft is a row of the forward

ValueKind = Literal[
    "count", "id", "ids", "seed", "flag", "choice", "device", "list", "text", "texts", "pattern"
]


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its default and unit, its valid values, and its help in one line.

    `choices`: the values of a `choice`; `least`, `most`: the bounds of a `count`; `each`: whether a list may
    give one for each prompt. `default_text`: the default in words, if `default` alone is not clear.
    `unknown`, `code`: the diagnostic about a wrong choice. `words`: values of a `flag` beside True and False.
    `flag`: whether the command line has a flag for it; `generate`: whether `custom_generate` and `dsldec
    export-hf` have it. `decides`: whether its value may change an answer; `if_set`: whether results files
    from before this option exist, so that its default is not in the digest of a line.
    """

    name: str
    default: Any
    kind: ValueKind
    help: str
    unit: str = ""
    default_text: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    least: int = 1
    most: int = LARGEST_SIZE
    each: bool = False
    example: int = 8
    metavar: str = "N"
    unknown: str = ""
    code: str = "E0409"
    words: tuple[str, ...] = ()
    flag: bool = True
    generate: bool = False
    decides: bool = False
    if_set: bool = False

    @property
    def shown_default(self) -> str:
        """The default as documentation shows it."""
        return self.default_text or str(self.default)

    def require(self, value: object) -> None:
        """Raise `UsageError` for a value that the option does not take."""
        if value is None and self.default is None:
            return
        match self.kind:
            case "count" if self.each and isinstance(value, list | tuple):
                for one in value:
                    self.require_count(one)
            case "count":
                self.require_count(value)
            case "text" | "texts" | "ids":
                self._require_texts_or_ids(value)
            case "pattern":
                self._require_patterns(value)
            case "seed" if not is_whole(value):
                raise UsageError(not_whole(self.name, value))
            case "flag" if not (_is_flag(value) or (isinstance(value, str) and value in self.words)):
                raise UsageError(self._no_flag(value))
            case "choice" if not (isinstance(value, str) and value in self.choices):
                raise UsageError(self._no_choice(str(value)))

    def require_count(self, value: Any) -> None:
        """Raise `UsageError` for a value that is no valid `count`."""
        help = f"for example {spelled(self.name, self.example)}"
        bounded = self.most < LARGEST_SIZE
        if not is_whole(value) or value < self.least or (bounded and value > self.most):
            bounds = f"from {self.least} to {self.most}" if bounded else f"of {self.least} or more"
            message = f"`{self.name}` must be a whole number {bounds}, not {shown(value)}"
            raise UsageError(Diagnostic("E0409", message, help=help))
        if value > self.most:
            message = f"`{self.name}` is at most {self.most}, not {value}"
            raise UsageError(Diagnostic("E0409", message, help=help))

    def _require_texts_or_ids(self, value: object) -> None:
        """Raise `UsageError` for a value that is no text, no texts, or no ids, as the option needs."""
        if self.kind == "ids":
            several, wanted = (value,) if is_whole(value) else value, "ids: whole numbers from 0 on"
            valid = isinstance(several, list | tuple) and all(is_whole(one) and one >= 0 for one in several)
        else:
            several, wanted = (value,) if isinstance(value, str) else value, "texts that are not empty"
            valid = isinstance(several, list | tuple) and all(isinstance(one, str) and one for one in several)
            if self.kind == "text":
                wanted, valid = "a text that is not empty", valid and isinstance(value, str)
        if not valid:
            message = f"`{self.name}` takes {wanted}, not {shown(value)}"
            example = self.example if self.kind == "ids" else "A text."
            raise UsageError(Diagnostic("E0409", message, help=f"for example {spelled(self.name, example)}"))

    def _require_patterns(self, value: object) -> None:
        """Raise `UsageError` (E0499) for a value that is no pattern, and no list with one for each prompt."""
        several = value if isinstance(value, list | tuple) else [value]
        wrong = [one for one in several if not _is_pattern(one) and not (one is None and several is value)]
        if wrong or not several:
            given = shown(wrong[0]) if wrong else "an empty list"
            message = (
                f"`{self.name}` takes a regular expression or a JSON schema, or a list of these, not {given}"
            )
            help = f"for example {spelled(self.name, '[0-9]+')}"
            raise UsageError(Diagnostic("E0499", message, help=help))

    def _no_flag(self, value: object) -> Diagnostic:
        words = [f'`"{word}"`' for word in self.words]
        taken = (
            " or ".join([", ".join(["True", "False", *words[:-1]]), words[-1]]) if words else "True or False"
        )
        message = f"`{self.name}` is {taken}, not {shown(value)}"
        close = did_you_mean(value, self.words) if isinstance(value, str) else None
        help = (
            f'did you mean `{self.name}="{close}"`?' if close else f"write `{self.name}=True` or leave it out"
        )
        return Diagnostic("E0409", message, help=help)

    def _no_choice(self, value: str) -> Diagnostic:
        close = did_you_mean(value, self.choices)
        names = ", ".join(f"`{name}`" for name in self.choices)
        help = f"did you mean `{close}`?" if close else f"write one of {names}"
        return Diagnostic(self.code, self.unknown.format(value), help=help)


def is_whole(value: object) -> bool:
    """Whether a value is an int, or an integer of numpy or torch without dimensions."""
    return hasattr(value, "__index__") and not isinstance(value, bool) and getattr(value, "ndim", 0) == 0


def not_whole(name: str, value: object) -> Diagnostic:
    """The diagnostic about a value that is no whole number."""
    given = f"`{value}`" if isinstance(value, str) and value.isalpha() else shown(value)
    message = f"`{name}` takes whole numbers, not {given}"
    return Diagnostic("E0409", message, help=f"leave `{name}` out for the default")


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or str(value) in ("True", "False")  # numpy has its own type


def _is_pattern(value: object) -> bool:
    """Whether a value may be a pattern: a text, a schema, a class with one, or a prepared one."""
    return isinstance(value, str | Mapping) or hasattr(value, "model_json_schema") or hasattr(value, "regex")


def _option(default: Any, kind: ValueKind, help: str, **more: Any) -> Any:
    """A field with its `Option`, which `options_of` completes with the field's name."""
    return field(
        default=default, metadata={"option": {"default": default, "kind": kind, "help": help, **more}}
    )


def options_of(holder: type[DecodeOptions] | type[LoadOptions]) -> dict[str, Option]:
    """The options of a class, by name, in the order of its fields."""
    return {one.name: _completed(one) for one in fields(holder)}


def _completed(one: Field[Any]) -> Option:
    return Option(one.name, **one.metadata["option"])


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """The options of `decode` and `stream`. Raises `UsageError` (E0404, E0409, E0414) for a wrong value."""

    gen_length: int | Sequence[int] | None = _option(
        None, "count", "tokens to generate, at most; a list gives one for each prompt", unit="tokens",
        default_text=f"{DEFAULT_GEN_LENGTH}", each=True, generate=True, decides=True,
    )  # fmt: skip
    min_length: int = _option(
        0, "count", "no end of text before N tokens", unit="tokens", least=0, generate=True, decides=True, if_set=True
    )  # fmt: skip
    stop: str | Sequence[str] | None = _option(
        None, "texts", "end an answer before this text; several may be given", default_text="none", metavar="TEXT",
        generate=True, decides=True, if_set=True,
    )  # fmt: skip
    stop_ids: int | Sequence[int] | None = _option(
        None, "ids", "end an answer at this id, as at the end-of-text id; several may be given", default_text="none",
        metavar="ID", generate=True, decides=True, if_set=True,
    )  # fmt: skip
    constrain: str | Mapping[str, Any] | Sequence[Any] | None = _option(
        None, "pattern", "the whole answer matches this regular expression or JSON schema; a list gives one for each prompt",
        default_text="any text", each=True, metavar="REGEX|@FILE", generate=True, decides=True, if_set=True,
    )  # fmt: skip
    n: int = _option(1, "count", "samples a prompt, of a policy that draws", example=4)
    system: str | None = _option(
        None, "text", "a system turn in front of each prompt, in the model's chat template", default_text="none",
        metavar="TEXT", decides=True, if_set=True,
    )  # fmt: skip
    infill: bool = _option(
        False, "flag", "replace the masks in a prompt: `[MASK]`, or `[MASK*8]` for 8 tokens; no chat template",
        decides=True,
    )  # fmt: skip
    batch: int = _option(DEFAULT_BATCH, "count", "prompts decoded in one batch", unit="rows", generate=True)
    lookahead: int | None = _option(
        None, "count", "verify N drafts in one forward: the same answers in fewer forwards", unit="drafts",
        default_text="no drafts", most=MOST_DRAFTS, example=4, generate=True,
    )  # fmt: skip
    verify_rows: str = _option(
        "batch", "choice", "forward drafts in one call (`batch`) or one call for each row (`sequential`)",
        choices=PACKINGS, metavar="WAY", unknown="unknown value `{}` for `verify_rows`",
    )  # fmt: skip
    cache: str = _option(
        "auto", "choice", f"reuse keys and values between forwards: {', '.join(CACHES)}; auto is exact for a block-causal model, else none", choices=CACHES,
        metavar="NAME", unknown="there is no cache `{}`", code="E0414", generate=True, decides=True,
    )  # fmt: skip
    seed: int = _option(
        0, "seed", "seed of a policy that draws: the same seed gives the same answers",
        generate=True, decides=True,
    )  # fmt: skip
    backend: str = _option(
        "auto", "choice", f"how a step of the policy runs: {', '.join(BACKENDS)}", choices=BACKENDS,
        metavar="NAME", unknown="there is no backend `{}`", code="E0404", generate=True,
    )  # fmt: skip
    request_ids: Sequence[int] | None = _option(
        None, "list", "an id for each prompt, which names its random numbers", default_text="the place in the list", flag=False
    )  # fmt: skip
    stop_at_eos: bool = _option(True, "flag", "end a row at its end-of-text token", flag=False)
    trace: bool | str = _option(
        False, "flag", "record every step; `\"values\"` also records the values of the policy's expressions",
        flag=False, words=(VALUES,),
    )  # fmt: skip
    logprobs: bool = _option(
        False, "flag", "give the confidence of each token when it was written, and its step"
    )

    def __post_init__(self) -> None:
        for name, one in DECODE.items():
            one.require(getattr(self, name))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Takes the options out of values by name: the `locals()` of a function with these keywords."""
        return cls(**{name: values[name] for name in DECODE if name in values})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """The options of `from_pretrained`, which checks them."""

    trust_remote_code: bool = _option(False, "flag", "run the Python code in the model's folder")
    mask_id: int | None = _option(
        None, "id", "id of the mask token", default_text="found in the model's files", generate=True, decides=True
    )  # fmt: skip
    eos_id: int | None = _option(
        None, "id", "id of the end-of-text token", default_text="found in the model's files", generate=True, decides=True
    )  # fmt: skip
    shift_logits: bool | None = _option(
        None, "flag", "the logits at a position predict the next position", default_text="true for Dream and Fast-dLLM v2",
        generate=True, decides=True,
    )  # fmt: skip
    all_ids: bool = _option(
        False, "flag", "allow ids without a token", default_text="they are never generated", generate=True
    )
    block_length: int | None = _option(
        None, "count", "the model is block-causal, in blocks of N tokens", unit="tokens",
        default_text="found in the model's files", generate=True, decides=True,
    )  # fmt: skip
    dtype: str = _option(
        "float32", "choice", f"of the model's weights: {', '.join(DTYPES)}", choices=DTYPES, metavar="NAME", decides=True
    )  # fmt: skip
    device: str | None = _option(
        None, "device", "cpu, cuda, cuda:1 or mps", default_text="cuda if there is a GPU, else cpu", metavar="NAME"
    )  # fmt: skip
    raw: bool = _option(
        False, "flag", "use prompts unchanged, without the model's chat template", decides=True
    )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Takes the options out of values by name."""
        return cls(**{name: values[name] for name in LOAD if name in values})


DECODE, LOAD = options_of(DecodeOptions), options_of(LoadOptions)
# The options of `custom_generate` and `dsldec export-hf`.
DECODE_OF_GENERATE = tuple(name for name, one in DECODE.items() if one.generate)
LOAD_OF_GENERATE = tuple(name for name, one in LOAD.items() if one.generate)
DEFAULT_DECODE, DEFAULT_LOAD = DecodeOptions(), LoadOptions()
