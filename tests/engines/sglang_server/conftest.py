"""The model, the stubs and the servers of these tests. One server runs at a time: each is four processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import dsldec

from . import tiny_sdar
from .server import Server, stubs_in

Served = Callable[..., Server]
SYNC = ("--no-dllm-fdfo",)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sdar.saved(tmp_path_factory.mktemp("sdar"))


@pytest.fixture(scope="session")
def denoiser(model: Path) -> dsldec.Denoiser:
    return dsldec.from_pretrained(model, device="cpu")


@pytest.fixture(scope="session")
def serve(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Starts a server of an algorithm, with its YAML mapping and more options; the one before it is stopped."""
    folder = tmp_path_factory.mktemp("server")
    stubs = stubs_in(folder / "stubs")
    running: dict[str, Server] = {}

    def start(algorithm: str, mapping: dict[str, object], *options: str) -> Server:
        name = repr((algorithm, mapping, options))
        if name not in running:
            while running:
                running.popitem()[1].stop()
            config = folder / "policy.yaml"
            config.write_text(yaml.safe_dump(mapping))
            running[name] = Server.start(
                model,
                stubs,
                folder / "server.log",
                "--dllm-algorithm",
                algorithm,
                "--dllm-algorithm-config",
                str(config),
                *options,
            )
        return running[name]

    yield start
    for server in running.values():
        server.stop()
