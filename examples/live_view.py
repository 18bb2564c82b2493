"""Draw the picture of the README: one prompt at three moments of its decoding.

Run `python examples/live_view.py > examples/live_view.svg`.
"""

import dsldec
from dsldec.runtime.decode import stream
from dsldec.runtime.trace import StepEvent
from dsldec.tools.live import Board, View, snapshot_svg

PROMPT = "Uma has 20 eggs. Then the number of eggs doubles. How many eggs are there now?"


def picture() -> str:
    """The SVG's text."""
    denoiser = dsldec.from_pretrained()
    board = Board("threshold(confidence=0.9, block=32)", denoiser, [PROMPT])
    views: list[View] = []

    def watch(event: StepEvent) -> None:
        board.step(0, event)
        views.append(board.view())

    ids = denoiser.encode(PROMPT)
    for _ in stream(
        denoiser,
        [ids],
        dsldec.load("threshold"),
        gen_length=denoiser.gen_length,
        backend="eager",
        on_step=watch,
    ):
        pass
    return snapshot_svg(views[0], views[len(views) // 2], views[-1], width=70)


def main() -> None:
    print(picture(), end="")


if __name__ == "__main__":
    main()
