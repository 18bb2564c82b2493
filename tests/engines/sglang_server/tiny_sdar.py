"""A folder with a random SDAR that SGLang and dsldec both load: 39 MB, two layers, the mask id of the real ones.

Token 17 is the word `w17`. The embedding of `BROKEN` is NaN and its row of the head is 0: a prompt with it
has no finite logits, and no other text meets it. One id that the model generates for `PROMPTS[0]` is its
end-of-text id.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

import dsldec

VOCABULARY = 151936
BLOCK = 4
BROKEN = 7
# Of one block and more, and one that ends inside a block.
PROMPTS = [list(range(10, 18)), [20, 21, 22, 23, 24], list(range(30, 42)), [50, 51, 52]]


def words(ids: list[int]) -> str:
    return " ".join(f"w{id_}" for id_ in ids)


def saved(folder: Path) -> Path:
    """Saves the model and its tokenizer."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        initializer_range=1.0,  # confidences from 0.1 to 0.9, so that steps of several tokens are frequent
    )
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        model.get_input_embeddings().weight[BROKEN] = float("nan")
        model.get_output_embeddings().weight[BROKEN] = 0
    model.save_pretrained(folder)
    _change(folder, architectures=["SDARForCausalLM"])  # which has the weights of Qwen3
    _save_tokenizer(folder, 2)
    end = _generated(folder)[9]
    for name in ("config.json", "generation_config.json"):
        _change(folder, name, eos_token_id=end, pad_token_id=end)
    _save_tokenizer(folder, end)
    return folder


def _change(folder: Path, name: str = "config.json", **fields: object) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _save_tokenizer(folder: Path, end: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({f"w{id_}": id_ for id_ in range(VOCABULARY)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=f"w{end}",
        pad_token=f"w{end}",
        mask_token="w151669",
        chat_template="{% for message in messages %}{{ message.content }} {% endfor %}",
    ).save_pretrained(folder)


def _generated(folder: Path) -> list[int]:
    denoiser = dsldec.from_pretrained(folder, device="cpu")
    policy = dsldec.load("threshold", block=BLOCK)
    decoded = dsldec.decode(denoiser, PROMPTS[:1], policy, gen_length=16, stop_at_eos=False)
    return decoded.ids[0][len(PROMPTS[0]) :].tolist()
