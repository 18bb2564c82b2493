"""The statistics of `vocabulary.statistics` in one read of the logits: a Triton kernel for GPUs. Not measured
on a GPU.

Shapes: B rows, T window positions, V vocabulary. A program reads one piece of the vocabulary at one position
into registers and computes its best score, then everything else. A second, small kernel combines the pieces
of a position. The pieces do not depend on B and T, so the numbers of a row do not depend on the batch; 32
positions already make hundreds of programs. Needs triton 3.5 or newer, torch 2.9 or newer. Not here: the
choice of the kernel (`vocabulary_dispatch.reader`), the observations (`vocabulary.observe`).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op

from . import vocabulary
from .vocabulary import WANTED, Statistics

PIECE = 4096  # ids read by one program: 16 for each thread, loaded at once and held in registers
WARPS = 8
WARPS_OF_WHOLE = 1
READABLE = (torch.float32, torch.bfloat16, torch.float16)

# Indices into the buffers of floats and of ints: [index, B * T, pieces] for the pieces, [index, B, T] for the
# result.
BEST, OTHERS, SPREAD, BELOW, SCORE = (tl.constexpr(n) for n in range(5))
TIES, TOKEN = (tl.constexpr(n) for n in range(2))

# A score this far below the best has the weight 1e-38; a smaller weight is taken as 0.
FAR = tl.constexpr(-87.0)
ROUNDING = tl.constexpr(
    12582912.0
)  # 1.5 * 2^23: the sum with a small number has the nearest int in its lowest bits
LN2, LN2_REST = (
    tl.constexpr(0.693145751953125),
    tl.constexpr(1.42860682030941723212e-6),
)  # few bits, so its product with an int is exact


@triton.jit
def _exp(x):
    """e to the power of x <= 0, right to the last bits.

    The fast `exp` of GPUs is wrong in the sixth digit for scores far below the best.
    """
    x = tl.where(x < FAR, 2 * FAR, x)
    rounded = x * 1.4426950408889634 + ROUNDING
    n = rounded - ROUNDING
    power = (rounded.to(tl.int32, bitcast=True) << 23) + 0x3F800000  # 2^n as a float's bits
    e = tl.exp(x - n * LN2 - n * LN2_REST) * power.to(tl.float32, bitcast=True)
    return tl.where(x < FAR, 0.0, e)


@triton.jit
def _distance(x, best):
    """Score minus best, never infinite, because it is multiplied by weights of 0."""
    distance = x - best
    return tl.where(
        distance > 2 * FAR, distance, 2 * FAR
    )  # not a maximum: the interpreter before triton 3.8 may give NaN for two infinities


@triton.jit
def _row(logits, row, length, row_stride, position_stride):
    return logits + (row // length) * row_stride + (row % length) * position_stride


@triton.jit
def read_piece(
    logits, floats, ints, size, length, row_stride, position_stride, mask_id, pieces,
    has_token: tl.constexpr, has_spread: tl.constexpr, has_below: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """One piece of the vocabulary, without MASK if a token is wanted.

    A score is NaN only if `others` is NaN.
    """
    row, piece = tl.program_id(0).to(tl.int64), tl.program_id(1)
    ids = piece * PIECE + tl.arange(0, PIECE)
    exists = ids < size
    x = tl.load(
        _row(logits, row, length, row_stride, position_stride) + ids, mask=exists, other=float("-inf")
    ).to(tl.float32)
    if has_token:
        exists = exists & (ids != mask_id)
        x = tl.where(exists, x, float("-inf"))
    best = tl.max(x, 0)
    wins = x == best
    weight = tl.where(wins, 0.0, _exp(x - best))
    at, all_ = row * pieces + piece, tl.num_programs(0).to(tl.int64) * pieces
    tl.store(floats + BEST * all_ + at, best)
    tl.store(floats + OTHERS * all_ + at, tl.sum(weight, 0))
    tl.store(ints + TIES * all_ + at, tl.sum((wins & exists).to(tl.int32), 0))
    if has_spread:
        tl.store(floats + SPREAD * all_ + at, tl.sum(weight * _distance(x, best), 0))
    if has_below:
        tl.store(floats + BELOW * all_ + at, tl.max(tl.where(wins, float("-inf"), x), 0))
    if has_token:
        tl.store(ints + TOKEN * all_ + at, tl.min(tl.where(wins & exists, ids, size - 1), 0))


@triton.jit
def put_together(
    logits, floats, ints, floats_out, ints_out, size, length, row_stride, position_stride, mask_id, pieces,
    has_token: tl.constexpr, has_spread: tl.constexpr, has_below: tl.constexpr, has_mask: tl.constexpr, PIECES: tl.constexpr,
):  # fmt: skip
    """The pieces of one position; MASK is one more piece if a token is wanted."""
    row, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0).to(tl.int64)
    piece = tl.arange(0, PIECES)
    exists, at, all_ = piece < pieces, row * pieces + piece, rows * pieces
    x = tl.load(floats + BEST * all_ + at, mask=exists, other=float("-inf"))
    others = tl.load(floats + OTHERS * all_ + at, mask=exists, other=0.0)
    ties = tl.load(ints + TIES * all_ + at, mask=exists, other=0)
    if has_token:
        score = tl.max(x, 0)
        sum_ = tl.sum(others, 0)
        id_ = tl.load(ints + TOKEN * all_ + at, mask=exists, other=size)
        token = tl.min(tl.where(x == score, id_, size - 1), 0)
        tl.store(floats_out + SCORE * rows + row, tl.where(sum_ == sum_, score, float("nan")))
        tl.store(ints_out + TOKEN * rows + row, tl.where(sum_ == sum_, token, size - 1))
    if has_mask:
        of_mask = tl.load(_row(logits, row, length, row_stride, position_stride) + mask_id).to(tl.float32)
        x = tl.where(piece == pieces, of_mask, x)
        others = tl.where(piece == pieces, tl.where(of_mask == of_mask, 0.0, of_mask), others)
        ties = tl.where(piece == pieces, 1, ties)
    best = tl.max(x, 0)
    wins = x == best
    scale = _exp(x - best)
    weight = tl.where(wins, others, scale * (others + ties))
    count = tl.sum(tl.where(wins, ties, 0), 0)
    sum_ = tl.sum(weight, 0) + (count - 1)
    tl.store(floats_out + BEST * rows + row, tl.where(sum_ == sum_, best, float("nan")))
    tl.store(floats_out + OTHERS * rows + row, sum_)
    tl.store(ints_out + TIES * rows + row, count)
    if has_spread:
        spread = tl.load(floats + SPREAD * all_ + at, mask=exists, other=0.0)
        moved = scale * spread + weight * _distance(x, best)
        tl.store(floats_out + SPREAD * rows + row, tl.sum(tl.where(wins, spread, moved), 0))
    if has_below:
        below = tl.load(floats + BELOW * all_ + at, mask=exists, other=float("-inf"))
        tl.store(floats_out + BELOW * rows + row, tl.max(tl.where(wins, below, x), 0))


if isinstance(read_piece, triton.JITFunction):
    from torch.library import wrap_triton
else:  # TRITON_INTERPRET=1: torch before 2.12 cannot wrap interpreted kernels, and nothing compiles them

    def wrap_triton(kernel):
        return kernel


@triton_op("dsldec::read_vocabulary", mutates_args={})
def read_vocabulary(
    logits: Tensor, mask_id: int, has_token: bool, has_spread: bool, has_below: bool
) -> tuple[Tensor, Tensor]:
    """Floats `[5, B, T]` and ints `[2, B, T]` of `logits [B, T, V]`, indexed as above.

    The logits are contiguous in V. Results that are not wanted are not set.
    """
    batch, length, size = logits.shape
    rows, pieces = batch * length, triton.cdiv(size, PIECE)
    floats = torch.empty(4, rows, pieces, dtype=torch.float32, device=logits.device)
    ints = torch.empty(2, rows, pieces, dtype=torch.int32, device=logits.device)
    floats_out = torch.empty(5, batch, length, dtype=torch.float32, device=logits.device)
    ints_out = torch.empty(2, batch, length, dtype=torch.int64, device=logits.device)
    shape = (size, length, logits.stride(0), logits.stride(1), mask_id, pieces)
    wanted = {"has_token": has_token, "has_spread": has_spread, "has_below": has_below}
    wrap_triton(read_piece)[(rows, pieces)](
        logits, floats, ints, *shape, **wanted, PIECE=PIECE, num_warps=WARPS
    )
    wanted |= {"has_mask": has_token and 0 <= mask_id < size}
    buffers = (floats, ints, floats_out, ints_out)
    lanes = triton.next_power_of_2(pieces + 1)
    wrap_triton(put_together)[(rows,)](
        logits, *buffers, *shape, **wanted, PIECES=lanes, num_warps=WARPS_OF_WHOLE
    )
    return floats_out, ints_out


def statistics(logits: Tensor, mask_id: int, wanted: Collection[str] = WANTED) -> Statistics:
    """As `vocabulary.statistics`, which reads the logits that the kernel cannot read: not on a GPU, or not
    contiguous in V.
    """
    if not logits.is_cuda or logits.dtype not in READABLE or logits.stride(-1) != 1 or not logits.numel():
        return vocabulary.statistics(logits, mask_id, wanted)
    if torch.compiler.is_compiling():
        return by_kernel(logits, mask_id, wanted)
    with torch.cuda.device_of(logits):  # a kernel runs on the current device
        return by_kernel(logits, mask_id, wanted)


def by_kernel(logits: Tensor, mask_id: int, wanted: Collection[str] = WANTED) -> Statistics:
    """The statistics of logits that the kernel can read."""
    has_token, has_spread, has_below = (name in wanted for name in WANTED)
    floats, ints = read_vocabulary(logits, mask_id, has_token, has_spread, has_below)
    best, others, spread, below, score = floats.unbind()
    ties, token = ints.unbind()
    return Statistics(
        best,
        ties,
        others,
        token if has_token else None,
        score if has_token else None,
        spread if has_spread else None,
        below if has_below else None,
    )
