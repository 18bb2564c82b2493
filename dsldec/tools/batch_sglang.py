"""`dsldec batch --engine sglang`: engines of SGLang decode the prompts, as a processor of Ray Data.

Ray places the engines, applies the chat template, and tokenizes; the policy runs inside each engine
(`engines.sglang`). Not here: the workers of dsldec itself (`batch_pool`), which prompts are decoded again
(`batch_passes`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backends import noise
from ..diagnostics import Diagnostic, UsageError
from ..engines.sglang import NAME
from ..engines.sglang.served_policy import ServedPolicy
from ..models.embedded_names import embedded_name
from ..networks.network import LearnedNetwork
from ..options import DECODE, DEFAULT_GEN_LENGTH, LOAD, DecodeOptions
from ..runtime.prompt_options import PromptOptions, prompt_options
from ..spelling import option
from .batch_events import Begun, Chunk, Finished, Ready, WorkerEvent
from .batch_pool import Reserved, batches
from .batch_worker import WorkerTask
from .line_options import with_line
from .prompts import Prompt
from .results import Result
from .run import RunOptions

POLICY_FILE = "dsldec-policy.yaml"
# The options that an engine takes; the others have no meaning for it.
TAKEN = frozenset(
    "gen_length min_length stop stop_ids n system batch seed backend trust_remote_code block_length dtype raw".split()
)
SMALL_SHARE = 0.1  # CPUs of an actor that applies the template or tokenizes
LARGEST_SEED = 2**31 - 1


def require_for_engine(run: RunOptions, gpus: float | None) -> None:
    """Raise `UsageError` (E0423) for options that an engine of SGLang does not take."""
    if embedded_name(run.model) is not None:
        message = "`--engine sglang` needs `--model`: it does not serve the embedded models"
        raise UsageError(Diagnostic("E0423", message, help="for example `--model JetLM/SDAR-1.7B-Chat`"))
    for holder, options in ((run.load, LOAD), (run.decode, DECODE)):
        for name, one in options.items():
            if name not in TAKEN and getattr(holder, name) != one.default:
                raise UsageError(_not_taken(option(name)))
    if run.trace_file is not None:
        raise UsageError(_not_taken("`--trace`"))
    if gpus is not None and gpus != int(gpus):
        message = "an engine of SGLang takes whole GPUs"
        raise UsageError(Diagnostic("E0423", message, help="`--gpus-per-worker 1`"))


def _not_taken(flag: str) -> Diagnostic:
    message = f"{flag} has no meaning with `--engine sglang`"
    return Diagnostic("E0423", message, help="leave it out, or leave `--engine` out")


def policy_config(task: WorkerTask) -> dict[str, Any]:
    """The configuration of the algorithm `DslDec`: the text of the policy travels, not its path."""
    known = task.policy().program.parameters
    # Without a value, the window of a policy gets the size of the engine's blocks.
    own = {name: value for name, value in task.parameters.items() if value != known[name].default}
    if networks := [name for name, value in own.items() if isinstance(value, LearnedNetwork)]:
        message = f"the network `{networks[0]}` is not sent to the engine: a configuration holds no weights"
        help = "leave `--engine` out, or start a server whose configuration names the file"
        raise UsageError(Diagnostic("E0450", message, help=help))
    config: dict[str, Any] = {"policy": task.text, "parameters": own, "seed": int(task.decode.seed)}
    if task.load.block_length is not None:
        config["block_size"] = task.load.block_length
    if task.decode.backend in ("eager", "inductor"):
        config["backend"] = task.decode.backend
    return config


def require_served(task: WorkerTask) -> None:
    """Raise `PolicyError` or `UsageError` (E0450, ...) for a policy that an engine would refuse at its start.
    Ray would start the engine again.
    """
    config = policy_config(task)
    ServedPolicy.of(config, config.get("block_size") or task.policy().plan(1).window_size or 1)


def write_policy(task: WorkerTask, folder: Path) -> Path:
    """The configuration as a file. JSON is YAML."""
    file = folder / POLICY_FILE
    file.write_text(json.dumps(policy_config(task), ensure_ascii=False), encoding="utf-8")
    return file


def engine_settings(task: WorkerTask, each: Reserved, config_file: str) -> dict[str, Any]:
    """The arguments of each engine, by the names of SGLang."""
    return {
        "dllm_algorithm": NAME,
        "dllm_algorithm_config": config_file,
        "tp_size": max(1, int(each.gpus)),
        "max_running_requests": task.decode.batch,  # by default SGLang decodes one request at a time
        "trust_remote_code": task.load.trust_remote_code,
        "dtype": task.load.dtype,
    }


def request(place: int, prompt: Prompt, options: DecodeOptions, raw: bool) -> dict[str, Any]:
    """The row of a prompt, as the processor takes it."""
    if "constrain" in prompt.given:
        raise UsageError(_not_taken("`constrain` in a line of the prompts"))
    default = options.gen_length if isinstance(options.gen_length, int) else DEFAULT_GEN_LENGTH
    own = prompt_options(with_line(options, prompt.given), prompt.given.get("gen_length", default))
    row: dict[str, Any] = {"place": place, "sampling_params": json.dumps(sampling(prompt, own))}
    if raw:
        return row | {"prompt": prompt.text}
    turns = prompt.messages or [{"role": "user", "content": prompt.text}]
    system = [] if own.system is None else [{"role": "system", "content": own.system}]
    return row | {"messages": json.dumps([*system, *turns])}


def sampling(prompt: Prompt, own: PromptOptions) -> dict[str, Any]:
    """The sampling parameters of a prompt. Its random numbers follow from its line, not from its batch."""
    key = noise.key(own.seed, prompt.number, prompt.sample)
    settings: dict[str, Any] = {"max_new_tokens": own.gen_length, "sampling_seed": key & LARGEST_SEED}
    settings |= {"stop": list(own.stop)} if own.stop else {}
    settings |= {"min_new_tokens": own.min_length} if own.min_length else {}
    return settings | ({"stop_token_ids": list(own.stop_ids)} if own.stop_ids else {})


def read_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a request. JSON, because a column of Arrow has one type for all rows."""
    columns = {name: value for name, value in row.items() if name not in ("messages", "sampling_params")}
    columns["sampling_params"] = json_value(row["sampling_params"])
    if "messages" in row:
        columns["messages"] = json_value(row["messages"])
    return columns


def json_value(text: str) -> Any:
    """The value of a text that `request` wrote."""
    return json.JSONDecoder().decode(text)


def answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an answer that the driver reads."""
    seconds = float(row.get("time_taken_llm") or 0.0)
    return {
        "place": row["place"],
        "text": row["generated_text"],
        "ids": [int(one) for one in row["generated_tokens"]],
        "tokens": int(row["num_generated_tokens"]),
        "seconds": seconds,
    }


@dataclass
class SGLangPool:
    """`workers` engines of SGLang; see `batch_passes.Pool`. `config_file`: the policy's file, as an engine
    finds it.
    """

    workers: int
    each: Reserved
    task: WorkerTask
    config_file: str
    begun: bool = False
    actor: str = "SGLangEngineStageUDF"

    def run(self, chunks: Sequence[Chunk], retries: int) -> Iterator[WorkerEvent]:
        """The events of one pass. Ray's processor decides about retries of a task."""
        prompts = dict(pair for chunk in chunks for pair in chunk)
        if self.begun:  # an engine has started before, so that a lost prompt is its own fault
            yield Begun(tuple(prompts))
        rows = [request(place, one, self.task.decode, self.task.load.raw) for place, one in prompts.items()]
        for batch in batches(lambda: self._dataset(rows, len(chunks)), self.workers):
            if not self.begun:
                self.begun = True
                yield Ready(0.0)
                yield Begun(tuple(prompts))
            for found in batch.to_pylist():
                prompt = prompts[found["place"]]
                yield Finished(found["place"], _result(prompt, found))

    def processor(self, batch_size: int, engines: int) -> Any:
        """The processor of Ray Data."""
        from ray.data.llm import SGLangEngineProcessorConfig, build_processor

        small = {"num_cpus": SMALL_SHARE, "concurrency": 1}
        config = SGLangEngineProcessorConfig(
            model_source=self.task.model,
            engine_kwargs=engine_settings(self.task, self.each, self.config_file),
            concurrency=(engines, engines),
            batch_size=batch_size,
            chat_template_stage={"enabled": not self.task.load.raw, **small},
            tokenize_stage={"enabled": True, **small},
            detokenize_stage={"enabled": True, **small},
        )
        share = {"num_cpus": SMALL_SHARE}
        return build_processor(
            config,
            preprocess=read_row,
            postprocess=answer,
            preprocess_map_kwargs=share,
            postprocess_map_kwargs=share,
        )

    def _dataset(self, rows: Sequence[Mapping[str, Any]], blocks: int) -> Any:
        from ray.data import from_items

        batch_size = -(-len(rows) // blocks)
        return self.processor(batch_size, min(self.workers, blocks))(
            from_items([*rows], override_num_blocks=blocks)
        )


def _result(prompt: Prompt, found: Mapping[str, Any]) -> Result:
    if not found["ids"]:
        # Ray's processor leaves out the reason that the engine gave.
        message = "the engine of SGLang generated no token for this prompt"
        help = "`DSLDEC_DEBUG=1` shows the engine's log, which has the reason"
        return Result(prompt, error=Diagnostic("E0410", message, help=help))
    ended = found["tokens"] < len(found["ids"])
    return Result(
        prompt,
        found["text"],
        tuple(found["ids"]),
        tokens=found["tokens"],
        seconds=found["seconds"],
        finish_reason="stop" if ended else "length",
    )
