"""Which settings are measured? Each `--policy` with the grids of the `--set` after it, as their product.

A grid is a value, a list `0.5,0.7,0.9`, a range `0.5..0.9/3` of three values at equal distances, or for a
whole number `1..4`. Not here: the meaning of one value (`settings`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...diagnostics import Diagnostic, UsageError
from ...files import whole_number
from ...policy import Policy, load
from ...spelling import typed
from .. import quoted
from ..policy_words import policies_with_settings, title_of
from ..settings import name_and_text, with_settings
from ..several_values import WHOLE_KINDS, has_several, range_text

MOST_SETTINGS = 2000
FORM = "`--set confidence=0.5,0.7,0.9` or `--set confidence=0.5..0.9/3`"


@dataclass(frozen=True, slots=True)
class PolicyGrid:
    """One policy and its settings. `curve`: its name, with the parameters that have one value; `titles`: the
    name and all given parameters, for each setting; `compiled`: parameters of which each value makes
    another step.
    """

    curve: str
    settings: tuple[Policy, ...]
    titles: tuple[str, ...]
    compiled: tuple[str, ...] = ()


def grids_of(words: Sequence[tuple[str, str]]) -> list[PolicyGrid]:
    """The grids of `("policy", name)` and `("set", "name=values")` in the order of the command line.

    Raises `PolicyError`, and `UsageError`: E0423 for a `--set` before every `--policy`, E0424 and E0512 for a
    grid that cannot be read, E0513 for too many settings.
    """
    grids = [_grid(name, texts) for name, texts in policies_with_settings(words)]
    _require_few(sum(len(one.settings) for one in grids))
    return grids


def grid_of(name: str, fixed: Mapping[str, int], **values: Sequence[float | int]) -> PolicyGrid:
    """The grid of a shipped policy with these values. `fixed`: parameters that no title shows."""
    texts = [f"{one}={','.join(map(str, several))}" for one, several in values.items()]
    return _grid(name, [*texts, *(f"{one}={value}" for one, value in fixed.items())], frozenset(fixed))


def _grid(name: str, texts: Sequence[str], hidden: frozenset[str] = frozenset()) -> PolicyGrid:
    policy = load(name)
    axes: dict[str, list[str]] = {}
    for text in texts:
        parameter, given = name_and_text(text, "values", FORM)
        axes[parameter] = _values(parameter, given, policy.parameter_kinds.get(parameter))
    _require_few(math.prod(len(axis) for axis in axes.values()))
    bound: dict[str, Policy] = {}
    named = [one for one in axes if one not in hidden]
    single = [one for one in named if len(axes[one]) == 1]
    for values in itertools.product(*axes.values()):
        words = [f"{one}={value}" for one, value in zip(axes, values, strict=True)]
        setting = with_settings(policy, words)
        setting.require_bound()
        bound.setdefault(title_of(name, setting, named), setting)
    first = next(iter(bound.values()))
    compiled = tuple(one for one in axes if len(axes[one]) > 1 and one in policy.facts.static)
    return PolicyGrid(title_of(name, first, single), tuple(bound.values()), tuple(bound), compiled)


def _values(parameter: str, text: str, kind: str | None) -> list[str]:
    """The values of one grid, as text. Raises `UsageError` (E0512)."""
    if not has_several(kind, text) and text:
        return [text]
    values: list[str] = []
    for part in text.split(","):
        part = part.strip()
        if not part:
            what = "has an empty value" if "," in text else "has no value"
            message = f"the grid {quoted(f'{parameter}={text}')} {what}"
            raise UsageError(Diagnostic("E0512", message, help=f"for example {FORM}"))
        values += _range(parameter, part, kind) if ".." in part else [part]
    return list(dict.fromkeys(values))


def _range(parameter: str, text: str, kind: str | None) -> list[str]:
    """The values of `a..b` or `a..b/n`, with both ends."""
    parts = range_text(text)
    whole = kind in WHOLE_KINDS
    low, high, count, right = 0.0, 0.0, None, False
    if parts is not None and parts.word is None:
        count = None if parts.count is None else whole_number(parts.count)
        try:
            low, high = float(parts.low), float(parts.high)
            right = math.isfinite(low) and math.isfinite(high) and kind not in ("bool", "choice")
        except ValueError:
            pass
    if right and whole:
        right = low == int(low) and high == int(high) and low <= high
    divided = parts is not None and parts.count is not None
    if not right or (divided and (count is None or count < 1)) or (not divided and not whole):
        message = f"{quoted(f'{parameter}={text}')} is no range of values"
        help = f"for example `--set {typed(parameter)}=1..4`" if whole else f"for example {FORM}"
        raise UsageError(Diagnostic("E0512", message, help=help))
    if count is None:
        _require_few(int(high - low) + 1)
        return [str(value) for value in range(int(low), int(high) + 1)]
    _require_few(count)
    steps = [low + (high - low) * step / max(1, count - 1) for step in range(count)]
    return list(dict.fromkeys(str(round(step)) if whole else f"{step:.6g}" for step in steps))


def _require_few(count: int) -> None:
    """Raise `UsageError` (E0513) for more settings than anybody waits for."""
    if count > MOST_SETTINGS:
        message = f"these grids have {count} settings, and {MOST_SETTINGS} are the most"
        raise UsageError(Diagnostic("E0513", message, help="give fewer values: a curve needs about five"))
