"""Decode prompts under a shipped policy, with the embedded model."""

import dsldec

PROMPTS = [
    "Tom has 14 apples. Tom buys 3 bags of 6 apples. How many apples does Tom have now?",
    "Solve this sudoku: 1030 0004 4000 0201",
]


def main() -> None:
    denoiser = dsldec.from_pretrained()
    decoded = dsldec.decode(denoiser, PROMPTS, "threshold", gen_length=48)
    for text, forwards in zip(decoded.text, decoded.forwards.tolist(), strict=True):
        print(f"{text}   ({forwards} forwards)")


if __name__ == "__main__":
    main()
