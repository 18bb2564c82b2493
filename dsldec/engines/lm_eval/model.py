"""The model class `dsldec` of lm-evaluation-harness: it answers requests by decoding under a policy.

Source of the interface: `lm_eval.api.model.LM` of lm-eval 0.4.13. Not here: arguments (`arguments`,
`generation`), texts and ids (`texts`), the bound on a likelihood (`likelihood`).
"""

# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
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
from ...runtime.decode import stream_rows
from ...runtime.prompt_options import PromptOptions, ids_of
from ...runtime.rows import Row
from .arguments import differing, read_arguments
from .counts import TaskCounts
from .generation import Generation, cut, read_generation, request_ids, sampling_warnings
from .likelihood import Pair, bounds
from .texts import InTemplate, Texts

# Under the harness's own logger, whose lines its command shows.
log = logging.getLogger("lm_eval.models.dsldec")
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
        self.arguments = read_arguments(pretrained, policy, batch_size, max_batch_size, arguments)
        self.policy = self.arguments.policy
        if pretrained is None or isinstance(pretrained, str | os.PathLike):
            self.denoiser: Any = from_pretrained(pretrained, **asdict(self.arguments.load))
        else:
            require_denoiser(pretrained)
            self.denoiser = pretrained
        self.texts = Texts(self.denoiser, self.arguments.add_bos_token)
        self.tokenizer = self.texts.tokenizer
        self.counts: dict[str, TaskCounts] = defaultdict(TaskCounts)
        self._device = torch.device(getattr(self.denoiser, "device", "cpu"))
        self._logged: set[str] = set()
        # An answer ends at an id that ends a text or a turn, and at those of the arguments.
        eos_id = getattr(self.denoiser, "eos_id", None)
        ends = getattr(self.denoiser, "stop_ids", () if eos_id is None else (eos_id,))
        self._stop_ids = (*ends, *ids_of(self.arguments.decode.stop_ids))
        self._warn(seed_warning(self.policy, self.arguments.decode.seed))

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
        limit: int | None = getattr(self.denoiser, "max_length", None)
        return limit

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
        wanted = [self._generation(request.args[1]) for request in requests]
        ids = request_ids([str(request.args[0]) for request in requests])
        prompts = [self.texts.encode(request.args[0]) for request in requests]
        answers = ["" for _ in requests]
        # The longest prompts first: if memory does not suffice, this is known at once.
        ordered = sorted(range(len(requests)), key=lambda place: -len(prompts[place]))
        fitting = [place for place in ordered if self._fits(requests[place], prompts[place], wanted[place])]
        with tqdm(total=len(requests), desc="Decoding", disable=disable_tqdm) as bar:
            bar.update(len(requests) - len(fitting))
            for place, row in self._rows(fitting, prompts, wanted, ids):
                answers[place] = self._answer(requests[place], row, wanted[place])
                bar.update()
        self._log_counts({_task(request) for request in requests}, time.monotonic() - begun)
        return answers

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """For each (prompt, continuation) a bound on the log-likelihood in nats, by `mc_samples` samples, and
        whether the policy decodes exactly this continuation.

        The bound (`likelihood.bounds`) depends on the model alone, not on the policy. Raises `UsageError`
        (E0409) for a block-causal model, and E0407 for a request that is too long.
        """
        self._require_bound()
        texts = [(str(context), continuation) for context, continuation in (one.args for one in requests)]
        encoded = [self.texts.encode_pair(*request.args) for request in requests]
        for request, (prompt, answer) in zip(requests, encoded, strict=True):
            if problem := too_long(self.denoiser, len(prompt) + len(answer), 0):
                message = f"a request of `{_task(request)}` is too long: {problem.message}"
                help = "fewer examples make it shorter: `--num_fewshot 0`"
                raise UsageError(Diagnostic("E0407", message, help=help))
        ids = request_ids([f"{context}\0{continuation}" for context, continuation in texts])
        seed, decode = self.arguments.decode.seed, self.arguments.decode
        pairs = [
            Pair(tuple(prompt), tuple(answer), noise.key(int(seed), id_))
            for (prompt, answer), id_ in zip(encoded, ids, strict=True)
        ]
        greedy = self._greedy(pairs, ids) if self.arguments.greedy else [False] * len(pairs)
        results = [(0.0, True) for _ in requests]
        with tqdm(total=len(requests), desc="Bounding likelihoods", disable=disable_tqdm) as bar:
            for place, bound, rows in bounds(self.denoiser, pairs, self.arguments.mc_samples, decode.batch):
                results[place] = (bound, greedy[place])
                counts = self.counts[_task(requests[place])]
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
        tasks = {name: counts.line() for name, counts in sorted(self.counts.items())}
        decode = self.arguments.decode
        how = {"batch": decode.batch, "backend": decode.backend, "lookahead": decode.lookahead}
        return {"dsldec": {"version": version(), **self.arguments.decisive(), **how, "tasks": tasks}}

    def _generation(self, gen_kwargs: Mapping[str, Any]) -> Generation:
        for warning in sampling_warnings(gen_kwargs, self.policy):
            self._warn(warning)
        given: Any = self.arguments.decode.gen_length  # not a list: `read_arguments` refuses one
        wanted = read_generation(gen_kwargs, given, int(getattr(self.denoiser, "gen_length", 256)))
        if self.max_length is not None and wanted.gen_length >= self.max_length:
            message = f"{wanted.gen_length} tokens to generate leave no room for a prompt: the model takes {self.max_length} tokens in all"
            raise UsageError(
                Diagnostic("E0430", message, help=f"for example `gen_length={self.max_length // 2}`")
            )
        return wanted

    def _fits(self, request: Any, prompt: Sequence[int], wanted: Generation) -> bool:
        """Whether the model takes the prompt. If not, the request is counted as failed."""
        problem = too_long(self.denoiser, len(prompt), wanted.gen_length)
        if problem is not None:
            self._fail(request, problem)
        return problem is None

    def _rows(
        self,
        places: Sequence[int],
        prompts: Sequence[Sequence[int]],
        wanted: Sequence[Generation],
        ids: Sequence[int],
    ) -> Iterator[tuple[int, Row]]:
        """Each finished row with its place in `prompts`."""
        options = replace(self.arguments.decode, request_ids=[ids[place] for place in places])
        each = [self._options(wanted[place]) for place in places]
        here = [prompts[place] for place in places]
        rows = stream_rows(self.denoiser, here, self.policy, options, each=each)
        return ((places[row.index], row) for row in rows)

    def _options(self, wanted: Generation) -> PromptOptions:
        """The options of a request. With `stop_at_eos=False` every token is decoded, and nothing ends a row."""
        decode = self.arguments.decode
        special, texts = self.texts.special(wanted.until)
        own = PromptOptions(wanted.gen_length, min_length=wanted.min_length, seed=int(decode.seed))
        if not decode.stop_at_eos:
            return own
        return replace(own, stop=texts, stop_ids=(*ids_of(decode.stop_ids), *special))

    def _answer(self, request: Any, row: Row, wanted: Generation) -> str:
        """The text of a finished row, cut at the ends of the request."""
        if row.error is not None:
            self._fail(request, row.error)
            return ""
        special, texts = self.texts.special(wanted.until)
        # `row.text` is without the blanks at its ends; the first line of a program needs its indentation.
        answer = cut(self.texts.decode(row.generated.tolist(), (*self._stop_ids, *special)), texts)
        self.counts[_task(request)].add(row)
        self.cache_hook.add_partial("generate_until", request.args, answer)
        return answer

    def _greedy(self, pairs: Sequence[Pair], ids: Sequence[int]) -> list[bool]:
        """For each pair whether the policy decodes exactly its answer, in a canvas of the answer's length."""
        same = [not pair.answer for pair in pairs]
        places = [place for place, pair in enumerate(pairs) if pair.answer]
        wanted = [Generation(len(pair.answer)) for pair in pairs]
        for place, row in self._rows(places, [pair.prompt for pair in pairs], wanted, ids):
            same[place] = row.error is None and tuple(row.generated.tolist()) == pairs[place].answer
        return same

    def _require_bound(self) -> None:
        blocks = getattr(self.denoiser, "block_length", None)
        if blocks is not None:
            message = "the likelihood of a continuation is not available for a block-causal model: the bound needs a model that sees the whole canvas"
            help = "use tasks that generate, for example `gsm8k` in place of `arc_easy`"
            raise UsageError(Diagnostic("E0409", message, help=help))

    def _fail(self, request: Any, why: Diagnostic) -> None:
        self.counts[_task(request)].fail(why)
        self._warn(
            Diagnostic(
                "E0410",
                f'a request of `{_task(request)}` has no answer and counts as "": {why.message}',
                help=why.help,
            )
        )

    def _warn(self, diagnostic: Diagnostic | None) -> None:
        """Log each message once."""
        if diagnostic is not None and diagnostic.message not in self._logged:
            self._logged.add(diagnostic.message)
            log.warning("%s", diagnostic)

    def _log_counts(self, tasks: set[str], seconds: float) -> None:
        whole = sum(self.counts[task].tokens for task in tasks) or 1
        for task in sorted(tasks):
            counts = self.counts[task]
            # Tasks share batches: each gets its part of the time by its tokens.
            counts.seconds += seconds * counts.tokens / whole
            log.info("%s: %s", task, counts.sentence())
            if counts.failed:
                log.warning(
                    "%s: %d of %d requests have no answer",
                    task,
                    counts.failed,
                    counts.failed + counts.answers,
                )


def _task(request: Any) -> str:
    return str(getattr(request, "task_name", None) or "requests")


def _present(device: Any) -> str | None:
    """The device to use. The harness's command gives `cuda:0` unless told otherwise, also without a GPU."""
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
