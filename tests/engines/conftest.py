"""Fixtures for the tests of engines."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from ..models.tiny import code_copied_to
from . import exported


@pytest.fixture(scope="package")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """transformers asks whether what `requirements.txt` names is installed; a checkout that is run as it is
    says so of itself here.
    """
    folder = tmp_path_factory.mktemp("installed")
    with pytest.MonkeyPatch.context() as patch:
        try:
            version("dsldec")
        except PackageNotFoundError:
            about = folder / "dsldec-0.dist-info"
            about.mkdir()
            (about / "METADATA").write_text("Metadata-Version: 2.1\nName: dsldec\nVersion: 0\n")
            patch.syspath_prepend(folder)
        patch.setenv("HF_HUB_OFFLINE", "1")
        with code_copied_to(tmp_path_factory.mktemp("modules")):
            yield folder


@pytest.fixture(scope="package")
def folders(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return exported.made_in(tmp_path_factory.mktemp("exported"))
