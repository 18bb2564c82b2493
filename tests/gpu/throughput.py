"""Tokens a second of whole decodes: caches, drafts, batches, and the loops of LLaDA and Fast-dLLM on the same
model.

With the embedded model, and with some layers of the 8B shape. Its weights are random, so that confidences are
low and each forward writes few tokens: its figures compare ways to decode, not models. Not here: the
published loops (`published`), the model (`transformer`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch

import dsldec
from dsldec.models.denoiser import Denoiser
from dsldec.models.huggingface import from_pretrained
from dsldec.tools.evaluate import LENGTHS, held_out

from .device import synchronize
from .launches import policy_of
from .published import NAMES, RULES, published_loop
from .results import Part, Result, seconds_left
from .sizes import Sizes
from .transformer import in_blocks, transformer
from .ways import backend_of, recording, ways

TASK = "word_problems"
CACHES = {"bidirectional": ("none", "prefix", "dual"), "in blocks": ("none", "exact")}
ENOUGH = 12.0  # seconds left under which no more cells are measured


@cache
def model(kind: str, sizes: Sizes, device: torch.device) -> Any:
    """`embedded`, or the 8B shape with few layers: `bidirectional` or `in blocks`."""
    if kind == "embedded":
        return from_pretrained(device=device)
    return (in_blocks if kind == "in blocks" else transformer)(sizes, device, sizes.shallow)


def prompts_of(kind: str, sizes: Sizes, rows: int, device: torch.device) -> tuple[list[list[int]], int]:
    """As many prompts as rows, and the number of tokens to generate."""
    if kind == "embedded":
        denoiser = model(kind, sizes, device)
        texts = [example.prompt for example in held_out(TASK, min(rows, 8))]
        return [denoiser.encode(texts[row % len(texts)]) for row in range(rows)], LENGTHS[TASK]
    length = sizes.lengths[0] - sizes.window
    return [[1 + (row + at) % 50 for at in range(length)] for row in range(rows)], sizes.window


def seconds_of(call: Callable[[], object], device: torch.device) -> tuple[float, Any]:
    synchronize(device)
    began = time.perf_counter()
    result = call()
    synchronize(device)
    return time.perf_counter() - began, result


def decoding(
    kind: str,
    policy: dsldec.Policy,
    rows: int,
    sizes: Sizes,
    device: torch.device,
    way: str = "eager",
    caches: str = "none",
    drafts: int | None = None,
) -> Callable[[], Any]:
    """A decode of a full batch."""
    prompts, gen_length = prompts_of(kind, sizes, rows, device)
    denoiser, backend = model(kind, sizes, device), backend_of(way)
    how = {"gen_length": gen_length, "batch": rows, "cache": caches, "lookahead": drafts}

    def decoded() -> Any:
        with recording(denoiser, way):
            return dsldec.decode(denoiser, prompts, policy, backend=backend, stop_at_eos=False, **how)

    return decoded


def grid(
    kind: str, name: str, rows: int, rounds: int, sizes: Sizes, device: torch.device, result: Result
) -> None:
    """Add to the result the tokens a second with each cache and number of drafts."""
    policy, said = policy_of(name, sizes), list[str]()
    for caches in CACHES.get(kind, CACHES["bidirectional"]):
        for drafts in (None, *sizes.drafts[1:]):
            if seconds_left() < ENOUGH:
                result.lines.append(f"{kind}, {name}, batch {rows}: stopped, as no time was left")
                return
            call = decoding(kind, policy, rows, sizes, device, caches=caches, drafts=drafts)
            taken = []
            for _ in range(rounds + 1):  # the first one may compile
                seconds, answer = seconds_of(call, device)
                taken.append(seconds)
            tokens = sum(len(ids) for ids in answer.ids) - sum(
                map(len, prompts_of(kind, sizes, rows, device)[0])
            )
            rate = tokens / statistics.median(taken[1:])
            what = f"{kind}, {name}, batch {rows}, cache {caches}, {drafts or 1} drafts"
            result.row(f"tokens a second: {what}", rate, "tokens/s")
            result.figures[f"decode, {what}"] = {
                "seconds": taken[1:],
                "tokens": tokens,
                "forwards": int(answer.forwards.max()),
            }
            said.append(f"{caches} {drafts or 1}: {rate:.0f} ({int(answer.forwards.max())} forwards)")
    result.lines.append(
        f"{kind}, {name}, batch {rows}, tokens a second by cache and drafts: {'; '.join(said)}"
    )


def against_published(
    name: str, rows: int, backends: tuple[str, ...], sizes: Sizes, device: torch.device, result: Result
) -> None:
    """Add to the result the time of a decode as a share of the published loop's, on the 8B shape."""
    kind = "bidirectional"
    denoiser: Denoiser = model(kind, sizes, device)
    prompts, gen_length = prompts_of(kind, sizes, rows, device)
    canvas = torch.tensor([[*ids, *[denoiser.mask_id] * gen_length] for ids in prompts], device=device)
    theirs = partial(published_loop, denoiser, canvas, len(prompts[0]), sizes.window, RULES[name])
    calls: dict[str, Callable[[], Any]] = {"theirs": theirs}
    for backend in ways(backends):
        calls[backend] = decoding(kind, policy_of(name, sizes), rows, sizes, device, backend)
    taken: dict[str, list[float]] = {key: [] for key in calls}
    answers = {key: call() for key, call in calls.items()}  # compiles
    for _ in range(2):
        for key, call in calls.items():
            taken[key].append(seconds_of(call, device)[0])
    ids, forwards = answers["theirs"]
    tokens, line = rows * gen_length, []
    for backend in ways(backends):
        share = statistics.median(a / b for a, b in zip(taken[backend], taken["theirs"], strict=True))
        same = [a.tolist() == b.tolist() for a, b in zip(answers[backend].ids, ids, strict=True)]
        result.row(f"time of a decode as a share of {NAMES[name]}'s: {backend}, batch {rows}", share, "")
        result.row(
            f"tokens a second beside {NAMES[name]}: {backend}, batch {rows}",
            tokens / statistics.median(taken[backend]),
            "tokens/s",
        )
        line.append(
            f"{backend} {share:.2f} ({int(answers[backend].forwards.max())} forwards, {sum(same)} of {rows} rows equal)"
        )
    rate = tokens / statistics.median(taken["theirs"])
    result.row(f"tokens a second: {NAMES[name]}, batch {rows}", rate, "tokens/s")
    result.lines.append(
        f"{NAMES[name]}, batch {rows}: {rate:.0f} tokens a second in {forwards} forwards; share of its time: {'; '.join(line)}"
    )
    result.figures[f"beside {NAMES[name]}, batch {rows}"] = taken


def parts_of(sizes: Sizes, device: torch.device, backends: tuple[str, ...]) -> Iterator[Part]:
    few, some, *most = sizes.batches
    for rows in (some, few, *most):
        for name in RULES:
            # The compiled step of `factor` would be compiled for this alone.
            used = backends if name in sizes.policies else backends[:1]
            call = partial(against_published, name, rows, used, sizes, device)
            yield Part(f"beside {NAMES[name]}, batch {rows}", call, 10)
    for kind, name, rounds in (
        ("embedded", "threshold", 2),
        ("bidirectional", "threshold", 1),
        ("in blocks", "threshold", 1),
    ):
        for rows in sizes.batches:
            call = partial(grid, kind, name, rows, rounds, sizes, device)
            yield Part(f"decodes, {kind}, {name}, batch {rows}", call, 15)
