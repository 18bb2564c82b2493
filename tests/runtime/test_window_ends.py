"""Windows that end at a mask, or after a length that the row decides: infillings, drafts, caches, sessions,
batches and the bound on forwards.

The oracle is a naive loop of one row. Not here: windows that end at ids (`test_infill`), published rules with
such windows (`tests/published/test_adaptive.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

import dsldec
from dsldec.backends import noise
from dsldec.runtime.block_host import why_not_by_block
from dsldec.runtime.requests import continued
from dsldec.runtime.session import Session

from ..published.rules import Canvas, See, Seen, best, masks, write
from ..toy import MASK, ToyDenoiser
from .cached_runs import RAGGED
from .keeping import Keeper
from .slow import Rule, slowly
from .test_cache_approximate import assert_as_alone, assert_lossless
from .test_infill import TEXTS, assert_as_slow, infill, policy, random_text, region

# The length of a window, from its first forward, its masks, its first position and a number of the row.
Length = Callable[[Seen, list[int], int, int], int]


def rule(length_of: Length, least: int, most: int) -> Rule:
    """The surest position of windows of this length, from `least` to `most`; the number of the row is the sum
    of the masks of its windows, added once a step.
    """

    def steps(see: See, canvas: Canvas) -> Iterator[Canvas]:
        number = 0
        while left := masks(canvas, range(len(canvas))):
            start, window = left[0], range(0)
            while not window or masks(canvas, window):
                s = see(canvas)
                if not window:
                    ahead = masks(canvas, range(start, min(start + most, len(canvas))))
                    wanted = max(length_of(s, ahead, start, number), least, 1)
                    window = range(start, min(start + wanted, ahead[-1] + 1))
                    held = len(masks(canvas, window))
                number += held
                write(canvas, best(masks(canvas, window), s.conf), s.token)
                yield list(canvas)

    return steps


def first_hit(s: Seen, ahead: list[int], start: int, number: int) -> int:
    hits = [i for i in ahead if s.conf[i] > 0.2 and i % 3 != 0 and i - start + 1 >= 2]
    return min(hits, default=ahead[-1]) - start + 1


def best_hit(s: Seen, ahead: list[int], start: int, number: int) -> int:
    hits = [i for i in ahead if s.conf[i] > 0.1 and i - start + 1 >= 2]
    return (best(hits, s.margin) or ahead[-1:])[0] - start + 1


STEP = "commit top(masked, 1, by=conf)"
RULES: dict[str, tuple[str, Rule]] = {
    "the first of a mask": (
        f"window until(conf > 0.2 and pos % 3 != 0, min=2, max=6); {STEP}",
        rule(first_hit, 1, 6),
    ),
    "the best of a mask": (
        f"window until(conf > 0.1, min=2, max=6, by=margin); {STEP}",
        rule(best_hit, 1, 6),
    ),
    "a length that the forward decides": (
        f"window until(length=1 + count(conf > 0.2), max=6); {STEP}",
        rule(lambda s, ahead, start, number: 1 + sum(s.conf[i] > 0.2 for i in ahead), 1, 6),
    ),
    "a length that a state decides": (
        "window until(length=seen % 7 - 1, min=2, max=5); state seen: int = 0 per sequence; "
        f"set seen = seen + window_length; {STEP}",
        rule(lambda s, ahead, start, number: number % 7 - 1, 2, 5),
    ),
    "a length that the place decides": (
        f"window until(length=window_start + 1, max=4); {STEP}",
        rule(lambda s, ahead, start, number: start + 1, 1, 4),
    ),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("where", TEXTS)
def test_an_infilling_is_what_a_naive_loop_makes_of_the_text(where: str, name: str) -> None:
    text, (lines, of_loop) = TEXTS[where], RULES[name]
    for seed in (1, 2):
        decoded = infill(ToyDenoiser(seed, 2.0), [text], policy(lines))
        assert_as_slow(decoded, 0, slowly(ToyDenoiser(seed, 2.0), text, region(text), of_loop), text)


@pytest.mark.parametrize("name", RULES)
def test_random_texts_in_batches(name: str) -> None:
    lines, of_loop = RULES[name]
    for seed in range(4):
        rng, toy = random.Random(seed), ToyDenoiser(seed, 2.0)
        length = rng.randint(5, 40)
        texts = [random_text(rng, length) for _ in range(5)]
        for how in ({"batch": 5}, {"batch": 2, "lookahead": 4}):
            decoded = infill(toy, texts, policy(lines), **how)
            for row, text in enumerate(texts):
                slow = slowly(toy, text, region(text), of_loop)
                assert decoded.ids[row].tolist() == slow.ids
                assert decoded.forwards[row] <= len(slow.steps)


def test_a_mask_of_ids_is_the_ids() -> None:
    for by in ("", ", by=conf", ", by=margin, when=pos % 2 == 1"):
        for seed in range(4):
            ids, mask = (
                dsldec.decode(
                    ToyDenoiser(seed, 1.0),
                    [[1, 2], [3]],
                    policy(f"window until({ends}, min=2, max=7{by}); {STEP}"),
                    gen_length=30,
                    trace=True,
                )
                for ends in (
                    "1, 7, 13, 18, 22",
                    "token == 1 or token == 7 or token == 13 or token == 18 or token == 22",
                )
            )
            assert ids.trace == mask.trace


def lengths_of(window: str, *lines: str, gen_length: int = 12) -> list[int]:
    """The lengths of all windows, where every step fills its window."""
    text = policy(f"window {window}; " + "".join(f"{line}; " for line in lines) + "commit masked")
    decoded = dsldec.decode(ToyDenoiser(1, 1.0), [[1]], text, gen_length=gen_length, trace=True)
    return [len(step.committed) for step in decoded.trace[0]]


def test_a_length_is_from_min_to_max() -> None:
    assert lengths_of("until(length=0, max=5)") == [1] * 12
    assert lengths_of("until(length=0 - 7, min=3, max=5)") == [3] * 4
    assert lengths_of("until(length=99, min=3, max=5)") == [5, 5, 2]
    assert lengths_of("until(length=4, min=9, max=5)") == [5, 5, 2]
    # The product wraps around to -6930898827444486144.
    assert lengths_of("until(length=1000000000 * 1000000000 * 1000000000, max=5)") == [1] * 12


def test_a_length_reads_states_as_the_window_begins() -> None:
    of_sequence = "state n: int = 2 per sequence", "set n = n + 1"
    assert lengths_of("until(length=n, max=9)", *of_sequence) == [2, 3, 4, 3]
    of_block = "state n: int = 2 per block", "set n = n + 1"
    assert lengths_of("until(length=n, max=9)", *of_block) == [2] * 6
    # A start value that reads the window: in the line `window` that is the largest window.
    of_window = "state n: int = count(masked) per block", "set n = n + 1"
    assert lengths_of("until(length=n - 3, max=5)", *of_window) == [2, 2, 2, 2, 1, 1, 1, 1]
    of_position = "state n: int each = 3 per sequence", "set n = n + 1"
    assert lengths_of("until(length=int(max(n)) - 1, max=5)", *of_position) == [2] * 6


def test_a_state_with_a_random_start_is_read_as_it_begins() -> None:
    """The window and the statements see one draw."""
    text = policy(
        "window until(length=n, max=8); state n: int = 1 + count(chance(masked, 0.5)) per block; "
        "state seen: int = 0 per block; set n = n; set seen = n; commit masked and pos < window_start + seen at least 1 by conf"
    )
    for seed in range(6):
        decoded = dsldec.decode(ToyDenoiser(1, 1.0), [[1]], text, gen_length=40, trace=True, seed=seed)
        # The window has n positions, so n steps would do no more than one.
        assert decoded.forwards.tolist() == [len({tuple(step.committed) for step in decoded.trace[0]})]
        assert all(len(step.committed) >= 1 for step in decoded.trace[0])


CACHED = [
    "window until(conf > 0.3, min=2, max=7, by=margin); commit masked and conf > 0.4 at least 1 by conf",
    "window until(length=1 + int(6 * mean(conf)), max=7); commit masked and conf > 0.4 at least 1 by conf",
    "window until(length=2 + seen % 5, max=7); state seen: int = 0 per sequence; set seen = seen + 1; "
    "commit masked and conf > 0.4 at least 1 by conf",
]


@pytest.mark.parametrize("cache", ["none", "prefix", "dual"])
@pytest.mark.parametrize("lines", CACHED)
def test_drafts_and_other_rows_change_nothing(lines: str, cache: str) -> None:
    for seed in range(3):
        make = lambda seed=seed: Keeper(seed, None, (0.1, 0.2, 0.5)[seed])  # noqa: E731
        assert_lossless(make, RAGGED[:4], policy(lines), cache, (2, 5), gen_length=13)
        assert_as_alone(make, RAGGED, policy(lines), cache, lookahead=3, batch=3, gen_length=11)


@pytest.mark.parametrize("lines", CACHED)
def test_a_block_causal_model_with_its_exact_cache(lines: str) -> None:
    for seed in range(3):
        texts = [
            dsldec.decode(Keeper(seed, 4, 0.3), RAGGED[:4], policy(lines), cache=cache, gen_length=13)
            for cache in ("none", "exact")
        ]
        assert [ids.tolist() for ids in texts[0].ids] == [ids.tolist() for ids in texts[1].ids]


@pytest.mark.parametrize("lines", CACHED)
def test_a_session_steps_as_decode(lines: str) -> None:
    loaded, toy, prompt = dsldec.load(policy(lines)), ToyDenoiser(5, 2.0), [1, 2, 3]
    host = Session.of(loaded, slots=1, columns=23, mask_id=MASK, vocab_size=toy.vocab_size, gen_length=20)
    host.admit(0, replace(continued(0, prompt, 20, None), key=noise.key(0, 0)))
    steps = 0
    while not bool(host.ended[0]):
        host.step(toy(host.canvas))
        steps += 1
    decoded = dsldec.decode(toy, [prompt], loaded, gen_length=20)
    assert host.canvas[0].tolist() == decoded.ids[0].tolist()
    assert steps == int(decoded.forwards[0])
    refused = why_not_by_block(loaded, 8)
    assert refused is not None
    assert refused.code == "E0450"


def test_the_bound_holds() -> None:
    """Steps that idle are counted for each window, of which `min` limits the number."""
    idling = (
        "phase look: ",
        "  commit masked and conf > 2",
        "  next write",
        "phase write:",
        f"  {STEP}",
        "  next look",
    )
    for window in ("until(pos % 3 == 1, min=2, max=6)", "until(length=pos_of, min=2, max=6)"):
        text = policy("; ".join([f"window {window.replace('pos_of', 'step % 5')}", *idling]))
        loaded = dsldec.load(text)
        for length in (1, 7, 20):
            decoded = dsldec.decode(ToyDenoiser(2, 1.0), [[1], [2, 3]], loaded, gen_length=length)
            bound = loaded.facts.forwards_bound(length, loaded.parameters)
            assert decoded.forwards.max() <= bound


@pytest.mark.parametrize(
    ("window", "code", "marked"),
    [
        ("until(masked, 3, max=8)", "E0226", "masked"),
        ("until(3, masked, max=8)", "E0226", "masked"),
        ("until(length=4, max=8, by=conf)", "E0226", "by=conf"),
        ("until(length=4, max=8, when=masked)", "E0226", "when=masked"),
        ("until(3, length=4, max=8)", "E0203", "until(3, length=4, max=8)"),
        ("until(max=8)", "E0203", "until(max=8)"),
        ("until(length=conf, max=8)", "E0204", "conf"),
        ("until(length=pos, max=8)", "E0207", "pos"),
        ("until(any(masked), max=8)", "E0204", "any(masked)"),
        ("until(token, max=8)", "E0207", "token"),
        ("until(conf, max=8)", "E0204", "conf"),
        ("until(masked)", "E0203", "until(masked)"),
        ("blocks(seen)", "E0207", "seen"),
        ("until(masked and idle, max=8)", "E0212", "idle"),
        ("until(length=committed_now + 1, max=8)", "E0212", "committed_now"),
        ("until(draft == token, max=8)", "E0209", "draft"),
    ],
)
def test_mistakes_have_a_code_and_a_place(window: str, code: str, marked: str) -> None:
    text = policy(f"window {window}; state seen: int = 4 per sequence; set seen = seen + 1; {STEP}")
    loaded, diagnostics = dsldec.check(text)
    assert loaded is None
    (first, *_) = [one for one in diagnostics if one.code == code]
    assert first.span is not None
    assert first.span.text == marked


def test_windows_of_many_lengths_are_one_compiled_form() -> None:
    """The window's length is a value of the row: one step for all."""
    loaded = dsldec.load(policy(CACHED[2]))
    state = loaded.compile("eager", mask_id=MASK).start(2, 7, vocab_size=MASK + 1)
    assert state["window_length"].dtype is torch.int64
    assert loaded.facts.window == "until"
    assert loaded.facts.window_size == 7
