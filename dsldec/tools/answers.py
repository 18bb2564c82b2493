"""Decodes for the verbs that measure. They need an answer to every prompt, and end with a diagnostic where
one is missing.

Not here: `run`, which stores finished answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..diagnostics import UsageError
from ..models.denoiser import Denoiser
from ..policy import Policy
from ..runtime.decode import decode
from ..runtime.decoded import Decoded, DecodingStopped, DecodingWarning, as_diagnostic


def all_decoded(denoiser: Denoiser, prompts: Sequence[Any], policy: Policy, **how: Any) -> Decoded:
    """As `decode`. Raises `UsageError` where a prompt has no answer: a figure over the other prompts would be
    wrong for the policy.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DecodingWarning)
            decoded = decode(denoiser, prompts, policy, **how)
    except DecodingStopped as stopped:
        cause = stopped.__cause__
        if cause is None or isinstance(cause, AssertionError):  # an error of dsldec: show it in full
            raise
        raise cause if isinstance(cause, UsageError) else UsageError(as_diagnostic(cause)) from None
    for error in decoded.errors:
        if error is not None:
            raise UsageError(error)
    return decoded
