"""The cache of built engines on disk: a folder of the user, with one file for each engine.

The name of a file is a hash of everything that the engine depends on. A file that cannot be read, written or
run, or that another user can write, is ignored: the engine is then built again, and the run goes on. Not
here: building (`tensorrt`), the trust in files (`user_folder`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import user_folder
from .step_cache import sources_digest
from .user_folder import Unusable

log = logging.getLogger(__name__)

MOST_BYTES = 4 * 2**30  # of all engines; the least recently used ones are deleted

# Takes the inputs as plain tensors and returns the results as plain tensors.
Engine = Callable[..., Sequence[Tensor]]


def folder() -> Path | None:
    """The folder `dsldec/engines` in the user's cache folder, created if it is missing; `None` if it cannot
    be used.
    """
    try:
        return user_folder.folder("engines")
    except Unusable as error:
        log.info("engines are not cached: %s", error)
        return None


def key(made_of: Sequence[object], inputs: Mapping[str, Tensor]) -> str:
    """The name of the engine for a module and for inputs of these shapes.

    `made_of`: the values that distinguish the module from others. The name also depends on the code of dsldec
    and on the GPU, because an engine runs only on the kind of GPU that built it.
    """
    text = sources_digest()
    device = next(iter(inputs.values())).device
    gpu = torch.cuda.get_device_properties(device)
    machine = (gpu.name, gpu.major, gpu.minor, gpu.multi_processor_count, gpu.total_memory, device.index)
    shapes = [(name, tuple(x.shape), x.dtype) for name, x in inputs.items()]
    for part in (*made_of, machine, shapes):
        text.update(f"{part!r}\0".encode())
    return str(text.hexdigest())


def load(name: str, inputs: Sequence[Tensor], library: Any) -> Engine | None:
    """The engine with this name, after a test call with the inputs; `None` if no such engine runs."""
    path = _path(name)
    if path is None or not path.exists():
        return None
    try:
        user_folder.require_private(path)
        # For an unreadable file, the library prints a traceback before it raises an error.
        with contextlib.redirect_stderr(io.StringIO()):
            engine: Engine = library.load(str(path)).module()
        engine(*inputs)
    except Exception as error:  # any fault of the file: the engine is built again
        log.info("%s cannot be used and is built again: %s", path, error)
        return None
    user_folder.used(path)
    return engine


def save(name: str, engine: Engine, inputs: Sequence[Tensor], library: Any) -> None:
    """Store an engine. A process that reads at the same time finds the whole file or no file."""
    path = _path(name)
    if path is None:
        return
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as beside:
            written = Path(beside) / path.name
            library.save(engine, str(written), output_format="exported_program", arg_inputs=list(inputs))
            user_folder.stored(written.read_bytes(), path, MOST_BYTES)
    except Exception as error:  # for example a full disk, or an engine that the library cannot write
        log.info("the engine is not cached: %s", error)


def _path(name: str) -> Path | None:
    where = folder()
    return None if where is None else where / f"{name}.ep"
