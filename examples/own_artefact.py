"""Run a step that `dsldec build` made with torch alone: dsldec is not imported here, and need not be
installed.

dsldec build threshold --vocab 818 --batch 2 -o step.pt2
python examples/own_artefact.py step.pt2
"""

import json
import os
import sys

import torch

os.environ.setdefault(
    "AOTI_RUNTIME_CHECK_INPUTS", "1"
)  # torch then checks every input's shape and dtype; else it trusts the caller


def denoiser(canvas: torch.Tensor, mask_id: int, vocab_size: int) -> torch.Tensor:
    """In place of a model: the confidence at a position grows with the number of written neighbours."""
    written = (canvas != mask_id).float()
    near = torch.nn.functional.pad(written, (1, 1)).unfold(1, 3, 1).sum(-1)
    logits = torch.randn(*canvas.shape, vocab_size, generator=torch.Generator().manual_seed(0))
    return logits * (2 + near).unsqueeze(-1)


def main(file: str = "step.pt2") -> None:
    step = torch._inductor.aoti_load_package(file)
    about = json.loads(step.get_metadata()["dsldec"])
    rows, window, vocab_size = (about["sizes"][letter] for letter in "BTV")
    mask_id = vocab_size - 1

    # Both are in the order of the package: torch reads the values by order, not by name.
    ids = {"mask_id": mask_id, "eos_id": -1}
    params = {
        name: torch.tensor(ids.get(name, of["value"]), dtype=getattr(torch, of["dtype"]))
        for name, of in about["params"].items()
    }
    state = {
        name: torch.full(of["shape"], of["first"], dtype=getattr(torch, of["dtype"]))
        for name, of in about["state"].items()
    }
    canvas = torch.full((rows, window), mask_id)
    editable = torch.ones(rows, window, dtype=torch.bool)
    done, forwards = torch.zeros(rows, dtype=torch.bool), 0
    while not done.all():
        logits = denoiser(canvas, mask_id, vocab_size)
        canvas, done, state, events = step(logits, canvas, editable, state, params)
        if events["not_finite"].any():
            raise SystemExit("the model gave logits that are not finite")
        forwards += 1

    print(about["policy"]["text"])
    most = about["facts"]["forwards_bound_of_a_window"]
    print(
        f"{rows} rows of {window} positions in {forwards} forwards, at most {most}; dsldec imported: {'dsldec' in sys.modules}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
