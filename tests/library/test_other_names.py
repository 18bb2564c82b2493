"""The names of papers and other scripts lead to the shipped policy that states the rule."""

from __future__ import annotations

import pytest

import dsldec
from dsldec.policy import OTHER_NAMES


def test_another_name_leads_to_a_shipped_policy() -> None:
    shipped = dsldec.shipped_policies()
    assert {*OTHER_NAMES.values()} <= {*shipped}
    assert not {*OTHER_NAMES} & {*shipped}
    assert all(name == name.strip().lower().replace("-", "_") for name in OTHER_NAMES)


@pytest.mark.parametrize(
    ("name", "meant"), [("WINO", "wino_plain"), ("d2cache", "certainty_prior"), ("uncode", "pc_sampler")]
)
def test_the_diagnostic_names_the_policy(name: str, meant: str) -> None:
    with pytest.raises(dsldec.PolicyError, match=meant):
        dsldec.load(name)
