"""Unknown arguments in calls from another library's internals: the library's own arguments are passed on, and
the message names the caller's arguments.

Each test simulates a version of transformers, or code around it, that does not exist.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationConfig, GenerationMixin, Qwen3ForCausalLM
from transformers.generation import LogitsProcessorList, MinLengthLogitsProcessor

import dsldec
from dsldec.engines.transformers import custom_generate
from dsldec.engines.transformers.remote_code_model import RemoteCodeModel, prepared
from dsldec.models import attention_hooks
from dsldec.models.huggingface import denoiser_of, from_pretrained

from ..models import tiny
from ..models.tiny import EOS, MASK

IDS = torch.tensor([[5, 6, 7]])
FOUND = "nobody_has_heard_of_it"


@pytest.fixture
def fn() -> Any:
    return custom_generate("static", mask_id=MASK)


def model(kind: type[Qwen3ForCausalLM] = Qwen3ForCausalLM) -> Any:
    made = tiny.model(*tiny.NATIVE["qwen3"])
    made.__class__ = kind
    return made


@pytest.fixture(scope="module")
def want() -> list[list[int]]:
    generated: Tensor = model().generate(
        IDS, custom_generate=custom_generate("static", mask_id=MASK), max_new_tokens=6
    )
    return generated.tolist()


class Anything(Qwen3ForCausalLM):
    """Lets transformers pass on whatever it is given."""

    def _validate_model_kwargs(self, model_kwargs: dict[str, Any]) -> None:
        pass


class Newer(Anything):
    """A version of `generate` that makes more for each step."""

    def _prepare_cache_for_generation(self, config: Any, model_kwargs: dict[str, Any], *rest: Any) -> Any:
        model_kwargs[FOUND], model_kwargs["a_tensor"] = object(), torch.ones(3, 4)
        return super()._prepare_cache_for_generation(config, model_kwargs, *rest)


class Calling(Anything):
    """Somebody's own `generate` around transformers'."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return super().generate(*args, **kwargs)


class OwnGenerate(Anything):
    """A `generate` that makes everything itself, as code of a model's own has it."""

    @torch.no_grad()
    def generate(
        self,
        inputs: Any = None,
        generation_config: Any = None,
        custom_generate: Any = None,
        **model_kwargs: Any,
    ) -> Any:
        logits_processor = LogitsProcessorList([MinLengthLogitsProcessor(9, EOS)])
        config = GenerationConfig(max_length=9)
        made = {name: value for name, value in model_kwargs.items() if name != "max_new_tokens"} | {
            "made_here": 3,
            "cache": DynamicCache(),
        }
        return custom_generate(
            self,
            inputs,
            logits_processor=logits_processor,
            stopping_criteria=[],
            generation_config=config,
            **made,
        )


class Peft(nn.Module):
    """A model around a model."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base_model = base

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        self.base_model.generation_config = self.base_model.generation_config
        return self.base_model.generate(*args, **kwargs)


def wrapped_without_a_name(given: Any) -> Any:
    original = GenerationMixin.generate

    def patched(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs)

    given.setattr(GenerationMixin, "generate", patched)


WAYS = {
    "a newer version": lambda: model(Newer),
    "a subclass": lambda: model(Calling),
    "a generate of its own": lambda: model(OwnGenerate),
    "a model around it": lambda: Peft(model(Anything)),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_generate_makes_for_itself_passes(
    way: str, fn: Any, want: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="dsldec"):
        assert WAYS[way]().generate(IDS, custom_generate=fn, max_new_tokens=6).tolist() == want
    assert not caplog.records


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [3, "three", object(), torch.ones(2)])
def test_what_the_caller_wrote_is_refused_by_name(way: str, value: Any, fn: Any) -> None:
    with pytest.raises(dsldec.UsageError, match=FOUND) as error:
        WAYS[way]().generate(IDS, custom_generate=fn, max_new_tokens=6, **{FOUND: value})
    assert error.value.diagnostic.code == "E0409"
    for nothing in (None, False, []):
        WAYS[way]().generate(IDS, custom_generate=fn, max_new_tokens=6, **{FOUND: nothing})


@pytest.mark.parametrize("name", ["past_key_values", "position_ids", "inputs_embeds"])
def test_what_only_the_caller_can_mean(name: str, fn: Any) -> None:
    given = {
        "past_key_values": DynamicCache(),
        "position_ids": torch.arange(3)[None],
        "inputs_embeds": torch.ones(1, 3, 16),
    }[name]
    with pytest.raises(
        dsldec.UsageError, match="`(past_key_values|cache)`" if name == "past_key_values" else f"`{name}`"
    ):
        model().generate(IDS, custom_generate=fn, max_new_tokens=6, **{name: given})


def test_a_parameter_of_a_generate_to_come(
    fn: Any, want: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fills the parameter in for itself, and passes what it made on."""
    original = GenerationMixin.generate

    @torch.no_grad()
    def generate(
        self: Any, inputs: Any = None, custom_generate: Any = None, to_come: Any = None, **kwargs: Any
    ) -> Any:
        to_come = to_come or object()
        return original(
            self, inputs, custom_generate=functools.partial(custom_generate, to_come=to_come), **kwargs
        )

    monkeypatch.setattr(GenerationMixin, "generate", generate)
    assert model().generate(IDS, custom_generate=fn, max_new_tokens=6).tolist() == want
    monkeypatch.undo()
    wrapped_without_a_name(monkeypatch)
    assert model().generate(IDS, custom_generate=fn, max_new_tokens=6).tolist() == want
    with pytest.raises(dsldec.UsageError, match="`num_beams`"):
        model().generate(IDS, custom_generate=fn, max_new_tokens=6, num_beams=2)


class NoFrame:
    """A call of which nobody can tell who made it: what `generate` hands on, and no `generate` above."""

    def __init__(self, fn: Any) -> None:
        self.fn = fn

    def __call__(self, made: Any, **kwargs: Any) -> list[list[int]]:
        config = kwargs.pop("generation_config", GenerationConfig(max_length=9))
        generated: Tensor = self.fn(made, IDS, stopping_criteria=[], generation_config=config, **kwargs)
        return generated.tolist()


def test_without_the_frame_it_is_told(
    fn: Any, want: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    call, mine = NoFrame(fn), type("Mine", (MinLengthLogitsProcessor,), {"__module__": "mine"})(9, EOS)
    made = {
        "cache": DynamicCache(),
        "position_ids": torch.arange(3)[None],
        "use_cache": True,
        "attention_mask": torch.ones_like(IDS),
    }
    with caplog.at_level(logging.WARNING, logger="dsldec"):
        assert (
            call(model(), logits_processor=LogitsProcessorList([MinLengthLogitsProcessor(9, EOS)]), **made)
            == want
        )
        assert not caplog.records
        for _ in range(2):
            assert call(model(), **{FOUND: object()}) == want
    (told,) = caplog.records
    assert f"`{FOUND}` of `generate` has no effect" in told.getMessage()
    for refused in (
        {"logits_processor": [mine]},
        {"inputs_embeds": torch.ones(1, 3, 16)},
        {"token_type_ids": torch.ones_like(IDS)},
    ):
        with pytest.raises(dsldec.UsageError, match=f"`{next(iter(refused))}`"):
            call(model(), **refused)
    with pytest.raises(dsldec.UsageError, match="the number of tokens to generate is not given"):
        call(model(), generation_config=GenerationConfig())
    assert call(model(), generation_config=GenerationConfig(max_new_tokens=6)) == want


def test_a_folders_function_needs_no_frame(fn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was called with is known."""
    monkeypatch.setattr("dsldec.engines.transformers.call_site._frame_of_generate", lambda model: None)
    made = model(Newer)
    with pytest.raises(dsldec.UsageError, match=FOUND):
        fn.generate(IDS, model=made, max_new_tokens=6, **{FOUND: 3})
    pieces: list[list[int]] = []

    class Streamer:
        def put(self, value: Tensor) -> None:
            pieces.append(value.reshape(-1).tolist())

        def end(self) -> None:
            pieces.append([])

    generated = fn.generate(IDS, model=made, max_new_tokens=6, streamer=Streamer())
    assert [one for piece in pieces for one in piece] == generated[0].tolist()
    assert pieces[-1] == []


ANYTHING: dict[str, Any] = {
    "number": 3,
    "text": "three",
    "tensor": torch.ones(2),
    "list": [1],
    "object": object(),
}


@pytest.mark.parametrize("value", ANYTHING.values(), ids=ANYTHING)
def test_a_configuration_of_the_callers_is_told_of(
    value: Any, fn: Any, want: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    config = GenerationConfig(max_new_tokens=6)
    setattr(config, FOUND, value)
    with caplog.at_level(logging.WARNING, logger="dsldec"):
        assert NoFrame(fn)(model(), generation_config=config) == want
    assert f"`{FOUND}` of `generate` has no effect" in caplog.records[0].getMessage()


@pytest.mark.parametrize("value", [3, "three", [1], {"a": 1}])
def test_a_configuration_of_the_models_passes(
    value: Any, fn: Any, want: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    made = model()
    for name in (FOUND, "num_beams", "watermarking_config", "eos_token_id"):
        setattr(
            made.generation_config, name, {FOUND: value, "num_beams": 1, "eos_token_id": [EOS, 45]}.get(name)
        )
    with caplog.at_level(logging.WARNING, logger="dsldec"):
        assert made.generate(IDS, custom_generate=fn, max_new_tokens=6).tolist()[0][:4] == want[0][:4]
        assert not caplog.records
        other = GenerationConfig(max_new_tokens=6)
        setattr(other, FOUND, "another")
        made.generate(IDS, custom_generate=fn, generation_config=other)
    assert f"`{FOUND}` of `generate` has no effect" in caplog.records[0].getMessage()
    with pytest.raises(dsldec.UsageError, match=FOUND):
        made.generate(IDS, custom_generate=fn, max_new_tokens=6, **{FOUND: "another"})


def test_no_default_of_the_installed_version_is_taken_for_a_wish(
    fn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    defaults = getattr(GenerationConfig(), "_get_default_generation_params", dict)() | {"max_length": 9}
    with caplog.at_level(logging.WARNING, logger="dsldec"):
        whole = model().generate(IDS, custom_generate=fn, generation_config=GenerationConfig(**defaults))
    assert whole.shape[1] <= 9
    assert not [record.getMessage() for record in caplog.records]


def test_what_asks_for_no_chance_is_told_where_a_policy_draws(caplog: pytest.LogCaptureFixture) -> None:
    drawn = custom_generate(
        "policy drawn():\n  window blocks(4)\n  draw gumbel(2.0)\n  commit top(masked, 1, by=conf)\n",
        mask_id=MASK,
    )
    with caplog.at_level(logging.WARNING, logger="dsldec"):
        NoFrame(drawn)(model(), generation_config=GenerationConfig(max_length=9, temperature=0.0))
    assert (
        "`temperature=0` of `generate` has no effect: the policy `drawn` draws by its own `draw` statement"
        in caplog.text
    )


def test_models_of_a_folders_own_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tiny.code_copied_to(tmp_path / "modules"):
        folder = tiny.saved(tmp_path / "dream", "dream")
        (folder / "custom_generate").mkdir()
        (folder / "custom_generate" / "generate.py").write_text(
            "from dsldec.engines.transformers import custom_generate\n\ndecode = custom_generate('static')\n\n\n"
            "def generate(*inputs, model, **arguments):\n    return decode.generate(*inputs, model=model, **arguments)\n"
        )
        with caplog.at_level(logging.WARNING, logger="dsldec"):
            given = {
                "revision": None,
                "attn_implementation": None,
                "tqdm_class": None,
                "trust_remote_code": True,
            }
            made = RemoteCodeModel.from_pretrained(str(folder), device_map="auto", **given)
            assert not caplog.records
            RemoteCodeModel.from_pretrained(str(folder), "positional", **given, **{FOUND: 3})
        assert f"`{FOUND}` of `from_pretrained` has no effect" in caplog.records[0].getMessage()
    want = made.generate(IDS, max_new_tokens=6).tolist()
    assert made.generate(inputs=IDS, max_new_tokens=6, tokenizer=None, cache=None).tolist() == want
    assert made.generate(IDS, GenerationConfig(max_new_tokens=6)).tolist() == want
    for wrong, says in (
        ({FOUND: 3}, FOUND),
        ({"cache": DynamicCache()}, "`cache`"),
        ({"assistant_model": object()}, "`assistant_model`"),
    ):
        with pytest.raises(dsldec.UsageError, match=says):
            made.generate(IDS, max_new_tokens=6, **wrong)
    for ids in (IDS[0], IDS.tolist(), None):
        with pytest.raises(dsldec.UsageError, match="`input_ids`"):
            made.generate(ids, max_new_tokens=6)
    _, asked = prepared(made, {"inputs": IDS, "max_new_tokens": 6, FOUND: 3})
    assert asked.keywords[FOUND] == 3


def test_functions_for_attention_and_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer models and a newer torch give them more; whether that changes anything is found out by calling
    the model.
    """
    whole, mask = attention_hooks._attend, attention_hooks._mask
    monkeypatch.setattr(attention_hooks, "_attend", lambda *a, **k: whole(*a, **k, **{FOUND: object()}))
    monkeypatch.setattr(attention_hooks, "_mask", lambda *a, **k: mask(*a, **k, **{FOUND: object()}))
    denoiser = denoiser_of(model(), mask_id=MASK)
    assert denoiser.kv_cache(2, 30) is not None
    call: Any = type(
        "Call", (), {"seen": torch.ones(1, 1, 1, 4, dtype=torch.bool), "attend": lambda *_: torch.zeros(1)}
    )()
    with attention_hooks._Attentive(call):
        one = torch.ones(1, 2, 4, 8)
        assert F.scaled_dot_product_attention(one, one, one, dropout_p=0.0).shape == (1,)
        with pytest.raises(attention_hooks.UnsupportedAttention, match=FOUND):
            attention_hooks._Attentive(call)._attend(one, one, one, **{FOUND: 3})
        attention_hooks._Attentive(call)._attend(one, one, one, **{FOUND: None})


def test_a_tokenizer_gives_more_than_ids(tmp_path: Path) -> None:
    denoiser = from_pretrained(tiny.saved(tmp_path, "qwen3"), device="cpu")
    ids, plain = denoiser.encode("w5 w6"), type(denoiser.tokenizer).__call__

    class More(type(denoiser.tokenizer)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            encoded = plain(self, *args, **kwargs)
            encoded[FOUND] = object()
            return encoded

    denoiser.tokenizer.__class__ = More
    assert denoiser.encode("w5 w6") == ids
    text = dsldec.decode(denoiser, ["w5 w6"], "static", gen_length=4).text[0]
    assert isinstance(text, str)


def test_a_streamer_that_asks_for_more(fn: Any, want: list[list[int]]) -> None:
    class Streamer(transformers.generation.streamers.BaseStreamer):
        ids: list[int] = []  # noqa: RUF012

        def put(self, value: Tensor, nobody_has_heard_of_it: int = 3, **more: Any) -> None:
            assert not more
            self.ids += value.reshape(-1).tolist()

        def end(self, nobody_has_heard_of_it: int = 3) -> None:
            self.ids += [-1]

    streamer = Streamer()
    generated = model(Newer).generate(IDS, custom_generate=fn, max_new_tokens=6, streamer=streamer)
    assert generated.tolist() == want
    assert streamer.ids == [*want[0], -1]


def test_compiled_code_around_it(fn: Any, want: list[list[int]]) -> None:
    made = model(Newer)
    assert torch.inference_mode()(made.generate)(IDS, custom_generate=fn, max_new_tokens=6).tolist() == want
    whole = torch.compile(made, backend="eager")
    assert whole.generate(IDS, custom_generate=fn, max_new_tokens=6).tolist() == want
