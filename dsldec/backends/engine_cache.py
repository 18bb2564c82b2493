"""Where built engines are kept from one start to the next: a folder of the user's, a file each, named by all
that the engine depends on.

What cannot be read, written or run is as good as not there: it never fails a run, it costs a build. Not here:
building (`tensorrt`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import ir

log = logging.getLogger(__name__)

# Called with the inputs as plain tensors, gives the results likewise.
Engine = Callable[..., Sequence[Tensor]]


def folder() -> Path | None:
    """`dsldec/engines` in the user's folder of caches, made if need be; None where there can be none."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
        path = Path(base) / "dsldec" / "engines"
        path.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is read from here is run
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        log.info("engines are not cached: %s", error)
        return None
    return path


def key(made_of: Sequence[object], inputs: Mapping[str, Tensor]) -> str:
    """A name for the engine of a module, `made_of` all that tells it from others, and of inputs of these
    shapes.

    It changes with the code of dsldec and with the GPU too: an engine runs on the kind it was built on.
    """
    text = hashlib.sha256()
    for source in sorted([*Path(__file__).parent.glob("*.py"), *Path(ir.__file__).parent.glob("*.py")]):
        text.update(source.read_bytes())
    device = next(iter(inputs.values())).device
    gpu = torch.cuda.get_device_properties(device)
    machine = (gpu.name, gpu.major, gpu.minor, gpu.multi_processor_count, gpu.total_memory, device.index)
    shapes = [(name, tuple(x.shape), x.dtype) for name, x in inputs.items()]
    for part in (*made_of, machine, shapes):
        text.update(f"{part!r}\0".encode())
    return text.hexdigest()


def load(name: str, inputs: Sequence[Tensor], library: Any) -> Engine | None:
    """The engine of that name, tried once on the inputs; None where there is none that runs."""
    path = _path(name)
    if path is None or not path.exists():
        return None
    try:
        # On a file that it cannot read the library prints a traceback before it raises.
        with contextlib.redirect_stderr(io.StringIO()):
            engine: Engine = library.load(str(path)).module()
        engine(*inputs)
    except Exception as error:  # whatever is wrong with the file: the engine is built anew
        log.info("%s cannot be used and is built again: %s", path, error)
        return None
    return engine


def save(name: str, engine: Engine, inputs: Sequence[Tensor], library: Any) -> None:
    """Keep an engine. Whoever reads at the same time sees the whole file or none."""
    path = _path(name)
    if path is None:
        return
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as beside:
            written = Path(beside) / path.name
            library.save(engine, str(written), output_format="exported_program", arg_inputs=list(inputs))
            os.replace(written, path)
    except Exception as error:  # a full disk, or an engine that the library cannot write
        log.info("the engine is not cached: %s", error)


def _path(name: str) -> Path | None:
    where = folder()
    return None if where is None else where / f"{name}.ep"
