"""Words on random inputs: calls of each word, and the results of the reference backend, step by step.

Arguments are made from a word's slots, so that a new word is tested without a line here. Shapes: B rows, T
positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

import dsldec
from dsldec.backends.step import Step
from dsldec.language.words import NUMBERS, WORDS, Extent, Kind, Slot, Word

from ..networks import network

B, T, V = 4, 8, 7
EOS, MASK = 5, 6
SEEDS, STEPS = range(3), 4
HEAD = "policy p(lore: table = -0.5, picks: int = 2 in 1..4, brain: network):"
BRAIN = network("linear 1 2, silu, self_attention 2 1, linear 2 1")
SOME = "commit masked and conf > 0.4 at least 1 by conf at most 2 by conf"  # leaves masks for further steps

PLAIN = [word for word in WORDS.values() if not word.slots and word.within is None]
VALUES = [
    word
    for word in WORDS.values()
    if word.within is None and (word.gives is None or word.gives.kind not in (Kind.GROUP, Kind.KERNEL))
]
NUMERIC = [word for word in VALUES if word.gives is None or word.gives.kind in NUMBERS]


# --- a word as it is called


@dataclass(frozen=True)
class Arguments:
    """What stands in the slots: a number per position or per row, an int, the first mask, other masks."""

    number: str = "pos"
    row_number: str = "1.5"
    int_: str = "2"
    mask: str = "masked"
    more: str = "pos >= 0"


def argument(slot: Slot, arguments: Arguments, *, is_first: bool) -> str:
    if slot.static:
        return "2"
    if slot.name == "while":
        return "rank <= 2 or true" if slot.optional else "rank <= 3"
    for kind, text in (
        (Kind.PREVIOUS, "before"),
        (Kind.TABLE, "lore"),
        (Kind.NETWORK, "brain"),
        (Kind.KERNEL, "gaussian(2)"),
        (Kind.GROUP, "pos // 3"),
    ):
        if kind in slot.kinds:
            return text
    if Kind.TOKEN in slot.kinds and Kind.REAL not in slot.kinds:
        return "3"
    if slot.kinds >= NUMBERS:
        return arguments.number if slot.extent is Extent.POSITION else arguments.row_number
    if Kind.MASK in slot.kinds:
        return arguments.mask if is_first else arguments.more
    return arguments.int_ if Kind.INT in slot.kinds else "false"


def call(word: Word, arguments: Arguments = Arguments(), *, pair: bool = False) -> str:
    """The word with what it needs: optional slots are left out, but for the first of `one_of`."""
    slots = word.elementwise if pair else word.slots
    given = [slot for slot in slots if not slot.optional or slot.name in word.one_of[:1]]
    texts = [argument(slot, arguments, is_first=slot is slots[0]) for slot in given]
    texts = [f"{s.name}={text}" if s.named else text for s, text in zip(given, texts, strict=True)]
    return f"{word.name}({', '.join(texts)})" if texts else word.name


# --- what it gives, step by step


@dataclass(frozen=True)
class Moment:
    """One step: its inputs, the canvas after it, and the watched values, `[B, T]` or `[B]`, by label."""

    logits: Tensor
    canvas: Tensor
    editable: Tensor
    state: Mapping[str, Tensor]
    after: Tensor
    values: Mapping[str, Tensor]

    @property
    def active(self) -> Tensor:
        """Rows `[B]` whose window holds a mask: the others make no step."""
        return ((self.canvas == MASK) & self.editable).any(1)

    def __getitem__(self, label: str) -> Tensor:
        return self.values[label][self.active]


def kind_of(word: Word) -> str:
    kind = word.gives.kind if word.gives is not None else Kind.REAL
    return {Kind.MASK: "mask", Kind.BOOL: "bool", Kind.TOKEN: "token each"}.get(kind, "real each")


@cache
def step_of(watched: tuple[tuple[str, str, str], ...], lines: tuple[str, ...]) -> Step:
    """A step that writes down labelled expressions of a kind, at a line `watch`."""
    zero = {"mask": "false", "bool": "false"}
    states = [f"state {label}: {kind} = {zero.get(kind, '0')} per sequence" for label, kind, _ in watched]
    sets = [f"set {label} = {expression}" for label, _, expression in watched]
    body = [text for line in lines for text in (sets if line == "watch" else [line])]
    draws = [line for line in body if line.startswith("draw")]
    head, body = ["window all", *draws], [line for line in body if line not in draws]
    text = "\n".join([HEAD, *(f"  {line}" for line in (*head, *states, *body)), ""])
    return dsldec.load(text, brain=BRAIN).compile("reference", mask_id=MASK, eos_id=EOS)


def moment(
    step: Step, logits: Tensor, canvas: Tensor, editable: Tensor, state: dict[str, Tensor]
) -> tuple[Moment, dict[str, Tensor]]:
    after, _, following, _ = step(logits, canvas, editable, dict(state))
    values = {
        name.removeprefix("state_"): value for name, value in following.items() if name.startswith("state_")
    }
    return Moment(logits, canvas, editable, state, after, values), following


def moments(step: Step, seed: int, *, key: int = 0, masks: float = 0.7) -> Iterator[Moment]:
    """Some steps from a random canvas, in which text may be given anywhere."""
    generator = torch.Generator().manual_seed(seed)
    state = step.start(B, T, vocab_size=V, generation_length=T + 9 + seed)
    state["window_start"] = torch.randint(0, 9, (B,), generator=generator)
    if "key" in state:
        state["key"] = torch.arange(B) + 1000 * key
    editable = torch.rand(B, T, generator=generator) < 0.9
    canvas = torch.randint(0, MASK, (B, T), generator=generator)
    canvas = torch.where(torch.rand(B, T, generator=generator) < masks, MASK, canvas)
    for _ in range(STEPS):
        logits = 3 * torch.randn(B, T, V, generator=generator)
        here, state = moment(step, logits, canvas, editable, state)
        yield here
        canvas = here.after


def all_moments(step: Step, **more: float) -> list[Moment]:
    return [each for seed in SEEDS for each in moments(step, seed, **more)]  # type: ignore[arg-type]


def watch(labelled: Mapping[str, tuple[Word, str]], *lines: str) -> Step:
    return step_of(tuple((label, kind_of(word), text) for label, (word, text) in labelled.items()), lines)


def watch_words(words: list[Word], *lines: str) -> Step:
    return watch({f"w_{word.name}": (word, call(word)) for word in words}, *lines)


def names(holds: Callable[[Word], object], words: list[Word]) -> set[str]:
    return {word.name for word in words if holds(word)}


def equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.double().nan_to_num(-7.0), b.double().nan_to_num(-7.0))
