"""Steps on a CPU that read no value, as on a GPU: the forms of an eager step that read are left out."""

from __future__ import annotations

import pytest

from dsldec.backends import module, vocabulary_tiles
from dsldec.backends.module_eager import GivenParameter, ParameterReader, planned


def read_nothing_in_steps(patch: pytest.MonkeyPatch) -> None:
    """Patches steps that are made from now on."""
    patch.setattr(module, "planned", lambda *given: planned(*given[:-1], False))
    patch.setattr(ParameterReader, "_read", lambda self, name, x: GivenParameter(None, x.dtype, x.dim()))
    patch.setattr(vocabulary_tiles, "pay", lambda logits: False)
