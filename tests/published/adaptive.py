"""Published rules that choose the ends of their blocks, or decide by groups and by the step before, as naive
loops over one row.

They have the form of `rules`: a generator that yields the canvas after every forward. Where a release is
cited, its code was read, and each docstring says what is left out. Where only a summary was found, the
docstring says so. Not here: the same rules as policies (the `.policy` files).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .rules import Canvas, See, Steps, best, masks, write


def _mean(x: Sequence[float]) -> float:
    return sum(x) / len(x)


# --- blocks whose ends are decided when they begin


def cadllm(
    see: See,
    canvas: Canvas,
    begin: int,
    shortest: int,
    longest: int,
    fewest_steps: int,
    most_steps: int,
    high: float,
    low: float,
) -> Steps:
    """CadLLM (arXiv 2512.07173, juchengshen/CadLLM, llada/cadllm_generate.py): the length of a block and its
    number of steps follow the mean confidence of the last two steps; the threshold falls from step to step.

    Left out: the number of ids in the softmax, and repetition, which changes only this number.
    """
    history: list[float] = []
    start = 0
    while start < len(canvas):
        recent = _mean(history[-2:]) if history else 0.0
        length = shortest + int((longest - shortest) * recent) if history else begin
        length = min(max(shortest, min(length, longest)), len(canvas) - start)
        steps = fewest_steps
        if history:
            planned = fewest_steps + int((most_steps - fewest_steps) * (1.0 - max(0.0, min(1.0, recent))))
            planned = max(fewest_steps, min(planned, most_steps))
            steps = max(1, int(planned * length / begin))
        block, step = range(start, start + length), 0
        while m := masks(canvas, block):
            s = see(canvas)
            share = step / steps
            level = max(high * (1 - share) + low * share, low)
            history.append(_mean([s.conf[i] for i in m]))
            write(canvas, {*best(m, s.conf), *(i for i in m if s.conf[i] >= level)}, s.token)
            yield list(canvas)
            step += 1
        start += length


def entropy_jump(
    see: See, canvas: Canvas, confidence: float, jump: float, shortest: int, longest: int
) -> Steps:
    """A block ends where the entropy rises most from one position to the next.

    The idea of Swordsman (arXiv 2602.04399). Only a summary was found: the smallest rise, the lengths and the
    threshold are ours.
    """
    start = 0
    while start < len(canvas):
        ahead = range(start, min(start + longest, len(canvas)))
        s = see(canvas)
        rise = {
            i: s.entropy[i + 1] - s.entropy[i] for i in ahead if i + 1 in ahead and i + 1 - start >= shortest
        }
        found = sorted((i for i in rise if rise[i] > jump), key=lambda i: (-rise[i], i))
        end = found[0] + 1 if found else ahead.stop
        while m := masks(canvas, range(start, end)):
            s = see(canvas)
            write(canvas, [i for i in m if s.conf[i] >= confidence] or best(m, s.conf), s.token)
            yield list(canvas)
        start = end


def dsb(see: See, canvas: Canvas, confidence: float, block: int, longest: int) -> Steps:
    """Dynamic sliding block (arXiv 2602.05992, lizhuo-luo/DSB, llada/generate.py, `generate_dsb`): the block
    ends `block` positions after the start, and one further for each written position.

    `longest` is `max_block_length`.
    """
    written = 0
    while everything := masks(canvas, range(len(canvas))):
        start = everything[0]
        end = min(block + written, start + longest, len(canvas))
        m = masks(canvas, range(start, end))
        s = see(canvas)
        chosen = {*best(m, s.conf), *(i for i in m if s.conf[i] >= confidence)}
        write(canvas, chosen, s.token)
        written += len(chosen)
        yield list(canvas)


# --- several blocks at once


def multi_block(
    see: See, canvas: Canvas, confidence: float, add: float, decoded: float, block: int, buffer: int
) -> Steps:
    """Active blocks as in D2F and Diffulex (SJTU-DENG-Lab/Diffulex, `DllmBlock`, `DllmReqMultiBlockMixin.step`
    and the D2F sampler): the next block becomes active when the share `add` of the last one is written. Every
    active block commits its confident positions. Only a block whose predecessor is written to the share
    `decoded` must commit one.

    Left out: the one step in which a full block still takes a place of the buffer while its keys and values
    are stored, and the end at an end-of-text token.
    """
    blocks = [range(i, min(i + block, len(canvas))) for i in range(0, len(canvas), block)]

    def share(b: int) -> float:
        return 1 - len(masks(canvas, blocks[b])) / len(blocks[b])

    last = 0
    while any(masks(canvas, one) for one in blocks):
        full = next(b for b in range(len(blocks)) if masks(canvas, blocks[b]))
        if share(last) >= add and last + 1 - full < buffer and last + 1 < len(blocks):
            last += 1
        s = see(canvas)
        chosen: list[int] = []
        for b in range(last + 1):
            m = masks(canvas, blocks[b])
            sure = [i for i in m if s.conf[i] > confidence]
            must = b == 0 or share(b - 1) >= decoded
            chosen += sure or (best(m, s.conf) if must else [])
        write(canvas, chosen, s.token)
        yield list(canvas)


# --- the step before


def divergence(p: Sequence[float], q: Sequence[float]) -> float:
    """The Jensen-Shannon divergence of two distributions in nats."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        m = (a + b) / 2
        total += (a * math.log(a / m) if a > 0 else 0.0) / 2 + (b * math.log(b / m) if b > 0 else 0.0) / 2
    return total


def less(
    see: See, canvas: Canvas, confidence: float, calm: float, patience: int, keep: int, block: int
) -> Steps:
    """LESS (arXiv 2606.16908): a position is committed once its likeliest id is likely, has been the same for
    `patience` steps, and the Jensen-Shannon divergence of its distribution from that of the step before is
    small, over the `keep` likeliest ids of the step before and all others together.

    Only the abstract was found: that the best position is committed where no position is stable is ours.
    """
    for start in range(0, len(canvas), block):
        window = range(start, min(start + block, len(canvas)))
        before: dict[int, list[float]] = {}
        tokens: dict[int, int] = {}
        same = dict.fromkeys(window, 0)
        while m := masks(canvas, window):
            s = see(canvas)
            stable = []
            for i in window:
                p = s.p[i].tolist()
                same[i] = same[i] + 1 if tokens.get(i) == s.token[i] else 0
                if i in before and i in m:
                    kept = sorted(range(len(p)), key=lambda id_: (-before[i][id_], id_))[:keep]
                    parts = [
                        [x[id_] for id_ in kept] + [max(0.0, 1 - sum(x[id_] for id_ in kept))]
                        for x in (p, before[i])
                    ]
                    if s.conf[i] >= confidence and same[i] >= patience and divergence(*parts) < calm:
                        stable.append(i)
                before[i], tokens[i] = p, s.token[i]
            write(canvas, stable or best(m, s.conf), s.token)
            yield list(canvas)
