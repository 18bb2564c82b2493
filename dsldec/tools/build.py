"""`dsldec build`: compile a policy's step into one file that torch alone can load, and print how to call it.

Not here: the compiling (`backends.aot`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..files import why_not_written
from ..options import DTYPES
from ..policy import Policy
from . import quoted, quoted_path
from .settings import chosen

BUILT, INTERRUPTED = 0, 130
SUFFIX = ".pt2"
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of the command line. None: not given."""

    policy: str
    vocab: int | None = None
    out: str | None = None
    window: int | None = None
    batch: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    settings: tuple[str, ...] = ()


def build(options: BuildOptions) -> int:
    """Build the file, and return the exit status. After `UsageError` and `PolicyError` an existing file is
    unchanged.
    """
    if options.vocab is None or options.out is None:
        raise UsageError(_lacking(options))
    require_known("--dtype", options.dtype, DTYPES)
    require_known("--device", options.device, DEVICES)
    policy = chosen(options.policy, options.settings)
    policy.require_bound()
    window = _window(policy, options.window)
    file = _place(options.out, options.policy)
    try:
        about = _built(policy, options, options.vocab, window, file)
    except KeyboardInterrupt:
        _say(f"interrupted: {quoted_path(options.out)} is {'as it was' if file.exists() else 'not written'}")
        return INTERRUPTED
    print("\n".join(_summary(options.out, file, about)))
    return BUILT


def _lacking(options: BuildOptions) -> Diagnostic:
    lacks, vocab = ("--vocab", "32000") if options.vocab is None else ("-o", str(options.vocab))
    out = options.out or f"{Path(options.policy).stem}{SUFFIX}"
    about = "the size of the model's vocabulary" if lacks == "--vocab" else "the file to build"
    return Diagnostic(
        "E0420",
        f"`dsldec build` lacks `{lacks}`, {about}",
        help=f"`dsldec build {options.policy} --vocab {vocab} -o {out}`",
    )


def require_known(option: str, word: str, known: Collection[str]) -> None:
    if word not in known:
        near = did_you_mean(word, known)
        help = (
            f"did you mean `{option} {near}`?"
            if near
            else f"write {' or '.join(f'`{option} {one}`' for one in known)}"
        )
        raise UsageError(Diagnostic("E0422", f"unknown value {quoted(word)} for `{option}`", help=help))


def _window(policy: Policy, given: int | None) -> int:
    """T: the positions of the policy's windows, or the smaller number of `--window`."""
    plan = policy.plan(1 if given is None else given)
    longest, parameter = plan.window_size, plan.window_parameter
    if longest is None:
        if given is not None:
            return given
        message = f"the window of the policy `{policy.name}` is the whole generation, so `--window` must give its length"
        help = "add the number of tokens to generate: `--window 256`"
        raise UsageError(Diagnostic("E0423", message, help=help))
    if given is None or given == longest:
        return longest
    if given > longest:
        help = "leave `--window` out, or write it in the policy"
        if parameter is not None:
            help = f"set its parameter: `--set {parameter}={given}`"
        message = (
            f"`--window {given}` is longer than a window of the policy `{policy.name}`, {longest} positions"
        )
        raise UsageError(Diagnostic("E0423", message, help=help))
    _say(
        f"a window of {given} is shorter than the policy's {longest}: correct only for at most {given} tokens to generate"
    )
    return given


def _place(out: str, policy: str) -> Path:
    """The path of the file, with links resolved. Raises `UsageError` (E0422, E0432) where no file can be
    written.
    """
    if why := why_not_written(out):
        raise UsageError(_unwritable(out, why))
    file = Path(os.path.realpath(out))
    if file.is_dir():
        help = f"`-o {os.path.join(out, Path(policy).stem)}{SUFFIX}`"
        raise UsageError(Diagnostic("E0432", f"{quoted_path(out)} is a folder", help=help))
    if file.suffix != SUFFIX:
        raise UsageError(
            Diagnostic(
                "E0422",
                f"`-o` names a file that ends in `{SUFFIX}`, not {quoted_path(out)}",
                help=f"`-o {out}{SUFFIX}`",
            )
        )
    if not file.parent.is_dir():
        message = f"the folder of {quoted_path(out)} does not exist"
        raise UsageError(Diagnostic("E0432", message, help=f"make it: `mkdir -p {file.parent}`"))
    if file.exists() and not file.is_file():
        raise UsageError(_unwritable(out, "it is not a regular file"))
    if not os.access(file.parent, os.W_OK):
        raise UsageError(_unwritable(out, "permission denied"))
    return file


def _unwritable(out: str, why: str) -> Diagnostic:
    return Diagnostic(
        "E0432",
        f"{quoted_path(out)} cannot be written: {why}",
        help="give `-o` a file in your own folder with free space",
    )


def _built(policy: Policy, options: BuildOptions, vocab: int, window: int, file: Path) -> Mapping[str, Any]:
    """Build the file, and return its manifest."""
    rows = "1 row" if options.batch == 1 else f"{options.batch} rows"
    _say(
        f"compiling `{policy.name}` for {rows}, a window of {window} and {vocab} ids on {options.device}: some tens of seconds ..."
    )
    import torch

    from ..backends import aot, toolchain
    from ..backends.exported import Sizes

    sizes = Sizes(options.batch, window, vocab, getattr(torch, options.dtype), options.device)
    with toolchain.temporary_folder("building a step") as folder:
        made = Path(folder) / f"step{SUFFIX}"
        aot.build(policy.program, policy.parameters, sizes, made)
        try:
            _put(made.read_bytes(), file)
        except OSError as failure:
            raise UsageError(
                _unwritable(str(options.out), (failure.strerror or str(failure)).lower())
            ) from None
    return aot.about(file)


def _put(data: bytes, file: Path) -> None:
    """Write to a temporary file, then rename it: a reader, or a crash, finds the old file or the new one."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with new.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, file)
    finally:
        new.unlink(missing_ok=True)


def _summary(out: str, file: Path, about: Mapping[str, Any]) -> Iterator[str]:
    """The file, its size, its inputs, and the lines of Python that call it."""
    from ..backends.manifest import shown
    from ..backends.manifest_reader import KEY

    yield f"{out}: {file.stat().st_size / 1e6:.1f} MB, a step of `{about['policy']['name']}` that runs with torch alone"
    yield ""
    for name in ("logits", "canvas", "editable"):
        yield f"  {name:<10}{shown(about[name])}"
    for name in ("state", "params", "events"):
        yield f"  {name:<10}{', '.join(f'{one} {shown(of)}' for one, of in about[name].items())}"
    yield ""
    yield "  import json, torch"
    yield f"  step = torch._inductor.aoti_load_package({out!r})"
    yield f"  about = json.loads(step.get_metadata()['{KEY}'])  # first values, order of names, facts, the policy"
    yield "  canvas, done, state, events = step(logits, canvas, editable, state, params)"
    yield ""
    yield "  torch reads state and params by the order above, never by name, and requires contiguous tensors;"
    yield "  with AOTI_RUNTIME_CHECK_INPUTS=1 in the environment it checks shapes, dtypes and strides"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
