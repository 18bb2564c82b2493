"""Which settings decide a result? Results are stored under a digest of them, and never mixed with others.

A model is known by its ids and by a sample of its weights: a path says nothing about a training that has
written there since. Not here: the file of the results (`scores_file`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from ...models.denoiser import Denoiser
from ...options import DECODE, DecodeOptions
from ...policy import Policy
from ...resources import version
from ..differences import digest, noted
from ..evaluation.problems import Problem

SIMPLE = (bool, int, float, str, type(None))
NUMBERS_OF_A_TENSOR, MOST_TENSORS = 64, 4096
OF_THE_DENOISER = ("mask_id", "eos_id", "vocab_size", "shift_logits", "block_length", "raw", "canvas_length")
APPROXIMATE_CACHES = ("prefix", "dual")


def identity_of(denoiser: Denoiser, decode: DecodeOptions, scorer: str) -> dict[str, Any]:
    """What all settings of a run share: the model, the options that decide an answer, the scorer."""
    model = {name: getattr(denoiser, name, None) for name in OF_THE_DENOISER}
    stop_ids = sorted(getattr(denoiser, "stop_ids", ()))
    given = {name: getattr(decode, name) for name, one in DECODE.items() if one.decides}
    options = {name: value for name, value in given.items() if value != DECODE[name].default}
    if decode.gen_length is None and not decode.infill:
        options["gen_length"] = getattr(denoiser, "gen_length", None)
    if decode.cache not in APPROXIMATE_CACHES:
        options.pop("cache", None)
    if not decode.stop_at_eos:
        options["stop_at_eos"] = False
    if decode.lookahead is not None:  # the same answers, in other forwards
        options["lookahead"] = decode.lookahead
    if (never := getattr(denoiser, "never", None)) is not None:  # ids without a token
        model["never"] = digest(str(never.tolist()))
    template = getattr(getattr(denoiser, "reader", None), "chat_template", None)
    if template and not getattr(denoiser, "raw", False):
        model["template"] = digest(str(template))
    return {
        "dsldec": version(),  # the rules of another version may mean something else
        "model": {**model, "stop_ids": stop_ids, "weights": weights_digest(denoiser)},
        "decode": {
            name: value if isinstance(value, SIMPLE) else str(value) for name, value in options.items()
        },
        "scorer": scorer,
    }


def weights_digest(denoiser: Any) -> str:
    """A digest of the first numbers of each weight; of the type's name where the weights are not known."""
    weights = getattr(denoiser, "weights", None)
    if weights is None:
        weights = getattr(getattr(denoiser, "model", None), "parameters", None)
    whole = hashlib.sha256(type(denoiser).__qualname__.encode())
    for tensor in islice(weights() if callable(weights) else (), MOST_TENSORS):
        numbers = tensor.detach().flatten()[:NUMBERS_OF_A_TENSOR].double().tolist()
        whole.update(f"{tuple(tensor.shape)} {tensor.dtype} {numbers}".encode())
    return whole.hexdigest()[:12]


def of_setting(policy: Policy, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of one setting: `shared`, the policy, and its parameter values."""
    of_policy = noted(policy, {})
    del of_policy["options"]
    return {**of_policy, **shared}


def digest_of(identity: Mapping[str, Any]) -> str:
    return digest(json.dumps(identity, sort_keys=True))


def prompt_digest(problem: Problem) -> str:
    """A digest of a prompt, its own options and its right answers."""
    prompt = problem.prompt
    given = {name: str(value) for name, value in sorted(prompt.given.items())}
    # The number of a prompt names its random numbers.
    parts = [
        prompt.asked,
        prompt.number,
        given,
        problem.answers,
        problem.test,
        problem.entry_point,
        problem.code,
    ]
    return digest(json.dumps(parts))
