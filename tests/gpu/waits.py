"""Where does the host wait for the GPU while it decodes?

`python -m tests.gpu.waits [--device cuda]`: every cache, drafts, rows that are refilled; `policies` runs the
same for every policy and backend. A decode runs three times: once to compile, once to count the waits, and
once in which a wait is an error from soon after the start until the first row can end. A wait is allowed where
rows come and where rows end. A wait between other forwards is a fault, except in a forward that says itself
that it waits (`Forward.waits`): these waits are reported. Not here: what the answers are (`steps`).
"""

from __future__ import annotations

import argparse
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import dsldec
from dsldec.models.huggingface import HuggingFaceDenoiser
from dsldec.models.kv_cache import KVCache
from dsldec.runtime.cached_forward import CachedForward

from .denoisers import HalvesDenoiser
from .device import set_waiting, waits_noted
from .results import Part, Result, run
from .sizes import TINY
from .transformer import in_blocks, transformer
from .ways import backend_of, is_graph, recording

PACKAGE = str(Path(dsldec.__file__).parent)
PROMPTS = [[1, 2, 3], [4, 5, 6], [6, 7, 8], [7, 8, 9]]
REFILLED = [[9, 9, 1], [3, 1, 2], [8, 8, 8]]
MODELS: tuple[type[Any], ...] = (HalvesDenoiser, HuggingFaceDenoiser, KVCache)  # each call is a forward
SOON = 1  # forwards after rows come, in which the host prepares what later ones use
SOON_OF_GRAPHS = 7  # a recording calls the model some times
CACHES = ("none", "prefix", "dual", "exact")


@dataclass(frozen=True)
class Setting:
    """A decode whose waits are counted. `way`: see `ways`; `caches`: the KV cache; `refill`: more prompts
    than rows.
    """

    policy: dsldec.Policy
    way: str = "eager"
    caches: str = "none"
    drafts: int | None = None
    refill: bool = False
    gen_length: int = 64

    @property
    def name(self) -> str:
        parts = [self.policy.name, self.way]
        parts += [f"cache {self.caches}"] if self.caches != "none" else []
        parts += [f"{self.drafts} drafts"] if self.drafts else []
        return ", ".join(parts + (["refill"] if self.refill else []))

    @property
    def soon(self) -> int:
        return SOON_OF_GRAPHS if is_graph(self.way) else SOON

    @property
    def known(self) -> bool:
        """Whether dsldec itself says that this decode waits in every forward."""
        return self.caches != "none" and bool(getattr(CachedForward, "waits", False))


@dataclass
class Waits:
    """Waits of one decode by line of dsldec: `around` where rows come or end, `between` other forwards.
    `polls`: how often the host waited for flags of earlier forwards. `least`: forwards of the row with the
    fewest.
    """

    forwards: int = 0
    least: int = 0
    around: Counter[str] = field(default_factory=Counter)
    between: Counter[str] = field(default_factory=Counter)
    polls: int = 0


class Clock:
    """Counts forwards: what happens belongs to the number of forwards that have begun."""

    def __init__(self) -> None:
        self.now = 0
        self.noted: list[tuple[int, str]] = []
        self.ends: set[int] = set()
        self.polls = 0

    def note(self) -> None:
        ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith(PACKAGE)]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} ({ours[-1].name})" if ours else "elsewhere"
        self.noted.append((self.now, place))

    def waits(self, least: int, soon: int) -> Waits:
        found = Waits(self.now, least, polls=self.polls)
        for at, place in self.noted:
            quiet = at > soon and self.ends.isdisjoint(range(at - soon, at + 1))
            (found.between if quiet else found.around)[place] += 1
        return found


@contextmanager
def ticking(clock: Clock, at: Callable[[int], None]) -> Iterator[None]:
    """Inside, each call of a model and each launch of a graph moves the clock on, and then calls `at` with
    its number.
    """

    def patched(original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            clock.now += 1
            at(clock.now)
            return original(*args, **kwargs)

        return called

    def synchronized(event: Any) -> None:
        clock.polls += not event.query()
        original(event)

    original = torch.cuda.Event.synchronize
    with ExitStack() as patches:
        for kind, name in (*((model, "__call__") for model in MODELS), (torch.cuda.CUDAGraph, "replay")):
            patches.enter_context(mock.patch.object(kind, name, patched(getattr(kind, name))))
        patches.enter_context(mock.patch.object(torch.cuda.Event, "synchronize", synchronized))
        yield


@cache
def denoiser_for(caches: str, device: torch.device) -> Any:
    if caches == "none":
        return HalvesDenoiser(1, device)
    sizes = replace(TINY, dtypes=(torch.float32,))
    return (in_blocks if caches == "exact" else transformer)(sizes, device, 2)


def decoded(setting: Setting, device: torch.device, clock: Clock | None = None) -> int:
    """Decode; returns the forwards of the row with the fewest."""
    prompts = PROMPTS + (REFILLED if setting.refill else [])
    forwards, denoiser = [], denoiser_for(setting.caches, device)
    rows = dsldec.stream(
        denoiser,
        prompts,
        setting.policy,
        gen_length=setting.gen_length,
        backend=backend_of(setting.way),
        batch=len(PROMPTS),
        cache=setting.caches,
        lookahead=setting.drafts,
        stop_at_eos=False,
    )
    with recording(denoiser, setting.way):
        for row in rows:
            forwards.append(row.forwards)
            if clock is not None:
                clock.ends.add(clock.now)
    return min(forwards)


def place_of(error: BaseException) -> str:
    """The line of dsldec that raised."""
    while error.__cause__ is not None:
        error = error.__cause__
    ours = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(PACKAGE)
    ]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "not in dsldec"


def counted(setting: Setting, device: torch.device) -> Waits:
    """The waits of a decode. What is compiled or cached exists before."""
    decoded(setting, device)
    clock = Clock()
    with waits_noted(clock.note, device), ticking(clock, lambda number: None):
        least = decoded(setting, device, clock)
    return clock.waits(least, setting.soon)


def strict(setting: Setting, device: torch.device, until: int, mode: str = "error") -> None:
    """Decode. A wait raises from soon after the start until the first row can have ended."""
    clock = Clock()

    def at(number: int) -> None:
        if number == setting.soon + 1:
            set_waiting(mode, device)
        elif number == until:
            set_waiting("warn", device)

    with waits_noted(lambda: None, device), ticking(clock, at):
        decoded(setting, device)


def checked(setting: Setting, device: torch.device, result: Result) -> None:
    """Add the waits of a decode to the result."""
    found = counted(setting, device)
    between = sum(found.between.values())
    # On a CPU a read costs nothing, and dsldec reads between forwards.
    known = setting.known or device.type != "cuda"
    if not setting.known and found.least > setting.soon + 2:
        try:
            strict(setting, device, found.least, "warn" if known else "error")
        except Exception as error:  # reported beside the counts
            result.fail(f"{setting.name}: where a wait is an error: {error} ({place_of(error)})")
    where = ", ".join(f"{place} {count}" for place, count in found.between.most_common(4))
    allowed = ", ".join(f"{place} {count}" for place, count in found.around.most_common(3))
    line = (
        f"{setting.name}: {found.forwards} forwards; waits between them: {between}"
        + (f" ({where})" if where else "")
        + f"; where rows come and end: {sum(found.around.values())}"
        + (f" ({allowed})" if allowed else "")
        + (f"; {found.polls} waits for flags of earlier forwards" if found.polls else "")
    )
    figures = {
        "forwards": found.forwards,
        "between": dict(found.between),
        "around": dict(found.around),
        "polls": found.polls,
        "known": setting.known,
    }
    result.figures[f"waits, {setting.name}"] = figures
    what = f"cache {setting.caches}" if setting.caches != "none" else f"no cache, {setting.way}"
    result.row(f"waits between forwards, {what}", between / max(1, found.forwards), "a forward")
    if between and not known:
        result.fail(line)
    else:
        result.lines.append(line + ("; this forward says that it waits" if setting.known else ""))


def settings(policies: tuple[str, ...], way: str = "eager") -> Iterator[Setting]:
    """Every cache with drafts 1, 2, 4, 8, and refilled rows."""
    for name in policies:
        policy = dsldec.load(name).bind(block=TINY.window)
        for caches in CACHES:
            for drafts in (None, *TINY.drafts[1:]):
                yield Setting(policy, way, caches, drafts, drafts in (None, 4), gen_length=32)


def parts(arguments: list[str]) -> Iterator[Part]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backend", default="eager")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    for setting in settings(("static", "threshold"), options.backend):
        yield Part(setting.name, partial(checked, setting, device))


if __name__ == "__main__":
    raise SystemExit(run(parts))
