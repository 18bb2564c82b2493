"""Do the errors and warnings of the public functions survive a copy, and the way to another process?"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch

import dsldec

from .toy import MASK, ToyDenoiser


class NaNs(ToyDenoiser):
    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        logits = super().__call__(ids)
        return torch.where((ids[:, 0] == 1).view(-1, 1, 1), float("nan"), logits)


class Fails(ToyDenoiser):
    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        if (ids != MASK).sum() > 12:
            raise RuntimeError("no more")
        return super().__call__(ids)


def warned() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dsldec.decode(NaNs(7, 1.0), [[1, 2], [3, 4]], "static", gen_length=8)


CASES: dict[str, Callable[[], object]] = {
    "UsageError": lambda: dsldec.decode(NaNs(7, 1.0), [[1]], "static", gen_length=0),
    "PolicyError": lambda: dsldec.load("policy p():\n  window all\n"),
    "DecodingStopped": lambda: dsldec.decode(Fails(7, 1.0), [[1, 2], [3, 4]], "static", gen_length=8),
    "DecodingWarning": warned,
}


@pytest.mark.parametrize("name", CASES)
def test_it_survives(name: str) -> None:
    with pytest.raises(getattr(dsldec, name)) as raised:
        CASES[name]()
    error = raised.value
    assert type(error).__name__ == name
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert str(again) == str(error)
        if hasattr(error, "decoded"):
            assert [ids.tolist() for ids in again.decoded.ids] == [ids.tolist() for ids in error.decoded.ids]
            assert again.decoded.errors == error.decoded.errors


def test_what_is_made_by_a_warnings_own_arguments_is_that_warning() -> None:
    """As tools do that carry warnings from one process to another."""
    with pytest.raises(dsldec.DecodingWarning) as raised:
        warned()
    assert str(type(raised.value)(*raised.value.args)) == str(raised.value)
