"""The answers of the playground: each takes the fields of a request, and gives an object for JSON.

Not here: who may ask (`play_server`), the page (`assets`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...diagnostics import Diagnostic, PolicyError, Severity
from ...editors.json_objects import completion_of, diagnostics_of, hover_of
from ...editors.word_groups import word_groups
from ...language.fmt import formatted
from ...models.denoiser import Denoiser
from ...policy import read
from ...resources import shipped_policies
from ...source import Source
from ..evaluate import held_out
from .decode_queue import DecodeQueue
from .held_out_run import TASK
from .play_requests import (
    DEFAULT_GEN_LENGTH,
    LARGEST_SEED,
    LONGEST_POLICY,
    LONGEST_PROMPT,
    LONGEST_TAB,
    MOST_GEN_LENGTH,
    decode_request,
    number_of_request,
    text_of_request,
    wrong_request,
)
from .policy_controls import policy_controls
from .watched_decode import PolicyTexts

EXAMPLES = 5  # prompts of the task that the page offers, which are none of the held-out figures
FIRST_EXAMPLE = 100


class Playground:
    """The answers to the requests of all pages. `text`: of the policy that a new page shows."""

    def __init__(self, denoiser: Denoiser, text: str) -> None:
        self._text = text
        self._policies = PolicyTexts()
        self._queue = DecodeQueue(denoiser, self._policies)
        self.answers: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "start": self._start,
            "shipped": self._shipped,
            "check": self._check,
            "format": self._format,
            "hover": self._hover,
            "complete": self._complete,
            "decode": self._decode,
            "state": self._state,
            "stop": self._stop,
            "pin": self._pin,
        }

    def close(self) -> None:
        """Ends the running decode. Requests get no answer after it."""
        self._queue.close()

    def _start(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        examples = held_out(TASK)[FIRST_EXAMPLE : FIRST_EXAMPLE + EXAMPLES]
        return {
            "text": self._text,
            "words": word_groups(),
            "policies": shipped_policies(),
            "prompts": [one.prompt for one in examples],
            "gen_length": {"default": DEFAULT_GEN_LENGTH, "most": MOST_GEN_LENGTH},
            "most_seed": LARGEST_SEED,
            "longest": {"text": LONGEST_POLICY, "prompt": LONGEST_PROMPT},
        }

    def _shipped(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        name = text_of_request(fields, "name", LONGEST_PROMPT)
        if name not in shipped_policies():  # any other name may be a path
            return {"diagnostics": [plain(wrong_request("no shipped policy has this name"))]}
        return {"text": read(name)[0]}

    def _check(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        text = text_of_request(fields)
        found = diagnostics_of(text)
        answer: dict[str, Any] = {"diagnostics": found, "policy": None}
        if any(one["severity"] == Severity.ERROR for one in found):
            return answer
        try:
            policy = self._policies.policy(text)
        except PolicyError as wrong:
            return {"diagnostics": [plain(one) for one in wrong.diagnostics], "policy": None}
        facts = policy.facts
        answer["policy"] = {
            "name": policy.name,
            "doc": policy.doc,
            "draws": not facts.deterministic,
            "forwards": facts.forwards_formula,
            "floor": str(facts.floor_per_step),
            "controls": policy_controls(policy),
        }
        return answer

    def _format(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        text, diagnostics = formatted(Source(text_of_request(fields), "playground"))
        return {"text": text, "diagnostics": [plain(one) for one in diagnostics]}

    def _hover(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        text = text_of_request(fields)
        return {"hover": hover_of(text, _offset(fields, text))}

    def _complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        text = text_of_request(fields)
        return {"suggestions": completion_of(text, _offset(fields, text))}

    def _decode(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return with_plain_diagnostics(self._queue.decoded(decode_request(fields)))

    def _state(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        state = self._queue.state(text_of_request(fields, "tab", LONGEST_TAB))
        if (figures := state["held_out"]) is not None:
            state["held_out"] = with_plain_diagnostics(figures)
        return state

    def _stop(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        self._queue.stop(text_of_request(fields, "tab", LONGEST_TAB))
        return {}

    def _pin(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        tab = text_of_request(fields, "tab", LONGEST_TAB)
        return {"pinned": self._queue.pin(tab, fields.get("pinned") is True)}


def _offset(fields: Mapping[str, Any], text: str) -> int:
    """An offset in UTF-16 code units: a character has one or two."""
    return number_of_request(fields, "offset", 0, 0, 2 * len(text))


def plain(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic without a place, for JSON."""
    return {
        "code": diagnostic.code,
        "severity": str(diagnostic.severity),
        "message": diagnostic.message,
        "label": diagnostic.label,
        "help": diagnostic.help,
    }


def with_plain_diagnostics(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with its diagnostics as JSON has them."""
    if "diagnostics" not in result:
        return dict(result)
    return {**result, "diagnostics": [plain(one) for one in result["diagnostics"]]}
