"""Which messages does an output get that is no logits?"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.runtime.logits import as_logits

from .test_decode import Plain

GIVEN: dict[str, tuple[Callable[[Tensor], Any], str, str]] = {
    "int": (Tensor.long, "whole numbers (int64)", "not the ids that are likeliest"),
    "uint8": (Tensor.byte, "whole numbers (uint8)", "float"),
    "ids": (lambda x: x.argmax(-1), "whole numbers (int64)", "not the ids that are likeliest"),
    "bool": (lambda x: x > 0, "truth values (bool)", "float"),
    "complex": (lambda x: x.to(torch.complex64), "complex numbers (complex64)", "`logits.real`"),
    "meta": (lambda x: x.to("meta"), "without numbers (meta)", "weights"),
    "sparse": (Tensor.to_sparse, "not dense (sparse_coo)", "`logits.to_dense()`"),
    "mkldnn": (Tensor.to_mkldnn, "not dense (_mkldnn)", "`logits.to_dense()`"),
    "nested": (
        lambda x: torch.nested.nested_tensor([x[0]], layout=torch.jagged),
        "a nested tensor",
        "to_padded_tensor",
    ),
    "numpy": (Tensor.numpy, "a `ndarray`", "`torch.as_tensor(logits)`"),
    "tuple": (lambda x: (x, None), "a `tuple`", "its first element"),
    "output": (lambda x: SimpleNamespace(logits=x), "a `SimpleNamespace`", "`.logits`"),
    "dict": (lambda x: {"logits": x}, "a `dict`", '`["logits"]`'),
    "none": (lambda x: None, "a `NoneType`", "return a tensor"),
    "transposed": (lambda x: x.transpose(1, 2), "a tensor [1, 11, 5]", "`logits.transpose(1, 2)`"),
    "row": (lambda x: x[0], "a tensor [5, 11]", "`logits.unsqueeze(0)`"),
    "padded": (lambda x: torch.cat([x, x], -1), "a tensor [1, 5, 22]", "`denoiser.vocab_size = 22`"),
    "scalar": (Tensor.sum, "a tensor []", "[rows, length, vocab_size]"),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_what_is_no_logits_is_named_and_so_is_what_to_return(kind: str) -> None:
    make, what, help_ = GIVEN[kind]

    class Other(Plain):
        def __call__(self, ids: Tensor) -> Any:
            return make(super().__call__(ids))

    with pytest.raises(dsldec.UsageError) as error:
        dsldec.decode(Other(), [[1]], "static", gen_length=4)
    diagnostic = error.value.diagnostic
    assert diagnostic.code == "E0408"
    assert f"{what} where logits [1, 5, 11] are needed" in diagnostic.message
    assert help_ in diagnostic.help


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float64"])
def test_every_float_dtype_is_computed_with(name: str) -> None:
    class Small(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            return super().__call__(ids).to(getattr(torch, name))

    assert dsldec.decode(Small(), [[1]], "static", gen_length=4).ids[0].tolist() == [1, 1, 2, 3, 4]


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="needs a torch with floats of four bits")
def test_floats_that_torch_cannot_cast_are_refused() -> None:
    packed = torch.zeros(1, 5, 11, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    with pytest.raises(dsldec.UsageError, match="cannot compute with \\(float4_e2m1fn_x2\\)"):
        as_logits(packed, 1, 5, 11)
