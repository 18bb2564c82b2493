"""Names of options in other programs, and the options of dsldec that do the same.

Words of vLLM, transformers, llama.cpp and the scripts of LLaDA, Dream and Fast-dLLM, without dashes, `_`
between parts. The command line and Python's functions look up unknown options here. Not here: the spelling of
an option (`spelling`), the policy in use (the caller knows it), options without a counterpart (`instead`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .instead import INSTEAD, is_number, is_whole
from .options import DECODE, LOAD
from .spelling import FLAGS, N, flag, keyword, option, reads_flags, typed, written

# Another name of one of our options. The value stays.
_SAME = {
    "gen_length": "max_new_tokens max_tokens max_gen_toks max_gen_len max_gen_length gen_len gen_tokens length new_tokens num_tokens "
    "n_predict max_completion_tokens max_length max_len generation_length",
    "min_length": "min_tokens min_new_tokens",
    "stop": "stop_strings stop_sequences stop_words until",
    "stop_ids": "stop_token_ids stop_tokens stop_id",
    "constrain": "guided_regex guided_json guided_choice guided_grammar guided_decoding guided_decoding_regex regex pattern choice choices "
    "json_schema json_schema_file json_object schema output_schema output_type response_format structured_outputs structured_output "
    "structural_tag grammar grammar_file ebnf constraint constrained xgrammar outlines",
    "n": "num_samples num_return_sequences best_of samples num_generations num_outputs repeat",
    "system": "system_prompt sys system_message",
    "batch": "batch_size bs b max_batch_size max_num_seqs mini_batch_size per_device_batch_size eval_batch_size parallel",
    "dtype": "torch_dtype precision data_type model_dtype",
    "device": "device_map gpu_id main_gpu",
    "model": "m model_path model_name model_id model_name_or_path pretrained_model_name_or_path name_or_path checkpoint ckpt ckpt_path "
    "checkpoint_path pretrained model_dir hf_model hf_repo",
    "seed": "s random_seed manual_seed rng_seed",
    "lookahead": "num_speculative_tokens speculative_tokens speculative draft draft_max num_draft_tokens num_assistant_tokens drafts "
    "num_drafts spec_k",
    "mask_id": "mask_token_id mask mask_token",
    "eos_id": "eos_token_id eos eos_token eot_id",
    "policy": "strategy decoding decoding_strategy decoding_policy sampler algorithm method scheduler policy_name policy_file policy_path "
    "custom_generate",
    "out": "o output output_file output_path out_file outfile save save_path results results_file result_file log log_file write",
    "cache": "kv_cache cache_implementation cache_type",
    "backend": "compile_backend engine",
    "trust_remote_code": "remote_code trust_code trust allow_remote_code",
    "request_ids": "ids request_id prompt_ids",
    "set": "param parameter params parameters set_param option",
    "prompts": "f file input input_file in_file prompt_file prompts_file data dataset data_path questions i",
    "stage": "dump emit",
    "count": "limit max_samples num_prompts num_examples num_questions",
    "vocab": "vocab_size vocabulary_size n_vocab vocabulary",
    "resume": "continue resume_from_checkpoint",
    "infill": "fill fim infilling in_place",
}
# An option of ours with its own value.
_FIXED: dict[str, tuple[str, object]] = {
    "q": ("live", False), "quiet": ("live", False), "silent": ("live", False), "no_progress": ("live", False),
    "disable_tqdm": ("live", False),
    "fp16": ("dtype", "float16"), "half": ("dtype", "float16"), "bf16": ("dtype", "bfloat16"), "bfloat16": ("dtype", "bfloat16"),
    "float16": ("dtype", "float16"), "fp32": ("dtype", "float32"), "float32": ("dtype", "float32"),
    "cuda": ("device", "cuda"), "gpu": ("device", "cuda"), "ngl": ("device", "cuda"), "n_gpu_layers": ("device", "cuda"),
    "cpu": ("device", "cpu"), "mps": ("device", "mps"),
    "compile": ("backend", "inductor"), "torch_compile": ("backend", "inductor"), "eager": ("backend", "eager"),
    "enforce_eager": ("backend", "eager"), "tensorrt": ("backend", "tensorrt"),
    "use_cache": ("cache", "auto"), "no_cache": ("cache", "none"), "prefix_cache": ("cache", "prefix"), "dual_cache": ("cache", "dual"),
    "enable_prefix_caching": ("cache", "prefix"),
    "no_chat_template": ("raw", True), "skip_chat_template": ("raw", True), "no_template": ("raw", True), "chat_template": ("raw", True),
    "apply_chat_template": ("raw", True), "plain": ("raw", True), "add_special_tokens": ("raw", True),
}  # fmt: skip
# Another name of a policy's parameter.
_PARAMETERS = {
    "block": "block_length block_size block_len blocklen bl block_width window window_size semi_ar_block",
    "confidence": "threshold conf confidence_threshold conf_threshold prob_threshold tau dynamic_threshold p_threshold",
    "budget": "factor",
    "tokens": "tokens_per_step k transfer_tokens num_transfer_tokens tokens_per_forward n_per_step",
    "gamma": "entropy_threshold entropy_bound eb_gamma",
    "steps": "steps_per_block sampling_steps",
    "calm": "kl_threshold",
    "patience": "kl_history_length history_length",
    "rows": "num_branches branches branch num_candidates candidates branch_factor num_rows width",
}
# The shipped policy that has a parameter which the policy in use lacks.
SHIPPED = {
    "block": "threshold", "confidence": "threshold", "budget": "factor", "tokens": "static", "gamma": "entropy_bounded", "delta": "frechet",
    "calm": "klass", "patience": "klass", "keep": "klass", "seeds": "dico", "rounds": "dico", "gap": "dico", "seed_conf": "dico",
    "keep_conf": "dico", "safe_conf": "dico", "pull": "dico", "drafts": "freedave", "rows": "lopa",
}  # fmt: skip

# The Python function that takes an option. Where several do, the likeliest is first.
OWNERS = {"decode": [*DECODE], "from_pretrained": [*LOAD]}
_WHOLE = {
    "decode": "decode(denoiser, prompts, policy, {})",
    "from_pretrained": 'from_pretrained("MODEL", {})',
}


@dataclass(frozen=True, slots=True)
class UnknownArgument:
    """An option as the user wrote it: `word` without dashes, `value` as text or as Python's own, None where
    there is none.

    `parameters`: of the policy in use, with their values. `sets`: the Python call that sets one of them.
    `takes`: the options of the verb or function.
    """

    word: str
    value: object = None
    sets: str = "policy.bind({})"
    parameters: Mapping[str, object] | None = None
    takes: frozenset[str] = frozenset()


def advice(argument: UnknownArgument) -> str | None:
    """The replacement to type; None for an unknown word."""
    word = normal(argument.word)
    parameter = word if word in (argument.parameters or {}) or word in SHIPPED else _PARAMETER_OF.get(word)
    if parameter in (argument.parameters or {}):
        return f"it is a parameter of the policy: {_set(argument, str(parameter))}{_of_the_model(word, argument)}"
    if word in ("json", "jsonl") and "format" in argument.takes:
        return f"write {option('format', 'json')}"
    if word in argument.takes:
        return f"write {option(word, _carried(word, argument.value))}"
    if word in _FIXED:
        return _ours(argument, *_FIXED[word])
    if word == "device_map" and argument.value in ("auto", "balanced", None):
        return f"leave it out: a GPU is taken where there is one; {option('device', 'cuda:1')} says which"
    same = _SAME_AS.get(word, "")
    # An option of another verb or function is the last choice.
    if word in INSTEAD and same not in argument.takes and (reads_flags() or word not in _OPTIONS):
        return INSTEAD[word](argument.value)
    if same or word in _OPTIONS:
        return _ours(argument, same or word, _carried(same or word, argument.value))
    if parameter in SHIPPED:
        return f"a policy with such a parameter is {_other(argument, parameter)}"
    return None


def _of_the_model(word: str, argument: UnknownArgument) -> str:
    """LLaDA's scripts use `block_length` for decoding. In dsldec it describes a block-causal model."""
    if word != "block_length" or (reads_flags() and word not in argument.takes):
        return ""
    value = _carried(word, argument.value)
    replacement = (
        option(word, value)
        if reads_flags()
        else f"`{_WHOLE['from_pretrained'].format(keyword(word, value))}`"
    )
    return f"; of a model that sees one block after the other it is {replacement}"


def value_meant(name: str, value: str) -> str | None:
    """The option and value that another program's value stands for, as `--dtype float16` for `fp16`. None
    where none is known.
    """
    if name == "cache" and normal(value) in ("true", "yes", "on", "1"):
        return flag("cache", "auto")
    if name == "cache" and normal(value) in ("false", "no", "off", "0"):
        return flag("cache", "none")
    return flag(*_FIXED[normal(value)]) if normal(value) in _FIXED else None


def normal(word: str) -> str:
    """A word in the form of the tables. A leading `no` of llama.cpp's options is dropped."""
    return (
        word.strip("-").replace("-", "_").replace(".", "_").lower()
        if len(word.strip("-")) > 1
        else word.strip("-")
    )


def _carried(name: str, value: object) -> object:
    """The value to use. A placeholder where the value cannot be pasted."""
    if name in ("trust_remote_code", "resume", "infill", "raw", "trace", "force"):
        return True
    if name == "device" and value is None:
        return "cuda"
    if name in ("dtype",):
        return "bfloat16" if value is None or "bf" in str(value) else str(value).removeprefix("torch.")
    if name in _NUMBERS:
        return (
            value if is_whole(value) or (name in ("seed", "mask_id", "eos_id") and str(value) == "0") else N
        )
    texts = {
        "model": "./MODEL",
        "out": "results.jsonl",
        "prompts": "questions.txt",
        "cache": "auto",
        "backend": "eager",
        "policy": "threshold",
        "system": "Be brief.",
        "stop": "###",
        "constrain": "[0-9]+",
    }
    if name == "stop" and isinstance(value, list | tuple):
        value = next(iter(value), None)
    return value if isinstance(value, str) and value else texts.get(name, N)


def _ours(argument: UnknownArgument, name: str, value: object) -> str | None:
    """An option of ours. Where the verb or function lacks it, also the verb or function that has it."""
    if name in argument.takes or _of_flag(name) in argument.takes:
        return f"it is called {option(name, value)}"
    if reads_flags():
        verb = next((verb for verb, of in _VERBS.items() if _of_flag(name) in of), None)
        return f"`dsldec {verb}` has {option(name, value)}" if verb else None
    owner = next((owner for owner, of in OWNERS.items() if name in of), None)
    if owner is not None:
        return f"it belongs to another function: `{_WHOLE[owner].format(keyword(name, value))}`"
    return _IN_PYTHON.get(name)


def _of_flag(name: str) -> str:
    """The name of an option as its flag has it."""
    return FLAGS.get(name, name).replace("-", "_")


def _set(argument: UnknownArgument, parameter: str) -> str:
    value = argument.value if is_number(argument.value) else (argument.parameters or {})[parameter]
    if reads_flags():
        return f"`--set {parameter}={typed(value)}`"
    return f"`{argument.sets.format(keyword(parameter, value))}`"


def _other(argument: UnknownArgument, parameter: str) -> str:
    value = argument.value if is_number(argument.value) else N
    policy = SHIPPED[parameter]
    if reads_flags():
        return f"`{policy}`: `--policy {policy} --set {parameter}={typed(value)}`"
    return f"`{policy}`: `dsldec.load({written(policy)}, {parameter}={written(value)})`"


_SAME_AS = {word: name for name, words in _SAME.items() for word in words.split()}
_PARAMETER_OF = {word: name for name, words in _PARAMETERS.items() for word in words.split()}
# All words of the tables.
WORDS = frozenset({*_SAME_AS, *_FIXED, *_PARAMETER_OF, *INSTEAD})
_OF_CALLS = DECODE | LOAD
_NUMBERS = frozenset({"count", "vocab", "window"}) | {
    name for name, one in _OF_CALLS.items() if one.kind in ("count", "id", "ids", "seed")
}
_IN_PYTHON = {
    "model": 'a model is loaded before: `dsldec.from_pretrained("MODEL")`',
    "policy": 'the policy is the third argument: `decode(denoiser, prompts, "threshold")`',
    "set": 'parameters of the policy are set where it is loaded: `dsldec.load("threshold", confidence=0.8)`',
    "prompts": "prompts are the second argument: `decode(denoiser, prompts, policy)`",
    "out": "results are returned: `decoded.text`, `decoded.ids`",
    "live": "nothing is shown in Python unless you print it",
}
# The verbs that take an option, for verbs that do not; `run` first.
_VERBS = {
    "run": frozenset("prompts policy set model out trace values html resume live".split())
    | {_of_flag(name) for name, one in _OF_CALLS.items() if one.flag},
    "build": frozenset({"vocab", "window"}),
    "export-hf": frozenset({"force"}),
    "show": frozenset({"stage"}),
    "fmt": frozenset({"check", "diff"}),
    "check": frozenset({"format"}),
    "evaluate": frozenset("task scorer count rescore markdown run_code code_seconds code_memory".split()),
}
_OPTIONS = frozenset(name for of in (*_VERBS.values(), *OWNERS.values()) for name in of)
