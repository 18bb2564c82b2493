"""Does the display show the reports of the steps, on every terminal?"""

from __future__ import annotations

import io
import xml.etree.ElementTree

import pytest
import torch
from rich.console import Console

from dsldec.diagnostics import Diagnostic
from dsldec.runtime.trace import StepEvent
from dsldec.tools.live import Board, Canvas, LiveDisplay, Token, View, answer, render, snapshot_svg
from dsldec.tools.prompts import Prompt
from dsldec.tools.results import Result

MASK, EOS = 9, 0
WORDS = {1: "three", 2: " apples", 3: "\n", 4: " 你好", 5: " four"}


class Words:
    """Spells a handful of tokens."""

    mask_id, eos_id, tokenizer = MASK, EOS, None

    def decode_text(self, ids: list[int]) -> str:
        return "".join(WORDS.get(i, "") for i in ids)


def event(generated: list[int], confidence: dict[int, float] | None = None, forwards: int = 1) -> StepEvent:
    return StepEvent(0, forwards, forwards, torch.tensor(generated), list(confidence or {}), confidence or {})


def drawn(view: View, width: int = 60, height: int = 20, **console) -> str:
    out = io.StringIO()
    Console(file=out, width=width, **console).print(render(view, width, height))
    return out.getvalue()


def canvas(*ids: int, prompt: str = "how many?", forwards: int = 1) -> Canvas:
    board = Board("p", Words(), [prompt])
    board.step(0, event(list(ids), dict.fromkeys(range(len(ids)), 1.0), forwards))
    return board.canvas(0)


def test_a_moment_shows_policy_prompt_masks_words_and_forwards():
    text = drawn(View("threshold(confidence=0.9)", (canvas(1, MASK, MASK, 2, EOS, EOS, forwards=3),)))
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines == [
        "threshold(confidence=0.9)",
        "> how many?",
        "",
        "three░░ apples··",
        "3 forwards · 4/6 · sure when written: ■■■■■■",
    ]


def test_a_line_break_in_the_answer_is_one_on_the_screen():
    assert "three\n░" in drawn(View("p", (canvas(1, 3, MASK),))).replace(" ", "")


def test_confidence_is_a_colour_and_masks_are_dim():
    cells = (Token("low", 0.0), Token("mid", 0.5), Token("high", 1.0), None)
    out = drawn(
        View("p", (Canvas("q", cells),)), force_terminal=True, color_system="truecolor", no_color=False
    )
    assert "\x1b[38;2;216;54;54mlow" in out
    assert "\x1b[38;2;216;216;54mmid" in out
    assert "\x1b[38;2;54;216;54mhigh" in out
    assert "\x1b[2m░" in out


def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = drawn(View("p", (canvas(1, MASK),)), force_terminal=True)
    assert "38;" not in out
    assert "three" in out


@pytest.mark.parametrize("width", [1, 2, 5, 12, 40, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_nothing_is_wider_or_higher_than_the_terminal(width, height, count):
    one = canvas(*[1, 2, 4, MASK, 3, 5] * 20, prompt="a long 你好 prompt\nof two lines " * 4)
    text = drawn(View("policy(" + "x" * 50 + ")", (one,) * count, 3, 20), width, height)
    lines = text.removesuffix("\n").split("\n")
    assert len(lines) <= max(2, height)
    assert all(
        Console(width=500).render_str(line, markup=False, emoji=False, highlight=False).cell_len
        <= max(2, width)
        for line in lines
    )


def test_several_prompts_stand_one_below_the_other():
    text = drawn(View("p", (canvas(1, MASK, prompt="first"), canvas(5, MASK, prompt="second")), 3, 20))
    assert (
        text.index("> first  1 forward · 1/2")
        < text.index("three░")
        < text.index("> second")
        < text.index("four░")
    )
    assert "3 of 20 finished" in text


def test_what_does_not_fit_is_counted():
    text = drawn(View("p", tuple(canvas(MASK, prompt=f"q{i}") for i in range(9)), 0, 9), height=8)
    assert "> q2" in text
    assert "> q3" not in text
    assert "6 more in progress" in text


def test_a_long_canvas_is_shown_where_it_is_filled():
    text = drawn(View("p", (canvas(*[1, 3] * 30, MASK, 5, 3, *[MASK, 3] * 10),)), height=10)
    assert "░ four" in text


def test_a_board_remembers_how_sure_each_position_was_when_written():
    board = Board("p", Words(), ["q"])
    board.step(0, event([1, MASK], {0: 0.25}))
    board.step(0, event([1, 2], {1: 0.75}))
    assert [cell.confidence for cell in board.canvas(0).cells] == [0.25, 0.75]
    board.step(0, event([MASK, 5], {1: 0.5}))
    assert [cell and (cell.text, cell.confidence) for cell in board.canvas(0).cells] == [None, (" four", 0.5)]


def test_a_board_shows_canvases_in_the_order_of_the_prompts():
    board = Board("p", Words(), ["a", "b"])
    board.step(1, event([MASK]))
    board.step(0, event([MASK]))
    assert [each.prompt for each in board.view().canvases] == ["a", "b"]
    board.drop(0)
    assert [each.prompt for each in board.view().canvases] == ["b"]


class Pieces:
    """A tokenizer with word-start marks, as sentencepiece has them."""

    all_special_ids = (7,)

    def decode(self, ids: list[int]) -> str:
        return {1: "three", 2: "s"}[ids[0]]

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return {1: "▁three", 2: "s"}[token_id]


def test_a_token_alone_keeps_the_space_before_it():
    denoiser = type("WithTokenizer", (Words,), {"tokenizer": Pieces()})()
    board = Board("p", denoiser, ["q"])
    board.step(0, event([1, 2, 7, EOS]))
    assert [(cell.text, cell.filler) for cell in board.canvas(0).cells] == [
        (" three", False),
        ("s", False),
        ("", True),
        ("", True),
    ]


def test_an_answer_is_coloured_up_to_its_end():
    text = answer(canvas(1, 2, EOS, EOS), "three apples")
    assert text.plain == "three apples"
    assert text.spans


def test_an_answer_that_the_tokens_do_not_spell_is_plain():
    text = answer(canvas(1, 2), "something else")
    assert text.plain == "something else"
    assert not text.spans


def test_nothing_drawn_commands_the_terminal():
    hostile = Canvas("\x1b[2J\x07", (Token("\x1b]0;x\x07\r\u009b1m", 0.5),))
    assert not set(drawn(View("p", (hostile,)))) & set("\x1b\x07\r\u009b")


def test_a_snapshot_is_a_picture_and_the_same_every_time():
    views = [View("p", (canvas(1, MASK),)), View("p", (canvas(1, 2),))]
    picture = snapshot_svg(*views, width=40)
    assert picture == snapshot_svg(*views, width=40)
    xml.etree.ElementTree.fromstring(picture)
    assert "three" in picture
    assert "░" in picture
    assert "#36d836" in picture.lower(), "the colour of a sure token"


def display(prompts: int, terminal: bool = True, **more) -> tuple[LiveDisplay, io.StringIO]:
    out = io.StringIO()
    console = Console(
        file=out, width=60, height=20, force_terminal=terminal, color_system=None, legacy_windows=False
    )
    return LiveDisplay(console, "p", Words(), [Prompt(i, i, f"q{i}") for i in range(prompts)], **more), out


def result(place: int, text: str = "three") -> Result:
    return Result(Prompt(place, place, f"q{place}"), text, (1,), 2, 2, 4, 0.1)


def test_every_step_of_a_fast_model_is_played(monkeypatch):
    monkeypatch.setattr("dsldec.tools.live.FRAME_SECONDS", 0.001)
    live, out = display(1)
    with live:
        for forwards, ids in enumerate(([MASK, MASK, MASK], [1, MASK, MASK], [1, 2, MASK], [1, 2, EOS]), 1):
            live.step(0, event(ids, {}, forwards))
        live.finished(0, result(0, "three apples"))
    shown = out.getvalue()
    assert [f"{n} forward" in shown for n in (1, 2, 3, 4)] == [True] * 4
    assert shown.rstrip().endswith("> q0\nthree apples\n2 forwards, 4 tokens, 2.00 tokens per forward")


def test_answers_stay_in_the_order_of_the_prompts():
    live, out = display(12, terminal=False)
    with live:
        for place in (1, 0, 11):
            live.step(place, event([1]))
            live.finished(place, result(place))
    printed = out.getvalue()
    assert printed.index("> q0") < printed.index("> q1") < printed.index("> q11")


def test_a_failed_prompt_is_not_printed_as_an_answer():
    live, out = display(1, terminal=False)
    with live:
        live.finished(0, Result(Prompt(0, 0, "q0"), error=Diagnostic("E0410", "it failed")))
    assert "q0" not in out.getvalue()


def test_an_interrupt_prints_what_is_finished_and_gives_the_cursor_back():
    live, out = display(2)

    def interrupted():
        with live:
            live.step(0, event([1]))
            live.finished(0, result(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "> q0" in out.getvalue()
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")


def test_an_ascii_terminal_gets_ascii_masks():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    live = LiveDisplay(
        Console(file=out, width=60, height=20, force_terminal=True, color_system=None),
        "p",
        Words(),
        [Prompt(0, 0, "q")],
    )
    with live:
        live.step(0, event([1, MASK]))
    out.flush()
    assert b"three_" in out.buffer.getvalue()
