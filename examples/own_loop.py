"""Decode in your own loop, with any model and any cache. A session places windows, runs the policy's compiled
step and ends requests.
"""

import shutil

import dsldec
from dsldec.runtime.requests import continued
from dsldec.runtime.session import Session

GENERATED = 48
BLOCK = 16


def main() -> None:
    denoiser = dsldec.from_pretrained()
    policy = dsldec.load("factor", block=BLOCK)
    backend = "inductor" if shutil.which("g++") else "eager"

    prompt = denoiser.encode(
        "Pens cost 4 dollars each. Ben buys 3 pens and pays with 20 dollars. How much change is it?"
    )
    session = Session.of(
        policy,
        slots=1,
        columns=len(prompt) + GENERATED,
        mask_id=denoiser.mask_id,
        vocab_size=denoiser.vocab_size,
        eos_id=denoiser.eos_id,
        backend=backend,
    )
    session.admit(0, continued(0, prompt, GENERATED))
    forwards = 0
    while not session.done.all():
        session.step(denoiser(session.canvas))
        forwards += 1

    print(denoiser.decode_text(session.canvas[0, len(prompt) :].tolist()))
    print(f"{forwards} forwards, step on {backend}")


if __name__ == "__main__":
    main()
