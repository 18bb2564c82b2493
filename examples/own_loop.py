"""Embed a policy's compiled step in a decoding loop of one's own: any model, any cache, one pure function a
step.
"""

import shutil

import torch

import dsldec

GENERATED = 48
BLOCK = 16


def main() -> None:
    denoiser = dsldec.from_pretrained()
    policy = dsldec.load("factor", block=BLOCK)
    backend = "inductor" if shutil.which("g++") else "eager"
    step = policy.compile(backend, mask_id=denoiser.mask_id)

    prompt = denoiser.encode(
        "Pens cost 4 dollars each. Ben buys 3 pens and pays with 20 dollars. How much change is it?"
    )
    ids = torch.tensor([prompt + [denoiser.mask_id] * GENERATED])
    editable = torch.ones(1, BLOCK, dtype=torch.bool)
    state = step.start(batch=1, window_length=BLOCK)
    forwards = 0
    for begin in range(len(prompt), len(prompt) + GENERATED, BLOCK):
        block = slice(begin, begin + BLOCK)
        state["window_start"] = torch.tensor([begin - len(prompt)])
        done = torch.tensor([False])
        while not done.all():
            logits = denoiser(ids)
            ids[:, block], done, state, _ = step(logits[:, block], ids[:, block], editable, state)
            forwards += 1

    print(denoiser.decode_text(ids[0, len(prompt) :].tolist()))
    print(f"{forwards} forwards, step on {step.backend}")


if __name__ == "__main__":
    main()
