"""The numeric form of a step's expressions: which dtypes and operations they may use.

Not here: the expressions (`module`, `module_numbers`, `module_orders`, `module_geometry`), which take a form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Numerics:
    """The dtypes and operations that expressions may use.

    `wide`: the dtype of sums of reals and of functions such as `exp`, before the result is rounded to
    float32. `kernels`: whether a Triton kernel may read the logits on a GPU, and whether a CPU adds in
    float64 (see `vocabulary_dispatch.reader`). `pairs_only`: whether long windows also use pairwise
    comparisons, without sorts and scans.
    """

    wide: torch.dtype = torch.float64
    pairs_only: bool = False
    kernels: bool = True


# The same float32 numbers on any machine, for the backends that must equal the reference.
EXACT = Numerics()
# For TensorRT, which has no double precision, no stable sort and no scan. Sums and functions may differ in
# the last bits.
FOR_ENGINES = Numerics(torch.float32, pairs_only=True, kernels=False)
