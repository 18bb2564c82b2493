"""Where does the host wait for the GPU while it decodes?

`python -m tests.gpu.waits POLICY ...`. Inside a step, and inside the denoiser, waiting is an error. Elsewhere
torch reports each wait, and these are counted by the line of dsldec that waits: when rows come, when rows
end, and in no other forward.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import dsldec
from dsldec.backends.step import Step

from .denoisers import HalvesDenoiser
from .results import Result, run

PACKAGE = str(Path(dsldec.__file__).parent)
PROMPTS = [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]
GEN_LENGTH = 64


@contextmanager
def waiting_is(mode: str) -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def strict(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, in which waiting for the GPU raises."""

    def called(*args: Any, **kwargs: Any) -> Any:
        with waiting_is("error"):
            return function(*args, **kwargs)

    return called


def waits(name: str, backend: str) -> tuple[Counter[str], int]:
    """How often each line of dsldec waits in one decode, and how many forwards there are. Raises RuntimeError
    for a wait inside a step.
    """
    policy, counts, denoiser = dsldec.load(name), Counter[str](), HalvesDenoiser(1, "cuda")
    dsldec.decode(
        denoiser, PROMPTS, policy, gen_length=GEN_LENGTH, backend=backend
    )  # what is compiled or kept is there from now on

    def note(message: Any, *args: Any, **kwargs: Any) -> None:
        if "called a synchronizing" in str(message):
            ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith(PACKAGE)]
            counts[
                f"{Path(ours[-1].filename).name}:{ours[-1].lineno} ({ours[-1].name})" if ours else "elsewhere"
            ] += 1

    with (
        mock.patch.object(Step, "__call__", strict(Step.__call__)),
        mock.patch.object(HalvesDenoiser, "__call__", strict(HalvesDenoiser.__call__)),
        mock.patch.object(warnings, "showwarning", note),
        warnings.catch_warnings(),
        waiting_is("warn"),
    ):
        warnings.simplefilter("always")
        warnings.showwarning = note
        result = dsldec.decode(denoiser, PROMPTS, policy, gen_length=GEN_LENGTH, backend=backend)
    return counts, int(result.forwards.max())


def check(arguments: list[str]) -> Result:
    result = Result(True)
    for name in arguments:
        for backend in ("eager", "inductor"):
            try:
                counts, forwards = waits(name, backend)
            except RuntimeError as error:
                result.passed = False
                result.lines.append(f"{name}, {backend}: {str(error).splitlines()[0]}")
                traceback.print_exc(file=sys.stderr)
                continue
            where = ", ".join(f"{place} {count}" for place, count in counts.most_common())
            result.lines.append(
                f"{name}, {backend}: no wait in a step; {sum(counts.values())} waits in {forwards} forwards: {where or 'none'}"
            )
            result.figures[f"{name}, {backend}"] = {"forwards": forwards, "waits": dict(counts)}
    return result


if __name__ == "__main__":
    raise SystemExit(run(check))
