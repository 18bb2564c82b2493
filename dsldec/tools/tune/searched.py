"""Which parameters are searched, and which values may they have?

`--set confidence=0.5..0.99` is a range, `--set block=16,32` a list, `--set block=32` one value. Not here: the
values that are tried (`proposals`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...checks.values import Value
from ...diagnostics import Diagnostic, UsageError
from ...policy import Policy
from ...spelling import typed
from .. import quoted
from ..process import say
from ..settings import name_and_text, with_settings
from ..several_values import OF_ONE_VALUE, WHOLE_KINDS, has_several, range_text

NUMBER_KINDS = ("prob", "nats", "logit", "real", "table", "table by step")
DIGITS = 3  # of a value that is tried: more of them would only look exact
_EXAMPLES = {"int": "1..16", "token": "1,2", "bool": "true,false", "prob": "0.5..0.99"}

SettingValues = dict[str, Value]


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The numbers from `low` to `high`. `whole`: ints alone; `log`: the search is even in their logarithm."""

    name: str
    low: float
    high: float
    whole: bool
    log: bool

    @property
    def size(self) -> int | None:
        """The number of values, None where there is no last digit."""
        return int(self.high - self.low) + 1 if self.whole else None

    def at(self, share: float) -> Value:
        """The value at a share of the range, from 0 to below 1."""
        if self.whole and not self.log:
            return self.rounded(self.low - 0.5 + share * (self.high - self.low + 1))
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return self.rounded(math.exp(low + share * (high - low)))
        return self.rounded(self.low + share * (self.high - self.low))

    def rounded(self, value: float) -> Value:
        """The value with few digits, inside the range."""
        if self.whole:
            return int(min(self.high, max(self.low, round(value))))
        width = value if self.log else self.high - self.low
        near = round(value, DIGITS - math.floor(math.log10(abs(width)))) if width else value
        return float(min(self.high, max(self.low, near)))

    def has(self, value: object) -> bool:
        """Whether the search may try this value."""
        number = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class ValueList:
    """A few values, in the order of the command line."""

    name: str
    values: tuple[Value, ...]

    @property
    def size(self) -> int:
        return len(self.values)

    def at(self, share: float) -> Value:
        return self.values[min(len(self.values) - 1, int(share * len(self.values)))]

    def has(self, value: object) -> bool:
        return any(type(value) is type(one) and value == one for one in self.values)


Searched = ValueRange | ValueList


def searched_parameters(
    policy: Policy, settings: Sequence[str], static: bool
) -> tuple[Policy, list[Searched]]:
    """The policy with each `name=value` of one value bound, and the parameters that are searched.

    `static`: whether static parameters may be searched. Raises `UsageError` (E0424, E0531, E0532) and
    `PolicyError` (E0402, E0403).
    """
    given: dict[str, tuple[str, str]] = {}
    for setting in settings:
        name, text = name_and_text(setting, "values", "`--set confidence=0.5..0.99`")
        given[name] = (setting, text)
    kinds = policy.parameter_kinds
    several = {name for name, (_, text) in given.items() if has_several(kinds.get(name), text)}
    fixed = with_settings(policy, [setting for name, (setting, _) in given.items() if name not in several])
    searched = [_searched(fixed, name, given[name][1]) for name in given if name in several]
    if not searched:
        raise UsageError(_nothing_searched(fixed))
    for one in searched:
        _require_dynamic(fixed, one, static)
    return fixed, searched


def _searched(policy: Policy, name: str, text: str) -> Searched:
    kind = policy.parameter_kinds.get(name)
    if "," in text:
        values = [_bound(policy, name, part.strip()) for part in text.split(",") if part.strip()]
        if len(set(map(str, values))) < 2:
            raise UsageError(_wrong(policy, name, text, "has fewer than two values"))
        return ValueList(name, tuple(dict.fromkeys(values)))
    parts = range_text(text)
    if parts is None or parts.count is not None or parts.word not in (None, "log"):
        raise UsageError(_wrong(policy, name, text, "is no range"))
    low, high = _bound(policy, name, parts.low), _bound(policy, name, parts.high)
    if kind not in (*WHOLE_KINDS, *NUMBER_KINDS):
        raise UsageError(_wrong(policy, name, text, "is a range, and its parameter is no number"))
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if not low < high:
        raise UsageError(_wrong(policy, name, text, "does not go up"))
    if parts.word and low <= 0:
        raise UsageError(_wrong(policy, name, text, "begins at 0 or below, where there is no logarithm"))
    return ValueRange(name, low, high, kind in WHOLE_KINDS, bool(parts.word))


def _bound(policy: Policy, name: str, text: str) -> Value:
    """The value of a text. Its kind and its range are those of the parameter."""
    return with_settings(policy, [f"{name}={text}"]).parameters[name]


def _wrong(policy: Policy, name: str, text: str, why: str) -> Diagnostic:
    message = f"{quoted(text)} gives `{name}` no values to search: it {why}"
    return Diagnostic("E0531", message, help=f"for example {_example(policy, name)}")


def _example(policy: Policy, name: str) -> str:
    kind = policy.parameter_kinds.get(name, "prob")
    if kind == "choice":
        choices = policy.program.parameters[name].choices
        return f"`--set {name}={','.join(choices)}`"
    values = _EXAMPLES.get(kind, "0.01..1 log")
    return f"`--set {typed(f'{name}={values}')}`"


def _nothing_searched(policy: Policy) -> Diagnostic:
    message = "no parameter is searched: no `--set` has a range or a list"
    dynamic = [name for name in policy.facts.dynamic if policy.parameter_kinds[name] not in OF_ONE_VALUE]
    names = dynamic or [
        name for name in policy.parameters if policy.parameter_kinds[name] not in OF_ONE_VALUE
    ]
    if not names:
        return Diagnostic("E0531", message, help=f"the policy `{policy.name}` has no parameter to search")
    also = "" if dynamic else " with `--static`"
    return Diagnostic("E0531", message, help=f"for example {_example(policy, names[0])}{also}")


def _require_dynamic(policy: Policy, one: Searched, static: bool) -> None:
    """Raise `UsageError` (E0532) for a parameter whose value decides the code of a step."""
    if one.name not in policy.facts.static and policy.parameter_kinds[one.name] != "choice":
        return
    if static:
        say(f"`{one.name}` is static: each of its values compiles another step, on backends that compile")
        return
    message = f"`{one.name}` is static: each of its values needs another step"
    raise UsageError(Diagnostic("E0532", message, help="add `--static`, or give it one value"))
