"""The number of launches of a compiled step on a GPU, beside the kernel that reads the logits, counted in the
code that Inductor writes for a fake one.
"""

from __future__ import annotations

import re

import pytest
import torch

from ..shipped import CORE

# By policy: the most Triton kernels and the most calls of libraries. `klass` compares distributions of two
# steps, and `dico` runs three phases in every row.
MOST_LAUNCHES = {
    "static": (5, 0),
    "threshold": (6, 0),
    "freedave": (6, 0),
    "freedave_plus": (7, 0),
    "factor": (8, 0),
    "frechet": (10, 0),
    "entropy_bounded": (10, 0),
    "klass": (12, 1),
    "dico": (37, 0),
    "lopa": (10, 0),
    "info_gain": (10, 0),
    "diffusion_gemma": (10, 0),
}
QUICK = ("static",)

_MINOR = [int(part) for part in re.findall(r"\d+", torch.__version__)[:2]]
pytestmark = pytest.mark.skipif(
    not [2, 11] <= _MINOR <= [2, 13], reason="by private interfaces of torch 2.11 to 2.13"
)


def test_every_shipped_policy_has_a_bound() -> None:
    assert set(MOST_LAUNCHES) == set(CORE)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in MOST_LAUNCHES]
)
def test_a_compiled_step_launches_few_kernels(name: str) -> None:
    from .fake_gpu_code import code_for_gpu, launches

    kernels, libraries = launches(code_for_gpu(name))
    assert 0 < kernels <= MOST_LAUNCHES[name][0]
    assert libraries <= MOST_LAUNCHES[name][1]
