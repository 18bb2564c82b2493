"""Fill the masks of a text. The text before and after a mask stays as it is."""

import dsldec

QUESTION = (
    "<|user|>Tom has 14 apples. Tom buys 3 bags of 6 apples. How many apples does Tom have now?<|assistant|>"
)
WORKINGS = [
    "3*6=[MASK]. 14+[MASK]=32. The answer is [MASK]. #### [MASK]",
    "[MASK*4] 14+18=32. The answer is 32. #### 32",
]


def main() -> None:
    denoiser = dsldec.from_pretrained()
    decoded = dsldec.decode(denoiser, [QUESTION + working for working in WORKINGS], "threshold", infill=True)
    for text, forwards in zip(decoded.text, decoded.forwards.tolist(), strict=True):
        print(f"{text.removeprefix(QUESTION)}   ({forwards} forwards)")


if __name__ == "__main__":
    main()
