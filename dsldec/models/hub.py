"""Is a hub's name reachable? If the hub does not answer, its folder in the cache is used.

One request with a short timeout is made first. transformers would otherwise send a request for each file, and
retry each five times.

Not here: reading the files (`loading`).
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from ..diagnostics import Diagnostic, UsageError

log = logging.getLogger("dsldec")

PATIENCE = 5.0  # seconds for the one request
HELP = "give the folder of a model on this machine, or `owner/name` of one on a hub that can be reached"


def is_hub_name(name: str) -> bool:
    """Whether the name has the form `owner/model`. Any other name is a folder; a request for it would fail
    slowly.
    """
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None


def reachable(name: str) -> str:
    """The name, where the hub answers; else the folder in the cache. Raises `UsageError` (E0405) where
    neither exists.
    """
    why = _why_not(name)
    if why is None:
        return name
    folder = _cached(name)
    if folder is None:
        raise UsageError(
            Diagnostic("E0405", f"there is no folder `{name}` and no cached download: {why}", help=HELP)
        )
    log.info("%s: the cached download of `%s` is used", why, name)
    return str(folder)


def refusal(error: BaseException, name: str) -> Diagnostic | None:
    """The hub's own error, if the hub refused. transformers wraps it in its own errors."""
    from huggingface_hub import errors

    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    if any(isinstance(one, errors.GatedRepoError) for one in chain):
        help = "ask for access on its page, then log in with `hf auth login`"
        return Diagnostic("E0405", f"`{name}` is gated: its authors must grant access", help=help)
    if any(isinstance(one, errors.RepositoryNotFoundError) for one in chain):
        help = "check its spelling; for a private one, log in with `hf auth login`"
        return Diagnostic(
            "E0405",
            f"there is no folder `{name}` here and no such model on the hub, or it is private",
            help=help,
        )
    return None


def _why_not(name: str) -> str | None:
    """Why the hub cannot be used. None where it answers, whatever the answer is."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if constants.HF_HUB_OFFLINE:
        return "the hub is not used, since `HF_HUB_OFFLINE` is set"
    try:
        HfApi().model_info(name, timeout=PATIENCE)
    except OfflineModeIsEnabled:
        return "the hub is not used, since `HF_HUB_OFFLINE` is set"
    except HFValidationError:
        return "no model on a hub can have this name"
    except HfHubHTTPError:
        return None
    # The HTTP library differs between versions, and each has its own errors for a missing network.
    except Exception:
        return "the hub cannot be reached"
    return None


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        path: Any = try_to_load_from_cache(name, "config.json")
    except (ValueError, OSError):
        return None
    return Path(path).parent if isinstance(path, str) else None
