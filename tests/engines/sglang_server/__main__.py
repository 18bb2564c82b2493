"""Starts a server of a tiny random SDAR on a CPU, and leaves it running until Ctrl-C.

    python -m tests.engines.sglang_server FOLDER --dllm-algorithm DslDec --dllm-algorithm-config policy.yaml

The model and the stubs are written to FOLDER, the first time; the log is `FOLDER/server.log`.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from .server import NotStarted, Server, stubs_in
from .tiny_sdar import saved


def main(folder: Path, options: list[str]) -> int:
    model = folder / "model"
    if not model.exists():
        saved(model)
    absolute = [str(Path(word).absolute()) if word.endswith((".yaml", ".yml")) else word for word in options]
    try:
        server = Server.start(model, stubs_in(folder / "stubs"), folder / "server.log", *absolute)
    except NotStarted as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{server.url}  (Ctrl-C ends it)")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).absolute(), sys.argv[2:]))
