"""The arguments of the model class: `--model_args policy=dico,pretrained=./MODEL,seeds=4`.

An argument is an option of this class, an option of `from_pretrained` or of `decode`, or a parameter of the
policy. Not here: the arguments of a request (`generation`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...models.loading import require_kinds
from ...networks.network import LearnedNetwork
from ...options import DECODE, DEFAULT_BATCH, LOAD, DecodeOptions, LoadOptions, is_whole
from ...policy import Policy, load
from ...spelling import shown

# Options that the harness has itself (`batch_size`), or that have no meaning for it.
OF_THE_HARNESS = frozenset(
    {"batch", "infill", "request_ids", "trace", "raw", "logprobs", "n", "stop", "system", "min_length"}
)
MODEL_ELSEWHERE = frozenset(
    {"model", "model_path", "model_name", "model_name_or_path", "path", "name_or_path"}
)
OF_DECODING = tuple(name for name in DECODE if name not in OF_THE_HARNESS)
OF_LOADING = tuple(name for name in LOAD if name not in OF_THE_HARNESS)
MC_SAMPLES = 128


@dataclass(frozen=True, slots=True)
class ModelArguments:
    """The values of `model_args`, checked.

    `pretrained`: a folder, a name of the hub, a denoiser, or None for the embedded model. `mc_samples`:
    masked copies of an answer for the bound on its likelihood. `greedy`: whether `is_greedy` is computed, by
    decoding. `add_bos_token`: whether a prompt begins with the begin-of-text token; None: as the tokenizer
    does it.
    """

    pretrained: Any
    policy: Policy
    load: LoadOptions
    decode: DecodeOptions
    mc_samples: int = MC_SAMPLES
    greedy: bool = True
    add_bos_token: bool | None = None

    def decisive(self) -> dict[str, Any]:
        """The settings that decide an answer, as JSON can hold them."""
        path = (
            self.pretrained if self.pretrained is None or isinstance(self.pretrained, str) else "a denoiser"
        )
        values: dict[str, Any] = {
            "pretrained": os.path.realpath(path) if path and os.path.exists(path) else path
        }
        options = {name: getattr(self.load, name) for name in OF_LOADING if LOAD[name].decides}
        options |= {name: getattr(self.decode, name) for name in OF_DECODING if DECODE[name].decides}
        options |= {"stop_at_eos": self.decode.stop_at_eos, "add_bos_token": self.add_bos_token}
        values |= {name: value for name, value in options.items() if value is not None}
        values |= {"mc_samples": self.mc_samples, "greedy": self.greedy}
        rules = hashlib.sha256(str(self.policy.program).encode()).hexdigest()[:16]
        parameters = {
            name: value.digest if isinstance(value, LearnedNetwork) else value
            for name, value in self.policy.parameters.items()
        }
        return values | {"policy": self.policy.name, "rules": rules, "parameters": parameters}


OWN = ("mc_samples", "greedy", "add_bos_token")
NAMES = frozenset({"pretrained", "policy", "batch_size", "device", *OWN, *OF_DECODING, *OF_LOADING})


def read_arguments(
    pretrained: Any, policy: Any, batch_size: Any, max_batch_size: Any, given: Mapping[str, Any]
) -> ModelArguments:
    """The checked arguments. Raises `PolicyError` (E0401 to E0403) and `UsageError` (E0409)."""
    loaded = policy if isinstance(policy, Policy) else load(policy)
    for name in given:
        if name in OF_THE_HARNESS | MODEL_ELSEWHERE and name not in loaded.parameters:
            raise _of_the_harness(name, given[name])
    if twice := [name for name in given if name in NAMES and name in loaded.parameters]:
        message = (
            f"`{twice[0]}` is an argument of the model, and a parameter of the policy `{loaded.name}` too"
        )
        raise UsageError(Diagnostic("E0409", message, help="rename the parameter in the policy's file"))
    parameters = {name: value for name, value in given.items() if name not in NAMES}
    bound = loaded.bound(parameters, NAMES)
    own = {name: given[name] for name in OWN if name in given}
    _require_own(own)
    of_decoding = {name: given[name] for name in OF_DECODING if name in given}
    if (length := of_decoding.get("gen_length")) is not None:
        DECODE["gen_length"].require_count(length)
    decode = DecodeOptions(batch=rows_of(batch_size, max_batch_size), **of_decoding)
    bound.drafts(decode.lookahead)
    of_loading = {name: given[name] for name in OF_LOADING if name in given}
    require_kinds({}, {name: of_loading.get(name) for name in ("mask_id", "eos_id", "block_length")})
    return ModelArguments(pretrained, bound, LoadOptions(**of_loading, raw=True), decode, **own)


def _of_the_harness(name: str, value: object) -> UsageError:
    instead = {
        "batch": "it is called `--batch_size 8`, in Python `batch_size=8`",
        "n": "a task has `repeats: 4` in its file",
        "stop": "a task has `until`: `--gen_kwargs 'until=[\"Question:\"]'`",
        "system": "write `--system_instruction TEXT`",
        "min_length": f"write `--gen_kwargs min_length={value}`",
        "raw": "prompts are used unchanged; `--apply_chat_template` puts them into the model's chat template",
    }
    message = f"`{name}` is no argument of the model class `dsldec`"
    help = f"it is called `pretrained={value}`" if name in MODEL_ELSEWHERE else "leave it out"
    return UsageError(Diagnostic("E0409", message, help=instead.get(name, help)))


def _require_own(own: Mapping[str, Any]) -> None:
    samples = own.get("mc_samples", MC_SAMPLES)
    if not is_whole(samples) or samples < 1:
        message = f"`mc_samples` must be a whole number of 1 or more, not {shown(samples)}"
        raise UsageError(Diagnostic("E0409", message, help="for example `mc_samples=128`"))
    for name in ("greedy", "add_bos_token"):
        if not isinstance(own.get(name), bool | None):
            message = f"`{name}` is True or False, not {shown(own[name])}"
            raise UsageError(Diagnostic("E0409", message, help=f"write `{name}=True` or leave it out"))


def rows_of(batch_size: Any, max_batch_size: Any = None) -> int:
    """The rows of a batch for the harness's `batch_size`: a number, or `auto`, which is 8 rows here. Raises
    `UsageError` (E0409).
    """
    text = str(batch_size)
    if text.split(":")[0] == "auto":
        return min(DEFAULT_BATCH, int(max_batch_size or DEFAULT_BATCH))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        message = f"`batch_size` must be a whole number of 1 or more, or `auto`, not {shown(batch_size)}"
        raise UsageError(Diagnostic("E0409", message, help="for example `--batch_size 8`"))
    return int(text)


def differing(before: str, now: Mapping[str, Any]) -> list[str]:
    """The names of the settings that differ from stored ones, which are JSON."""
    try:
        stored = json.JSONDecoder().decode(before)
    except ValueError:
        return ["all"]
    here = json.JSONDecoder().decode(json.dumps(now, sort_keys=True))
    names = {*stored, *here}
    return sorted(name for name in names if stored.get(name) != here.get(name))
