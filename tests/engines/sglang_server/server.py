"""Starts `sglang serve` on a CPU, and asks it over HTTP.

SGLang needs a stub of `sgl_kernel` there, whose kernels this model never calls. A package of our own names
SDAR as the only architecture, so that a start does not import the 250 others.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

ROOT = Path(__file__).parents[3]
SECONDS_TO_START = 600  # three processes import torch: 250 s on two cores that others use too
STUB = '''"""Stands for the kernels of SGLang, which exist for GPUs."""


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*arguments, **more):
        raise RuntimeError(f"sgl_kernel.{name} is a stub")

    return missing
'''
SDAR = "from sglang.srt.models.sdar import EntryClass  # noqa: F401\n"
ENGINE_OPTIONS = (
    "--device cpu --attention-backend torch_native --dtype float32 --disable-cuda-graph --max-total-tokens 8192 "
    "--max-running-requests 4 --mem-fraction-static 0.1 --skip-server-warmup"
).split()


def stubs_in(folder: Path) -> Path:
    """Writes the two packages that a start needs beside SGLang."""
    for name, text in {
        "sgl_kernel/__init__.py": STUB,
        "only_sdar/__init__.py": "",
        "only_sdar/sdar.py": SDAR,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def environment(stubs: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(stubs), str(ROOT)]),
        "SGLANG_USE_CPU_ENGINE": "1",
        "SGLANG_EXTERNAL_MODEL_PACKAGE": "only_sdar",
        "OMP_NUM_THREADS": "1",
    }


class NotStarted(RuntimeError):
    """The server ended before it answered; the message is its log."""


@dataclass
class Server:
    """A running server. `log`: the file of its output."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @classmethod
    def start(cls, model: Path, stubs: Path, log: Path, *options: str) -> Server:
        """Raises `NotStarted` if it ends, or does not answer in time."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "sglang.launch_server",
            "--model-path",
            str(model),
            "--port",
            str(port),
        ]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, *ENGINE_OPTIONS, *options],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment(stubs),
                cwd=stubs,
                start_new_session=True,
            )
        server = cls(process, f"http://127.0.0.1:{port}", log)
        try:
            server._wait()
        except BaseException:
            server.stop()
            raise
        return server

    def _wait(self) -> None:
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/model_info", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.3)
        raise NotStarted(self.log.read_text(errors="replace"))

    def stop(self) -> None:
        """Ends the server and the processes that it started: they share its process group."""
        for way in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, way)
            except ProcessLookupError:
                break
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()

    # --- requests

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and the body of an answer."""
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                status, text = answer.status, answer.read().decode()
        except HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def ids(self, prompt: list[int], length: int, **sampling: Any) -> list[int]:
        """The ids that `/generate` answers; end-of-text tokens do not end it, unless `ignore_eos=False`."""
        status, answer = self.post("/generate", asked(prompt, length, **sampling))
        assert status == 200, answer
        return list(answer["output_ids"])

    def events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of a streamed answer."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            json.dumps(body | {"stream": True}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            for line in answer:
                data = line.decode().removeprefix("data: ").strip()
                if data and data != "[DONE]":
                    yield json.loads(data)


def asked(prompt: list[int], length: int, **sampling: Any) -> dict[str, Any]:
    """The body of a request to `/generate`."""
    return {"input_ids": prompt, "sampling_params": {"max_new_tokens": length, "ignore_eos": True} | sampling}
