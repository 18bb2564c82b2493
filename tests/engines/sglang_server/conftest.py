"""The model, and the server of a test. One server runs at a time: each is three processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import dsldec

from . import tiny_sdar
from .server import Server, stubs_in
from .tiny_sdar import BLOCK

CONFIDENCE = 0.4  # steps of one token and of several
DRAWN = "policy drawn():\n  window blocks(4)\n  draw gumbel(2.0)\n  commit top(masked, 1, by=conf)\n"
BUILT_IN = "LowConfidence"  # the rule of `threshold`
PARAMETERS: dict[str, dict[str, Any]] = {
    "threshold": {"confidence": CONFIDENCE, "block": BLOCK},
    "static": {"tokens": 2, "block": BLOCK},
    "dico": {"block": BLOCK},
    "drawn": {},
}
Serve = Callable[..., Server]


@dataclass(frozen=True)
class Served:
    """A running server, and its policy."""

    server: Server
    policy: dsldec.Policy


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sdar.saved(tmp_path_factory.mktemp("sdar"))


@pytest.fixture(scope="session")
def denoiser(model: Path) -> dsldec.Denoiser:
    return dsldec.from_pretrained(model, device="cpu")


@pytest.fixture(scope="session")
def serve(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Starts a server of an algorithm with its YAML mapping and more options."""
    stubs = stubs_in(tmp_path_factory.mktemp("stubs"))

    def start(algorithm: str, mapping: dict[str, Any], *options: str) -> Server:
        folder = tmp_path_factory.mktemp("server")
        config, log = folder / "policy.yaml", folder / "server.log"
        config.write_text(yaml.safe_dump(mapping))
        own = ("--dllm-algorithm", algorithm, "--dllm-algorithm-config", str(config))
        return Server.start(model, stubs, log, *own, *options)

    return start


@pytest.fixture(scope="session")
def served(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Served]:
    """The server of a name in `PARAMETERS` and a mode. pytest runs the tests of one server one after another."""
    name, mode = request.param
    options = () if mode == "fdfo" else ("--no-dllm-fdfo",)
    if name == BUILT_IN:
        policy = dsldec.load("threshold", **PARAMETERS["threshold"])
        server = serve(BUILT_IN, {"threshold": CONFIDENCE}, *options)
    else:
        text = DRAWN if name == "drawn" else name
        policy = dsldec.load(text, **PARAMETERS[name])
        server = serve("DslDec", {"policy": text, "parameters": PARAMETERS[name]}, *options)
    yield Served(server, policy)
    server.stop()
