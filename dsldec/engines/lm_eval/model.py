"""The model class `dsldec` of lm-evaluation-harness: it answers requests by decoding under a policy.

Source of the interface: `lm_eval.api.model.LM` of lm-eval 0.4.13. Not here: arguments (`arguments`,
`generation`), texts and ids (`texts`), the bound on a likelihood (`likelihood`).
"""

# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm  # type: ignore[import-untyped]

from ...backends import noise
from ...diagnostics import Diagnostic, UsageError
from ...models.denoiser import require_denoiser, too_long
from ...models.huggingface import from_pretrained
from ...policy import seed_warning
from ...resources import version
from ...spelling import in_one_list
from .arguments import ModelArguments, differing, read_arguments
from .generation import request_ids
from .likelihood import Pair, bounds
from .request_decoder import RequestDecoder, log, task_of
from .texts import InTemplate

SETTINGS = "dsldec settings"  # the entry of a response cache; its other keys are hashes


@register_model("dsldec")
class DslDecLM(LM):
    """A diffusion language model that decodes under a policy.

    Args:
        pretrained: A model's folder or name on the hub, or a denoiser with a tokenizer. Default: the embedded
            model.
        policy: The name of a shipped policy, a policy file, or a policy from `dsldec.load`.
        batch_size: Rows of a batch; `auto` is 8. `max_batch_size` limits it.
        device: As `from_pretrained` takes it. `cuda:0`, the default of the harness's command, is a CPU where
            there is no GPU.
        arguments: Options of `from_pretrained` and of `decode`; `mc_samples`, `greedy`, `add_bos_token` (see
            `ModelArguments`); parameters of the policy.

    Raises `PolicyError` and `UsageError`.
    """

    def __init__(
        self,
        pretrained: Any = None,
        policy: Any = "threshold",
        *,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        _require_one_process()
        if device is not None:
            arguments["device"] = _present(device)
        with in_one_list():
            self.arguments = read_arguments(pretrained, policy, batch_size, max_batch_size, arguments)
            self.denoiser = _denoiser(self.arguments)
        self.policy = self.arguments.policy
        self.decoder = RequestDecoder(self.arguments, self.denoiser)
        self.texts = self.decoder.texts
        self.tokenizer = self.texts.tokenizer
        self._device = torch.device(getattr(self.denoiser, "device", "cpu"))
        self.decoder.warn(seed_warning(self.policy, self.arguments.decode.seed))

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> DslDecLM:
        """The model for the arguments of the harness's command: `model_args` count before the defaults of its
        flags.
        """
        given = {name: value for name, value in (additional_config or {}).items() if value is not None}
        return cls(**(given | dict(arg_dict)))

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: Mapping[str, Any] | None = None
    ) -> DslDecLM:
        """Like `create_from_arg_obj`, for `"policy=dico,pretrained=./MODEL"`."""
        from lm_eval.utils import simple_parse_args_string

        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @property
    def max_length(self) -> int | None:
        """The most tokens of a prompt and its answer."""
        return self.decoder.max_length

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> InTemplate:
        """The messages in the model's chat template. Raises `UsageError` (E0409)."""
        return self.texts.in_chat(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The model's chat template, where the harness applies it. Raises `UsageError` (E0409) where there is
        none.
        """
        if not chat_template:
            return None
        self.texts.require_template(chat_template)
        return str(self.tokenizer.get_chat_template())

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Use the harness's response cache. Raises `UsageError` (E0437) for the cache of other settings: its
        keys are the requests alone.
        """
        stored, settings = cache_hook.dbdict, self.arguments.decisive()
        if stored is not None:
            before = stored.get(SETTINGS, "" if len(stored) else None)
            if before is None:
                stored[SETTINGS] = json.dumps(settings, sort_keys=True)
            elif names := differing(before, settings):
                what = ", ".join(f"`{name}`" for name in names)
                message = (
                    f"the response cache has answers of another model or policy (other settings: {what})"
                )
                help = "give another name to `--use_cache`, or delete its file"
                raise UsageError(Diagnostic("E0437", message, help=help))
        super().set_cache_hook(cache_hook)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request. A request that fails alone has the answer "", and is counted in
        `get_model_info`. Raises `UsageError` for arguments without a meaning under a policy, and
        `DenoiserFailed`.
        """
        begun = time.monotonic()
        wanted = [self.decoder.requested(request.args[1]) for request in requests]
        ids = request_ids([str(request.args[0]) for request in requests])
        prompts = [self.texts.encode(request.args[0]) for request in requests]
        answers = ["" for _ in requests]
        # The longest prompts first: if memory does not suffice, this is known at once.
        ordered = sorted(range(len(requests)), key=lambda place: -len(prompts[place]))
        fitting = [
            place for place in ordered if self.decoder.fits(requests[place], prompts[place], wanted[place])
        ]
        with tqdm(total=len(requests), desc="Decoding", disable=disable_tqdm) as bar:
            bar.update(len(requests) - len(fitting))
            for place, row in self.decoder.rows(fitting, prompts, wanted, ids):
                answer = self.decoder.answer(requests[place], row, wanted[place])
                if answer is not None:
                    answers[place] = answer
                    self.cache_hook.add_partial("generate_until", requests[place].args, answer)
                bar.update()
        self.decoder.log_counts(requests, time.monotonic() - begun)
        return answers

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """For each (prompt, continuation) a bound on the log-likelihood in nats, by `mc_samples` samples, and
        whether the policy decodes exactly this continuation.

        The bound (`likelihood.bounds`) depends on the model alone, not on the policy. Raises `UsageError`
        (E0409) for a block-causal model, and E0407 for a request that is too long.
        """
        _require_bound(self.denoiser)
        texts = [(str(context), continuation) for context, continuation in (one.args for one in requests)]
        encoded = [self.texts.encode_pair(*request.args) for request in requests]
        for request, (prompt, answer) in zip(requests, encoded, strict=True):
            if problem := too_long(self.denoiser, len(prompt) + len(answer), 0):
                message = f"a request of `{task_of(request)}` is too long: {problem.message}"
                help = "fewer examples make it shorter: `--num_fewshot 0`"
                raise UsageError(Diagnostic("E0407", message, help=help))
        ids = request_ids([f"{context}\0{continuation}" for context, continuation in texts])
        seed, decode = self.arguments.decode.seed, self.arguments.decode
        pairs = [
            Pair(tuple(prompt), tuple(answer), noise.key(int(seed), id_))
            for (prompt, answer), id_ in zip(encoded, ids, strict=True)
        ]
        greedy = self.decoder.greedy(pairs, ids) if self.arguments.greedy else [False] * len(pairs)
        results = [(0.0, True) for _ in requests]
        with tqdm(total=len(requests), desc="Bounding likelihoods", disable=disable_tqdm) as bar:
            for place, bound, rows in bounds(self.denoiser, pairs, self.arguments.mc_samples, decode.batch):
                results[place] = (bound, greedy[place])
                counts = self.decoder.counts[task_of(requests[place])]
                counts.scored, counts.scored_rows = counts.scored + 1, counts.scored_rows + rows
                self.cache_hook.add_partial("loglikelihood", requests[place].args, results[place])
                bar.update()
        return results

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Raises `UsageError` (E0409)."""
        message = "the perplexity of a whole text (`loglikelihood_rolling`) is not defined for this model"
        help = "use tasks that generate, or that compare continuations; this model has a bound for these"
        raise UsageError(Diagnostic("E0409", message, help=help))

    def get_model_info(self) -> dict[str, Any]:
        """The settings, and for each task its forwards, tokens and failures: the harness writes them into
        `config` of its results file.
        """
        tasks = {name: counts.line() for name, counts in sorted(self.decoder.counts.items())}
        decode = self.arguments.decode
        how = {"batch": decode.batch, "backend": decode.backend, "lookahead": decode.lookahead}
        return {"dsldec": {"version": version(), **self.arguments.decisive(), **how, "tasks": tasks}}


def _denoiser(arguments: ModelArguments) -> Any:
    """The denoiser that `pretrained` names, or is."""
    pretrained = arguments.pretrained
    if pretrained is None or isinstance(pretrained, str | os.PathLike):
        return from_pretrained(pretrained, **asdict(arguments.load))
    require_denoiser(pretrained)
    return pretrained


def _present(device: Any) -> str | None:
    """The device to use. By default the harness's command gives `cuda:0`, also without a GPU."""
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        log.info("there is no GPU: the model runs on the CPU, not on `%s`", device)
        return None
    return str(device)


def _require_one_process() -> None:
    """Raise `UsageError` (E0409) where a launcher started several processes: each would decode everything."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        message = "the model class of dsldec runs in one process, and a launcher started several"
        help = "start it without `accelerate launch`; `--samples` splits a task over commands"
        raise UsageError(Diagnostic("E0409", message, help=help))


def _require_bound(denoiser: Any) -> None:
    """Raise `UsageError` (E0409) for a block-causal model."""
    blocks = getattr(denoiser, "block_length", None)
    if blocks is not None:
        message = "the likelihood of a continuation is not available for a block-causal model: the bound needs a model that sees the whole canvas"
        help = "use tasks that generate, for example `gsm8k` in place of `arc_easy`"
        raise UsageError(Diagnostic("E0409", message, help=help))
