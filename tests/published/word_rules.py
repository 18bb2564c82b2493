"""Published decoding rules that need one of the small words, as naive loops over one row.

`eos`, `shift` of a score, named choices, tables by step, `random`. The form is that of `rules`, and so is
what is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .rules import Canvas, See, Seen, Steps, best, blocks, by_set, masks, split_evenly, write


def eos_last(see: See, canvas: Canvas, steps: int, block: int, eos: int | None) -> Steps:
    """LLaDA with `confidence_eos_eot_inf`, as its authors describe it (issue 137 and pull request 139 of
    their repository): a position whose token is the end of text has the confidence -inf.
    """
    for window in blocks(len(canvas), block):
        for k in split_evenly(len(window), steps):
            if m := masks(canvas, window):
                s = see(canvas)
                sure = [-float("inf") if s.token[i] == eos else c for i, c in enumerate(s.conf)]
                write(canvas, best(m, sure, k), s.token)
                yield list(canvas)


def entropy_shift(see: See, canvas: Canvas, confidence: float, block: int) -> Steps:
    """The score of Swordsman (arXiv 2602.04399): a phrase ends where the entropy rises most from one position
    to the next. Here the masks up to that place are the candidates; Swordsman makes it the end of its block.
    """

    def rule(s: Seen, m: list[int]) -> list[int]:
        inner = [i for i in m if i - 1 in m]
        rise = (torch.tensor(s.entropy[1:]) - torch.tensor(s.entropy[:-1])).tolist()
        border = best(inner, [0.0, *rise])
        before = [i for i in m if i < border[0]] if border else m
        return [i for i in before if s.conf[i] >= confidence] or best(before, s.conf)

    return by_set(see, canvas, block, rule)


def dream(see: See, canvas: Canvas, alg: str, steps: int, last_time: float) -> Steps:
    """The three deterministic values of Dream's argument `alg`, in one loop as in Dream's own code."""
    scores: dict[str, Callable[[Seen], Sequence[float]]] = {
        "maskgit_plus": lambda s: s.conf,
        "topk_margin": lambda s: s.margin,
        "entropy": lambda s: [-h for h in s.entropy],
    }
    times = torch.linspace(1, last_time, steps + 1)
    for step in range(steps):
        if m := masks(canvas, range(len(canvas))):
            s = see(canvas)
            k = len(m) if step == steps - 1 else int(len(m) * (1 - times[step + 1] / times[step]))
            write(canvas, best(m, scores[alg](s), k), s.token)
            yield list(canvas)


def one_shot(see: See, canvas: Canvas, taus: Sequence[float], cap: float, slack: float, block: int) -> Steps:
    """One-shot dynamic thresholding: each step of a block has its own threshold, found on one example; it is
    capped and loosened a little. After the last one, the last one stays.
    """
    for window in blocks(len(canvas), block):
        step = 0
        while m := masks(canvas, window):
            s = see(canvas)
            tau = torch.tensor(taus[min(step, len(taus) - 1)]).minimum(torch.tensor(cap)) * (
                1 - torch.tensor(slack)
            )
            sure = [i for i in m if s.conf[i] >= float(tau)]
            write(canvas, sure or best(m, s.conf), s.token)
            step += 1
            yield list(canvas)


def llada_random(
    see: See, canvas: Canvas, steps: int, block: int, uniform: Callable[[int, int], float]
) -> Steps:
    """LLaDA's `remasking = "random"`: a random number takes the place of the confidence."""
    step = 0
    for window in blocks(len(canvas), block):
        for k in split_evenly(len(window), steps):
            if m := masks(canvas, window):
                s = see(canvas)
                drawn = [uniform(step, i) for i in range(len(canvas))]
                write(canvas, best(m, drawn, k), s.token)
                step += 1
                yield list(canvas)
