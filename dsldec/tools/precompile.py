"""`dsldec precompile`: fill the cache of compiled steps, list it, or empty it.

Not here: the cache (`backends.step_cache`), a package for programs without dsldec (`build`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..checks.values import static_values
from ..diagnostics import Diagnostic, UsageError
from ..networks.network import LearnedNetwork
from ..options import DTYPES
from ..policy import Policy
from ..runtime.shape_buckets import positions_compiled
from .build import require_known
from .settings import chosen

if TYPE_CHECKING:
    from ..backends.step_form import StepForm

DONE = 0


@dataclass(frozen=True, slots=True)
class PrecompileOptions:
    """Options of the command line. None: not given."""

    policies: tuple[str, ...] = ()
    vocab: int | None = None
    batch: int | None = None
    positions: int | None = None
    dtype: str = "float32"
    threads: int | None = None
    settings: tuple[str, ...] = ()
    list: bool = False
    clear: bool = False


def precompile(options: PrecompileOptions) -> int:
    """Fill, list or clear the cache; returns the exit status. Raises `UsageError` and `PolicyError`."""
    if options.clear:
        _clear()
    if options.policies:
        _fill(options)
    elif not (options.list or options.clear):
        message = "`dsldec precompile` needs a policy, such as `threshold`"
        raise UsageError(Diagnostic("E0420", message, help="`dsldec precompile threshold --vocab 32000`"))
    if options.list or options.policies:
        _list()
    return DONE


def _fill(options: PrecompileOptions) -> None:
    if options.vocab is None:
        message = "`dsldec precompile` lacks `--vocab`, the size of the model's vocabulary"
        help = f"`dsldec precompile {' '.join(options.policies)} --vocab 32000`"
        raise UsageError(Diagnostic("E0420", message, help=help))
    require_known("--dtype", options.dtype, DTYPES)
    policies = [chosen(name, options.settings) for name in options.policies]
    windows = [_positions(policy, options.positions) for policy in policies]
    from ..backends import step_cache
    from ..backends.user_folder import Unusable

    try:
        where = step_cache.folder()
    except Unusable as error:
        raise UsageError(_no_folder(str(error))) from None
    for policy, window in zip(policies, windows, strict=True):
        for form in _forms(policy, options, options.vocab, window):
            what = f"{policy.name}: {form.words}, {form.threads} thread{'s' * (form.threads > 1)}"
            if step_cache.load(form) is not None:
                print(f"in the cache: {what}", flush=True)
                continue
            began = time.perf_counter()
            step_cache.compiled(form)
            if step_cache.load(form) is None:
                raise UsageError(_no_folder(f"nothing can be stored in `{where}`"))
            print(f"compiled in {time.perf_counter() - began:.0f} s: {what}", flush=True)


def _positions(policy: Policy, given: int | None) -> int:
    """T of the steps of a decoding: as `decode` pads windows."""
    size = policy.plan(1 if given is None else given).window_size
    if size is None and given is None:
        message = f"the window of the policy `{policy.name}` is the whole generation, so `--positions` must give its length"
        help = "add the number of tokens to generate: `--positions 256`"
        raise UsageError(Diagnostic("E0423", message, help=help))
    shorter = given is not None and (size is None or given < size)
    plan = policy.plan(given if shorter and given is not None else (size or 0) + 1)
    return positions_compiled(plan.block_length, plan.gen_length)


def _forms(policy: Policy, options: PrecompileOptions, vocab: int, window: int) -> Iterator[StepForm]:
    import torch

    from ..backends.path_first import without_path
    from ..backends.step_form import StepForm, sizes_of

    values = policy.parameters
    lengths = {name: len(value) for name, value in values.items() if isinstance(value, tuple)}
    policy.require_bound()
    static = static_values(policy.facts.static, values)
    lengths |= {name: value.count for name, value in values.items() if isinstance(value, LearnedNetwork)}
    threads = options.threads or torch.get_num_threads()
    for any_rows in (False, True) if options.batch is None else (options.batch > 1,):
        sizes = sizes_of(any_rows, window, vocab, options.dtype, frozenset())
        yield StepForm(without_path(policy.program), static, sizes, lengths, threads)


def _list() -> None:
    from ..backends import step_cache
    from ..backends.user_folder import Unusable

    try:
        where, found = step_cache.folder(), step_cache.packages()
    except Unusable as error:
        raise UsageError(_no_folder(str(error))) from None
    total = sum(one.bytes for one in found)
    print(f"{where}: {_counted(len(found))}, {total / 1e6:.1f} of {step_cache.MOST_BYTES / 1e6:.0f} MB")
    for one in reversed(found):
        print(f"  {one.bytes / 1e6:5.1f} MB  {one.policy}: {one.form}")


def _clear() -> None:
    from ..backends import step_cache
    from ..backends.user_folder import Unusable

    try:
        where = step_cache.folder()
        count, bytes_ = step_cache.clear()
    except Unusable as error:
        raise UsageError(_no_folder(str(error))) from None
    print(f"deleted {_counted(count)} with {bytes_ / 1e6:.1f} MB from {where}")


def _counted(count: int) -> str:
    return "1 package" if count == 1 else f"{count} packages"


def _no_folder(why: str) -> Diagnostic:
    help = "set `DSLDEC_STEPS` to your own folder with free space"
    return Diagnostic("E0417", f"the cache of compiled steps cannot be used: {why}", help=help)
