"""Denoisers for which drafts of later steps are right always, never or sometimes, and a hook that sees every
forward.

Every row is computed alone, so a row of a batch has the logits of the row by itself, bit for bit. Shapes: b
rows, L canvas length, V vocabulary. Not here: the exact toy of the goldens (`tests/toy.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..toy import mix, unit

VOCABULARY = 24
MASK = VOCABULARY - 1
WIDTH, DEPTH, LONGEST = 16, 2, 160

Ids = tuple[int, ...]
Sees = Callable[[int], Tensor]  # L to [L, L] bool: may the row's position look at the column's?


class ByRow:
    """Ids `[b, L]` to logits `[b, L, V]`, one row at a time; a canvas met before is looked up."""

    mask_id, vocab_size = MASK, VOCABULARY
    eos_id: int | None = None

    def __init__(self) -> None:
        self.known: dict[Ids, Tensor] = {}

    def __call__(self, ids: Tensor) -> Tensor:
        return torch.stack([self.of(tuple(row)) for row in ids.tolist()])

    def of(self, ids: Ids) -> Tensor:
        if ids not in self.known:
            with torch.no_grad():
                self.known[ids] = self.row(ids)
        return self.known[ids].clone()

    def row(self, ids: Ids) -> Tensor:
        """Logits `[L, V]` of one canvas."""
        raise NotImplementedError


def everything(length: int) -> Tensor:
    """Full attention."""
    return torch.ones(length, length, dtype=torch.bool)


def block_causal(block: int, origin: int) -> Sees:
    """Blocks look at themselves and to the left; they are counted from `origin`, and what is left of it is
    one more block.
    """

    def sees(length: int) -> Tensor:
        number = torch.div(torch.arange(length) - origin, block, rounding_mode="floor").clamp(min=-1)
        return number.unsqueeze(0) <= number.unsqueeze(1)

    return sees


class TinyTransformer(ByRow):
    """A transformer with random weights; the larger `context`, the more a written token changes what is said
    elsewhere.
    """

    def __init__(
        self, seed: int, sees: Sees = everything, context: float = 1.0, eos_id: int | None = None
    ) -> None:
        super().__init__()
        self.sees, self.context, self.eos_id = sees, context, eos_id
        generator = torch.Generator().manual_seed(seed)

        def weights(rows: int, columns: int, size: float) -> Tensor:
            return torch.randn(rows, columns, generator=generator) * size

        self.tokens, self.places = weights(VOCABULARY, WIDTH, 1.0), weights(LONGEST, WIDTH, 1.0)
        sizes = [(WIDTH, WIDTH)] * 4 + [(WIDTH, 2 * WIDTH), (2 * WIDTH, WIDTH)]
        self.layers = [[weights(rows, columns, rows**-0.5) for rows, columns in sizes] for _ in range(DEPTH)]
        self.head = weights(WIDTH, VOCABULARY, 0.75)

    def row(self, ids: Ids) -> Tensor:
        hidden = _even(self.places[: len(ids)] + 0.0)
        tokens = self.context * self.tokens[list(ids)]
        unseen = ~self.sees(len(ids))
        for query, key, value, out, up, down in self.layers:
            with_tokens = hidden + tokens
            scores = (with_tokens @ query) @ (with_tokens @ key).T / math.sqrt(WIDTH)
            attention = scores.masked_fill(unseen, -math.inf).softmax(-1)
            hidden = _even(hidden + attention @ (with_tokens @ value) @ out)
            hidden = _even(hidden + torch.nn.functional.gelu(hidden @ up) @ down)
        return hidden @ self.head


def _even(hidden: Tensor) -> Tensor:
    """Of mean 0 and size 1 at every position."""
    return torch.nn.functional.layer_norm(hidden, hidden.shape[-1:])


class Table(ByRow):
    """Says at each position one token, this much more likely than every other: `(token, logit)` from a rule
    over the canvas.
    """

    def __init__(
        self, rule: Callable[[Ids], Sequence[tuple[int, float]]], eos_id: int | None = None, rest: float = 0.0
    ) -> None:
        super().__init__()
        self.rule, self.eos_id, self.rest = rule, eos_id, rest

    def row(self, ids: Ids) -> Tensor:
        said = self.rule(ids)
        logits = torch.full((len(ids), VOCABULARY), self.rest)
        for position, (token, logit) in enumerate(said):
            logits[position, token] = logit
        return logits


def logit_of(i: int, *parts: int) -> float:
    """From 1 to 5, out of a hash, and another one at every position: softmax may round equal ones apart."""
    return 1 + mix(i, *parts) % 64 / 16 + i / 8192


def context_free(seed: int) -> Table:
    """What is said of a position depends on nothing: every guess comes true."""
    return Table(lambda ids: [(mix(seed, 1, i) % MASK, logit_of(i, seed)) for i in range(len(ids))])


def fickle(seed: int) -> Table:
    """Every write of fewer than 23 tokens changes the token of every position: no guess comes true."""

    def rule(ids: Ids) -> list[tuple[int, float]]:
        written, canvas = sum(id_ != MASK for id_ in ids), mix(*ids)
        return [((mix(seed, 1, i) + 7 * written) % MASK, logit_of(i, seed, canvas)) for i in range(len(ids))]

    return Table(rule)


class Level(Table):
    """Two ids share all probability at every position: every confidence is 1/2 to the bit. They depend on the
    two tokens to the left.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(
            lambda ids: [(mix(seed, i, *_left(ids, i)) % MASK, 2.0) for i in range(len(ids))], rest=-math.inf
        )

    def row(self, ids: Ids) -> Tensor:
        logits = super().row(ids)
        twins = (logits.argmax(-1, keepdim=True) + 1) % MASK
        return logits.scatter(1, twins, 2.0)


def _left(ids: Ids, i: int) -> list[int]:
    return [x % 3 for x in ids[max(0, i - 2) : i] if x != MASK]


class Shy(TinyTransformer):
    """The likeliest id is MASK wherever a hash of the position and of how much is written says so."""

    def row(self, ids: Ids) -> Tensor:
        logits = super().row(ids)
        written = sum(id_ != MASK for id_ in ids)
        for position in range(len(ids)):
            if mix(position, written // 3) % 2:
                logits[position, MASK] = logits[position].max() + unit(position, 7)
        return logits


class Padded:
    """A denoiser that takes rows of mixed lengths; what it says of the pads is meant to hurt whoever reads
    it.
    """

    pads = True

    def __init__(self, denoiser: Any) -> None:
        self.denoiser = denoiser

    def __call__(self, ids: Tensor, lengths: list[int]) -> Tensor:
        assert ids.shape == (len(lengths), max(lengths))
        logits = torch.zeros(*ids.shape, self.denoiser.vocab_size)
        logits[:, :, 0] = 1000.0
        for row, length in enumerate(lengths):
            assert (ids[row, length:] == self.denoiser.mask_id).all()
            logits[row, :length] = self.denoiser(ids[row : row + 1, :length])[0]
        return logits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)


class Watched:
    """Any denoiser, and every canvas that was fed to it: one list a call. `shapes` holds what each call was
    given.
    """

    def __init__(self, denoiser: Any) -> None:
        self.denoiser = denoiser
        self.calls: list[list[list[int]]] = []
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, ids: Tensor, **how: Any) -> Tensor:
        self.shapes.append(tuple(ids.shape))
        lengths = how.get("lengths", [ids.shape[1]] * len(ids))
        self.calls.append([row[:length] for row, length in zip(ids.tolist(), lengths, strict=True)])
        return self.denoiser(ids, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)
