"""The requests of the page: the fields of its JSON object, checked.

Not here: the answer (`playground`), the bytes of the request (`play_server`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...files import NotJSON, json_of
from .. import quoted

LARGEST_REQUEST = 256 * 1024  # bytes
LONGEST_POLICY = 64 * 1024  # characters; the longest shipped one has less than 4,000
LONGEST_PROMPT = 2000
LONGEST_TAB = 40
MOST_GEN_LENGTH = 128
LARGEST_SEED = 2**31 - 1
MOST_VALUES = 100  # parameters of one request
DEFAULT_GEN_LENGTH = 48


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One decode. `tab`: the page in the browser; `values`: of the parameters, by name; `number`: counts the
    requests of the page, since two of them may arrive in another order.
    """

    tab: str
    text: str
    prompt: str
    values: Mapping[str, Any] = field(default_factory=dict)
    gen_length: int = DEFAULT_GEN_LENGTH
    seed: int = 0
    number: int = 0

    @property
    def figures_key(self) -> str:
        """Equal for requests with the same held-out figures: these do not depend on the prompt."""
        return json.dumps([self.text, self.values, self.seed], sort_keys=True)


def request_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request. Raises `UsageError` (E0577)."""
    try:
        found = json_of(body.decode("utf-8"), strict=True)
    except UnicodeDecodeError:
        raise UsageError(wrong_request("the request is not UTF-8")) from None
    except NotJSON as wrong:
        raise UsageError(wrong_request(f"the request {wrong}")) from None
    if not isinstance(found, dict):
        raise UsageError(wrong_request("the request is JSON, and no object"))
    return found


def text_of_request(fields: Mapping[str, Any], name: str = "text", longest: int = LONGEST_POLICY) -> str:
    """A text of a request. Raises `UsageError` (E0577)."""
    text = fields.get(name)
    if not isinstance(text, str):
        raise UsageError(wrong_request(f"the request lacks the text `{name}`"))
    if len(text) > longest:
        what = "the policy" if name == "text" else f"`{name}`"
        raise UsageError(
            Diagnostic(
                "E0577",
                f"{what} has {len(text)} characters, and the playground takes {longest}",
                help="shorten it"
                if name != "text"
                else "put it into a file, and use `dsldec run --policy FILE`",
            )
        )
    if any(0xD800 <= ord(one) < 0xE000 for one in text):
        raise UsageError(wrong_request(f"`{name}` has half of a character (a lone surrogate)"))
    return text


def number_of_request(fields: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """A whole number of a request. Raises `UsageError` (E0577)."""
    number = fields.get(name, default)
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
        message = f"`{name}` is a whole number from {least} to {most}, not {quoted(str(number))}"
        raise UsageError(Diagnostic("E0577", message, help=f"for example {default}"))
    return number


def decode_request(fields: Mapping[str, Any]) -> DecodeRequest:
    """The decode that a request asks for. Raises `UsageError` (E0577)."""
    values = fields.get("values", {})
    if not isinstance(values, dict) or len(values) > MOST_VALUES:
        raise UsageError(wrong_request("`values` is no object of parameter values"))
    prompt = text_of_request(fields, "prompt", LONGEST_PROMPT)
    if not prompt.strip():
        raise UsageError(Diagnostic("E0577", "the prompt is empty", help="write one, or choose an example"))
    return DecodeRequest(
        tab=text_of_request(fields, "tab", LONGEST_TAB),
        text=text_of_request(fields),
        prompt=prompt,
        values=values,
        gen_length=number_of_request(fields, "gen_length", DEFAULT_GEN_LENGTH, 1, MOST_GEN_LENGTH),
        seed=number_of_request(fields, "seed", 0, 0, LARGEST_SEED),
        number=number_of_request(fields, "number", 0, 0, LARGEST_SEED),
    )


def wrong_request(message: str) -> Diagnostic:
    """The diagnostic about a request that the page does not make."""
    return Diagnostic("E0577", message, help="reload the page")
