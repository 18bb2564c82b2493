"""Steps on a CPU that read no value, as on a GPU: the forms of an eager step that read are left out."""

from __future__ import annotations

import pytest

from dsldec.backends import cpu_tiles, module_eager, vocabulary_top


def read_nothing_in_steps(patch: pytest.MonkeyPatch) -> None:
    """Patches steps that are made from now on."""
    patch.setattr(module_eager, "may_read", lambda device: False)
    for place in (cpu_tiles, vocabulary_top):
        patch.setattr(place, "pay", lambda logits: False)
