"""How does `transformers serve` load a model with remote code? Such a model has no `generate` that
transformers could prepare.

The server loads the model through a class in the folder (`dsldec export-hf` writes a subclass of
`RemoteCodeModel`), and calls `generate` of the model. Not here: loading (`models`), decoding
(`transformers`).
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import GenerationConfig, GenerationMixin

from ...diagnostics import Diagnostic, UsageError
from ...models.huggingface import from_pretrained
from ...options import DTYPES
from .call_site import split
from .generate_arguments import GenerateCall, call_from

log = logging.getLogger("dsldec")

# Arguments about files and about loading by transformers. dsldec loads the local folder itself.
OF_TRANSFORMERS = frozenset(
    "trust_remote_code revision code_revision attn_implementation tqdm_class local_files_only cache_dir force_download proxies token "
    "subfolder use_safetensors variant weights_only low_cpu_mem_usage adapter_kwargs _from_auto _commit_hash".split()
)


class RemoteCodeModel:
    """Loads a model by dsldec, with the `generate` of its `custom_generate/`. The class is never
    instantiated.
    """

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """transformers calls this to save the class's code with a model. Here there is nothing to save."""

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *_: Any,
        config: Any = None,
        dtype: Any = None,
        device_map: Any = None,
        quantization_config: Any = None,
        **how: Any,
    ) -> Any:
        """The model of a folder whose code is trusted: transformers uses this class only then. Raises
        `UsageError`.

        `how`: arguments that transformers adds for itself, and unknown ones. Unknown ones give a warning.
        """
        if unknown := [
            name
            for name, value in how.items()
            if name not in OF_TRANSFORMERS and value is not None and value is not False
        ]:
            message = f"{', '.join(f'`{one}`' for one in unknown)} of `from_pretrained` has no effect: dsldec loads this model, by its own code"
            log.warning("%s", Diagnostic("W0401", message, help="it takes `dtype` and `device_map`"))
        if quantization_config is not None:
            message = f"`{name}` needs the code in its folder, and dsldec does not quantize such models"
            raise UsageError(
                Diagnostic(
                    "E0405",
                    message,
                    help="leave `--quantization` out; `--dtype bfloat16` is smaller than float32",
                )
            )
        saved_as = str(getattr(config, "dtype", None)).removeprefix("torch.")
        kind = (saved_as if saved_as in DTYPES else "float32") if dtype in (None, "auto") else dtype
        device = (
            None
            if device_map in (None, "auto")
            else f"cuda:{device_map}"
            if isinstance(device_map, int)
            else device_map
        )
        model = from_pretrained(name, trust_remote_code=True, dtype=kind, device=device).model
        try:
            model.generation_config = GenerationConfig.from_pretrained(name)
        except OSError:
            model.generation_config = GenerationConfig()
        # The model borrows one method of transformers' class. The function comes from the folder and takes
        # the model by name.
        function = GenerationMixin.load_custom_generate(model, name, trust_remote_code=True)
        model.generate = functools.partial(function, model=model)
        return model


def prepared(model: Any, arguments: Mapping[str, Any]) -> tuple[Tensor, GenerateCall]:
    """Prepare the arguments of `generate` for decoding: ids `[B, L]` and the call. Raises `UsageError`."""
    own, split_arguments = model.generation_config, split(arguments)
    config = copy.deepcopy(split_arguments.parameters["generation_config"] or own)
    config.update(
        **{name: value for name, value in vars(own).items() if not name.startswith("_")}, defaults_only=True
    )
    left = config.update(**split_arguments.keywords)
    input_ids = left.pop("input_ids", None)
    ids = input_ids if split_arguments.parameters["inputs"] is None else split_arguments.parameters["inputs"]
    if not isinstance(ids, Tensor) or ids.dim() != 2:
        message = (
            "`generate` is called without `input_ids`"
            if ids is None
            else "`input_ids` of `generate` is not a tensor `[rows, length]`"
        )
        raise UsageError(
            Diagnostic("E0409", message, help="`model.generate(input_ids=ids)`; one prompt is `ids[None]`")
        )
    if config.max_new_tokens is not None:
        config.max_length = ids.shape[1] + config.max_new_tokens
    if config.max_length is None or config.max_length <= ids.shape[1]:
        raise no_length()
    times = config.num_return_sequences or 1
    ids, left = (
        ids.repeat_interleave(times, 0),
        {name: _repeated(value, times) for name, value in left.items()},
    )
    call = call_from(split_arguments, config, own, left)
    if call.streamer is not None:
        call.streamer.put(ids.cpu())
    return ids, call


def no_length() -> UsageError:
    message = "the number of tokens to generate is not given"
    return UsageError(
        Diagnostic("E0409", message, help="add `max_new_tokens=128` (for a server: `max_tokens`)")
    )


def _repeated(value: Any, times: int) -> Any:
    return value.repeat_interleave(times, 0) if isinstance(value, Tensor) else value
