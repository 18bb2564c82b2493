"""Training batches: examples with an end-of-text tail, and their masked response tokens.

Shapes: N rows, S tokens a row (one of `SHAPES`). Every batch is a function of (seed, step, rank) alone, so a
resumed run sees the batches of an uninterrupted one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ..tasks import TASKS, Example, training_stream, word_problems

TOKENS_A_BATCH = 5120
EOS_TAIL_WEIGHT = 0.1
BLOCKS = (4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows of `length` tokens of the named kinds; `weight` is how often such a batch is drawn."""

    length: int
    kinds: tuple[str, ...]
    weight: float


# Bare sums are learned fastest from short rows. The few long rows teach the model that most of a canvas may
# be end-of-text.
SHAPES = (
    Shape(32, ("arithmetic",), 0.42),
    Shape(56, ("sudoku",), 0.08),
    Shape(72, ("word_problems",), 0.32),
    Shape(104, ("word_problems", "word_problems", "word_problems", "sudoku"), 0.13),
    Shape(320, ("word_problems", "word_problems", "sudoku", "arithmetic"), 0.05),
)

# The second model learns equations alone. Short rows hold up to about four of them.
EQUATION_SHAPES = (
    Shape(56, ("equations",), 0.35),
    Shape(96, ("equations",), 0.5),
    Shape(128, ("equations",), 0.15),
)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Which batches a run draws. `at_random`: the share of rows with masks at random positions; the other
    rows have the masks of block decoding.
    """

    shapes: tuple[Shape, ...]
    at_random: float = 0.5


MIXTURES = {
    "word_problems": Mixture(SHAPES),
    "equations": Mixture(EQUATION_SHAPES),
    # An equation may need a value to its right, which the masks of block decoding hide.
    "equations_at_random": Mixture(EQUATION_SHAPES, at_random=0.85),
}


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """`ids [N, S]`: the input of the model. `targets [N, S]`: the true ids. `weights [N, S]`: the weight of
    each position in the loss.
    """

    ids: Tensor
    targets: Tensor
    weights: Tensor


def _fitting(
    tokenizer: PreTrainedTokenizerFast, shape: Shape, rng: random.Random
) -> list[tuple[list[int], list[int]]]:
    """Prompt and response ids of enough examples to fill a batch, each short enough for a row."""
    rows = TOKENS_A_BATCH // shape.length
    makers = {name: task.make for name, task in TASKS.items()} | {"arithmetic": word_problems.make_arithmetic}
    streams = {kind: training_stream(makers[kind], rng) for kind in shape.kinds}
    found: list[tuple[list[int], list[int]]] = []
    while len(found) < rows:
        examples: list[Example] = [next(streams[rng.choice(shape.kinds)]) for _ in range(rows)]
        prompts = tokenizer([f"<|user|>{e.prompt}<|assistant|>" for e in examples])["input_ids"]
        responses = tokenizer([e.response for e in examples])["input_ids"]
        pairs = zip(prompts, responses, strict=True)
        found += [(p, r) for p, r in pairs if len(p) + len(r) < shape.length]
    return found[:rows]


def _masked(start: int, length: int, noise: float, at_random: float, rng: random.Random) -> list[bool]:
    """The masked positions from `start` on: in a share of the rows at random, in the others as block decoding
    leaves them.
    """
    span = length - start
    if rng.random() < at_random:
        return [False] * start + [rng.random() < noise for _ in range(span)]
    # A revealed prefix, then (half the time) a partly written block, then only masks.
    written = min(int(span * (1 - noise)), rng.randint(0, 48))
    block = rng.choice(BLOCKS) if rng.random() < 0.5 else 0
    share = rng.random()
    return [False] * (start + written) + [i >= block or rng.random() < share for i in range(span - written)]


def make_batch(
    tokenizer: PreTrainedTokenizerFast, mixture: str, seed: int, step: int, rank: int
) -> TrainingBatch:
    """The batch of one process at one step, of the examples of a mixture in `MIXTURES`."""
    shapes, at_random = MIXTURES[mixture].shapes, MIXTURES[mixture].at_random
    # The shape is drawn without the rank: in a step, all processes have rows of one length.
    shape = random.Random(f"shape {seed} {step}").choices(shapes, [s.weight for s in shapes])[0]
    rng = random.Random(f"batch {seed} {step} {rank}")
    pairs = _fitting(tokenizer, shape, rng)
    mask, eos = tokenizer.mask_token_id, tokenizer.eos_token_id
    ids, targets, weights = [], [], []
    for row, (prompt, response) in enumerate(pairs):
        tail = shape.length - len(prompt) - len(response)
        true = prompt + response + [eos] * tail
        noise = (row + rng.random()) / len(pairs)  # stratified: every batch has all noise levels
        masked = _masked(len(prompt), shape.length, noise, at_random, rng)
        # The first end-of-text token is content: it marks the end of the response. The filler after it hardly
        # counts.
        content = len(prompt) + len(response)
        targets.append(true)
        ids.append([mask if hidden else true_id for true_id, hidden in zip(true, masked, strict=True)])
        weights.append(
            [float(hidden) * (1.0 if i <= content else EOS_TAIL_WEIGHT) for i, hidden in enumerate(masked)]
        )
    return TrainingBatch(torch.tensor(ids), torch.tensor(targets), torch.tensor(weights))
