"""Published decoding rules as naive loops over one row, straight from the papers and the released code.

Each rule is a generator: it takes `see` (one forward: from a canvas to the denoiser's output), the empty
canvas, and its parameters, and yields the canvas after every forward. Positions count from 0 for the first
generated one. Shapes: L generated positions, V vocabulary. Not here: the same rules as policies (the
`.policy` files), nor any code of dsldec except its random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Canvas = list[int | None]  # None is MASK
Steps = Iterator[Canvas]


@dataclass
class Seen:
    """What one forward says of each position: `p [L, V]` float32, and lists of L numbers."""

    p: Tensor
    token: list[int]
    conf: list[float]
    margin: list[float]
    logit_margin: list[float]
    entropy: list[float]

    def of(self, canvas: Canvas, i: int) -> float:
        """Probability of what stands at a written position."""
        return float(self.p[i, canvas[i]])


See = Callable[[Canvas], Seen]


def seen(logits: Tensor, mask_id: int) -> Seen:
    """What `logits [L, V]` say."""
    p = torch.softmax(logits.float(), -1)
    allowed = logits.clone()
    allowed[:, mask_id] = -math.inf
    token = allowed.argmax(-1)
    two = logits.topk(2, -1).values
    two_p = p.topk(2, -1).values
    return Seen(
        p,
        token.tolist(),
        p.gather(-1, token.unsqueeze(-1)).squeeze(-1).tolist(),
        (two_p[:, 0] - two_p[:, 1]).tolist(),
        (two[:, 0] - two[:, 1]).tolist(),
        (-(p * p.clamp(min=1e-30).log()).sum(-1)).tolist(),
    )


def best(places: Iterable[int], score: Sequence[float], k: int = 1) -> list[int]:
    """The k places with the largest score, the lower one where scores are equal."""
    return sorted(places, key=lambda i: (-score[i], i))[: max(0, k)]


def blocks(length: int, size: int) -> Iterator[range]:
    for start in range(0, length, size):
        yield range(start, min(start + size, length))


def masks(canvas: Canvas, window: Iterable[int]) -> list[int]:
    return [i for i in window if canvas[i] is None]


def written(canvas: Canvas, window: Iterable[int]) -> list[int]:
    return [i for i in window if canvas[i] is not None]


def write(canvas: Canvas, places: Iterable[int], token: Sequence[int]) -> None:
    for i in places:
        canvas[i] = token[i]


def by_set(see: See, canvas: Canvas, block: int, rule: Callable[[Seen, list[int]], Iterable[int]]) -> Steps:
    """Block after block, write what a rule selects from the masks of the block."""
    for window in blocks(len(canvas), block):
        while m := masks(canvas, window):
            s = see(canvas)
            write(canvas, rule(s, m), s.token)
            yield list(canvas)


def split_evenly(n: int, steps: int) -> list[int]:
    """LLaDA's get_num_transfer_tokens."""
    return [n // steps + (s < n % steps) for s in range(steps)]


# One row, no state


def llada(see: See, canvas: Canvas, steps: int, block: int) -> Steps:
    for window in blocks(len(canvas), block):
        for k in split_evenly(len(window), steps):
            if m := masks(canvas, window):
                s = see(canvas)
                write(canvas, best(m, s.conf, k), s.token)
                yield list(canvas)


def llada_random(see: See, canvas: Canvas, steps: int, block: int, drawn: Iterator[list[int]]) -> Steps:
    for window in blocks(len(canvas), block):
        for k in split_evenly(len(window), steps):
            if m := masks(canvas, window):
                s = see(canvas)
                places = next(drawn)
                assert len(set(places)) == len(places) == min(k, len(m))
                assert set(places) <= set(m)
                write(canvas, places, s.token)
                yield list(canvas)


def dream_origin(
    see: See, canvas: Canvas, steps: int, last_time: float, uniform: Callable[[int, int], float]
) -> Steps:
    times = torch.linspace(1, last_time, steps + 1)
    for step in range(steps):
        if m := masks(canvas, range(len(canvas))):
            s = see(canvas)
            chance = 1.0 if step == steps - 1 else float(1 - times[step + 1] / times[step])
            write(canvas, [i for i in m if uniform(step, i) < chance], s.token)
            yield list(canvas)


def sdar_dynamic(see: See, canvas: Canvas, confidence: float, steps: int, block: int) -> Steps:
    for window in blocks(len(canvas), block):
        for k in split_evenly(len(window), steps):
            if m := masks(canvas, window):
                s = see(canvas)
                sure = [i for i in m if s.conf[i] > confidence]
                write(canvas, sure if len(sure) >= k else best(m, s.conf, k), s.token)
                yield list(canvas)


def sglang_low_confidence(see: See, canvas: Canvas, confidence: float, block: int) -> Steps:
    return by_set(
        see, canvas, block, lambda s, m: [i for i in m if s.conf[i] > confidence] or best(m, s.conf)
    )


def threshold(see: See, canvas: Canvas, confidence: float, block: int) -> Steps:
    return by_set(
        see, canvas, block, lambda s, m: [i for i in m if s.conf[i] >= confidence] or best(m, s.conf)
    )


def frechet(see: See, canvas: Canvas, delta: float, block: int) -> Steps:
    def rule(s: Seen, m: list[int]) -> list[int]:
        order = best(m, s.conf, len(m))
        c = [s.conf[i] for i in order]
        profile = [sum(c[:n]) - (n - 1) - (1 - c[n - 1]) for n in range(1, len(c) + 1)]
        return order[: max((n for n, g in enumerate(profile, 1) if g > delta), default=1)]

    return by_set(see, canvas, block, rule)


def entropy_threshold(see: See, canvas: Canvas, calm: float, block: int) -> Steps:
    return by_set(
        see,
        canvas,
        block,
        lambda s, m: [i for i in m if s.entropy[i] <= calm] or best(m, [-h for h in s.entropy]),
    )


def vllm_ceil(see: See, canvas: Canvas, order: str, steps: int, block: int) -> Steps:
    for window in blocks(len(canvas), block):
        for left in range(steps, 0, -1):
            if m := masks(canvas, window):
                s = see(canvas)
                k = math.ceil(len(m) / left)
                write(canvas, m[:k] if order == "leftmost" else best(m, s.conf, k), s.token)
                yield list(canvas)


def leftmost(see: See, canvas: Canvas, steps: int, block: int) -> Steps:
    for window in blocks(len(canvas), block):
        for k in split_evenly(len(window), steps):
            if m := masks(canvas, window):
                write(canvas, m[:k], see(canvas).token)
                yield list(canvas)


# State, segments, weights, windows


def dinfer_threshold(see: See, canvas: Canvas, confidence: float, block: int) -> Steps:
    def rule(s: Seen, m: list[int]) -> list[int]:
        least = min(max(s.conf[i] for i in m) - 1e-5, confidence)
        return [i for i in m if s.conf[i] >= least]

    return by_set(see, canvas, block, rule)


def runs(places: Sequence[int]) -> list[list[int]]:
    """Maximal runs of adjacent places."""
    found: list[list[int]] = []
    for i in places:
        if found and found[-1][-1] == i - 1:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def hierarchy(s: Seen, m: list[int], confidence: float, low: float) -> set[int]:
    chosen = {i for i in m if s.conf[i] > confidence}
    for run in runs(m):
        (top,) = best(run, s.conf)
        if s.conf[top] > low:
            chosen.add(top)
    return chosen | set(best(m, s.conf))


def dinfer_hierarchy(see: See, canvas: Canvas, confidence: float, low: float, block: int) -> Steps:
    return by_set(see, canvas, block, lambda s, m: hierarchy(s, m, confidence, low))


def hierarchy_remask(
    see: See, canvas: Canvas, confidence: float, low: float, keep: float, block: int
) -> Steps:
    for window in blocks(len(canvas), block):
        while m := masks(canvas, window):
            s = see(canvas)
            chosen = hierarchy(s, m, confidence, low)
            p = {i: s.of(canvas, i) for i in written(canvas, window)}
            doubtful = sorted((i for i in p if p[i] < keep), key=lambda i: (p[i], i))
            write(canvas, chosen, s.token)
            for i in doubtful[: len(chosen) - 1]:
                canvas[i] = None
            yield list(canvas)


def local_leap(
    see: See, canvas: Canvas, anchor: float, near: float, radius: int, block: int, eos: int | None = None
) -> Steps:
    def rule(s: Seen, m: list[int]) -> list[int]:
        anchors = [i for i in m if s.conf[i] >= anchor]
        close = [i for i in m if s.conf[i] >= near and any(abs(i - a) <= radius for a in anchors)]
        return anchors + close or best(m, s.conf)

    for window in blocks(len(canvas), block):
        while m := masks(canvas, window):
            s = see(canvas)
            write(canvas, rule(s, m), s.token)
            yield list(canvas)
        if eos in canvas[window.start : window.stop]:
            return


def moved(now: Tensor, before: Tensor, keep: int) -> float:
    """KL divergence of two distributions; of those before, the likeliest ids are told apart (what ties with
    the next one is not).
    """
    if keep < len(before):
        apart = before > before.sort(descending=True).values[keep]
        now, before = (torch.cat([p[apart], p[~apart].sum().view(1)]) for p in (now, before))
    return float((now * (now.log() - before.log())).sum())


def dus(see: See, canvas: Canvas, base: int, block: int) -> Steps:
    for window in blocks(len(canvas), block):
        stride = len(window)
        while m := masks(canvas, window):
            stride = max(1, stride // base)
            opened = [i for i in m if (i - window.start) % stride == 0]
            write(canvas, opened, see(canvas).token)
            yield list(canvas)


def certainty_prior(see: See, canvas: Canvas, tokens: int, sigma: float) -> Steps:
    while m := masks(canvas, range(len(canvas))):
        s = see(canvas)
        known = written(canvas, range(len(canvas)))
        height = 1 / (sigma * math.sqrt(2 * math.pi))
        density = {i: sum(height * math.exp(-((i - j) ** 2) / (2 * sigma**2)) for j in known) for i in m}
        score = [s.conf[i] * density.get(i, 0.0) for i in range(len(canvas))]
        write(canvas, best(m, score, tokens), s.token)
        yield list(canvas)


def closed(canvas: Canvas, eos: int | None) -> bool:
    """Whether the end of the text is written and no mask is left of it."""
    return eos is not None and eos in canvas and None not in canvas[: canvas.index(eos)]


def dcd(
    see: See, canvas: Canvas, confidence: float, masks_: int, length: int, eos: int | None = None
) -> Steps:
    right = 0
    while everything := masks(canvas, range(len(canvas))):
        left = everything[0]
        while (
            right < len(canvas) and right - left < length and len(masks(canvas, range(left, right))) < masks_
        ):
            right += 1
        m = masks(canvas, range(left, right))
        s = see(canvas)
        write(canvas, [i for i in m if s.conf[i] >= confidence] or best(m, s.conf), s.token)
        yield list(canvas)
        if closed(canvas, eos):
            return


def adablock(
    see: See, canvas: Canvas, confidence: float, delimiter: int, second: int, trust: float, block: int
) -> Steps:
    start = 0
    while start < len(canvas):
        ahead = range(start, min(start + block, len(canvas)))
        s = see(
            canvas
        )  # the release looks here, and forwards the same canvas once more for the block's first step
        found = best([i for i in ahead if s.token[i] in (delimiter, second)], s.conf)
        end = found[0] + 1 if found and s.conf[found[0]] >= trust else ahead.stop
        while m := masks(canvas, range(start, end)):
            s = see(canvas)
            write(canvas, [i for i in m if s.conf[i] >= confidence] or best(m, s.conf), s.token)
            yield list(canvas)
        start = end


def early_eos(see: See, canvas: Canvas, tokens: int, block: int, eos: int | None = None) -> Steps:
    for after in by_set(see, canvas, block, lambda s, m: best(m, s.conf, tokens)):
        yield after
        if closed(after, eos):
            return


# Taking back and writing over


def pc_sampler(
    see: See, canvas: Canvas, frequency: Sequence[float], slope: float, cap: float, tokens: int, block: int
) -> Steps:
    for window in blocks(len(canvas), block):
        while m := masks(canvas, window):
            s = see(canvas)
            said = [min(-s.conf[i] * math.log(frequency[s.token[i]] + 1e-9), cap) for i in range(len(canvas))]
            write(
                canvas,
                best(m, [math.exp(-slope * (i - window.start)) * x for i, x in enumerate(said)], tokens),
                s.token,
            )
            yield list(canvas)


def joint_threshold(
    see: See, canvas: Canvas, confidence: float, change: float, extra: int, block: int
) -> Steps:
    for window in blocks(len(canvas), block):
        more, changed = extra, True
        while (m := masks(canvas, window)) or (changed and more > 0):
            more -= not m
            s = see(canvas)
            wrong = [i for i in written(canvas, window) if s.token[i] != canvas[i] and s.conf[i] > change]
            sure = [i for i in m if s.conf[i] > confidence] or best(m, s.conf) if m else []
            changed = bool(wrong or sure)
            write(canvas, [*wrong, *sure], s.token)
            yield list(canvas)
