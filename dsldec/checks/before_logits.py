"""Are the numbers of `logits` and `draw` known before the logits are read?

Such a number may change with the step, but it is computed before any observation. Not here: the kinds and
extents of these numbers (`calls`).
"""

from __future__ import annotations

from ..language import syntax
from ..language.walk import walk
from ..language.words import ELEMENTWISE_WORDS, Extent
from .inference import Inference

# Words with a value before the logits are read, under every window.
COUNTERS = frozenset(
    "step steps_in_window steps_in_phase window_start generation_length committed_before".split()
)
# The same, where the window does not depend on the logits.
OF_CANVAS = frozenset("masked committed count any fraction progress window_length clamp".split())
TEMPERATURE = "temperature"


def check(typing: Inference, shape: syntax.Expression) -> None:
    """Reports a number after `logits` or `draw` that needs the logits, and a constant temperature that is not
    above 0.
    """
    if not isinstance(shape, syntax.Call):
        return
    for argument in (*shape.arguments, *(keyword.value for keyword in shape.keywords)):
        if typing.types.get(argument) is not None and typing.types[argument].extent is Extent.ROW:
            _require_early(typing, argument)
    if shape.function.text == TEMPERATURE and shape.arguments:
        _require_warm(typing, shape.arguments[0])


def _require_early(typing: Inference, expression: syntax.Expression) -> None:
    window = next((s.shape for s in typing.resolved.policy.statements if isinstance(s, syntax.Window)), None)
    moves = isinstance(window, syntax.Call) and window.function.text == "until"
    known = {*COUNTERS, *ELEMENTWISE_WORDS, "clamp", *(() if moves else OF_CANVAS)}
    for part in walk(expression):
        name = part.function.text if isinstance(part, syntax.Call) else getattr(part, "identifier", None)
        reduces = isinstance(part, syntax.Call) and name in ("min", "max") and len(part.arguments) != 2
        if isinstance(name, str) and typing.binding(part) is None and (name not in known or reduces):
            message = f"`{name}` has no value yet before the logits are read"
            help_ = "use `step`, `steps_in_window` or a parameter, as in `0.8 - 0.4 * step / 48`"
            typing.wrong("E0220", message, part, "this number changes what the step reads", help_)
            return


def _require_warm(typing: Inference, temperature: syntax.Expression) -> None:
    below = isinstance(temperature, syntax.Negation) and isinstance(temperature.operand, syntax.Number)
    zero = isinstance(temperature, syntax.Number) and temperature.value == 0
    if below or zero:
        message = f"a temperature of logits is above 0, and this is {temperature.span.text}"
        help_ = "the likeliest id is written without a `draw` statement; write for example `logits temperature(0.5)`"
        typing.wrong("E0219", message, temperature, "logits are divided by it", help_)
