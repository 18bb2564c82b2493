"""The signature of every operation: kinds and extents of its inputs and of its result, and its attribute.

Not here: the meaning of operations (`nodes`), whether a program follows this table (`verify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from ..language.words import IDS, NUMBERS, OBSERVATIONS, WORDS, Extent, Kind
from .nodes import Operation

# The words of a signature. Values of these words are data:
KINDS: Mapping[str, frozenset[Kind]] = MappingProxyType(
    {
        "number": NUMBERS,
        "real": NUMBERS - {Kind.INT},
        "int": frozenset({Kind.INT}),
        "id": IDS,
        "token": frozenset({Kind.TOKEN}),
        "truth": frozenset({Kind.BOOL, Kind.MASK}),
        "prob": frozenset({Kind.PROB}),
        "nats": frozenset({Kind.NATS}),
        "logit": frozenset({Kind.LOGIT}),
        "group": frozenset({Kind.GROUP, Kind.INT}),
        "table": frozenset({Kind.TABLE}),
        "steps": frozenset({Kind.STEP_TABLE}),
        "network": frozenset({Kind.NETWORK}),
    }
)
# Values of these words are structures; only an operation with such a result gives one.
STRUCTURES = frozenset({"logits", "observations", "order", "distribution"})

EXTENTS: Mapping[str, Extent] = MappingProxyType({"T": Extent.POSITION, "B": Extent.ROW, "1": Extent.RUN})

# Inputs -> result, in one or more forms. A letter after the word is an extent: T (position), B (row), 1
# (run). For an input it is the widest extent; a value with a lower extent is repeated at every position
# before an operation reads it as an input with T. An input without a letter broadcasts to the result. A
# result has exactly the extent of its letter; without a letter, it has the extent of the widest input, or a
# wider one. `...` repeats the last input. The attribute follows the name of the operation if the form depends
# on it.
_TWO_NUMBERS = ("int int -> int", "number number -> real")
_COMPARISON = ("number number -> truth", "id id -> truth")
_REDUCTION = ("number.T truth.T -> real.B",)
_GROUP_REDUCTION = ("number.T truth.T group.T -> real.T",)
_ALONG_AN_ORDER = ("order int.T -> int.T", "order number.T -> real.T")
SIGNATURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "number": ("-> number.1", "-> truth.1"),
        "parameter": ("-> number.1", "-> truth.1", "-> token.1", "-> table.1", "-> steps.1", "-> network.1"),
        "special": ("-> token.1",),
        "state": ("-> number", "-> truth", "-> token", "-> distribution"),
        "logits": ("-> logits",),
        "canvas": ("-> token.T",),
        "editable": ("-> truth.T",),
        "offset": ("-> int.T",),
        "ban": ("logits id.1 ... -> logits",),
        "bias": ("logits id.1 number.1 -> logits",),
        "bias_all": ("logits table.1 -> logits",),
        "temperature": ("logits number.B -> logits",),
        "observe argmax": ("logits -> observations",),
        "observe given": ("logits token.T -> observations",),
        "path": (
            "logits token.T int.T int.B int.B -> token.T",
            "logits token.T int.T int.B int.B number.B int.B int.B -> token.T",
            "logits token.T int.T int.B int.B number.B number.1 int.1 int.B int.B -> token.T",
        ),
        "observe gumbel": ("logits number.B int.B int.B int.T -> observations",),
        "observe nucleus": ("logits number.B number.1 int.1 int.B int.B int.T -> observations",),
        **{
            f"observation {name}": (f"observations -> {word.gives.kind}.T",)
            for name, word in WORDS.items()
            if name in OBSERVATIONS and word.gives is not None
        },
        "observation finite": ("observations -> truth.T",),
        "lookup": ("table.1 id.T -> real.T",),
        "lookup_step": ("steps.1 int -> real",),
        "probability": ("logits id.T -> prob.T",),
        "log_probabilities": ("logits -> distribution",),
        **dict.fromkeys(("kl", "js"), ("logits distribution -> nats.T",)),
        **dict.fromkeys(("negate", "absolute"), ("int -> int", "real -> real")),
        **dict.fromkeys(
            ("add", "subtract", "multiply", "floor_divide", "remainder", "minimum", "maximum"), _TWO_NUMBERS
        ),
        **dict.fromkeys(("divide", "power"), ("number number -> real",)),
        **dict.fromkeys(
            ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"), _COMPARISON
        ),
        "not": ("truth -> truth",),
        **dict.fromkeys(("and", "or"), ("truth truth ... -> truth",)),
        "where": ("truth id id -> id", "truth number number -> real", "truth truth truth -> truth"),
        **dict.fromkeys(("exp", "log", "sqrt"), ("number -> real",)),
        "cosine_left": ("int int int -> int",),
        **dict.fromkeys(("floor", "ceil", "truncate"), ("number -> int",)),
        "real": ("int -> real",),
        "random": ("int int int -> real",),
        "orelse": ("truth.T truth.T -> truth.T",),
        "any": ("truth.T -> truth.B",),
        "count": ("truth.T -> int.B",),
        "sum": ("int.T truth.T -> int.B", *_REDUCTION),
        **dict.fromkeys(("mean", "std", "least", "greatest"), _REDUCTION),
        "group_any": ("truth.T group.T -> truth.T",),
        "group_count": ("truth.T group.T -> int.T",),
        "group_sum": ("int.T truth.T group.T -> int.T", *_GROUP_REDUCTION),
        **dict.fromkeys(("group_mean", "group_least", "group_greatest"), _GROUP_REDUCTION),
        "quantile": ("number.T truth.T number.B -> real.B",),
        "order": ("truth.T number.T -> order", "truth.T number.T group.T -> order"),
        "rank": ("order -> int.T",),
        **dict.fromkeys(("cumsum", "cummax"), _ALONG_AN_ORDER),
        "prefix": ("order truth.T -> truth.T",),
        "top": ("order int.B -> truth.T",),
        **dict.fromkeys(("thin", "thin_by_kernel"), ("truth.T number.T truth.T number.B -> truth.T",)),
        "runs": ("truth.T -> group.T",),
        "run_count": ("truth.T -> int.B",),
        "run_length": ("truth.T -> int.T",),
        **dict.fromkeys(("runs_holding", "trim"), ("truth.T truth.T -> truth.T",)),
        "grow": ("truth.T truth.T truth.T int.B truth.B truth.T -> truth.T",),
        "shift": (
            "truth.T int.B -> truth.T",
            "int.T int.B -> int.T",
            "real.T int.B -> real.T",
            "token.T int.B -> token.T",
        ),
        "shift_distributions": ("distribution int.B -> distribution",),
        "distance": ("truth.T -> real.T",),
        "density": ("truth.T number.B -> real.T",),
        "learned": ("network.1 truth.T number.T ... -> real.T",),
        **dict.fromkeys(("is_mask", "is_end"), ("id.T -> truth.T",)),
        "is_word": ("id.T -> truth",),
        "write": ("token.T truth.T id.T -> token.T",),
        "erase": ("token.T truth.T -> token.T",),
    }
)

# Operations with an attribute, by the kind of attribute; all others have none.
SIZED = frozenset(
    {"thin", "thin_by_kernel", "log_probabilities", "kl", "js"}
)  # a number, or the name of a static parameter
SITED = frozenset({"random"})  # the number of a place in the policy
NAMED = frozenset({"parameter", "special", "state", "learned"})
CHOSEN = frozenset({"observe", "observation"})  # an attribute that the table lists


@dataclass(frozen=True, slots=True)
class OperandRule:
    """An input or a result of a form."""

    word: str
    extent: Extent | None


@dataclass(frozen=True, slots=True)
class Form:
    """One form of an operation; `repeats`: the last input may be repeated."""

    inputs: tuple[OperandRule, ...]
    repeats: bool
    result: OperandRule

    def input(self, place: int) -> OperandRule:
        return self.inputs[min(place, len(self.inputs) - 1)]

    def takes(self, count: int) -> bool:
        """Whether the form has this number of inputs."""
        return count == len(self.inputs) or (self.repeats and count > len(self.inputs))


def _operand(text: str) -> OperandRule:
    word, _, letter = text.partition(".")
    assert word in KINDS or word in STRUCTURES, text
    return OperandRule(word, EXTENTS[letter] if letter else None)


def _form(text: str) -> Form:
    inputs, result = text.split("->")
    words = inputs.split()
    repeats = words[-1:] == ["..."]
    return Form(tuple(map(_operand, words[: len(words) - repeats])), repeats, _operand(result.strip()))


FORMS: Mapping[str, tuple[Form, ...]] = MappingProxyType(
    {name: tuple(map(_form, texts)) for name, texts in SIGNATURES.items()}
)


def forms(operation: Operation) -> tuple[Form, ...]:
    """The forms of an operation; empty for an unknown operation, or an unknown attribute."""
    key = f"{operation.name} {operation.attribute}" if operation.name in CHOSEN else operation.name
    return FORMS.get(key, ())


def over_positions(operation: Operation) -> frozenset[int]:
    """The indices of the inputs that the operation reads at every position.

    A value with a lower extent is repeated there. Inputs of elementwise operations are not among them: they
    broadcast to the result.
    """
    key = operation.attribute if operation.name in CHOSEN else None
    return _over_positions(operation.name, key, len(operation.inputs))


@cache
def _over_positions(name: str, attribute: object, count: int) -> frozenset[int]:
    forms_of = [form for form in FORMS[name if attribute is None else f"{name} {attribute}"] if form.inputs]
    return frozenset(
        place for form in forms_of for place in range(count) if form.input(place).extent is Extent.POSITION
    )
