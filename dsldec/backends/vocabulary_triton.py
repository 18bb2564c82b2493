"""The statistics of `vocabulary.statistics` in one read of the logits: a Triton kernel for GPUs. Not measured
on a GPU.

Shapes: B rows, T window positions, V vocabulary. A program reads one piece of the vocabulary at one position,
chunk by chunk. Each thread keeps the statistics of the ids it loads in registers, and corrects them where a
chunk has a better score. The threads of a program are combined once, after the last chunk. So a chunk costs
no exchange between threads, and the next chunks are loaded meanwhile. A second, small kernel combines the
pieces of a position. The pieces do not depend on B and T, so the numbers of a row do not depend on the batch.
Needs triton 3.5 or newer, torch 2.9 or newer. Not here: the choice of the kernel
(`vocabulary_dispatch.reader`), the observations (`vocabulary.observe`).

At 2 bytes an id, an H100 can execute about 17 instructions for each id while it reads it, so instructions
limit this kernel as much as memory does. A chunk costs about 24 (compiled for sm_90).
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

WARPS = 8
LANES = 32 * WARPS  # threads of a program
VECTOR = 16  # bytes that a thread loads at once
CHUNKS = 4  # of a piece; a chunk has two vectors for each thread
STAGES = 3  # chunks on their way
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
LOG2E = tl.constexpr(1.4426950408889634)
LN2, LN2_REST = (
    tl.constexpr(0.693145751953125),
    tl.constexpr(1.42860682030941723212e-6),
)  # few bits, so its product with an int is exact


@triton.jit
def _power(x):
    """e to the power of FAR <= x <= 0, right to the last bits; below FAR any number.

    The fast `exp` of GPUs is wrong in the sixth digit for scores far below the best.
    """
    rounded = x * LOG2E + ROUNDING
    n = rounded - ROUNDING
    e = tl.math.exp2((x - n * LN2 - n * LN2_REST) * LOG2E)
    # Adds n to the exponent of e.
    bits = e.to(tl.int32, bitcast=True) + (rounded.to(tl.int32, bitcast=True) << 23)
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _exp(x):
    """e to the power of x <= 0."""
    return tl.where(x < FAR, 0.0, _power(x))


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
def _of_vectors(x, best, has_spread: tl.constexpr, has_below: tl.constexpr):
    """For each thread, of its scores `x [LANES, IDS]`, none above its `best [LANES]`: others, ties, spread
    and below, as in `Statistics`, but with no winner among the others.
    """
    distance = x - best[:, None]
    wins = x == best[:, None]
    nothing = wins | (distance < FAR)
    power = _power(distance)
    others = tl.sum(tl.where(nothing, 0.0, power), 1)
    ties = tl.sum(wins.to(tl.int32), 1)
    spread, below = others, others
    if has_spread:
        spread = tl.sum(tl.where(nothing, 0.0, power * distance), 1)
    if has_below:
        below = tl.max(tl.where(wins, float("-inf"), x), 1)
    return others, ties, spread, below


@triton.jit
def _with_chunk(
    best, others, ties, spread, below, found, x, y, chunk, has_spread: tl.constexpr, has_below: tl.constexpr
):
    """The statistics of each thread with the scores `x` and `y [LANES, IDS]` of one more chunk. `found`: the
    first chunk with the best score.
    """
    top, top_y = tl.max(x, 1), tl.max(y, 1)
    top = tl.where(top_y > top, top_y, top)
    grows = top > best
    now = tl.where(grows, top, best)
    scale = _exp(best - now)
    former = tl.where(grows, scale * (others + ties), others)
    others_x, ties_x, spread_x, below_x = _of_vectors(x, now, has_spread, has_below)
    others_y, ties_y, spread_y, below_y = _of_vectors(y, now, has_spread, has_below)
    if has_spread:
        moved = scale * spread + former * _distance(best, now)
        spread = tl.where(grows, moved, spread) + (spread_x + spread_y)
    if has_below:
        below = tl.where(grows, best, below)
        below = tl.where(below_x > below, below_x, below)
        below = tl.where(below_y > below, below_y, below)
    others = former + (others_x + others_y)
    ties = tl.where(grows, 0, ties) + (ties_x + ties_y)
    return now, others, ties, spread, below, tl.where(grows, chunk, found)


@triton.jit
def _without(x, ids, mask_id):
    return tl.where(ids == mask_id, float("-inf"), x)


@triton.jit
def _of_piece(
    scores, first, size, mask_id, has_token: tl.constexpr, has_spread: tl.constexpr, has_below: tl.constexpr,
    LANES: tl.constexpr, IDS: tl.constexpr, CHUNKS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """The statistics of each thread, `[LANES]`, after all chunks of a piece."""
    HALF: tl.constexpr = LANES * IDS
    CHUNK: tl.constexpr = 2 * HALF
    one = tl.arange(0, LANES)[:, None] * IDS + tl.arange(0, IDS)[None, :]
    other = one + HALF
    best = tl.full([LANES], float("-inf"), tl.float32)
    others, ties = tl.zeros([LANES], tl.float32), tl.zeros([LANES], tl.int32)
    spread, below, found = others, best, ties
    if size - first >= CHUNKS * CHUNK:
        for chunk in tl.range(0, CHUNKS, num_stages=STAGES):
            begin = first + chunk * CHUNK
            x = tl.load(scores + begin + one).to(tl.float32)
            y = tl.load(scores + begin + other).to(tl.float32)
            if has_token:  # noqa: SIM102  # a constant of the compilation, and a branch of the GPU
                if (mask_id >= begin) & (mask_id < begin + CHUNK):
                    x, y = _without(x, begin + one, mask_id), _without(y, begin + other, mask_id)
            best, others, ties, spread, below, found = _with_chunk(
                best, others, ties, spread, below, found, x, y, chunk, has_spread, has_below
            )
    else:  # the last piece of the vocabulary
        for chunk in tl.range(0, CHUNKS, num_stages=STAGES):
            begin = first + chunk * CHUNK
            x = tl.load(scores + begin + one, mask=begin + one < size, other=float("-inf")).to(tl.float32)
            y = tl.load(scores + begin + other, mask=begin + other < size, other=float("-inf")).to(tl.float32)
            if has_token:
                x, y = _without(x, begin + one, mask_id), _without(y, begin + other, mask_id)
            best, others, ties, spread, below, found = _with_chunk(
                best, others, ties, spread, below, found, x, y, chunk, has_spread, has_below
            )
    return best, others, ties, spread, below, found


@triton.jit
def read_piece(
    logits, floats, ints, size, length, row_stride, position_stride, mask_id, pieces,
    has_token: tl.constexpr, has_spread: tl.constexpr, has_below: tl.constexpr,
    LANES: tl.constexpr, IDS: tl.constexpr, CHUNKS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """One piece of the vocabulary, without MASK if a token is wanted.

    A score is NaN only if `others` is NaN.
    """
    row, piece = tl.program_id(0).to(tl.int64), tl.program_id(1)
    scores = _row(logits, row, length, row_stride, position_stride)
    HALF: tl.constexpr = LANES * IDS
    CHUNK: tl.constexpr = 2 * HALF
    first = piece * (CHUNKS * CHUNK)
    left = tl.minimum(size - first, CHUNKS * CHUNK)
    best, others, ties, spread, below, found = _of_piece(
        scores, first, size, mask_id, has_token, has_spread, has_below, LANES, IDS, CHUNKS, STAGES
    )
    top = tl.max(best, 0)
    wins = best == top
    scale = _exp(best - top)
    weight = tl.where(wins, others, scale * (others + ties))
    at, all_ = row * pieces + piece, tl.num_programs(0).to(tl.int64) * pieces
    tl.store(floats + BEST * all_ + at, top)
    tl.store(floats + OTHERS * all_ + at, tl.sum(weight, 0))
    count = tl.sum(tl.where(wins, ties, 0), 0)
    # Where all scores are -inf, the places beyond the last id tie with them, and so does MASK.
    exist = left
    if has_token:
        exist = left - ((mask_id >= first) & (mask_id < first + left)).to(tl.int32)
    tl.store(ints + TIES * all_ + at, tl.minimum(count, exist))
    if has_spread:
        moved = scale * spread + weight * _distance(best, top)
        tl.store(floats + SPREAD * all_ + at, tl.sum(tl.where(wins, spread, moved), 0))
    if has_below:
        tl.store(floats + BELOW * all_ + at, tl.max(tl.where(wins, below, best), 0))
    if has_token:
        # Again the chunk in which each thread has found the best score of all, from a cache: a comparison of
        # every id would cost more.
        begin = first + found[:, None] * CHUNK
        one = begin + tl.arange(0, LANES)[:, None] * IDS + tl.arange(0, IDS)[None, :]
        token = tl.minimum(
            _first_of(scores, one, wins[:, None], top, size, mask_id),
            _first_of(scores, one + HALF, wins[:, None], top, size, mask_id),
        )
        tl.store(ints + TOKEN * all_ + at, token)


@triton.jit
def _first_of(scores, ids, wanted, score, size, mask_id):
    """The lowest of some ids other than MASK with this score; the last id of all if there is none."""
    exists = wanted & (ids < size) & (ids != mask_id)
    x = tl.load(scores + ids, mask=exists, other=float("-inf")).to(tl.float32)
    return tl.min(tl.min(tl.where(exists & (x == score), ids, size - 1), 1), 0)


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
    # From other sizes, ids are loaded one by one, and more of them would need more registers than there are.
    ids = VECTOR // (logits.element_size() if size % VECTOR == 0 else 4)
    rows, pieces = batch * length, triton.cdiv(size, CHUNKS * 2 * LANES * ids)
    floats = torch.empty(4, rows, pieces, dtype=torch.float32, device=logits.device)
    ints = torch.empty(2, rows, pieces, dtype=torch.int32, device=logits.device)
    floats_out = torch.empty(5, batch, length, dtype=torch.float32, device=logits.device)
    ints_out = torch.empty(2, batch, length, dtype=torch.int64, device=logits.device)
    shape = (size, length, logits.stride(0), logits.stride(1), mask_id, pieces)
    wanted = {"has_token": has_token, "has_spread": has_spread, "has_below": has_below}
    wrap_triton(read_piece)[(rows, pieces)](
        logits,
        floats,
        ints,
        *shape,
        **wanted,
        LANES=LANES,
        IDS=ids,
        CHUNKS=CHUNKS,
        STAGES=STAGES,
        num_warps=WARPS,
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
