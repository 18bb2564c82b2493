"""Models of a folder's own code, which has no `generate` that transformers could prepare, behind `transformers serve` all the same.

The server asks a class of the folder's for the model (`dsldec export-hf` writes one that is an OwnCode), and the model for `generate`.
Not here: loading (`models`), decoding (`transformers`).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import GenerationConfig, GenerationMixin

from ..diagnostics import Diagnostic, UsageError
from ..models.huggingface import from_pretrained
from ..models.loading import DTYPES
from .asked import PARAMETERS, Asked


class OwnCode:
    """Gives a model as dsldec loads it, with the `generate` of its `custom_generate/`; never an instance of itself."""

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """transformers notes here what to save code for; nothing is saved of this one."""

    @classmethod
    def from_pretrained(
        cls, name: str, *, config: Any = None, dtype: Any = None, device_map: Any = None, quantization_config: Any = None, **_: Any
    ) -> Any:
        """The model of a folder whose code is trusted: transformers asks for no other. Raises `UsageError`."""
        if quantization_config is not None:
            message = f"`{name}` brings its own code, and dsldec does not quantize such models"
            raise UsageError(Diagnostic("E0405", message, help="leave `--quantization` out; `--dtype bfloat16` is smaller than float32"))
        saved_as = str(getattr(config, "dtype", None)).removeprefix("torch.")
        kind = (saved_as if saved_as in DTYPES else "float32") if dtype in (None, "auto") else dtype
        device = None if device_map in (None, "auto") else f"cuda:{device_map}" if isinstance(device_map, int) else device_map
        model = from_pretrained(name, trust_remote_code=True, dtype=kind, device=device).model
        try:
            model.generation_config = GenerationConfig.from_pretrained(name)
        except OSError:
            model.generation_config = GenerationConfig()
        # A method of the class only for what it calls; the function is the folder's, and takes the model by name.
        function = GenerationMixin.load_custom_generate(model, name, trust_remote_code=True)
        model.generate = functools.partial(function, model=model)
        return model


def prepared(model: Any, inputs: tuple[Any, ...], arguments: Mapping[str, Any]) -> tuple[Tensor, Asked]:
    """What `generate` makes of its arguments, as far as decoding needs it: ids `[B, L]`, and what was asked. Raises `UsageError`."""
    keywords = dict(arguments)
    own, parameters = model.generation_config, {name: keywords.pop(name, None) for name in PARAMETERS}
    streamer, given = keywords.pop("streamer", None), keywords.pop("generation_config", None)
    config = copy.deepcopy(given or own)
    config.update(**{name: value for name, value in vars(own).items() if not name.startswith("_")}, defaults_only=True)
    left = config.update(**keywords)
    left.pop("tokenizer", None)
    ids = left.pop("input_ids", None) if not inputs else inputs[0]
    if not isinstance(ids, Tensor):
        raise UsageError(Diagnostic("E0409", "`generate` is called without `input_ids`", help="`model.generate(input_ids=ids)`"))
    if config.max_new_tokens is not None:
        config.max_length = ids.shape[1] + config.max_new_tokens
    if config.max_length is None or config.max_length <= ids.shape[1]:
        message = "nothing says how many tokens to generate"
        raise UsageError(Diagnostic("E0409", message, help="add `max_new_tokens=128`, say (of a server: `max_tokens`)"))
    times = config.num_return_sequences or 1
    ids, left = ids.repeat_interleave(times, 0), {name: _repeated(value, times) for name, value in left.items()}
    if streamer is not None:
        streamer.put(ids.cpu())
    return ids, Asked(config, own, left, keywords, parameters, streamer)


def _repeated(value: Any, times: int) -> Any:
    return value.repeat_interleave(times, 0) if isinstance(value, Tensor) else value
