"""Fixtures for the tests of models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .tiny import code_copied_to


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with code_copied_to(tmp_path_factory.mktemp("modules")):
        yield
