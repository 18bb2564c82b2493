"""Which controls does a page show for the parameters of a policy?

A slider needs two ends, and many parameters have none, or very wide ones: it then covers the values near the
default, and a number field beside it takes the others. Not here: how the page draws a control
(`assets/controls.js`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...checks.values import Value
from ...diagnostics import Diagnostic, UsageError
from ...ir.nodes import ProgramParameter
from ...language.words import Kind
from ...policy import Policy

STEPS = 100  # of a slider, about
WIDEST_WHOLE = 64  # the end of a slider of whole numbers with a small default
TEXTS = (Kind.PATTERN, Kind.TABLE, Kind.STEP_TABLE)


def policy_controls(policy: Policy) -> list[dict[str, Any]]:
    """The control of each parameter: `name`, `kind`, `control` (`slider`, `select`, `checkbox`, `text` or
    `none`), `value`, `static`; of a slider also `least`, `most`, `from`, `to` and `step`.

    `least` and `most` are the range of the parameter, `null` without one; `from` and `to` the ends of the
    slider. A static parameter makes another step, so that a change takes longer.
    """
    static = set(policy.facts.static)
    return [
        {"name": name, "kind": str(one.kind), "static": name in static, **_control(one)}
        for name, one in policy.program.parameters.items()
    ]


def _control(parameter: ProgramParameter) -> dict[str, Any]:
    default = parameter.default
    if parameter.choices:
        return {"control": "select", "value": default, "choices": list(parameter.choices)}
    if parameter.kind is Kind.BOOL:
        return {"control": "checkbox", "value": bool(default)}
    if parameter.kind is Kind.NETWORK:
        return {"control": "none", "value": None}
    if parameter.kind in TEXTS:
        return {"control": "text", "value": "" if default is None else str(default)}
    return {"control": "slider", "value": default, **_slider(parameter)}


def _slider(parameter: ProgramParameter) -> dict[str, Any]:
    default = parameter.default
    assert isinstance(default, int | float)
    low, high = parameter.smallest, parameter.largest
    whole = parameter.kind in (Kind.INT, Kind.TOKEN)
    first, last = _near(parameter.kind, float(default))
    if low is not None and high is not None:
        wide = whole and high - low > 4 * WIDEST_WHOLE
        first, last = float(low), float(high)
        last = max(float(WIDEST_WHOLE), 2.0 * default) if wide else last
    step = 1.0 if whole else 10.0 ** math.floor(math.log10((last - first) / STEPS + 1e-12))
    number = int if whole else float
    return {"least": low, "most": high, "from": number(first), "to": number(last), "step": step}


def _near(kind: Kind, default: float) -> tuple[float, float]:
    """The ends of a slider for a parameter without a range."""
    if kind is Kind.PROB:
        return 0.0, 1.0
    if kind in (Kind.INT, Kind.TOKEN):
        return min(0.0, 2 * default), max(float(WIDEST_WHOLE), 2 * default)
    if kind is Kind.LOGIT:
        return min(-20.0, 2 * default), max(20.0, 2 * default)
    return min(0.0, 2 * default), max(1.0, 4 * default)


def bound_to(policy: Policy, values: Mapping[str, Any]) -> Policy:
    """The policy with the values of a page. No value is a path of a file.

    Raises `UsageError` (E0577, E0578, and as `Policy.bind`) and `PolicyError`.
    """
    taken: dict[str, Value] = {}
    for name, parameter in policy.program.parameters.items():
        if parameter.kind is Kind.NETWORK:
            message = f"the parameter `{name}` is a network, and the playground reads no files"
            help = f"run it on the command line: `dsldec run --policy FILE --set {name}=FILE.safetensors`"
            raise UsageError(Diagnostic("E0578", message, help=help))
        if parameter.kind is Kind.PATTERN and parameter.default is None and not values.get(name):
            message = f"the parameter `{name}` is a pattern, and has no value"
            help = "write a regular expression or a JSON schema into its field, for example `[0-9]+`"
            raise UsageError(Diagnostic("E0578", message, help=help))
        if name in values and not (parameter.kind in TEXTS and values[name] == ""):
            taken[name] = _value(name, parameter, values[name])
    return policy.bind(**taken)


def _value(name: str, parameter: ProgramParameter, value: Any) -> Value:
    if parameter.kind in (Kind.TABLE, Kind.STEP_TABLE):
        return _table(name, value)
    if not isinstance(value, str | int | float):
        message = f"the value of `{name}` is no number and no text"
        raise UsageError(Diagnostic("E0577", message, help="reload the page"))
    whole = parameter.kind in (Kind.INT, Kind.TOKEN) and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _table(name: str, value: Any) -> Value:
    """A number, or numbers with commas between them."""
    try:
        numbers = tuple(float(one) for one in str(value).strip(" ()[],").split(","))
    except ValueError:
        message = f"`{name}` is a number, or numbers with commas between them"
        raise UsageError(Diagnostic("E0577", message, help="for example `0.9, 0.8, 0.7`")) from None
    return numbers if len(numbers) > 1 else numbers[0]
