"""Does every mistake in a call from Python get a message with the text to write, and are the signatures
unchanged?
"""

from __future__ import annotations

import inspect
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

import dsldec
from dsldec.engines.transformers import custom_generate
from dsldec.models.huggingface import denoiser_of
from dsldec.options import DECODE
from dsldec.runtime.decode import stream
from dsldec.synonyms import OWNERS

from .toy import ToyDenoiser

DENOISER, IDS = ToyDenoiser(0, 4.0), [[1, 2]]
POLICY = dsldec.load("threshold")
STEP = POLICY.compile("eager", mask_id=3)


def decode(*args: Any, **how: Any) -> Any:
    return dsldec.decode(DENOISER, IDS, *(args or ("threshold",)), **how)


def said(call: Callable[[], Any]) -> str:
    with pytest.raises((dsldec.UsageError, dsldec.PolicyError)) as error:
        call()
    text = str(error.value)
    assert "= help: " in text
    assert "`--" not in text  # a flag, where no flag can be written
    return text


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        (lambda: decode(max_new_tokens=64), "E0447", "it is called `gen_length=64`"),
        (lambda: decode(gen_len=64), "E0447", "it is called `gen_length=64`"),
        (lambda: decode(gen_lenght=64), "E0447", "did you mean `gen_length`?"),
        (lambda: decode(steps=8), "E0447", '`dsldec.load("static", tokens=2)`'),
        (lambda: decode(temperature=0.7), "E0447", "`draw gumbel(temperature=0.7)`"),
        (lambda: decode(block_length=32), "E0447", '`dsldec.load("threshold", block=32)`'),
        (lambda: decode(POLICY, block_length=32), "E0447", "`policy.bind(block=32)`"),
        (lambda: decode(confidence=0.8), "E0447", '`dsldec.load("threshold", confidence=0.8)`'),
        (lambda: decode("static", confidence=0.8), "E0447", '`dsldec.load("threshold", confidence=0.8)`'),
        (lambda: decode(confidenc=0.8), "E0447", '`dsldec.load("threshold", confidence=0.8)`'),
        (lambda: decode(stop_strings=["."]), "E0447", 'it is called `stop="."`'),
        (lambda: decode(stop_token_ids=[7]), "E0447", "it is called `stop_ids=N`"),
        (lambda: decode(num_return_sequences=3), "E0447", "it is called `n=3`"),
        (lambda: decode(min_new_tokens=3), "E0447", "it is called `min_length=3`"),
        (lambda: decode(messages=[]), "E0447", "`decode(denoiser, [messages], policy)`"),
        (lambda: decode(mask_id=3), "E0447", '`from_pretrained("MODEL", mask_id=3)`'),
        (lambda: decode(batch_size=4, top_p=0.5), "E0447", "`batch_size`: it is called `batch=4`; `top_p`: "),
        (lambda: decode("threshold", 64), "E0447", "takes 3 arguments by position, and gets 4"),
        (lambda: dsldec.decode(DENOISER, IDS), "E0447", "`decode` lacks `policy`"),  # type: ignore[call-arg]
        (
            lambda: dsldec.load("threshold", gen_length=64),
            "E0403",
            "`decode(denoiser, prompts, policy, gen_length=64)`",
        ),
        (
            lambda: dsldec.load("threshold", temperature=0),
            "E0403",
            "leave it out: 0 is what all shipped policies do",
        ),
        (lambda: dsldec.load("threshold", 0.8), "E0447", '`dsldec.load("threshold", confidence=0.8)`'),
        (lambda: dsldec.load(policy="threshold"), "E0447", "takes `policy` by position"),
        (lambda: dsldec.load(POLICY), "E0448", "`policy.bind(confidence=0.8)`"),
        (
            lambda: dsldec.load("threshold(confidence=0.8)"),
            "E0401",
            '`dsldec.load("threshold", confidence=0.8)`',
        ),
        (lambda: dsldec.load("low_confidence"), "E0401", "did you mean `static`?"),
        (lambda: dsldec.load("policy p(): window all"), "E0401", "a line for each statement"),
        (lambda: dsldec.from_pretrained(device_map="auto"), "E0447", "a GPU is taken where there is one"),
        (
            lambda: dsldec.from_pretrained(torch_dtype=torch.bfloat16),
            "E0447",
            '`from_pretrained(..., dtype="bfloat16")`',
        ),
        (
            lambda: dsldec.from_pretrained(gen_length=8),
            "E0447",
            "`decode(denoiser, prompts, policy, gen_length=8)`",
        ),
        (lambda: POLICY.bind(0.8), "E0447", "`policy.bind(confidence=0.8)`"),
        (lambda: POLICY.bind(max_new_tokens=8), "E0403", "`decode(denoiser, prompts, policy, gen_length=8)`"),
        (lambda: POLICY.compile("eager", 3), "E0447", "`mask_id=`"),
        (lambda: POLICY.compile("eager"), "E0447", "`compile` lacks `mask_id`"),
        (lambda: POLICY.compile("eager", mask_id=3, block=4), "E0447", "`policy.bind(block=4)`"),
        (lambda: STEP.start(2), "E0447", "`start` lacks `window_length`"),
        (lambda: STEP.start(2, 4, window=4), "E0447", "did you mean `window_length`?"),
        (lambda: custom_generate("threshold", max_new_tokens=4), "E0403", "it is called `gen_length=4`"),
        (
            lambda: custom_generate("threshold", top_p=0.5),
            "E0403",
            "`draw nucleus(temperature=1, top_p=0.5)`",
        ),
        (lambda: stream(DENOISER, IDS, "threshold", steps=3), "E0447", "a policy decides how many forwards"),
        (lambda: dsldec.check(), "E0447", "`dsldec.check(text)`"),
    ],
)
def test_an_argument_that_is_none_is_told_with_what_there_is(
    call: Callable[[], Any], code: str, says: str
) -> None:
    text = said(call)
    assert text.startswith(f"error[{code}]: ")
    assert says in text


WRONG: list[Any] = [
    None,
    3,
    2.5,
    b"threshold",
    ["threshold"],
    {"name": "threshold"},
    dsldec,
    dsldec.Policy,
    (POLICY, []),
]


@pytest.mark.parametrize("given", WRONG, ids=repr)
def test_what_is_no_policy_is_told_wherever_one_is_taken(given: Any) -> None:
    for call in (
        lambda: decode(given),
        lambda: dsldec.load(given),
        lambda: custom_generate(given),
        lambda: stream(DENOISER, IDS, given),
    ):
        assert "E0448" in said(call)


@pytest.mark.parametrize("given", [None, b"policy p():\n", pathlib.Path("x.policy"), 3, ["a"]], ids=repr)
def test_what_is_no_text_is_not_checked(given: Any) -> None:
    assert "`check` takes a policy's text" in said(lambda: dsldec.check(given))


WRONG_VALUES: dict[str, list[Any]] = {
    "count": [0, -1, 2.5, "12", True, 10**12, [4, 4], torch.tensor([4, 4])],
    "seed": [None, "x", 2.5, True, [1]],
    "choice": [None, 3, [], {}, True, "cuda"],
    "flag": ["yes", None, 1],
    "list": [[1, 2], 1, "a", ["a"], [None], [True]],
    "ids": ["a", -1, [-1], 2.5, True, [[1]], {}],
    "text": ["", 3, [], {}],
    "texts": ["", 3, [""], [3], {}],
    "pattern": [3, True, [], [3], {}, "(", {"type": "x"}, ["[0-9]+", "[0-9]+", "[0-9]+"]],
}
VALUES = [
    (name, value) for name, one in DECODE.items() for value in WRONG_VALUES[one.kind] if name != "min_length"
]
VALUES += [("min_length", value) for value in WRONG_VALUES["count"][1:]]  # 0 is its default
VALUES.append(("batch", None))


@pytest.mark.parametrize(("name", "value"), VALUES, ids=repr)
def test_a_value_that_an_option_cannot_have_is_told(name: str, value: Any) -> None:
    for call in (
        lambda: decode(**{name: value}),
        lambda: stream(DENOISER, IDS, "threshold", **{name: value}),
    ):
        said(call)


@pytest.mark.parametrize("on_step", [3, "print", []])
def test_what_cannot_be_called_is_called_after_no_step(on_step: Any) -> None:
    assert "`on_step` is a function" in said(lambda: stream(DENOISER, IDS, "threshold", on_step=on_step))


@pytest.mark.parametrize(
    "how",
    [
        {"name_or_path": 3}, {"name_or_path": b"x"}, {"name_or_path": ["x"]}, {"name_or_path": dsldec}, {"trust_remote_code": "yes"},
        {"trust_remote_code": 1}, {"raw": "x"}, {"shift_logits": 1}, {"mask_id": "x"}, {"mask_id": True}, {"eos_id": [1, 2]},
        {"block_length": "4"}, {"block_length": 0}, {"dtype": None}, {"dtype": 3}, {"device": 3}, {"device": []}, {"device": "gpu"},
        {"mask_id": 99999},
    ],
    ids=repr,
)  # fmt: skip
def test_a_model_is_not_loaded_with_such(how: dict[str, Any]) -> None:
    said(lambda: dsldec.from_pretrained(**how))


def test_a_model_that_is_loaded_is_led_to_where_it_is_taken() -> None:
    class Model(torch.nn.Module):
        config = None

    for call in (lambda: dsldec.from_pretrained(Model()), lambda: dsldec.decode(Model(), IDS, "threshold")):
        assert "`denoiser_of(model, tokenizer)`" in said(call)
    assert "not a model of transformers" in said(lambda: denoiser_of("./MODEL"))
    assert '`dsldec.from_pretrained("./MODEL")`' in said(lambda: dsldec.decode("./MODEL", IDS, "threshold"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "how",
    [{"mask_id": None}, {"mask_id": "x"}, {"eos_id": "x"}, {"backend": None}, {"backend": []}],
    ids=repr,
)
def test_no_step_is_compiled_with_such(how: dict[str, Any]) -> None:
    said(lambda: POLICY.compile(**({"mask_id": 3} | how)))


@pytest.mark.parametrize(
    "how",
    [{"batch": 0}, {"batch": "2"}, {"window_length": None}, {"vocab_size": "x"}, {"device": "gpu"}],
    ids=repr,
)
def test_no_state_is_started_with_such(how: dict[str, Any]) -> None:
    said(lambda: STEP.start(**({"batch": 2, "window_length": 4} | how)))


def test_two_prompts_with_one_request_id_draw_the_same() -> None:
    text = "policy drawn():\n  window all\n  draw gumbel(0.5)\n  commit top(masked, 1, by=conf)\n"
    first, second = dsldec.decode(
        DENOISER, IDS * 2, text, gen_length=4, request_ids=[7, 7]
    ).ids  # asked for: common random numbers
    assert first.tolist() == second.tolist()
    assert len(dsldec.decode(DENOISER, IDS * 2, "static", gen_length=4, request_ids=[7, 7]).ids) == 2


def test_an_option_without_effect_is_told(caplog: pytest.LogCaptureFixture) -> None:
    dsldec.decode(DENOISER, [[1, DENOISER.mask_id]], "static", infill=True, gen_length=8, seed=5)
    told = caplog.text
    assert "W0404" in told
    assert "`gen_length=8` has no effect beside `infill=True`" in told
    assert "W0401" in told
    assert "`seed=5` has no effect: the policy `static` draws nothing at random" in told
    caplog.clear()
    dsldec.decode(DENOISER, [[1, DENOISER.mask_id]], "static", infill=True)
    assert caplog.text == ""


def test_signatures_are_those_that_are_written() -> None:
    of = inspect.signature(dsldec.decode).parameters
    assert list(of)[:3] == ["denoiser", "prompts", "policy"]
    assert all(one.kind is not one.VAR_KEYWORD for one in of.values())
    assert dsldec.decode.__name__ == "decode"
    assert (dsldec.decode.__doc__ or "").startswith("Decode prompts under a policy.")
    for function, name in ((dsldec.decode, "decode"), (dsldec.from_pretrained, "from_pretrained")):
        keywords = [
            one.name
            for one in inspect.signature(function).parameters.values()
            if one.kind is one.KEYWORD_ONLY
        ]
        assert sorted(keywords) == sorted(OWNERS[name])


def test_a_name_that_is_elsewhere_is_told() -> None:
    for name, says in (
        ("Decode", "`dsldec.Decoded`"),
        ("generate", "`dsldec.decode`"),
    ):
        with pytest.raises(AttributeError, match=r"module 'dsldec' has no attribute") as error:
            getattr(dsldec, name)
        assert says in str(error.value)
    assert not hasattr(dsldec, "__wrapped__")
