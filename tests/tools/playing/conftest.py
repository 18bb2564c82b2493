"""A playground with the embedded model, and its server in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest

from dsldec.models.denoiser import Denoiser
from dsldec.models.huggingface import from_pretrained
from dsldec.tools.playing import play_server
from dsldec.tools.playing.play_server import PlayServer
from dsldec.tools.playing.playground import Playground

TEXT = "policy mine(confidence: prob = 0.9):\n  window all\n  commit masked and conf >= confidence at least 1 by conf\n"
PROMPT = "Ned has 4 coins. Ned gets 5 more coins. How many coins does Ned have now?"


@dataclass
class Client:
    """Sends requests as the page does; a header of `None` is left out."""

    server: PlayServer

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> tuple[int, bytes, Any]:
        connection = HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host="Host" in named, skip_accept_encoding=True)
        if body is not None and "Content-Length" not in named:
            named["Content-Length"] = str(len(body))
        for name, value in named.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        found = response.status, response.read(), response.headers
        connection.close()
        return found

    def post(self, name: str, fields: object, **headers: str | None) -> tuple[int, dict[str, Any]]:
        headers = {"Content_Type": "application/json", **headers}
        path = f"/{self.server.token}/api/{name}"
        status, answer, _ = self.send("POST", path, json.dumps(fields).encode(), **headers)
        return status, json.loads(answer)


@pytest.fixture(scope="session")
def embedded() -> Denoiser:
    return from_pretrained("dsldec:word_problems")


@pytest.fixture(scope="session")
def client(embedded: Denoiser) -> Iterator[Client]:
    server = PlayServer(0, Playground(embedded, TEXT))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:  # many requests are refused
        patch.setattr(play_server, "SECONDS_TO_DRAIN", 0.01)
        yield Client(server)
    server.shutdown()
    server.server_close()
    thread.join()
