"""How does the model of a call of `generate` become a denoiser? Its probes run once for each model.

Not here: the denoiser of a Hugging Face model (`models.huggingface`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from ...diagnostics import UsageError
from ...models.huggingface import HuggingFaceDenoiser, denoiser_of
from ...models.loading import tokenizer_of
from ...options import LOAD_OF_GENERATE, LoadOptions


class CallDenoisers:
    """The denoisers of the models that one custom `generate` has decoded with.

    The results of a model's probes are cached as long as the model lives.
    """

    def __init__(self, load: LoadOptions, tokenizer: Any) -> None:
        self.load, self.tokenizer = load, tokenizer
        self._known: WeakKeyDictionary[Any, HuggingFaceDenoiser] = WeakKeyDictionary()

    def of(self, model: Any, stop_ids: list[int], tokenizer: Any = None) -> HuggingFaceDenoiser:
        """The model as a denoiser. `stop_ids`: ids that end an answer in this call, instead of those found
        for the model. `tokenizer`: of this call, where none was found for the model.
        """
        if model not in self._known:
            found = self.tokenizer if self.tokenizer is not None else _tokenizer_of(model)
            options = {name: getattr(self.load, name) for name in LOAD_OF_GENERATE}
            known = denoiser_of(model, found, **options)
            self._known[model] = known.without_model()  # a stored model would keep its own weak key alive
        denoiser = self._known[model].with_model(model)
        if stop_ids:
            valid = [one for one in stop_ids if one >= 0]  # -1 is the usual id for no end
            denoiser.eos_id = denoiser.eos_id if denoiser.eos_id in valid else next(iter(valid), None)
            denoiser.stop_ids = frozenset(valid)
        if denoiser.tokenizer is None and tokenizer is not None:
            denoiser.tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor
            vars(denoiser).pop("decode_text", None)  # it was None without a tokenizer
        return denoiser


@contextmanager
def as_denoiser(model: Any) -> Iterator[None]:
    """Inside, the model runs without dropout and without transformers' KV cache. Both are restored
    afterwards.
    """
    training = [module for module in model.modules() if module.training]
    cached = getattr(model.config, "use_cache", None)
    model.eval()
    if cached:
        model.config.use_cache = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
        if cached:
            model.config.use_cache = cached


def _tokenizer_of(model: Any) -> Any:
    """The tokenizer beside the model's files, if it is on this machine."""
    try:
        return (
            tokenizer_of(model.name_or_path, model.config, local_files_only=True)[0]
            if model.name_or_path
            else None
        )
    except UsageError:  # the folder has no tokenizer, or one that needs remote code
        return None
