"""Folders that `dsldec export-hf` wrote into, and their answers by `decode`, for the tests of engines."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import dsldec
from dsldec.cli import main
from dsldec.models.huggingface import from_pretrained
from dsldec.resources import embedded_model_folder

from ..models import tiny

QUESTION, ANSWER = "What is 14+18?", "#### 32"
WORDS = "w5 w6 w7"
DRAWN = "policy drawn():\n  window blocks(4)\n  draw gumbel(2.0)\n  commit top(masked, 1, by=conf)\n"
EXPORTED = {
    "embedded": ["threshold", "--set", "block=48", "--gen-length", "48"],
    "qwen3": ["static", "--set", "tokens=2", "--gen-length", "8"],
    "dream": ["static", "--set", "tokens=2", "--gen-length", "8", "--trust-remote-code"],
    "drawn": ["drawn.policy", "--gen-length", "8"],
    "drawn dream": ["drawn.policy", "--gen-length", "8", "--trust-remote-code"],
    "broken": ["static", "--gen-length", "8"],
}


def made_in(root: Path) -> dict[str, Path]:
    """The folders by name."""
    made = {
        "embedded": Path(shutil.copytree(embedded_model_folder(), root / "embedded")),
        "qwen3": tiny.saved(root / "qwen3", "qwen3", chat=True),
        "dream": tiny.saved(root / "dream", "dream", chat=True),
        "drawn": tiny.saved(root / "drawn", "qwen3"),
        "drawn dream": tiny.saved(root / "drawn_dream", "dream"),
        "broken": not_finite(root / "broken"),
    }
    (root / "drawn.policy").write_text(DRAWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, words in EXPORTED.items():
            assert main(["export-hf", str(made[name]), *words]) == 0
    return made


def not_finite(folder: Path) -> Path:
    """A model whose logits are not finite."""
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny.saved(folder, "qwen3"))
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    return folder


def expected(
    folder: Path, prompt: str, policy: str, gen_length: int, stop: Any = None, **parameters: Any
) -> tuple[list[int], str]:
    """The ids of `decode` up to the end, and its text."""
    denoiser = from_pretrained(folder, device="cpu", trust_remote_code=True)
    bound = dsldec.load(policy, **parameters)
    decoded = dsldec.decode(denoiser, [prompt], bound, gen_length=gen_length, stop=stop)
    ids, prompt_length = decoded.ids[0].tolist(), len(denoiser.encode(prompt))
    generated = ids[prompt_length:]
    end = generated.index(denoiser.eos_id) + 1 if denoiser.eos_id in generated else len(generated)
    assert decoded.text[0] is not None
    return ids[: prompt_length + end], decoded.text[0]
