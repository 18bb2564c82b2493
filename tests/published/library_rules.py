"""Published rules that the library states anew from their authors' code, as naive loops over one row.

They have the form of `held_back_rules`: generators of the canvas after every forward. Each docstring says
which code was read, and what is left out. Not here: the same rules as policies (the `.policy` files).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .held_back_rules import Model, float32
from .rules import Canvas, Seen, Steps, best, blocks, masks, moved, split_evenly, write, written


def lowest(places: Sequence[int], score: dict[int, float], k: int) -> list[int]:
    return sorted(places, key=lambda i: (score[i], i))[: max(0, k)]


# --- stability


def klass(
    model: Model,
    canvas: Canvas,
    confidence: float,
    calm: float,
    patience: int,
    steps: int,
    block: int,
    keep: int,
) -> Steps:
    """KLASS (shkim0116/KLASS, `stable_confident_decode`). Left out: the divergences of the block before, which
    the release keeps.
    """
    for window in blocks(len(canvas), block):
        shares = split_evenly(len(window), steps)
        before: Seen | None = None
        still = dict.fromkeys(window, 0)
        step = 0
        while m := masks(canvas, window):
            s = model.see(canvas)
            for i in window:
                far = math.inf
                if before is not None:
                    far = moved(s.p[i], before.p[i], keep)
                still[i] = still[i] + 1 if far < calm else 0
            before = s
            chosen = [i for i in m if s.conf[i] > confidence and still[i] >= patience]
            share = max(1, shares[step]) if step < steps else len(m)
            write(canvas, chosen or best(m, s.conf, share), s.token)
            step += 1
            yield list(canvas)


def prophet(
    model: Model,
    canvas: Canvas,
    early: float,
    middle: float,
    late: float,
    answer: int,
    length: int,
    tokens: int,
    block: int,
) -> Steps:
    """Prophet (pixeli99/Prophet, generate_earlyexit.py): all masks are written once the mean gap of the two
    largest logits over the answer reaches a bound, which falls in three phases.
    """
    step, size = 0, len(canvas)
    for window in blocks(size, block):
        while m := masks(canvas, window):
            s = model.see(canvas)
            step += 1
            share = step * tokens / size
            enough = early if share < 0.33 else middle if share < 0.67 else late
            gaps = s.logit_margin[answer : answer + length]
            decided = bool(gaps) and float(torch.tensor(gaps).mean()) >= enough
            write(canvas, masks(canvas, range(size)) if decided else best(m, s.conf, tokens), s.token)
            yield list(canvas)


# --- positions


def slowfast(
    model: Model,
    canvas: Canvas,
    sure: float,
    likely: float,
    tries: int,
    wobble: float,
    block: int,
) -> Steps:
    """SlowFast (LiangrunFlora/Slow-Fast-Sampling, generate_slow_fast_sampling.py): the end of the next stretch
    is guessed some times, then the stretch is filled. Left out: guesses that the release goes on with once
    the end stands, and its cache.
    """
    for window in blocks(len(canvas), block):
        begin = window.start
        while masks(canvas, window):
            ends: list[int] = []
            while len(ends) < tries and (m := masks(canvas, window)):
                s = model.see(canvas)
                near = [i for i in m if i >= begin and s.conf[i] >= likely]
                ends.append(min(window.stop, max(near) + 1 if near else begin + 1))
                bright = [i for i in m if s.conf[i] >= sure]
                write(canvas, bright if len(bright) > 1 else best(m, s.conf), s.token)
                yield list(canvas)
                if len(ends) > 1 and abs(ends[-1] - ends[-2]) / 2 < wobble:
                    break
            last = ends[-2:]
            settled = len(last) > 1 and abs(last[0] - last[1]) / 2 < wobble
            end = last[-1] if settled else sum(last) // len(last)
            while m := masks(canvas, range(window.start, end)):
                s = model.see(canvas)
                write(canvas, [i for i in m if s.conf[i] >= sure] or best(m, s.conf), s.token)
                yield list(canvas)
            begin = end


# --- taking back


def saber(model: Model, canvas: Canvas, tokens: int, share: int, upstream: bool, block: int) -> Steps:
    """Saber (zhaoyMa/Saber, `generate_with_saber`). With `upstream`, three habits of the release: the mean
    also has the confidences of positions that were taken back, the positions written in this step may be
    taken back too, and they are judged by the likeliest id and not by the one that stands there.
    """
    for window in blocks(len(canvas), block):
        at_commit: dict[int, float] = {}
        last: dict[int, float] = dict.fromkeys(window, 0.0)
        while m := masks(canvas, window):
            s = model.see(canvas)
            old = written(canvas, window)
            of_mean = sorted(at_commit) if upstream else old
            usual = float(torch.tensor([at_commit[i] for i in of_mean]).mean()) if of_mean else math.inf
            sure = [i for i in m if s.conf[i] > usual]
            chosen = sure if len(sure) >= tokens else best(m, s.conf, tokens)
            write(canvas, chosen, s.token)
            at_commit |= {i: s.conf[i] for i in chosen}
            now = {i: s.conf[i] if upstream or canvas[i] is None else s.of(canvas, i) for i in window}
            if masks(canvas, window):
                most = min(max(tokens // 2, math.ceil(len(chosen) / share)), len(chosen) - 1)
                change = {i: float32(now[i] - last[i]) for i in window}
                for i in lowest(written(canvas, window) if upstream else old, change, most):
                    canvas[i] = None
            last = now
            yield list(canvas)


def wino_plain(model: Model, canvas: Canvas, sure: float, keep: float, block: int) -> Steps:
    """WINO (Feng-Hong/WINO-DLLM, `decoding_wino`) without the shadow columns."""
    for window in blocks(len(canvas), block):
        last = 30
        while m := masks(canvas, window):
            s = model.see(canvas)
            most = min(max(int(0.7 * len(m)), 5), 20)
            chosen = best([i for i in m if s.conf[i] > sure], s.conf, most) or best(m, s.conf)
            p = {i: s.of(canvas, i) for i in written(canvas, window)}
            if len(chosen) > 1:
                for i in lowest([i for i in p if p[i] < keep], p, last - 1):
                    canvas[i] = None
            write(canvas, chosen, s.token)
            last = len(chosen)
            yield list(canvas)


def rcr(model: Model, canvas: Canvas, curve: str, steps: int, block: int) -> Steps:
    """RCR of MDPO (furiosa-ai/ParallelBench, mdpo_rcr.py: `gamma_func`, `overtime_conf`): everything is
    written, and what was least sure when it was written is masked again; a curve says how much. Left out: the
    release may also take back positions of the blocks before.
    """
    for window in blocks(len(canvas), block):
        at_commit: dict[int, float] = {}
        for step in range(steps):
            if not (m := masks(canvas, window)):
                break
            s = model.see(canvas)
            write(canvas, m, s.token)
            at_commit |= {i: s.conf[i] for i in m}
            r, size = (step + 1) / steps, len(window)
            left = {
                "linear": 1 - r,
                "cosine": math.cos(math.pi / 2 * r),
                "square": 1 - r**2,
                "log": -math.log2(r) / math.log2(max(2, size)),
                "exponential": 1 - 2 ** (-math.log2(size) * (1 - r)),
            }[curve]
            count = 0 if step + 1 == steps else math.floor(size * left + 1e-5)
            for i in lowest(list(window), at_commit, count):
                canvas[i] = None
            yield list(canvas)


def p2(model: Model, canvas: Canvas, steps: int, eta: float, judged: str, ranking: str, heat: float) -> Steps:
    """P2 (pengzhangzhi/Path-Planning, p2.py, `p2_sampling`, tau 0, no planner): of all positions the best
    ones are kept, more with every step. The release judges a written position by the id that the model would
    write there now (`judged` is token). `noisy`: with Gumbel noise on the scores, which cools down.
    """
    size = len(canvas)
    for step in range(steps):
        if not masks(canvas, range(size)):
            return
        s = model.see(canvas)
        warm = heat * (1 - step / steps) if ranking == "noisy" else 0.0
        score = []
        for i in range(size):
            of = s.conf[i] if judged == "token" or canvas[i] is None else s.of(canvas, i)
            sure = math.log(of) * (1 if canvas[i] is None else eta)
            score.append(sure + (warm * model.gumbel(step, i) if warm else 0.0))
        kept = best(range(size), score, size - size * (steps - step - 1) // steps)
        for i in range(size):
            if i not in kept:
                canvas[i] = None
            elif canvas[i] is None:
                canvas[i] = s.token[i]
        yield list(canvas)


def p2_plus(model: Model, canvas: Canvas, steps: int) -> Steps:
    """P2+ (pengzhangzhi/Path-Planning, p2.py, `p2_plus_sampling`, tau 0): the first forward decides the order
    of all positions.
    """
    first, size = model.see(canvas).conf, len(canvas)
    while m := masks(canvas, range(size)):
        s = model.see(canvas)
        write(canvas, best(m, first, math.ceil(size / steps)), s.token)
        yield list(canvas)


def remdm(model: Model, canvas: Canvas, kind: str, eta: float, steps: int) -> Steps:
    """ReMDM (kuleshov-group/remdm, diffusion.py, `_ddpm_caching_update`) with its linear schedule, and the
    forward-backward sampler that the same code has.
    """
    at_commit: dict[int, float] = {}
    for step in range(steps):
        if not (m := masks(canvas, range(len(canvas)))):
            return
        s = model.see(canvas)
        now, later = step / steps, (step + 1) / steps
        most = min(1.0, (1 - later) / now) if step else 1.0
        old = written(canvas, range(len(canvas)))
        of_all = {
            "cap": min(eta, most),
            "rescale": eta * most,
            "conf": 0.0,
            "backward": min(1.0, (later - now) / now) if step else 1.0,
        }[kind]
        total = sum(math.exp(-at_commit[i]) for i in old)
        sigma = {i: math.exp(-at_commit[i]) / total * most if kind == "conf" else of_all for i in old}
        share = (later - (1 - of_all) * now) / (1 - now)
        again = [i for i in old if model.uniform(step, i, 1) < sigma[i]]
        fresh = [i for i in m if step + 1 == steps or model.uniform(step, i, 2) < share]
        for i in again:
            canvas[i] = None
        write(canvas, fresh if step + 1 < steps else fresh + again, s.token)
        at_commit |= {i: s.conf[i] for i in fresh}
        yield list(canvas)


def remdm_loop(
    model: Model, canvas: Canvas, eta: float, on: float, off: float, level: float, steps: int
) -> Steps:
    """ReMDM-loop (kuleshov-group/remdm, `remdm-loop`): plain decoding until the share `level` is written, then
    positions are taken back and written at equal rates, then plain decoding again. `on` and `off` are times
    that run from 1 down to 0.
    """
    everything = range(len(canvas))
    for step in range(steps):
        if not (m := masks(canvas, everything)):
            return
        s = model.see(canvas)
        time, dt = 1 - step / steps, 1 / steps
        looping = off < time <= on
        if time > on:
            now = (1 - time) * level / (1 - on)
            later = (1 - time + dt) * level / (1 - on)
            share = (later - now) / (1 - now)
        elif looping:
            share = level * eta / (1 - level)
        else:
            share = dt / time
        again = [i for i in written(canvas, everything) if looping and model.uniform(step, i, 1) < eta]
        fresh = [i for i in m if step + 1 == steps or model.uniform(step, i, 2) < share]
        for i in again:
            canvas[i] = None
        write(canvas, fresh if step + 1 < steps else fresh + again, s.token)
        yield list(canvas)


def remdm_llada(model: Model, canvas: Canvas, again: int, rounds: int, begin: float, block: int) -> Steps:
    """ReMDM for LLaDA (furiosa-ai/ParallelBench, remdm.py, after guanghanwang/ReMDM-LLaDA), one token a step:
    in the middle of a block, some rounds take back what was least sure when it was written, and write as
    many anew.
    """
    for window in blocks(len(canvas), block):
        at_commit: dict[int, float] = {}
        first = max(1, min(int(len(window) * begin), len(window) - 1))
        loop = range(first, first + rounds)
        for step in range(len(window) + rounds):
            if not (m := masks(canvas, window)):
                break
            s = model.see(canvas)
            chosen = best(m, s.conf, again if step in loop else 1)
            write(canvas, chosen, s.token)
            at_commit |= {i: s.conf[i] for i in chosen}
            if step + 1 in loop:
                for i in lowest(written(canvas, window), at_commit, again):
                    canvas[i] = None
            yield list(canvas)


def token_to_mask(
    model: Model, canvas: Canvas, rule: str, level: float, confidence: float, share: float, block: int
) -> Steps:
    """Token-to-mask (synsis/remasked_DLM, modeling_remask.py): a written token that is unlikely (`low_prob`),
    that the model would overwrite (`t2t_remask`), or whose probability has moved since the step before
    (`logit_diff`) is masked again, the worst ones first. Left out: the limit for each position, and steps
    after the block is full. Ours: at most one less than are written in the step.
    """
    for window in blocks(len(canvas), block):
        before: dict[int, float] = {}
        while m := masks(canvas, window):
            s = model.see(canvas)
            chosen = [i for i in m if s.conf[i] > confidence] or best(m, s.conf)
            old = written(canvas, window)
            p = {i: s.of(canvas, i) for i in old}
            wrong: dict[int, float] = {}
            for i in old:
                if rule == "low_prob" and p[i] < level:
                    wrong[i] = p[i]
                elif rule == "t2t_remask" and s.token[i] != canvas[i] and s.conf[i] > level:
                    wrong[i] = float32(1 - s.conf[i])
                elif rule == "logit_diff" and abs(float32(before[i] - p[i])) > level:
                    wrong[i] = -abs(float32(before[i] - p[i]))
            most = min(max(1, int(len(old) * share)), len(chosen) - 1)
            for i in lowest(list(wrong), wrong, most):
                canvas[i] = None
            write(canvas, chosen, s.token)
            before = p | {i: s.conf[i] for i in chosen}
            yield list(canvas)
