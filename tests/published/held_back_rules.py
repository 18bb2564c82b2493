"""Published decoding rules, written down before any policy for them was, as naive loops over one row.

They have the form of `rules`: generators of the canvas after every forward. A rule takes a `Model` in place of
`see`, because some of them change the logits, or draw. Each docstring says where the rule is published and
what is left out. Not here: the same rules as policies (the folder `held_back`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dsldec.backends import noise

from .rules import (
    Canvas,
    Seen,
    Steps,
    best,
    blocks,
    closed,
    masks,
    seen,
    split_evenly,
    write,
    written,
)

DRAWS, CANDIDATE = -1, 2**32  # the place of a draw of ids; between the numbers of two candidates
IN_SCORE = 2**16 + 1  # the first place in `pick by`


@dataclass(frozen=True)
class Model:
    """A toy, a prompt, and the key of the random numbers of the row."""

    denoiser: Callable[[Tensor], Tensor]
    mask_id: int
    prompt: Sequence[int]
    key: int

    def logits(self, canvas: Canvas, *, blind: bool = False) -> Tensor:
        """Logits `[L, V]`; where `blind`, without the prompt."""
        before = [self.mask_id] * len(self.prompt) if blind else list(self.prompt)
        ids = torch.tensor([before + [self.mask_id if id_ is None else id_ for id_ in canvas]])
        return self.denoiser(ids)[0, len(before) :]

    def see(self, canvas: Canvas) -> Seen:
        return seen(self.logits(canvas), self.mask_id)

    def uniform(self, step: int, place: int, site: int = 1) -> float:
        return noise.uniform_float(self.key, step, place, site)

    def gumbel(self, step: int, place: int, site: int = 1) -> float:
        return -math.log(-math.log(self.uniform(step, place, site)))

    def drawn(self, logits: Tensor, step: int, temperature: float) -> list[int]:
        """An id for each position, drawn with the Gumbel-max trick."""
        if temperature <= 0:
            return seen(logits, self.mask_id).token
        ids = torch.arange(logits.shape[-1])
        token = []
        for i, scores in enumerate(logits.double()):
            place = torch.tensor(noise.mixed_int(self.key, step, i, DRAWS))
            noisy = scores / temperature + noise.gumbel(place, ids)
            noisy[self.mask_id] = -math.inf
            token.append(int(noisy.argmax()))
        return token


def float32(x: float) -> float:
    return float(torch.tensor(x, dtype=torch.float32))


def mean(x: Sequence[float]) -> float:
    return sum(x) / len(x)


def by_blocks(
    model: Model, canvas: Canvas, block: int, rule: Callable[[Seen, list[int], int], Iterable[int]]
) -> Steps:
    """Block after block, write what a rule selects from the masks of the block in a step of the block."""
    for window in blocks(len(canvas), block):
        step = 0
        while m := masks(canvas, window):
            s = model.see(canvas)
            write(canvas, list(rule(s, m, step)), s.token)
            step += 1
            yield list(canvas)


# --- thresholds that move


def sched(
    model: Model, canvas: Canvas, curve: str, high: float, low: float, sharp: float, taus: Sequence[float],
    steps: int,
) -> Steps:  # fmt: skip
    """SchED (arXiv 2512.02892): LLaDA in one block, until the mean margin of the logits over the whole answer
    reaches a threshold that falls with the progress t / T; then everything is written.
    """
    for step, k in enumerate(split_evenly(len(canvas), steps)):
        if m := masks(canvas, range(len(canvas))):
            s = model.see(canvas)
            progress = (step + 1) / steps
            tau = {
                "linear": high + (low - high) * progress,
                "exponential": low + (high - low) * math.exp(-sharp * progress),
                "listed": taus[min(step, len(taus) - 1)],
            }[curve]
            write(canvas, m if mean(s.logit_margin) >= tau else best(m, s.conf, k), s.token)
            yield list(canvas)


def streaming(
    model: Model, canvas: Canvas, tau: float, alpha: float, block: int, eos: int | None = None
) -> Steps:
    """Streaming-dLLM (arXiv 2601.17917): the threshold tau * (1 - alpha * (1 - share of masks)) of a block, and
    an end at the end of the text. Left out: its suffix columns.
    """
    for window in blocks(len(canvas), block):
        while m := masks(canvas, window):
            s = model.see(canvas)
            level = tau * (1 - alpha * (1 - len(m) / len(window)))
            write(canvas, [i for i in m if s.conf[i] >= level] or best(m, s.conf), s.token)
            yield list(canvas)
            if closed(canvas, eos):
                return


def wedlm(model: Model, canvas: Canvas, calm: float, slope: float, size: int) -> Steps:
    """WeDLM (arXiv 2512.22737): of the next `size` masks, those whose entropy, with a penalty for the distance
    to the first one, is small. Left out: its causal attention.
    """
    while everything := masks(canvas, range(len(canvas))):
        m = everything[:size]
        s = model.see(canvas)
        far = [h + slope * (i - m[0]) for i, h in enumerate(s.entropy)]
        write(canvas, [i for i in m if far[i] < calm] or best(m, [-x for x in far]), s.token)
        yield list(canvas)


def sdlm(model: Model, canvas: Canvas, tau: float, size: int) -> Steps:
    """SDLM (arXiv 2509.24007, find_longest_sequence): the longest beginning of the next `size` masks, each of
    which has a confidence above tau; at least one.
    """
    while everything := masks(canvas, range(len(canvas))):
        s = model.see(canvas)
        n = 0
        while n < min(size, len(everything)) and s.conf[everything[n]] > tau:
            n += 1
        write(canvas, everything[: max(1, n)], s.token)
        yield list(canvas)


# --- schedules and dice


def maskgit(model: Model, canvas: Canvas, steps: int, heat: float, temperature: float) -> Steps:
    """MaskGIT (arXiv 2202.04200): after step s, floor(N * cos(pi / 2 * s / steps)) masks are left, but at least
    one less than before, and at least one before the last step. Ids are drawn. The score is the log of the
    confidence and Gumbel noise, which cools down.
    """
    for step in range(steps):
        m = masks(canvas, range(len(canvas)))
        if not m:
            return
        logits = model.logits(canvas)
        token = model.drawn(logits, step, temperature)
        p = torch.softmax(logits.float(), -1)
        left = math.floor(len(canvas) * math.cos(math.pi / 2 * (step + 1) / steps))
        left = 0 if step + 1 == steps else max(1, min(len(m) - 1, left))
        warm = heat * (1 - (step + 1) / steps)
        score = [math.log(float(p[i, id_])) + warm * model.gumbel(step, i) for i, id_ in enumerate(token)]
        write(canvas, best(m, score, len(m) - left), token)
        yield list(canvas)


def halton(model: Model, canvas: Canvas, order: Sequence[float], steps: int) -> Steps:
    """The Halton scheduler (arXiv 2503.17076): the places of a fixed order, as many as a cosine says."""
    places = sorted(range(len(canvas)), key=lambda i: (order[min(i, len(order) - 1)], i))
    for step in range(steps):
        m = masks(canvas, range(len(canvas)))
        if not m:
            return
        s = model.see(canvas)
        left = math.floor(len(canvas) * math.cos(math.pi / 2 * (step + 1) / steps) + 1e-9)
        left = 0 if step + 1 == steps else left
        free = [i for i in places if i in m]
        write(canvas, free[: max(1, len(m) - left)], s.token)
        yield list(canvas)


def dream_alg_temp(
    model: Model, canvas: Canvas, alg: str, heat: float, steps: int, last_time: float
) -> Steps:
    """Dream with `alg_temp`: the positions of a step are drawn without replacement, with the probabilities
    softmax(score / alg_temp).
    """
    times = torch.linspace(1, last_time, steps + 1)
    for step in range(steps):
        if m := masks(canvas, range(len(canvas))):
            s = model.see(canvas)
            score = {"maskgit_plus": s.conf, "topk_margin": s.margin, "entropy": [-h for h in s.entropy]}[alg]
            k = len(m) if step == steps - 1 else int(len(m) * (1 - times[step + 1] / times[step]))
            noisy = [x / heat + model.gumbel(step, i) for i, x in enumerate(score)]
            write(canvas, best(m, noisy, k), s.token)
            yield list(canvas)


def fast_diffuser(
    model: Model, canvas: Canvas, temperature: float, confidence: float, steps: int, block: int
) -> Steps:
    """SGLang's FastDiffuser for Nemotron (sglang#25803): ids drawn at a temperature, a threshold on their
    probability, and in the last step of a block everything.
    """
    total = 0
    for window in blocks(len(canvas), block):
        step = 0
        while m := masks(canvas, window):
            logits = model.logits(canvas)
            token = model.drawn(logits, total, temperature)
            p = torch.softmax(logits.float(), -1)
            conf = [float(p[i, id_]) for i, id_ in enumerate(token)]
            chosen = [i for i in m if conf[i] > confidence] or best(m, conf)
            write(canvas, m if step + 1 >= steps else chosen, token)
            step, total = step + 1, total + 1
            yield list(canvas)


def jump_steps(model: Model, canvas: Canvas, counts: Sequence[float], block: int) -> Steps:
    """Jump Your Steps (arXiv 2410.07761): a list, found beforehand, of how many positions each step writes.
    Ours: at least one.
    """
    return by_blocks(
        model,
        canvas,
        block,
        lambda s, m, step: best(m, s.conf, max(1, int(counts[min(step, len(counts) - 1)]))),
    )


# --- places


def wavefront(model: Model, canvas: Canvas, radius: int, tokens: int) -> Steps:
    """WavefrontDiffusion (arXiv 2511.19473), from its summary: only masks near the prompt or near a written
    position are candidates, and the most confident ones are written.
    """
    while m := masks(canvas, range(len(canvas))):
        s = model.see(canvas)
        known = written(canvas, range(len(canvas)))
        wave = [i for i in m if i < radius or any(abs(i - j) <= radius for j in known)]
        write(canvas, best(wave, s.conf, tokens), s.token)
        yield list(canvas)


def hierarchy_block(model: Model, canvas: Canvas, confidence: float, part: int, block: int) -> Steps:
    """HierarchyBlock (SGLang, Fast-dLLM v2): a block of parts, which are filled one after the other."""
    for window in blocks(len(canvas), block):
        for inner in range(window.start, window.stop, part):
            while m := masks(canvas, range(inner, min(inner + part, window.stop))):
                s = model.see(canvas)
                write(canvas, [i for i in m if s.conf[i] > confidence] or best(m, s.conf), s.token)
                yield list(canvas)


def d3llm(model: Model, canvas: Canvas, calm: float, add: float, block: int) -> Steps:
    """d3LLM (arXiv 2601.07568, hao-ai-lab/d3LLM, d3llm_llada_generate_util.py, `generate_multi_block`): a block
    opens when the one before it is written to the share `add`. Of all open blocks, what has a low entropy is
    written, and what has the lowest; and if nothing of the first unfinished block is, its calmest position.
    Left out: its cache, and its end at an end-of-text token. `decoded_token_threshold` changes nothing here:
    the block before the first unfinished one is always written.
    """
    all_blocks = list(blocks(len(canvas), block))
    while masks(canvas, range(len(canvas))):
        s = model.see(canvas)
        calmness = [-h for h in s.entropy]
        shares = [len(written(canvas, b)) / len(b) for b in all_blocks]
        last = 0
        while last + 1 < len(all_blocks) and shares[last] >= add:
            last += 1
        open_ = [i for b in all_blocks[: last + 1] for i in masks(canvas, b)]
        first = next(m for b in all_blocks if (m := masks(canvas, b)))
        chosen = {i for i in open_ if s.entropy[i] <= calm} | set(best(open_, calmness))
        if not chosen & set(first):
            chosen |= set(best(first, calmness))
        write(canvas, chosen, s.token)
        yield list(canvas)


# --- the step before, and taking back


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    m = (p + q) / 2
    return float((p * (p / m).log() + q * (q / m).log()).sum() / 2)


# --- the logits, and several canvases


def guided(model: Model, canvas: Canvas, scale: float, steps: int, block: int) -> Steps:
    """LLaDA with classifier-free guidance: u + (scale + 1) * (l - u), with the logits u without the prompt."""
    for window in blocks(len(canvas), block):
        for k in split_evenly(len(window), steps):
            if m := masks(canvas, window):
                u = model.logits(canvas, blind=True)
                s = seen(u + (scale + 1) * (model.logits(canvas) - u), model.mask_id)
                write(canvas, best(m, s.conf, k), s.token)
                yield list(canvas)


def lookum(
    model: Model, canvas: Canvas, rows: int, heat: float, cool: float, tokens: int, block: int
) -> Steps:
    """LookUM (arXiv 2511.05563) with one path that goes on: each of `rows` paths writes positions drawn by
    confidence; of these paths one is drawn with the probability softmax(-mean entropy of its masks / cool).
    """
    step = 0
    while any(id_ is None for id_ in canvas):
        m = next(m for window in blocks(len(canvas), block) if (m := masks(canvas, window)))
        s = model.see(canvas)
        paths = []
        for row in range(rows):
            noisy = {i: s.conf[i] / heat + model.gumbel(step + row * CANDIDATE, i) for i in m}
            path = list(canvas)
            write(path, sorted(m, key=lambda i: (-noisy[i], i))[:tokens], s.token)
            paths.append(path)
        if None in paths[0]:
            scores = []
            for row, path in enumerate(paths):
                of_path = model.see(path)
                left = next(m for window in blocks(len(path), block) if (m := masks(path, window)))
                uncertainty = mean([of_path.entropy[i] for i in left])
                scores.append(-uncertainty / cool + model.gumbel(step + 1 + row * CANDIDATE, 0, IN_SCORE))
            canvas = paths[max(range(rows), key=lambda row: (scores[row], -row))]
        else:
            canvas = paths[0]
        step += 1
        yield list(canvas)
