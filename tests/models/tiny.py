"""Models of every family with random weights, saved in folders with the layout of the published models."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import dynamic_module_utils

from dsldec.models.huggingface import HuggingFaceDenoiser
from dsldec.models.probe import square_mask
from dsldec.models.remote_code import as_in_transformers_4

CODE = Path(__file__).parent / "own_code" / "modeling_tiny.py"
PAD, EOS, MASK, SIZE = 0, 1, 2, 50
SIZES = {
    "vocab_size": SIZE, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 66, "pad_token_id": PAD, "bos_token_id": EOS, "eos_token_id": EOS,
}  # fmt: skip
# DistilBERT and GPT-2 have words of their own for the sizes.
BERT_SIZES = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
DISTILLED = {
    "dim": 16,
    "hidden_dim": 24,
    "n_layers": 1,
    "n_heads": 2,
    "vocab_size": SIZE,
    "max_position_embeddings": 66,
    "pad_token_id": PAD,
}
FLAUBERT = {
    "emb_dim": 16,
    "n_layers": 1,
    "n_heads": 2,
    "vocab_size": SIZE,
    "max_position_embeddings": 66,
    "pad_token_id": PAD,
    "bos_token_id": EOS,
    "eos_token_id": EOS,
    "mask_token_id": MASK,
}
BOTH_SIDES = SIZES | {"is_causal": False}

NATIVE: dict[str, tuple[str, dict[str, Any]]] = {
    "eurobert": ("EuroBertForMaskedLM", SIZES | {"mask_token_id": MASK}),
    "modernbert": ("ModernBertForMaskedLM", BERT_SIZES | {"cls_token_id": EOS, "sep_token_id": EOS}),
    "bert": ("BertForMaskedLM", BERT_SIZES),
    "roberta": ("RobertaForMaskedLM", BERT_SIZES),
    "distilbert": ("DistilBertForMaskedLM", DISTILLED),
    "albert": ("AlbertForMaskedLM", BERT_SIZES | {"embedding_size": 16}),
    "flaubert": ("FlaubertWithLMHeadModel", FLAUBERT),
    "llama": ("LlamaForCausalLM", BOTH_SIDES),
    "qwen2": ("Qwen2ForCausalLM", BOTH_SIDES),
    "gemma3": ("Gemma3ForCausalLM", BOTH_SIDES | {"head_dim": 8, "sliding_window": 8}),
    "qwen3": ("Qwen3ForCausalLM", BOTH_SIDES | {"head_dim": 8}),
}
OWN_CODE = {
    "own code": ("TinyModel", {"heeds": "keys"}),
    "llada": ("LladaModel", {"heeds": "keys"}),
    "dream": ("DreamModel", {"heeds": "square"}),
}
OWN_CODE_IN_BLOCKS = {"llada2": ("Llada2MoeModel", {"heeds": "scores"})}
# In config.json each of them says `is_causal` and its blocks, or has a name that does.
BLOCK_CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", SIZES),
    "qwen2": ("Qwen2ForCausalLM", SIZES),
    "qwen3": ("Qwen3ForCausalLM", SIZES | {"head_dim": 8}),
    "qwen3 moe": (
        "Qwen3MoeForCausalLM",
        SIZES
        | {
            "head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "norm_topk_prob": True,
        },
    ),
}


@contextmanager
def code_copied_to(folder: Path) -> Iterator[None]:
    """Code of a model's own is copied before it is imported: inside, not into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(folder))
        yield


def tokenizer(
    folder: Path,
    *,
    mask: bool = True,
    chat: bool = False,
    extra: tuple[str, ...] = (),
    size: int = SIZE,
    holes: tuple[int, ...] = (),
) -> None:
    """`size`: ids of the tokenizer, `holes`: those of them that have no token."""
    words = ["<pad>", "<eos>", "<m>", *extra]
    words += [f"w{number}" for number in range(size - len(words))]
    made = Tokenizer(
        models.WordLevel({word: at for at, word in enumerate(words) if at not in holes}, unk_token="<pad>")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    whole = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", **({"mask_token": "<m>"} if mask else {})
    )
    if chat:
        whole.chat_template = "{% for m in messages %}w9 {{ m['content'] }} w8{% endfor %}"
    whole.save_pretrained(folder)


def model(class_name: str, sizes: dict[str, Any]) -> Any:
    """A model whose positions do hear of each other: weights larger than a first initialisation has them."""
    made = getattr(transformers, class_name)
    torch.manual_seed(0)
    return shaken(made(made.config_class(**sizes)).eval())


def shaken(made: Any) -> Any:
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return made


def denoiser_of(
    family: str,
    vary: dict[str, Any] | None = None,
    kind: type[HuggingFaceDenoiser] = HuggingFaceDenoiser,
    **given: Any,
) -> Any:
    """A denoiser without a tokenizer, from no folder; `vary` is put into its configuration."""
    class_name, settings = (NATIVE | OWN_CODE)[family]
    made = (model if family in NATIVE else own_code_model)(class_name, settings | (vary or {}))
    traits: dict[str, Any] = {"vocab_size": SIZE, "max_length": 64}
    if family == "dream":
        traits |= {"shift_logits": True, "mask": square_mask}
    return kind(made, None, MASK, EOS, 8, **(traits | given))


def saved(folder: Path, family: str, *, vary: dict[str, Any] | None = None, **tokens: Any) -> Path:
    """The folder of a model: its tokenizer, its configuration with `vary` put in, its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if family in NATIVE:
        model(*NATIVE[family]).save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | (vary or {})))
    else:
        class_name, settings = (OWN_CODE | OWN_CODE_IN_BLOCKS)[family]
        save_own_code(folder, class_name, settings | (vary or {}))
    tokenizer(folder, **tokens)
    return folder


def saved_in_blocks(folder: Path, family: str, config: dict[str, Any] | None = None, **tokens: Any) -> Path:
    """The folder of a block-causal model; `config` is put into its configuration, and what is None in it
    taken out.
    """
    model(*BLOCK_CAUSAL[family]).save_pretrained(folder)
    said = json.loads((folder / "config.json").read_text()) | (
        {"is_causal": False, "block_length": 4} if config is None else config
    )
    (folder / "config.json").write_text(
        json.dumps({name: value for name, value in said.items() if value is not None})
    )
    tokenizer(folder, **tokens)
    return folder


def own_code_model(class_name: str, settings: dict[str, Any]) -> Any:
    spec = importlib.util.spec_from_file_location("modeling_tiny", CODE)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code  # where transformers 5.3 reads the source of a class
    spec.loader.exec_module(code)
    made = getattr(code, class_name)
    torch.manual_seed(0)
    with as_in_transformers_4():
        return shaken(made(made.config_class(**settings)).eval())


def save_own_code(folder: Path, class_name: str, settings: dict[str, Any]) -> None:
    """By hand: what is saved is what older programs saved."""
    made = own_code_model(class_name, {"tie_word_embeddings": False} | settings)
    made.tie_weights()
    shutil.copy(CODE, folder)
    config_class = f"modeling_tiny.{type(made.config).__name__}"
    auto_map = {"AutoConfig": config_class, "AutoModel": f"modeling_tiny.{class_name}"}
    about = {
        "model_type": made.config.model_type,
        "architectures": [class_name],
        "auto_map": auto_map,
        "tie_word_embeddings": False,
    }
    about |= {"d_model": 16, "vocab_size": SIZE, "max_sequence_length": 64}
    (folder / "config.json").write_text(json.dumps(about | settings))
    weights = {name: tensor.clone().contiguous() for name, tensor in made.state_dict().items()}
    if settings.get("tie_word_embeddings"):
        del weights["model.head.weight"]
    save_file(weights, folder / "model.safetensors")
