"""In which form a step's expressions are written, where the machinery that runs them cannot take every form.

Not here: the expressions (`module` and its neighbours), which are handed a form and ask it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Numerics:
    """`wide`: the dtype of sums of reals, and of functions such as `exp`, before they are rounded to float32.

    `kernels`: logits may be read by a kernel of our own on a GPU, and summed in float64 on a CPU; see
    `vocabulary_dispatch.reader`. `pairs_only`: positions are compared pair by pair however long a window is, where they
    would else be sorted and scanned.
    """

    wide: torch.dtype = torch.float64
    pairs_only: bool = False
    kernels: bool = True


# The same float32 numbers on any machine: what all backends that are held to the reference use.
EXACT = Numerics()
# No double precision, no stable sort, no scan: TensorRT has none of them. Sums and functions may differ in
# the last bits.
FOR_ENGINES = Numerics(torch.float32, pairs_only=True, kernels=False)
