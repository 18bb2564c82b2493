"""Train the network of `learned_filter.policy` on the model that dsldec includes: a few minutes on a CPU.

1. Careful decoding, one token a step, gives a text for each training prompt.
2. The same prompts are decoded again. A step now writes every position whose token is the one of this text,
   and at least the most confident position. At each step, the inputs of the network are noted, and for each
   masked position whether its token is the one of the text.
3. A small network learns to predict this from the inputs.

The prompts come from the training stream, which holds no held-out prompt. Equal arguments give equal data;
the bits of the weights may differ between machines.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import dsldec
from dsldec.models.tasks import TASKS, is_held_out, training_stream

FOLDER = Path(__file__).parent
POLICY = FOLDER / "learned_filter.policy"
LENGTHS = {"word_problems": 48, "sudoku": 24}  # tokens to generate
WIDTH, HEADS = 16, 2


class SelfAttention(nn.MultiheadAttention):
    """The layer `self_attention`: x plus the attention over all positions of the window."""

    def __init__(self) -> None:
        super().__init__(WIDTH, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x + super().forward(x, x, x, need_weights=False)[0]


@dataclass
class Seen:
    """What a step saw: the inputs of the network `[B, T, N]`, whether the token of a position is the one of
    careful decoding `[B, T]`, and where the loss counts `[B, T]`.
    """

    inputs: Tensor
    right: Tensor
    masked: Tensor


def inputs_of_policy() -> list[str]:
    """The inputs in the call of `learned` in the policy, as expressions of the language."""
    text = POLICY.read_text(encoding="utf-8")
    call = re.search(r"learned\(planner, (.*)\)\n", text)
    assert call is not None
    return re.split(r", (?![^(]*\))", call[1])


def noting_policy(names: list[str]) -> str:
    """A policy whose step notes the inputs in states. So they are computed exactly as in `learned_filter`."""
    lines = [
        line
        for line in POLICY.read_text(encoding="utf-8").splitlines()
        if re.match(r"  (place|ahead) =", line)
    ]
    states = [f"  state input_{n}: real each = 0 per block" for n in range(len(names))]
    sets = [
        f"  set input_{n} = {f'1 if {name} else 0' if name == 'masked' else name}"
        for n, name in enumerate(names)
    ]
    head = ["policy noting():", "  window all", "  state now: token each = 0 per block", *states]
    return "\n".join([*head, *lines, *sets, "  set now = token", "  commit top(masked, 1, by=conf)", ""])


def prompts_of(task: str, count: int, seed: int) -> list[str]:
    """Different training prompts. None of them is held out."""
    stream = training_stream(TASKS[task].make, random.Random(f"learned {task} {seed}"))
    found: dict[str, None] = {}
    while len(found) < count:
        found.setdefault(next(stream).prompt)
    assert not any(map(is_held_out, found))
    return list(found)


def seen_of(denoiser: dsldec.Denoiser, task: str, prompts: list[str], batch: int = 16) -> Iterator[Seen]:
    """Every step of the second decoding, over prompts of equal length at once."""
    length = LENGTHS[task]
    careful = dsldec.decode(
        denoiser, prompts, dsldec.load("static", tokens=1, block=length), gen_length=length, stop_at_eos=False
    )
    names = inputs_of_policy()
    step = dsldec.load(noting_policy(names)).compile(
        "eager", mask_id=denoiser.mask_id, eos_id=denoiser.eos_id
    )
    for whole, group in groupby(sorted(careful.ids, key=len), key=len):
        same = list(group)
        for first in range(0, len(same), batch):
            some = torch.stack(same[first : first + batch])
            given, wanted = some[:, :-length], some[:, -length:]
            canvas = torch.full((len(some), length), denoiser.mask_id)
            state = step.start(len(some), length)
            while (masked := canvas == denoiser.mask_id).any():
                logits = denoiser(torch.cat([given, canvas], 1))[:, whole - length :]
                after = step(logits, canvas, torch.ones_like(masked), state)
                inputs = torch.stack([after.state[f"state_input_{n}"] for n in range(len(names))], -1)
                right = after.state["state_now"] == wanted
                yield Seen(inputs.nan_to_num(0.0), right, masked)
                # At least the most confident one: the token of the careful text is written there.
                best = after.canvas != canvas
                canvas, state = torch.where(masked & (right | best), wanted, canvas), after.state


def network_of(inputs: int, attention: bool) -> tuple[nn.Sequential, str]:
    """The module, and the names of its layers."""
    parts: list[nn.Module] = [nn.Linear(inputs, WIDTH), nn.SiLU()]
    names = ["linear", "silu"]
    if attention:
        parts.append(SelfAttention())
        names.append(f"self_attention {HEADS}")
    parts += [nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1), nn.Sigmoid()]
    return nn.Sequential(*parts), ", ".join([*names, "linear", "silu", "linear", "sigmoid"])


def train(seen: list[Seen], module: nn.Sequential, epochs: int, seed: int) -> float:
    """Trains with AdamW; returns the mean loss of the last epoch, in nats."""
    rng, seen = random.Random(seed), list(seen)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(seen))
    total = count = 0.0
    for _ in range(epochs):
        total = count = 0.0
        rng.shuffle(seen)
        for each in seen:
            scores = module[:-1](each.inputs).squeeze(-1)  # without the sigmoid: the loss has its own
            loss = nn.functional.binary_cross_entropy_with_logits(
                scores[each.masked], each.right[each.masked].float()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            total, count = total + loss.item() * int(each.masked.sum()), count + int(each.masked.sum())
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the network of learned_filter.policy.")
    parser.add_argument("--out", type=Path, default=FOLDER / "learned_filter.safetensors")
    parser.add_argument("--prompts", type=int, default=250, help="of each task")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-attention", action="store_true", help="every position alone")
    given = parser.parse_args()
    denoiser = dsldec.from_pretrained()
    with torch.inference_mode():
        seen = [
            each
            for task in LENGTHS
            for each in seen_of(denoiser, task, prompts_of(task, given.prompts, given.seed))
        ]
    seen = [Seen(each.inputs.clone(), each.right.clone(), each.masked.clone()) for each in seen]
    names = inputs_of_policy()
    torch.manual_seed(given.seed)
    module, layers = network_of(len(names), not given.no_attention)
    loss = train(seen, module, given.epochs, given.seed)
    shown = "; ".join(names).replace(" ", "").replace(",", "")
    metadata = {"layers": layers, "polarity": "high when sure", "inputs": shown.replace(";", " ")}
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, given.out, metadata)
    right = torch.cat([each.right[each.masked] for each in seen]).float().mean()
    print(
        f"{len(seen)} steps, {float(right):.3f} of the masked positions were right, last loss {loss:.4f} nats"
    )
    print(f"{given.out}: sha256 {hashlib.sha256(given.out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
