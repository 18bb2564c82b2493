"""The training loop: data-parallel processes of one thread each, Muon on the matrices, AdamW on the rest.

Resumable: `checkpoint.pt` holds everything but the data, which is a function of (seed, step, rank).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import EuroBertConfig, EuroBertForMaskedLM, GenerationConfig, PreTrainedTokenizerFast

from . import tokenizer as tokenizers
from .batches import make_batch

MUON_RATE, ADAMW_RATE = 0.01, 0.003
CONSTANT_UNTIL = 0.2  # then the learning rates fall linearly to zero
WARM_UP_STEPS = 50
AVERAGE_DECAY = 0.998
CHECKPOINT_EVERY, LOG_EVERY = 200, 50
GEN_LENGTHS = {
    "word_problems": 48,
    "equations": 64,
    "equations_at_random": 64,
}  # holds every response of the mixture


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The settings of a training run. Equal settings give equal batches, but not equal bits: sums are
    reordered.
    """

    folder: Path
    steps: int
    processes: int
    seed: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    start_from: Path | None
    mixture: str = "word_problems"
    redraw: str = ""


def _config(run: TrainingRun, tokenizer: PreTrainedTokenizerFast) -> EuroBertConfig:
    return EuroBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=run.hidden,
        intermediate_size=run.feed_forward,
        num_hidden_layers=run.layers,
        num_attention_heads=run.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        mask_token_id=tokenizer.mask_token_id,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )


def _tokenizer(run: TrainingRun) -> PreTrainedTokenizerFast:
    """A run that starts from another run's weights must use that run's tokenizer."""
    if run.start_from is None:
        return tokenizers.build()
    folder = run.start_from if _is_model(run.start_from) else run.start_from / "tokenizer"
    known: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return known


def _is_model(folder: Path) -> bool:
    """Whether `folder` is an exported model, and not the folder of a run."""
    return (folder / "config.json").exists()


def _redraw(model: EuroBertForMaskedLM, tokenizer: PreTrainedTokenizerFast, characters: str) -> None:
    """Draw the embeddings of these characters anew, each as long as the mean embedding.

    The earlier run never saw these tokens, and moved all of them in one direction. A model learns very slowly
    to tell nearly equal embeddings apart.
    """
    if not characters:
        return
    embeddings: Any = model.get_input_embeddings()
    weight: Tensor = embeddings.weight
    ids = torch.tensor([tokenizer.convert_tokens_to_ids(character) for character in characters])
    with torch.no_grad():
        length = weight.norm(dim=-1).mean()
        drawn = torch.randn(len(ids), weight.shape[1])
        weight[ids] = drawn / drawn.norm(dim=-1, keepdim=True) * length


def _first_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of an exported model, or the last ones of a run."""
    if _is_model(folder):
        return EuroBertForMaskedLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    weights: dict[str, Tensor] = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    return weights


def _new_model(run: TrainingRun, tokenizer: PreTrainedTokenizerFast) -> EuroBertForMaskedLM:
    torch.manual_seed(run.seed)
    config = _config(run, tokenizer)
    # SDPA's backward is slow on a CPU; the plain softmax(QK')V trains about 1.7 times as fast.
    config._attn_implementation = "eager"
    model = EuroBertForMaskedLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            nn.init.zeros_(parameter)
    return model


class _Objective(nn.Module):
    """Weighted cross-entropy of the masked tokens. The loss is part of the module, so that one graph holds
    everything.
    """

    def __init__(self, model: EuroBertForMaskedLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(input_ids=ids).logits
        each = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        return (each * weights.flatten()).sum() / weights.sum()


def _optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    matrices = [
        p
        for name, p in model.named_parameters()
        if p.ndim == 2 and "embed" not in name and "lm_head" not in name
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=ADAMW_RATE, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def _rate(step: int, steps: int) -> float:
    done = step / steps
    falling = 1.0 if done < CONSTANT_UNTIL else (1 - done) / (1 - CONSTANT_UNTIL)
    return min(1.0, (step + 1) / WARM_UP_STEPS) * falling


def _average_gradients(parameters: list[nn.Parameter], processes: int) -> None:
    if processes == 1:
        return
    flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    dist.all_reduce(flat)
    at = 0
    for p in parameters:
        if p.grad is not None:
            p.grad.copy_(flat[at : at + p.numel()].view_as(p.grad)).div_(processes)
            at += p.numel()


def _save(
    run: TrainingRun,
    step: int,
    model: nn.Module,
    average: dict[str, Tensor],
    optimizers: list[torch.optim.Optimizer],
    seconds: float,
) -> None:
    state = {
        "step": step,
        "seconds": seconds,
        "model": model.state_dict(),
        "average": average,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    unfinished = run.folder / "checkpoint.pt.part"
    torch.save(state, unfinished)
    os.replace(unfinished, run.folder / "checkpoint.pt")


def work(rank: int, run: TrainingRun) -> None:
    """One process of the run. Process 0 logs, writes checkpoints and exports the averaged weights."""
    _join(rank, run)
    tokenizer = _tokenizer(run)
    model = _new_model(run, tokenizer)
    if rank == 0:
        tokenizer.save_pretrained(run.folder / "tokenizer")
    if run.start_from is not None:
        model.load_state_dict(_first_weights(run.start_from))
        _redraw(model, tokenizer, run.redraw)
    parameters = list(model.parameters())
    optimizers = _optimizers(model)
    start, seconds, average = _state(run, model, optimizers)
    objective = torch.compile(_Objective(model), dynamic=False)
    began, losses = time.monotonic() - seconds, []
    for step in range(start, run.steps):
        batch = make_batch(tokenizer, run.mixture, run.seed, step, rank)
        loss = objective(batch.ids, batch.targets, batch.weights)
        loss.backward()
        _average_gradients(parameters, run.processes)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, rate in zip(optimizers, (MUON_RATE, ADAMW_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = rate * _rate(step, run.steps)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            decay = min(AVERAGE_DECAY, (step + 1) / (step + 10))
            for name, p in model.named_parameters():
                average[name].lerp_(p, 1 - decay)
        losses.append(loss.item())
        if rank == 0 and (step + 1) % LOG_EVERY == 0:
            line = {
                "step": step + 1,
                "loss": round(sum(losses) / len(losses), 4),
                "seconds": round(time.monotonic() - began),
            }
            print(json.dumps(line), flush=True)
            losses = []
        if rank == 0 and ((step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == run.steps):
            _save(run, step + 1, model, average, optimizers, time.monotonic() - began)
    if rank == 0:
        export(run, model, average, tokenizer)
    if run.processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def _join(rank: int, run: TrainingRun) -> None:
    """Prepare a process, and let it join the other processes of the run."""
    torch.set_num_threads(1)
    # One cache per process: two processes that compile the same kernel at once can read each other's
    # half-written file.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(run.folder / f"inductor-{rank}")
    if run.processes > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29511")
        dist.init_process_group("gloo", rank=rank, world_size=run.processes)


def _state(
    run: TrainingRun, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[int, float, dict[str, Tensor]]:
    """The first step, the seconds so far and the averaged weights. If the run has a checkpoint, they come
    from it, and the model and the optimizers get its state.
    """
    file = run.folder / "checkpoint.pt"
    if not file.exists():
        return 0, 0.0, {name: p.detach().clone() for name, p in model.named_parameters()}
    state = torch.load(file, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"], state["seconds"], state["average"]


def export(
    run: TrainingRun,
    model: EuroBertForMaskedLM,
    average: dict[str, Tensor],
    tokenizer: PreTrainedTokenizerFast,
) -> str:
    """Write the averaged weights (fp16) and the tokenizer as a Hugging Face folder; returns the weights'
    sha256.
    """
    folder = run.folder / "export"
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(average[name])
    model.half().save_pretrained(folder)
    model.float()
    tokenizer.save_pretrained(folder)
    # Programs look here for the default number of tokens to generate.
    GenerationConfig(
        max_new_tokens=GEN_LENGTHS[run.mixture],
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    facts = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(run).items()}
    print(json.dumps({"exported": str(folder), "sha256": digest, "run": facts}), flush=True)
    return digest
