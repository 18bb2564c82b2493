"""Do the former names of public objects still work, with one `DeprecationWarning` each?"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.engines.remote_code_model import RemoteCodeModel
from dsldec.models.denoiser import _warn_once, columns_keyword
from dsldec.models.huggingface import HuggingFaceDenoiser
from dsldec.models.kv_cache import InputRows
from dsldec.models.shifted import Shifted
from dsldec.runtime.decode import stream
from dsldec.runtime.trace import StepEvent

from .models import tiny
from .runtime.families import MASK
from .runtime.keeping import Keeper, Memory
from .toy import MASK as TOY_MASK
from .toy import ToyDenoiser

POLICY = dsldec.load("threshold", confidence=0.3, block=4)
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9]]
MODULES = {
    "dsldec.runtime.told": ("StepEvent", StepEvent),
    "dsldec.engines.own_code": ("OwnCode", RemoteCodeModel),
}


class FormerCache:
    """A KV cache with the former names: `keep`, and `at=`."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def __call__(self, ids: Tensor, *inputs: Tensor, at: Tensor) -> Tensor:
        return self.memory(ids, InputRows(*inputs), columns=at)

    def keep(self, source: Tensor, begin: Tensor, end: Tensor) -> None:
        self.memory.store(source, begin, end)


class Former:
    """A denoiser with the former names: `padding`, `chooses`, `kept`, and `at=`."""

    padding = chooses = True

    def __init__(self, denoiser: Keeper) -> None:
        self.denoiser = denoiser
        self.mask_id, self.vocab_size = denoiser.mask_id, denoiser.vocab_size
        self.block_length = denoiser.block_length
        self.selected = 0

    def __call__(self, ids: Tensor, lengths: list[int], at: Tensor | None = None) -> Tensor:
        self.selected += at is not None
        return self.denoiser(ids, lengths, at)

    def kept(self, rows: int, length: int) -> FormerCache:
        return FormerCache(self.denoiser.kv_cache(rows, length))


def keeper(block_length: int | None = 4) -> Keeper:
    # The caches that approximate are for models that see the whole canvas, and read columns never stored.
    return Keeper(3, block_length, selects_columns=True, strict=block_length is not None)


def messages(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(one.message) for one in caught if issubclass(one.category, DeprecationWarning)]


@pytest.mark.parametrize("cache", ["none", "exact", "prefix", "dual"])
def test_a_denoiser_with_the_former_names_decodes_to_the_same_answer(cache: str) -> None:
    how: dict[str, Any] = {"gen_length": 8, "cache": cache}
    block_length = 4 if cache in ("none", "exact") else None
    expected = dsldec.decode(keeper(block_length), PROMPTS, POLICY, **how)
    former = Former(keeper(block_length))
    _warn_once.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decoded = dsldec.decode(former, PROMPTS, POLICY, **how)
    assert [ids.tolist() for ids in decoded.ids] == [ids.tolist() for ids in expected.ids]
    assert decoded.forwards.tolist() == expected.forwards.tolist()
    assert not any(MASK in ids.tolist() for ids in decoded.ids)
    assert bool(former.denoiser.memories) == (cache != "none")
    seen = messages(caught)
    assert len(seen) == len(set(seen))
    names = {"pads": "padding", "selects_columns": "chooses"} | (
        {} if cache == "none" else {"kv_cache": "kept"}
    )
    for new, old in names.items():
        assert f"`{old}` is now `{new}`; the former name works until dsldec 0.3" in seen


def test_a_shifted_denoiser_of_one_with_the_former_names_selects_its_columns() -> None:
    ids = torch.tensor([[1, 2, 3, MASK, MASK, MASK]])
    columns = torch.tensor([[3, 5]])
    former = Former(keeper())
    shifted = Shifted(former)
    assert columns_keyword(shifted) == "columns"
    selected = shifted(ids, lengths=[6], columns=columns)
    assert former.selected == 1
    assert torch.equal(selected, Shifted(keeper())(ids, lengths=[6], columns=columns))


def test_the_former_attributes_of_a_hugging_face_denoiser() -> None:
    denoiser = tiny.denoiser_of("bert")
    for old, new in {"chooses": "selects_columns", "padding": "pads", "ends": "stop_ids"}.items():
        with pytest.deprecated_call(match=f"`{old}` is now `{new}`"):
            assert getattr(denoiser, old) == getattr(denoiser, new)
    with pytest.deprecated_call(match="`ends` is now `stop_ids`"):
        denoiser.ends = frozenset({5})
    assert denoiser.stop_ids == {5}
    with pytest.deprecated_call(match="`kept` is now `kv_cache`"):
        assert type(denoiser.kept(1, 8)) is type(denoiser.kv_cache(1, 8))


def test_the_former_keyword_for_columns_of_a_hugging_face_denoiser() -> None:
    denoiser = tiny.denoiser_of("bert")
    ids, columns = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[1, 3]])
    with pytest.deprecated_call(match="`at` is now `columns`"):
        selected = denoiser(ids, at=columns)
    assert torch.equal(selected, denoiser(ids, columns=columns))


def test_the_former_keyword_for_stop_ids_of_a_hugging_face_denoiser() -> None:
    made = tiny.denoiser_of("bert")
    with pytest.deprecated_call(match="`ends` is now `stop_ids`"):
        denoiser = HuggingFaceDenoiser(made.model, None, 1, 2, 8, ends=(3, 4))
    assert denoiser.stop_ids == {2, 3, 4}


def test_the_former_name_of_wasted_rows() -> None:
    how: dict[str, Any] = {"gen_length": 8}
    decoded = dsldec.decode(ToyDenoiser(1, 1.0), PROMPTS, POLICY, **how)
    assert not any(TOY_MASK in ids.tolist() for ids in decoded.ids)
    with pytest.deprecated_call(match="`surplus` is now `wasted_rows`"):
        assert torch.equal(decoded.surplus, decoded.wasted_rows)
    for row in stream(ToyDenoiser(1, 1.0), PROMPTS, POLICY, **how):
        with pytest.deprecated_call(match="`surplus` is now `wasted_rows`"):
            assert row.surplus == row.wasted_rows


@pytest.mark.parametrize("module", MODULES)
def test_the_former_name_of_a_module(module: str) -> None:
    name, expected = MODULES[module]
    sys.modules.pop(module, None)
    with pytest.deprecated_call(match="is now `dsldec"):
        imported = importlib.import_module(module)
    assert getattr(imported, name) is expected


class WithFormerNames:
    """A denoiser of a user, with a former name."""

    mask_id, vocab_size, padding = 0, 9, True

    def __call__(self, ids: Tensor, lengths: list[int]) -> Tensor:
        return torch.arange(9.0).expand(*ids.shape, 9)


def test_the_warning_is_at_the_line_that_called_dsldec() -> None:
    """Python shows a deprecation only at the lines of the user."""
    with pytest.warns(DeprecationWarning, match="`padding` is now `pads`") as warned:
        dsldec.decode(WithFormerNames(), [[1]], "static", gen_length=2)
    assert {one.filename for one in warned} == {__file__}
    row = dsldec.decode(WithFormerNames(), [[1]], "static", gen_length=2)
    with pytest.warns(DeprecationWarning, match="`surplus` is now `wasted_rows`") as warned:
        assert row.surplus.tolist() == [0]
    assert {one.filename for one in warned} == {__file__}
