"""Replacements for options that other programs have and dsldec lacks: a line of the policy, another call, or
nothing.

The words are those of `synonyms`. Not here: options with another name (`synonyms`), the spelling of an option
(`spelling`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .spelling import N, option, reads_flags, typed

# Where a line of a policy can be written.
COPIED = "; `dsldec show --stage text threshold > mine.policy` copies a policy to write it into"
LOADED = "; `dsldec.load(text)` takes a policy as a text"


def is_number(value: object) -> bool:
    """Whether a value, or a text, is a number that can be pasted."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    try:
        return abs(float(value)) < 2**63
    except (ValueError, OverflowError):
        return False


def is_whole(value: object) -> bool:
    """Whether a value, or a text, is a whole number of 1 or more."""
    return (
        is_number(value)
        and float(str(value)) >= 1
        and float(str(value)) % 1 == 0
        and str(value).strip().isdigit()
    )


def _or(value: object, default: object) -> object:
    return value if is_number(value) and float(str(value)) > 0 else default


def _whole_or(value: object, default: object) -> object:
    return value if is_whole(value) else default


def _line(text: str) -> str:
    return f"write it in the policy, after `window`: `{text}`{COPIED if reads_flags() else LOADED}"


def _commit(text: str) -> str:
    return f"write it in the policy, as its `commit`: `{text}`{COPIED if reads_flags() else LOADED}"


def _temperature(value: object) -> str:
    if is_number(value) and float(str(value)) == 0:
        return "leave it out: 0 is what all shipped policies do, they take the likeliest token"
    return _line(f"draw gumbel(temperature={_or(value, 0.7)})")


def _drawn(value: object) -> str:
    if str(value).lower() in ("false", "0"):
        return "leave it out: all shipped policies take the likeliest token"
    return _line("draw gumbel(temperature=0.7)")


def _greedy(value: object) -> str:
    return "leave it out: all shipped policies take the likeliest token"


def _top_p(value: object) -> str:
    share = value if is_number(value) and 0 < float(str(value)) <= 1 else 0.9
    return _line(f"draw nucleus(temperature=1, top_p={share})")


def _top_k(value: object) -> str:
    return _line(f"draw nucleus(temperature=1, top_p=1, top_k={_whole_or(value, 50)})")


def _steps(value: object) -> str:
    example = "`--policy static --set tokens=2`" if reads_flags() else '`dsldec.load("static", tokens=2)`'
    schedule = f"`commit top(masked, even({_whole_or(value, 8)}), by=conf)`"
    return f"a policy decides how many forwards it takes: {example} writes 2 tokens in each; {schedule} in a policy takes that many steps a block"


def _prompt(value: object) -> str:
    if not reads_flags():
        return "prompts are the second argument: `decode(denoiser, [prompt], policy)`"
    return f"a prompt needs no option: `dsldec run {typed(value or 'How many apples are left?')}`"


def _stop(value: object) -> str:
    return f"an answer ends before a text or at an id: {option('stop', '###')}, {option('stop_ids', N)}"


def _remasking(value: object) -> str:
    if str(value) == "random":
        return _commit("commit sample(masked, 1, by=1)")
    return f"the policy decides which positions are written: {_static()} is low-confidence remasking"


def _algorithm(value: object) -> str:
    if str(value) == "origin":
        return _commit("commit chance(masked, 0.1) at least 1 by conf")
    score = {"topk_margin": "margin", "entropy": "-entropy"}.get(str(value))
    if score is None:
        return f"the policy decides which positions are written: {_static()} takes the most confident one"
    return _commit(f"commit top(masked, 1, by={score})")


def _static() -> str:
    return option("policy", "static") if reads_flags() else '`dsldec.load("static")`'


def _algorithm_temperature(value: object) -> str:
    return _commit(f"commit sample(masked, 1, by=exp(conf / {_or(value, 0.1)}))")


def _guidance(value: object) -> str:
    return _line(f"logits cfg({_or(value, 1.5)})")


def _says(shell: str, python: str | None = None) -> Callable[[object], str]:
    return lambda value: shell if python is None or reads_flags() else python


_ROWS: tuple[tuple[str, Callable[[object], str]], ...] = (
    ("temperature temp", _temperature),
    ("do_sample sampling", _drawn),
    ("greedy", _greedy),
    ("top_p", _top_p),
    ("top_k", _top_k),
    (
        "min_p typical_p top_h epsilon_cutoff eta_cutoff",
        _says(
            "a policy draws by `draw nucleus(temperature=1, top_p=0.9)` or `draw gumbel(temperature=0.7)`, written after `window`"
        ),
    ),
    (
        "steps sampling_steps steps_per_block num_steps diffusion_steps denoising_steps max_steps nfe num_inference_steps",
        _steps,
    ),
    ("prompt p text query question inputs input_ids instruction", _prompt),
    ("stopping_criteria", _stop),
    (
        "ignore_eos no_stop stop_at_eos",
        _says(
            "an answer ends at the end-of-text id; in Python `decode(..., stop_at_eos=False)` goes on",
            "write `stop_at_eos=False`",
        ),
    ),
    ("remasking remask remasking_strategy", _remasking),
    ("alg", _algorithm),
    ("alg_temp", _algorithm_temperature),
    ("cfg_scale cfg guidance_scale guidance", _guidance),
    (
        "repetition_penalty presence_penalty frequency_penalty no_repeat_ngram_size length_penalty repeat_penalty logits_processor "
        "logit_bias bad_words_ids suppress_tokens bad_words allowed_token_ids",
        _says(
            "which ids may be written stands in the policy, after `window`: `logits ban(11, 12)`, `logits bias(11, -2.0)`"
        ),
    ),
    (
        "num_beams beam_size beams use_beam_search beam_width",
        _says(
            "leave it out: a policy writes one answer; `--policy lopa` compares several candidates in each step",
            'leave it out: a policy writes one answer; `dsldec.load("lopa")` compares several candidates in each step',
        ),
    ),
    (
        "trace history output_history return_history show_steps visualize viz intermediate",
        _says(
            "`--trace traces.jsonl` writes every step to a file, `--live` shows it on the terminal",
            "`decode(..., trace=True).trajectories` has every step",
        ),
    ),
    (
        "v vv verbose debug log_level loglevel",
        _says(
            "`--live` shows every step; `DSLDEC_DEBUG=1 dsldec run ...` shows where a model fails",
            '`logging.getLogger("dsldec").setLevel("INFO")` says more',
        ),
    ),
    (
        "stream streaming streamer on_step callback",
        _says(
            "`--live` shows an answer as it is written; `--out -` prints each as soon as it is finished",
            "`dsldec.runtime.decode.stream(denoiser, ids, policy)` gives each row as soon as it is finished, with `on_step=` each step",
        ),
    ),
    (
        "json jsonl format",
        _says(
            "`dsldec run --out -` prints one JSON object a prompt; `check`, `test` and `model` take `--format json`"
        ),
    ),
    ("version V", _says("`dsldec --version` prints it", "`dsldec.resources.version()` gives it")),
    (
        "tensor_parallel_size tp num_gpus gpus pipeline_parallel_size world_size gpu_memory_utilization",
        _says(
            "a model runs on one device: `--device cuda:1`",
            'a model runs on one device: `from_pretrained(..., device="cuda:1")`',
        ),
    ),
    (
        "load_in_8bit load_in_4bit quantization quantization_config quantize",
        _says(
            "models are not quantized here; `--dtype bfloat16` takes half of float32",
            'models are not quantized here; `from_pretrained(..., dtype="bfloat16")` takes half of float32',
        ),
    ),
    (
        "revision cache_dir token hf_token local_files_only force_download subfolder use_auth_token",
        _says(
            "fetch the model first, `hf download OWNER/MODEL --local-dir MODEL`, and give the folder: `--model ./MODEL`",
            'fetch the model first, `hf download OWNER/MODEL --local-dir MODEL`, and give the folder: `from_pretrained("./MODEL")`',
        ),
    ),
    (
        "messages chat role",
        _says(
            "a line of a `.jsonl` file of `--prompts` may have `messages`, a list of turns",
            "a prompt may be a list of messages: `decode(denoiser, [messages], policy)`",
        ),
    ),
    (
        "host port serve api_key",
        _says(
            "`dsldec export-hf MODEL threshold`, then `transformers serve MODEL --trust-remote-code` is a server"
        ),
    ),
    (
        "limit max_samples num_prompts num_examples num_questions",
        _says(
            "`head -n 10 questions.txt | dsldec run` decodes ten of them",
            "give fewer prompts: `prompts[:10]`",
        ),
    ),
    (
        "overwrite append overwrite_output",
        _says("give `--out` another name, or delete the file; `--resume` continues it"),
    ),
    (
        "threads t num_threads workers num_workers nproc",
        _says(
            "`OMP_NUM_THREADS=4 dsldec run ...` lets torch take four threads",
            "`torch.set_num_threads(4)` lets torch take four threads",
        ),
    ),
    (
        "list list_policies policies list_models",
        _says(
            "`dsldec list` prints the shipped policies; `dsldec explain NAME` explains one",
            "`dsldec.shipped_policies()` lists the policies",
        ),
    ),
    (
        "max_model_len ctx_size c n_ctx context_length max_position_embeddings",
        _says("leave it out: the model's own limit applies"),
    ),
    (
        "tokenizer tokenizer_path tokenizer_name tokenizer_mode",
        _says(
            "the tokenizer is the one in the model's folder",
            "the tokenizer is the one in the model's folder; for another: `dsldec.models.huggingface.denoiser_of(model, tokenizer)`",
        ),
    ),
    (
        "attn_implementation flash_attn attention use_flash_attention_2",
        _says("leave it out: attention is as the model's configuration says"),
    ),
    (
        "skip_special_tokens clean_up_tokenization_spaces",
        _says("leave it out: texts are without special tokens, `ids` has all"),
    ),
    (
        "attention_mask padding pad_token_id return_tensors padding_side",
        _says(
            "leave it out: prompts may have any lengths",
            "leave it out: prompts are lists of ids of any lengths, or a tokenizer's own: `decode(denoiser, tokenizer(texts), policy)`",
        ),
    ),
    (
        "output_scores return_dict_in_generate output_logits",
        _says(
            "`--logprobs` gives the confidence of each token",
            "`logprobs=True` gives the confidence of each token",
        ),
    ),
    (
        "config generation_config",
        _says(
            "options stand on the command line, parameters of the policy behind `--set`",
            "options are keywords of `decode`, parameters of the policy are keywords of `dsldec.load`",
        ),
    ),
)
# By word.
INSTEAD: Mapping[str, Callable[[object], str]] = {
    word: says for words, says in _ROWS for word in words.split()
}
