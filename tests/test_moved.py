"""Do public names work under their former module, with a warning that says the new one?"""

from __future__ import annotations

import pytest

from dsldec import packages
from dsldec.backends import aot


def test_a_package_is_loaded_under_the_former_name() -> None:
    with pytest.warns(DeprecationWarning, match=r"`dsldec.backends.aot.load` is now `dsldec.packages.load`"):
        assert aot.load is packages.load


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        _ = aot.unload
