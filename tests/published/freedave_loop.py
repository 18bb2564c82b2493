"""How do static decoding and FreeDave proceed? A loop over single canvases.

FreeDave: arXiv:2510.00294. One row, one list of tokens a canvas; positions count from 0 for the first
generated one. Not here: policies, batches, or drafts of other policies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .rules import Canvas, See, Seen, best, blocks, closed, masks, write


@dataclass(frozen=True)
class Static:
    """The rule: the `tokens` best masks of the first block that has any; the row ends when it is full, or
    with its text.
    """

    tokens: int
    block: int
    eos: int | None = None

    def after(self, canvas: Canvas, seen: Seen) -> Canvas:
        new = list(canvas)
        for window in blocks(len(canvas), self.block):
            if m := masks(canvas, window):
                write(new, best(m, seen.conf, self.tokens), seen.token)
                return new
        return new

    def is_finished(self, canvas: Canvas) -> bool:
        return None not in canvas or closed(canvas, self.eos)


@dataclass
class Run:
    """What a run came to.

    `path`: the canvas after each step; `used`: the forward whose logits that step read; `fed`: the canvases
    of each forward; `proposed`, `accepted`: how many drafts of each depth from 1 on were made and accepted.
    """

    see: See
    canvas: Canvas
    path: list[Canvas] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    fed: list[list[Canvas]] = field(default_factory=list)
    proposed: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)

    @property
    def forwards(self) -> int:
        return len(self.fed)

    @property
    def rows(self) -> int:
        return sum(len(canvases) for canvases in self.fed)

    def forward(self, canvases: list[Canvas]) -> list[Seen]:
        self.fed.append([list(canvas) for canvas in canvases])
        return [self.see(canvas) for canvas in canvases]

    def step_to(self, canvas: Canvas, forward: int) -> None:
        self.canvas = canvas
        self.path.append(canvas)
        self.used.append(forward)

    def filled(self, eos: int | None) -> list[int]:
        """What was generated; the masks behind the end of the text are ends too."""
        ids = [eos if id_ is None else id_ for id_ in self.canvas]
        assert None not in ids
        return [id_ for id_ in ids if id_ is not None]


def static(see: See, length: int, rule: Static) -> Run:
    """One step a forward."""
    run = Run(see, [None] * length)
    while not rule.is_finished(run.canvas):
        (seen,) = run.forward([run.canvas])
        run.step_to(rule.after(run.canvas, seen), run.forwards - 1)
    return run


def guesses(canvas: Canvas, seen: Seen, rule: Static, drafts: int) -> list[Canvas]:
    """The next canvases if nothing that is seen ever changed; the first of them is no guess."""
    made: list[Canvas] = []
    while len(made) < drafts and not rule.is_finished(canvas):
        canvas = rule.after(canvas, seen)
        made.append(canvas)
    return made


def freedave(see: See, length: int, rule: Static, drafts: int) -> Run:
    """As many steps a forward as guesses come true in a row, and one."""
    run = Run(see, [None] * length, proposed=[0] * (drafts - 1), accepted=[0] * (drafts - 1))
    (seen,) = run.forward([run.canvas])
    seen_in = 0
    while not rule.is_finished(run.canvas):
        made = guesses(run.canvas, seen, rule, drafts)
        unfinished = [canvas for canvas in made if not rule.is_finished(canvas)]
        run.step_to(made[0], seen_in)
        for depth in range(1, len(made)):
            run.proposed[depth - 1] += 1
        if not unfinished:
            break
        said = run.forward(unfinished)
        seen_in = run.forwards - 1
        last = 0
        while (
            last + 1 < len(made)
            and last < len(unfinished)
            and rule.after(made[last], said[last]) == made[last + 1]
        ):
            run.accepted[last] += 1
            last += 1
            run.step_to(made[last], seen_in)
        if last < len(unfinished):
            seen = said[last]
    return run
