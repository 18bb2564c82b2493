"""Published decoding rules of which repositories have several forms, and rules published since, as naive loops.

They have the form of `rules`. Each docstring names the code that was read. Not here: the same rules as
policies (the `.policy` files).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .rules import Canvas, See, Seen, Steps, best, blocks, by_set, masks, split_evenly, write


def factor(see: See, canvas: Canvas, budget: float, form: str, block: int) -> Steps:
    """Fast-dLLM's factor rule (arXiv 2505.22618). `release`: get_transfer_index_dynamic, as ten repositories
    have it. Its loop stops at the last rank whether this rank passes or not, and then writes it too.
    """

    def paper(s: Seen, m: list[int]) -> list[int]:
        order = best(m, s.conf, len(m))
        n = max((n for n in range(1, len(m) + 1) if (n + 1) * (1 - s.conf[order[n - 1]]) < budget), default=1)
        return order[:n]

    def release(s: Seen, m: list[int]) -> list[int]:
        order = best(m, s.conf, len(m))
        least = [-1.0, *(1 - budget / (n + 1) for n in range(2, len(m) + 1))]
        stop = 0
        for stop in range(len(m)):
            if s.conf[order[stop]] < least[stop]:
                break
        return order[: stop + 1 if stop in (0, len(m) - 1) else stop]

    return by_set(see, canvas, block, paper if form == "paper" else release)


def entropy_bounded(
    see: See, canvas: Canvas, gamma: float, proxy: str, bound: str, unit: str, block: int
) -> Steps:
    """EB-Sampler (arXiv 2505.24857) and its forms: another error proxy (PC-Sampler, generate_with_eb_sampler),
    entropies in bits (DUS, generate_eb_sampler), the plain sum below gamma (SDAR and JetEngine,
    `entropy_bounded`).
    """
    scores: dict[str, Callable[[Seen], Sequence[float]]] = {
        "entropy": lambda s: [-h for h in s.entropy],
        "conf": lambda s: s.conf,
        "margin": lambda s: s.margin,
    }

    def rule(s: Seen, m: list[int]) -> list[int]:
        order = best(m, scores[proxy](s), len(m))
        h = [s.entropy[i] / (math.log(2) if unit == "bits" else 1) for i in order]
        n = 1
        while n < len(h):
            total = sum(h[: n + 1])
            if not (total - max(h[: n + 1]) <= gamma if bound == "joint" else total < gamma):
                break
            n += 1
        return order[:n]

    return by_set(see, canvas, block, rule)


def dream_threshold(see: See, canvas: Canvas, confidence: float, steps: int) -> Steps:
    """Fast-dLLM's sampler for Dream without a cache (dream/model/generation_utils.py, `confidence_threshold`):
    a step may write its share and the debt of the steps before; what is not confident goes to the debt.
    """
    share, debt = len(canvas) // steps, 0
    for step in range(2 * len(canvas)):
        if not (m := masks(canvas, range(len(canvas)))):
            return
        s = see(canvas)
        due = best(m, s.conf, (share if step < steps else 0) + debt)
        chosen = [i for n, i in enumerate(due) if n == 0 or s.conf[i] >= confidence]
        debt = len(due) - len(chosen)
        write(canvas, chosen, s.token)
        yield list(canvas)


def bacd(see: See, canvas: Canvas, lower: float, upper: float, block: int) -> Steps:
    """Bounded Adaptive Confidence Decoding (arXiv 2602.09555, LuLuLuyi/TDAR, lmdeploy's unmasking.py): the
    threshold is the mean confidence of what the block has written, and in its first step the largest one,
    between two bounds.
    """
    for window in blocks(len(canvas), block):
        history: list[float] = []
        while m := masks(canvas, window):
            s = see(canvas)
            tau = sum(history) / len(history) if history else max(s.conf[i] for i in m)
            tau = max(lower, min(upper, tau))
            chosen = [i for i in m if s.conf[i] >= tau] or best(m, s.conf)
            history += [s.conf[i] for i in chosen]
            write(canvas, chosen, s.token)
            yield list(canvas)


def dilated_spacing(
    see: See, canvas: Canvas, sampler: str, tau: float, gamma: float, stride: int, block: int
) -> Steps:
    """DUS as a filter behind another sampler (arXiv 2506.19037, section 4.4; omerlux/DUS, apply_spacing_filter,
    generate_cb_sampler_spaced and generate_eb_sampler_spaced, whose gamma is in bits).
    """

    def selected(s: Seen, m: list[int]) -> list[int]:
        if sampler == "confidence":
            return best([i for i in m if s.conf[i] >= tau] or best(m, s.conf), s.conf, len(m))
        order, spent, n = best(m, [-h for h in s.entropy], len(m)), 0.0, 1
        while n < len(order):
            spent += s.entropy[order[n - 1]]  # the sum less the largest, which is the last
            if spent > gamma:
                break
            n += 1
        return order[:n]

    def rule(s: Seen, m: list[int]) -> list[int]:
        gap, kept = max(2, len(m) * stride // block), list[int]()
        for i in selected(s, m):
            if all(abs(i - j) >= gap for j in kept):
                kept.append(i)
        return kept

    return by_set(see, canvas, block, rule)


def eos_banned(see: See, canvas: Canvas, steps: int, block: int, eos: int | None, mask_id: int) -> Steps:
    """LLaDA with `logits_eos_inf` (generate.py; appendix B.4 of arXiv 2502.09992): the logit of the end of text
    is -inf, before the softmax.
    """
    for window in blocks(len(canvas), block):
        for k in split_evenly(len(window), steps):
            if m := masks(canvas, window):
                p = see(canvas).p.double()
                if eos is not None:
                    p[:, eos] = 0
                p /= p.sum(-1, keepdim=True)
                p[:, mask_id] = -1
                conf, token = p.max(-1)
                write(canvas, best(m, conf.tolist(), k), token.tolist())
                yield list(canvas)
