"""How are models with remote code built and filled? Such code is often older than the installed transformers.

transformers 5 builds a model without memory, and calls methods that older code lacks (`tie_weights` with
arguments, `all_tied_weights_keys`). Values that such code computes in its constructor, such as rotary
frequencies, would be lost silently. So the class is called as plain Python, and its weights are loaded one
file at a time.

Not here: whether the code may run (`loading` decides that).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import LARGEST_TOKENIZER, read_json
from .weights import named, require_shapes, wrong_weights

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Attributes of every configuration up to transformers 4. Code of that time reads them.
ALWAYS_THERE = {
    "tie_word_embeddings": True, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
    "torchscript": False, "is_decoder": False, "add_cross_attention": False, "use_cache": False,
}  # fmt: skip


def remote_class(name: str, config: Any, auto: tuple[str, ...]) -> Any:
    """The class that the model's own code gives for the first of these Auto classes. This runs that code."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    reference = next(config.auto_map[one] for one in auto if one in config.auto_map)
    kind: Any = get_class_from_dynamic_module(reference, name)
    # A list up to transformers 4. Weights are tied below, according to the configuration.
    if isinstance(getattr(kind, "_tied_weights_keys", None), list):
        kind._tied_weights_keys = None
    for attribute, value in ALWAYS_THERE.items():
        if not hasattr(config, attribute):
            setattr(config, attribute, value)
    return kind


def built(name: str, config: Any, auto: tuple[str, ...], dtype: torch.dtype) -> Any:
    """The model with its weights, on the CPU. Raises `UsageError` (E0418) where weights do not fit, and the
    errors of the code.
    """
    from transformers.initialization import no_init_weights

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with no_init_weights(), as_in_transformers_4():
            model = remote_class(name, config, auto)(config)
    finally:
        torch.set_default_dtype(before)
    _fill(model, name)
    # Buffers that are computed and not loaded keep the precision that the code chose for them.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


@contextmanager
def as_in_transformers_4() -> Iterator[None]:
    """Inside, two parts of transformers 4 exist that older code needs: the plain entry in the table of rotary
    frequencies (Dream), and the check whether graphs can be traced (LLaDA2), which returns False.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    from transformers.utils import import_utils

    places: tuple[tuple[dict[str, Any], str, Any], ...] = (
        (ROPE_INIT_FUNCTIONS, "default", plain_frequencies),
        (vars(import_utils), "is_torch_fx_available", lambda: False),
    )
    lacking = [(place, name) for place, name, _ in places if name not in place]
    for place, name, value in places:
        place.setdefault(name, value)
    try:
        yield
    finally:
        for place, name in lacking:
            del place[name]


def plain_frequencies(
    config: Any, device: Any = None, seq_len: int | None = None, **_: Any
) -> tuple[Tensor, float]:
    """Rotary frequencies `theta ** (-2 i / d)`, d/2 of them, and the scale 1 for rotated vectors (RoFormer,
    arXiv:2104.09864).
    """
    theta = getattr(config, "rope_theta", None) or config.rope_parameters["rope_theta"]
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size = int(size * (getattr(config, "partial_rotary_factor", None) or 1.0))
    powers = torch.arange(0, size, 2, dtype=torch.int64).to(device=device, dtype=torch.float32) / size
    return 1.0 / (theta**powers), 1.0


def _fill(model: Any, name: str) -> None:
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    missing = set(shapes)
    for file in _weight_files(name):
        weights = _read(file)
        differing = [
            (key, tensor.shape, shapes[key])
            for key, tensor in weights.items()
            if key in shapes and tensor.shape != shapes[key]
        ]
        require_shapes(differing, name)
        model.load_state_dict(weights, strict=False)
        missing -= weights.keys()
    state = model.state_dict(keep_vars=True)
    head = model.get_output_embeddings() if model.config.tie_word_embeddings else None
    if head is not None and any(state[key] is head.weight for key in missing):
        head.weight = model.get_input_embeddings().weight
        state = model.state_dict(keep_vars=True)
    # A tensor with two names is present if the files hold one of them.
    present = {id(tensor) for key, tensor in state.items() if key not in missing}
    lacking = sorted(key for key in missing & state.keys() if id(state[key]) not in present)
    if lacking:
        raise wrong_weights(f"`{name}` does not load: its files hold no weights for {named(lacking)}")


def _weight_files(name: str) -> Iterator[Path]:
    from transformers.utils.hub import cached_file

    def path_of(file: str) -> str | None:
        return cached_file(name, file, _raise_exceptions_for_missing_entries=False)

    for file in WEIGHTS:
        if whole := path_of(file):
            yield Path(whole)
            return
        if index := path_of(f"{file}.index.json"):
            for shard in sorted(set(read_json(index, LARGEST_TOKENIZER)["weight_map"].values())):
                yield Path(str(cached_file(name, shard)))
            return
    raise wrong_weights(f"`{name}` has no weights: there is no `{WEIGHTS[0]}`")


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    read: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return read
