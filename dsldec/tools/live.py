"""How does a decoding look on a terminal? The canvas fills in, and each token has a colour for its
confidence.

`Board` gathers the reports of the steps, `render` draws one moment of it (a pure function), `LiveDisplay`
keeps a terminal up to date, `snapshot_svg` makes a picture. Not here: the output without a live view
(`displays`).
"""

from __future__ import annotations

import colorsys
import io
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.color import Color
from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.text import Text

from ..terminal import printable
from .prompts import Prompt
from .results import InOrder, Result

if TYPE_CHECKING:
    from ..runtime.trace import StepEvent

MASK, MASK_IN_ASCII = "░", "_"
FRAME_SECONDS = 0.05
# A small model finishes faster than the eye can follow: up to this many frames wait, and are played after
# decoding.
FRAMES_KEPT = 60
# Up to this number of prompts, all stay in view until the end. Otherwise each prompt is printed when it
# finishes.
PROMPTS_HELD = 8


@dataclass(frozen=True, slots=True)
class Token:
    """A written position: its text, and its confidence when it was written. `filler`: an end-of-text or other
    special token.
    """

    text: str
    confidence: float | None = None
    filler: bool = False


@dataclass(frozen=True, slots=True)
class Canvas:
    """One prompt during decoding. `cells` are its generated positions, None where still masked."""

    prompt: str
    cells: tuple[Token | None, ...]
    forwards: int = 0

    @property
    def written(self) -> int:
        return sum(cell is not None for cell in self.cells)


@dataclass(frozen=True, slots=True)
class View:
    """One moment of a run: the canvases in view, and the number of finished prompts."""

    policy: str
    canvases: tuple[Canvas, ...]
    finished: int = 0
    prompts: int = 1


def render(view: View, width: int = 80, height: int = 24, mask: str = MASK) -> Group:
    """Draw one moment in `width` columns and at most `height` lines. The rest is cropped."""
    room = max(1, height - 2)
    shown = view.canvases[: max(1, room // 2)]
    lines = [Text(printable(view.policy), style="bold")]
    for canvas in shown:
        head = _whole_prompt(canvas, width, room // 3) if len(shown) == 1 else [_one_line(canvas, width)]
        body = _wrapped(_coloured(canvas.cells, mask), width)
        lines += [*head, *_in_work(body, room // len(shown) - len(head), mask)]
    footer = _footer(view, hidden=len(view.canvases) - len(shown))
    return Group(*(_cropped(line, width) for line in [*lines[: max(1, height - 1)], footer]))


def answer(canvas: Canvas, text: str) -> Text:
    """The answer as it stays printed: coloured where the canvas decodes to the same text, plain otherwise."""
    ends = next(
        (place for place, cell in enumerate(canvas.cells) if cell is not None and cell.filler),
        len(canvas.cells),
    )
    coloured = _coloured(canvas.cells[:ends], MASK)
    return coloured if coloured.plain.strip() == printable(text).strip() else Text(printable(text))


def snapshot_svg(*views: View, width: int = 88, height: int = 24, title: str = "dsldec run") -> str:
    """An SVG picture of some moments, one below the other. The same moments give the same bytes."""
    console = Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    for place, view in enumerate(views):
        if place:
            console.print()
        console.print(render(view, width, height))
    return console.export_svg(title=title, unique_id="dsldec")


def _footer(view: View, hidden: int) -> Text:
    parts = [f"{view.finished} of {view.prompts} finished"] if view.prompts > 1 else []
    if hidden > 0:
        parts.append(f"{hidden} more in progress")
    if len(view.canvases) == 1:
        parts.append(_progress(view.canvases[0]))
    text = Text(" · ".join([*parts, "sure when written: "]), style="dim")
    for step in range(6):
        text.append("■", _style(step / 5))
    return text


def _whole_prompt(canvas: Canvas, width: int, height: int) -> list[Text]:
    return [*_wrapped(Text(f"> {printable(canvas.prompt)}", style="dim"), width)[: max(1, height)], Text()]


def _one_line(canvas: Canvas, width: int) -> Text:
    """The start of the prompt, and the progress of its canvas."""
    title = Text("> " + " ".join(printable(canvas.prompt).split()), style="dim")
    progress = "  " + _progress(canvas)
    title.truncate(max(width - len(progress), width // 2), overflow="ellipsis")
    return title.append(progress)


def _wrapped(text: Text, width: int) -> list[Text]:
    return list(text.wrap(Console(width=max(1, width), file=io.StringIO()), max(1, width)))


def _progress(canvas: Canvas) -> str:
    return f"{canvas.forwards} forward{'s' * (canvas.forwards != 1)} · {canvas.written}/{len(canvas.cells)}"


def _in_work(lines: list[Text], height: int, mask: str) -> list[Text]:
    """As many lines as fit, around the first that still has a masked position."""
    if len(lines) <= height:
        return lines
    work = next((place for place, line in enumerate(lines) if mask in line.plain), 0)
    start = min(max(0, work - height // 2), len(lines) - max(0, height))
    return lines[start : start + max(0, height)]


def _coloured(cells: Sequence[Token | None], mask: str) -> Text:
    text = Text()
    for cell in cells:
        if cell is None:
            text.append(mask, "dim")
        elif cell.filler:
            text.append("·", "dim")
        else:
            text.append(printable(cell.text), _style(cell.confidence))
    return text


def _style(confidence: float | None) -> Style:
    return Style() if confidence is None else _shade(round(20 * min(1.0, max(0.0, confidence))))


@lru_cache(maxsize=32)
def _shade(twentieths: int) -> Style:
    """Red for 0, yellow for a half, green for 1."""
    red, green, blue = colorsys.hsv_to_rgb(twentieths / 20 / 3, 0.75, 0.85)
    return Style(color=Color.from_rgb(255 * red, 255 * green, 255 * blue))


def _cropped(text: Text, width: int) -> Text:
    text.truncate(max(1, width), overflow="ellipsis")
    text.no_wrap = True
    return text


class Board:
    """The reports of the steps so far. `denoiser` decodes the tokens; a place counts `prompts` from 0."""

    def __init__(self, policy: str, denoiser: Any, prompts: Sequence[str]) -> None:
        self._policy = policy
        self._prompts = prompts
        self._denoiser = denoiser
        self._canvases: dict[int, Canvas] = {}
        self._pieces: dict[int, Token] = {}
        self.finished = 0

    def step(self, place: int, event: StepEvent) -> None:
        """Record one step of the prompt at `place`."""
        before = self._canvases.get(place)
        old = before.cells if before else ()
        cells: list[Token | None] = []
        for position, token_id in enumerate(event.generated.tolist()):
            if token_id == self._denoiser.mask_id:
                cells.append(None)
                continue
            was = old[position] if position < len(old) else None
            confidence = event.confidence.get(position, was.confidence if was else None)
            cells.append(replace(self._piece(token_id), confidence=confidence))
        self._canvases[place] = Canvas(self._prompts[place], tuple(cells), event.forwards)

    def view(self) -> View:
        return View(
            self._policy,
            tuple(self._canvases[place] for place in sorted(self._canvases)),
            self.finished,
            len(self._prompts),
        )

    def canvas(self, place: int) -> Canvas | None:
        """The canvas of one prompt, if it is in view."""
        return self._canvases.get(place)

    def drop(self, place: int) -> None:
        """Remove a finished prompt from the view."""
        self._canvases.pop(place, None)

    def _piece(self, token_id: int) -> Token:
        if token_id not in self._pieces:
            self._pieces[token_id] = _spelled(self._denoiser, token_id)
        return self._pieces[token_id]


def _spelled(denoiser: Any, token_id: int) -> Token:
    """The text of a token, with the space before it that decoding a single token would lose."""
    tokenizer = getattr(denoiser, "tokenizer", None)
    if token_id == getattr(denoiser, "eos_id", None):
        return Token("", filler=True)
    if tokenizer is None:
        return Token(denoiser.decode_text([token_id]))
    if token_id in tokenizer.all_special_ids:
        return Token("", filler=True)
    text = str(tokenizer.decode([token_id]))
    starts_word = str(tokenizer.convert_ids_to_tokens(token_id)).startswith("▁")
    return Token(" " + text if starts_word and not text.startswith(" ") else text)


class LiveDisplay:
    """The terminal of a running decoding. The answers stay on it afterwards, in colour and in the order of
    the prompts.
    """

    def __init__(
        self,
        console: Console,
        policy: str,
        denoiser: Any,
        prompts: Sequence[Prompt],
        *,
        print_answers: bool = True,
    ) -> None:
        self._console = console
        self._print_answers = print_answers
        self._board = Board(policy, denoiser, [prompt.text for prompt in prompts])
        self._holds = len(prompts) <= PROMPTS_HELD
        self._frames: deque[View] = deque(maxlen=FRAMES_KEPT if self._holds else 1)
        self._answers = InOrder[list[Text]]()
        self._mask = MASK_IN_ASCII if console.options.ascii_only else MASK
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._console.is_terminal:
                self._play_rest()
        except KeyboardInterrupt:
            pass  # everything is decoded; the user only stopped the replay
        finally:
            self._live.stop()
            self._print(self._answers.rest())

    def step(self, place: int, event: StepEvent) -> None:
        """Record a step. Draw when the last frame was visible long enough."""
        self._board.step(place, event)
        self._frames.append(self._board.view())
        if time.monotonic() - self._drawn_at >= FRAME_SECONDS:
            self._draw(self._frames.popleft())

    def finished(self, place: int, result: Result) -> None:
        """Print an answer above the canvases. Where all prompts are in view, print it at the end."""
        self._board.finished += 1
        self._answers.put(place, list(_printed(result, self._board.canvas(place))))
        if self._holds:
            self._frames.append(self._board.view())
        else:
            self._board.drop(place)
            self._print(self._answers.ready())

    def _print(self, answers: Iterable[list[Text]]) -> None:
        for lines in answers if self._print_answers else ():
            if lines:
                self._console.print(Text("\n").join(lines), highlight=False, soft_wrap=True)

    def _draw(self, view: View) -> None:
        size = self._console.size
        self._live.update(render(view, size.width, size.height - 1, self._mask), refresh=True)
        self._drawn_at = time.monotonic()

    def _play_rest(self) -> None:
        while self._frames:
            time.sleep(max(0.0, self._drawn_at + FRAME_SECONDS - time.monotonic()))
            self._draw(self._frames.popleft())


def _printed(result: Result, canvas: Canvas | None) -> Iterator[Text]:
    if result.error is not None:
        return  # `run` reports it on standard error
    yield Text("\n".join(f"> {line}" for line in printable(result.prompt.text).split("\n")), style="dim")
    yield answer(canvas, result.text) if canvas is not None else Text(printable(result.text))
    count = f"{result.forwards} forwards, {result.tokens} tokens, {result.tokens_per_forward:.2f} tokens per forward"
    yield Text(count + "\n", style="dim")
