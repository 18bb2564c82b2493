"""Models of a folder's own code, which has no `generate` that transformers could prepare, behind
`transformers serve` all the same.

The server asks a class of the folder's for the model (`dsldec export-hf` writes one that is an OwnCode), and
the model for `generate`. Not here: loading (`models`), decoding (`transformers`).
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import GenerationConfig, GenerationMixin

from ..diagnostics import Diagnostic, UsageError
from ..models.huggingface import from_pretrained
from ..options import DTYPES
from .call_site import split
from .generate_arguments import GenerateCall, asked_by

log = logging.getLogger("dsldec")

# Where files come from and how transformers loads them: the folder is here already, and loaded otherwise.
OF_TRANSFORMERS = frozenset(
    "trust_remote_code revision code_revision attn_implementation tqdm_class local_files_only cache_dir force_download proxies token "
    "subfolder use_safetensors variant weights_only low_cpu_mem_usage adapter_kwargs _from_auto _commit_hash".split()
)


class OwnCode:
    """Gives a model as dsldec loads it, with the `generate` of its `custom_generate/`; never an instance of
    itself.
    """

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """transformers notes here what to save code for; nothing is saved of this one."""

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
        """The model of a folder whose code is trusted: transformers asks for no other. Raises `UsageError`.

        `how`: what transformers adds for itself, and what nobody here has heard of, which is said.
        """
        if unknown := [
            name
            for name, value in how.items()
            if name not in OF_TRANSFORMERS and value is not None and value is not False
        ]:
            message = f"{', '.join(f'`{one}`' for one in unknown)} of `from_pretrained` has no effect: dsldec loads this model, by its own code"
            log.warning("%s", Diagnostic("W0401", message, help="it takes `dtype` and `device_map`"))
        if quantization_config is not None:
            message = f"`{name}` brings its own code, and dsldec does not quantize such models"
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
        # A method of the class only for what it calls; the function is the folder's, and takes the model by
        # name.
        function = GenerationMixin.load_custom_generate(model, name, trust_remote_code=True)
        model.generate = functools.partial(function, model=model)
        return model


def prepared(model: Any, arguments: Mapping[str, Any]) -> tuple[Tensor, GenerateCall]:
    """What `generate` makes of its arguments, as far as decoding needs it: ids `[B, L]`, and what was asked.
    Raises `UsageError`.
    """
    own, said = model.generation_config, split(arguments)
    config = copy.deepcopy(said.parameters["generation_config"] or own)
    config.update(
        **{name: value for name, value in vars(own).items() if not name.startswith("_")}, defaults_only=True
    )
    left = config.update(**said.keywords)
    given = left.pop("input_ids", None)
    ids = given if said.parameters["inputs"] is None else said.parameters["inputs"]
    if not isinstance(ids, Tensor) or ids.dim() != 2:
        message = (
            "`generate` is called without `input_ids`"
            if ids is None
            else "`input_ids` of `generate` is no tensor `[rows, length]`"
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
    asked = asked_by(said, config, own, left)
    if asked.streamer is not None:
        asked.streamer.put(ids.cpu())
    return ids, asked


def no_length() -> UsageError:
    message = "nothing says how many tokens to generate"
    return UsageError(
        Diagnostic("E0409", message, help="add `max_new_tokens=128`, say (of a server: `max_tokens`)")
    )


def _repeated(value: Any, times: int) -> Any:
    return value.repeat_interleave(times, 0) if isinstance(value, Tensor) else value
