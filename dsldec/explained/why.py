"""The explanation of one position in one step, as lines that are tied to the text of the policy.

Not here: how a value explains a write (`reasons`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..source import Span


@dataclass(frozen=True, slots=True)
class WhyLine:
    """One line of an explanation.

    `depth`: 0 for a statement, 1 more for each part inside; `template`: the text, with `{}` in the place of
    each value and `{{` for a brace; `arguments`: the texts of the values; `holds`: whether the condition
    holds at the position, `None` for a line that is no condition; `span`: the place in the text of the
    policy, `None` for a line about the window or the canvas; `decides`: whether it is one of the parts that
    decide, and not a whole that contains them or a detail of one.
    """

    depth: int
    template: str
    arguments: tuple[str, ...] = ()
    holds: bool | None = None
    span: Span | None = None
    decides: bool = False

    @property
    def text(self) -> str:
        """The line, with the values in their places."""
        return self.template.format(*self.arguments)


@dataclass(frozen=True, slots=True)
class Why:
    """Why a step wrote a position, or did not.

    `outcome`: what happened to the position: `committed`, `edited`, `revoked`, `unchanged`; `lines`: first
    the statement that decided, then the others, each followed by its parts.
    """

    position: int
    step: int
    phase: str
    outcome: str
    lines: tuple[WhyLine, ...]

    def __str__(self) -> str:
        """The text for people, one line each."""
        phase = f", phase {self.phase}" if self.phase else ""
        head = f"position {self.position}, step {self.step}{phase}: {self.outcome}"
        return "\n".join([head, *("  " * (line.depth + 1) + line.text for line in self.lines)])
