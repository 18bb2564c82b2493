"""Can one compiled form serve every number of rows? Every policy's step is exported with a dynamic B."""

from __future__ import annotations

import pytest
import torch

import dsldec
from dsldec.backends.exported import Sizes, exported

from ..networks import bound

SHORT = ("klass", "dico")  # with distributions, and with the most operations


def require_any_rows(policy: dsldec.Policy) -> None:
    window = policy.plan(64).block_length
    sizes = Sizes(4, window, 50, torch.float32, "cpu", any_rows=True)
    rows = exported(policy.program, policy.parameters, sizes).example_inputs[0][0].shape[0]
    assert rows == 4


@pytest.mark.parametrize("name", SHORT)
def test_a_step_takes_any_number_of_rows(name: str) -> None:
    require_any_rows(dsldec.load(name))


@pytest.mark.slow
@pytest.mark.parametrize("policy", dsldec.shipped_policies())
def test_every_policy_takes_any_number_of_rows(policy: str) -> None:
    require_any_rows(bound(dsldec.load(policy)))
