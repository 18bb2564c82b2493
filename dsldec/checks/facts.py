"""What can be said about a checked policy before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..diagnostics import Diagnostic
from ..language import syntax
from .found import Found
from .progress import ALL

Value = int | float | bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of a policy, for programs and for people. They assume finite scores.

    `floor_per_step`: positions every step surely commits while the window holds that many: a number, the name of a
    parameter, or `all`.
    `forwards_formula`: the bound on forwards in words; `forwards_bound` computes it. `rows_per_forward`: rows fed for
    one row of the batch. `state_bytes_per_position`: what the policy carries between steps. `static`: parameters that
    size something (another value compiles again); `dynamic`: those that are inputs of the compiled step.
    """

    floor_per_step: int | str
    forwards_formula: str
    window: int | str | None
    rows_per_forward: int
    state_bytes_per_position: int
    deterministic: bool
    static: tuple[str, ...]
    dynamic: tuple[str, ...]

    def block_length(self, gen_length: int, parameters: Mapping[str, Value]) -> int:
        """Positions of a full window under these parameter values."""
        size = parameters[self.window] if isinstance(self.window, str) else self.window
        return gen_length if size is None else min(int(size), gen_length)

    def forwards_bound(self, gen_length: int, parameters: Mapping[str, Value]) -> int:
        """The most forwards that decoding `gen_length` positions can take under these parameter values."""
        block = self.block_length(gen_length, parameters)
        floor = block if self.floor_per_step == "all" else int(parameters.get(str(self.floor_per_step), self.floor_per_step))
        full, rest = divmod(gen_length, block) if block else (0, 0)
        return full * -(-block // floor) + -(-rest // floor)


def check(found: Found) -> tuple[Found, list[Diagnostic]]:
    """Fills `facts`, where the checks before it left nothing open."""
    window = next((s for s in found.policy.statements if isinstance(s, syntax.Window)), None)
    if window is None or found.floor == 0:
        return found, []
    size = _block_size(found, window)
    floor = found.floor.identifier.text if isinstance(found.floor, syntax.Parameter) else "all" if found.floor == ALL else found.floor
    static = (size,) if isinstance(size, str) else ()
    names = tuple(parameter.identifier.text for parameter in found.policy.parameters)
    facts = Facts(
        floor_per_step=floor,
        forwards_formula=_formula(size, floor),
        window=size,
        rows_per_forward=1,
        state_bytes_per_position=0,
        deterministic=True,
        static=static,
        dynamic=tuple(name for name in names if name not in static),
    )
    return replace(found, facts=facts), []


def _block_size(found: Found, window: syntax.Window) -> int | str | None:
    if not isinstance(window.shape, syntax.Call) or not window.shape.arguments:
        return None
    size = window.shape.arguments[0]
    if isinstance(size, syntax.Number):
        return int(size.value)
    meaning = found.meanings.get(size) if isinstance(size, syntax.Name) else None
    return meaning.identifier.text if isinstance(meaning, syntax.Parameter) else None


def _formula(size: int | str | None, floor: int | str) -> str:
    if floor == "all":
        return "1" if size is None else "number of blocks"
    if floor == 1:
        return "gen_length"
    if size is None:
        return f"ceil(gen_length / {floor})"
    return f"sum over blocks of ceil(length / {floor}), blocks of {size}"
