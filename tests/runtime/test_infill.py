"""Texts with masks: the masks are decoded in place as by naive loops, and the rest does not change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.runtime.decode import Decoded, stream
from dsldec.runtime.trace import StepEvent

from ..published import more_rules, rules
from ..shipped import CORE, ONE_CANDIDATE
from ..toy import MASK as M
from ..toy import ToyDenoiser
from .families import Padded, TinyTransformer, Watched
from .slow import Rule, Slow, in_blocks, sliding, slowly, static, until
from .test_lookahead_paths import undrafting

EOS = 5
TEXTS = {
    "at the start": [M, M, M, 3, 4, 5, 6],
    "at the end": [1, 2, 3, M, M, M, M, M],
    "several gaps": [1, M, M, 2, M, 3, 3, M, M, M, 4, 4, M, 8],
    "adjacent gaps": [M, 1, M, 2, M, 3, M, 4, M],
    "windows without masks": [1, M, M, 2, *range(20, 32), M, 3, M, 7, 7, 7, 7, 7, 7, M],
    "one mask": [1, 2, M, 3],
    "masks alone": [M] * 9,
    "given ends of text": [EOS, 1, EOS, M, EOS, M, M, EOS, EOS, M, M, M, M, EOS],
}
RULES: dict[str, tuple[str, Rule]] = {
    "static": ("window blocks(4); commit top(masked, 1, by=conf)", static(1, 4)),
    "static of two in blocks of three": ("window blocks(3); commit top(masked, 2, by=conf)", static(2, 3)),
    "static in all": ("window all; commit top(masked, 2, by=conf)", static(2, 999)),
    "threshold": (
        "window blocks(4); commit masked and conf >= 0.4 at least 1 by conf",
        partial(rules.threshold, confidence=0.4, block=4),
    ),
    "factor": (
        "window blocks(6); commit prefix(masked, by=conf, while=(rank + 1) * doubt < 1.7) at least 1 by conf",
        partial(more_rules.factor, budget=1.7, form="paper", block=6),
    ),
    "sliding": ("window sliding(max_masks=3, max_length=5); commit top(masked, 1, by=conf)", sliding(3, 5)),
    "until": (
        "window until(1, 7, 13, 18, 22, 24, 26, 37, min=2, max=6); commit top(masked, 1, by=conf)",
        until((1, 7, 13, 18, 22, 24, 26, 37), 2, 6),
    ),
}


class Ending(ToyDenoiser):
    """Says end-of-text wherever a hash of the position says so."""

    eos_id = EOS

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        logits[:, torch.arange(ids.shape[1]) % 3 == 1, EOS] = 3.0
        return logits


class Mixed(Padded):
    """A toy for rows of mixed lengths."""

    def __init__(self, toy: ToyDenoiser) -> None:
        super().__init__(toy)


def policy(lines: str, *more: str) -> str:
    return "policy p():\n" + "".join(f"  {line}\n" for line in (*lines.split("; "), *more))


def infill(denoiser: Any, texts: list[list[int]], text: str | dsldec.Policy, **how: Any) -> Decoded:
    return dsldec.decode(denoiser, texts, text, **{"infill": True, "backend": "eager", "trace": True, **how})


def masks(text: Sequence[int]) -> list[int]:
    return [at for at, id_ in enumerate(text) if id_ == M]


def region(text: Sequence[int]) -> range:
    return range(masks(text)[0], masks(text)[-1] + 1)


def random_text(rng: random.Random, longest: int) -> list[int]:
    """Runs of masks and runs of ids, with at least one mask."""
    text: list[int] = []
    while len(text) < longest or M not in text:
        run = rng.randint(1, 5)
        text += [M] * run if rng.random() < 0.5 else [rng.randrange(M) for _ in range(run)]
    text = text[:longest]
    text[rng.randrange(longest)] = M
    return text


def assert_as_slow(decoded: Decoded, row: int, slow: Slow, text: list[int]) -> None:
    assert decoded.ids[row].tolist() == slow.ids
    assert [step.committed for step in decoded.trace[row]] == slow.counted_from(masks(text)[0])
    assert decoded.forwards[row] == len(slow.steps)
    assert decoded.tokens[row] == len(masks(text))
    assert decoded.errors[row] is None


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("where", TEXTS)
def test_an_infilling_is_what_a_naive_loop_makes_of_the_text(where: str, name: str) -> None:
    text, (lines, rule) = TEXTS[where], RULES[name]
    for seed in (1, 2):
        denoiser = Watched(Ending(seed, 1.0))
        decoded = infill(denoiser, [text], policy(lines))
        assert denoiser.shapes == [(1, len(text))] * int(decoded.forwards)
        assert_as_slow(decoded, 0, slowly(Ending(seed, 1.0), text, region(text), rule), text)


def test_the_windows_of_until_end_at_tokens_and_without_them() -> None:
    """So that the texts above show both."""
    lengths = set()
    for where, seed in ((where, seed) for where in TEXTS for seed in (1, 2)):
        text = TEXTS[where]
        ended = slowly(Ending(seed, 1.0), text, region(text), RULES["until"][1])
        never = slowly(Ending(seed, 1.0), text, region(text), until((), 2, 6))
        lengths.add(ended.steps == never.steps)
    assert lengths == {True, False}


@pytest.mark.parametrize("name", RULES)
def test_drafts_change_nothing(name: str) -> None:
    saved = 0
    for text in TEXTS.values():
        lines, rule = RULES[name]
        slow = slowly(Ending(3, 1.0), text, region(text), rule)
        for drafts in (2, 3, 4):
            decoded = infill(Ending(3, 1.0), [text], policy(lines), lookahead=drafts)
            assert decoded.ids[0].tolist() == slow.ids
            assert [step.committed for step in decoded.trace[0]] == slow.counted_from(masks(text)[0])
            assert decoded.forwards[0] <= len(slow.steps)
            saved += len(slow.steps) - int(decoded.forwards[0])
    assert saved > 10


def test_no_forward_is_spent_on_windows_without_masks() -> None:
    text = TEXTS["windows without masks"]
    for block in (1, 2, 4, 7):
        windows = in_blocks(text, M, region(text), block)
        denoiser = Watched(ToyDenoiser(7, 1.0))
        decoded = infill(denoiser, [text], policy(f"window blocks({block}); commit masked"))
        assert len(windows) < len(region(text)) / block
        assert len(denoiser.calls) == int(decoded.forwards) == len(windows)
        assert [[masks(text)[0] + at for at in step.committed] for step in decoded.trace[0]] == windows


def test_guidance_masks_all_that_is_given() -> None:
    lines = "window blocks(4); logits cfg(1.5); commit top(masked, 1, by=conf)"
    denoiser, other = TinyTransformer(4), 0
    for text in TEXTS.values():
        first, text = (
            masks(text)[0],
            [denoiser.mask_id if id_ == M else id_ % denoiser.mask_id for id_ in text],
        )
        end = len(text) - text[::-1].index(denoiser.mask_id)
        slow, plain = (
            slowly(denoiser, text, range(first, end), static(1, 4), scale=scale) for scale in (1.5, 0.0)
        )
        for drafts, how in ((1, "batch"), (3, "batch"), (3, "sequential")):
            watched = Watched(denoiser)
            decoded = infill(watched, [text], policy(lines), lookahead=drafts, verify_rows=how)
            assert decoded.ids[0].tolist() == slow.ids
            assert [step.committed for step in decoded.trace[0]] == slow.counted_from(first)
            assert sum(map(len, watched.calls)) == int(decoded.rows)
        other += slow != plain
    assert other >= 5


def test_mixed_texts_wait_for_a_row_and_get_what_they_get_alone() -> None:
    rng = random.Random(5)
    texts = [*TEXTS.values(), *[random_text(rng, rng.randint(1, 20)) for _ in range(9)]]
    rng.shuffle(texts)
    for name in ("static in all", "threshold", "sliding", "until"):
        lines, rule = RULES[name]
        slow = [slowly(Ending(3, 1.0), text, region(text), rule) for text in texts]
        for denoiser in (Ending(3, 1.0), Mixed(Ending(3, 1.0))):
            watched = Watched(denoiser)
            decoded = infill(watched, texts, policy(lines), batch=3)
            for row, text in enumerate(texts):
                assert_as_slow(decoded, row, slow[row], text)
            assert sum(map(len, watched.calls)) == int(decoded.forwards.sum())
        assert len(watched.calls) < 0.5 * int(decoded.forwards.sum())


TAKING_BACK = """policy p():
  window blocks(5)
  commit top(masked, 3, by=conf)
  edit committed and age > 0 as 7 at most 1 by pos
  revoke committed at most committed_now - 1 by doubt
"""


def test_random_policies_leave_alone_what_is_given() -> None:
    assert_given_stays([*[TAKING_BACK] * 3, *map(undrafting, range(40, 48))], 12)


@pytest.mark.slow
def test_many_random_policies_leave_alone_what_is_given() -> None:
    assert_given_stays([undrafting(seed) for seed in range(1_000, 1_300)], 24)


def assert_given_stays(policies: Sequence[str], length: int) -> None:
    """Nothing that is given is written, taken back or edited; all masks are written, within the bound, and
    drafts change nothing.
    """
    kinds = {"committed": 0, "revoked": 0, "edited": 0}
    for seed, of in enumerate(map(dsldec.load, policies)):
        rng = random.Random(seed)
        texts = [random_text(rng, length), random_text(rng, max(1, length // 2)), TEXTS["one mask"]]
        plain = infill(Mixed(Ending(seed, 2.0)), texts, of, batch=2)
        for row, text in enumerate(texts):
            asked = set(masks(text))
            assert all(id_ == was for id_, was in zip(plain.ids[row].tolist(), text, strict=True) if was != M)
            assert M not in plain.ids[row]
            assert plain.tokens[row] == len(asked)
            assert plain.forwards[row] <= of.facts.forwards_bound(
                len(region(text)), of.parameters, len(asked) < len(region(text))
            )
            for step in plain.trace[row]:
                for kind in kinds:
                    places = {masks(text)[0] + at for at in getattr(step, kind)}
                    kinds[kind] += len(places)
                    assert places <= asked
        for drafts in (2, 4):
            ahead = infill(Mixed(Ending(seed, 2.0)), texts, of, batch=2, lookahead=drafts)
            assert [ids.tolist() for ids in ahead.ids] == [ids.tolist() for ids in plain.ids]
            assert [[(s.committed, s.revoked, s.edited) for s in row] for row in ahead.trace] == [
                [(s.committed, s.revoked, s.edited) for s in row] for row in plain.trace
            ]
            assert (ahead.forwards <= plain.forwards).all()
    assert min(kinds.values()) > 0


def test_masks_after_the_text_are_ordinary_decoding() -> None:
    prompts = [[3, 1], [9, 17, 0, 8, 8], [2]]
    for name in CORE:
        drafts = name in ONE_CANDIDATE and not name.startswith("freedave")
        of = dsldec.load(name, block=4)
        for lookahead in (None, 3) if drafts else (None,):
            both = [
                dsldec.decode(
                    Mixed(ToyDenoiser(7, 1.0)), texts, of, gen_length=9, infill=infills, backend="eager", trace=True, lookahead=lookahead,
                    batch=2,
                )
                for infills, texts in ((False, prompts), (True, [[*prompt, *[M] * 9] for prompt in prompts]))
            ]  # fmt: skip
            usual, filled = [
                repr((one.ids, one.forwards, one.rows, one.tokens, one.accepted, one.trace)) for one in both
            ]
            assert usual == filled


def test_an_end_of_text_ends_nothing() -> None:
    class Over(ToyDenoiser):
        eos_id = EOS

        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            logits[:, :, EOS] = 60.0
            return logits

    text = [1, M, M, 2, M, EOS, M, M]
    decoded = infill(Over(1, 1.0), [text], policy("window blocks(3); commit top(masked, 1, by=conf)"))
    assert decoded.ids[0].tolist() == [1, EOS, EOS, 2, EOS, EOS, EOS, EOS]
    assert (decoded.forwards.tolist(), decoded.tokens.tolist()) == ([5], [5])


@pytest.mark.parametrize(
    "window", ["blocks(4)", "all", "sliding(max_masks=3, max_length=5)", "until(9, min=2, max=5)"]
)
@pytest.mark.parametrize("stay", ["", "stay at most 1"])
def test_a_policy_that_finishes_at_the_end_of_text_goes_on(window: str, stay: str) -> None:
    """`finish` waits for the end of the text, and that of an infilling does not end."""
    if stay and window.startswith("sliding"):
        return
    lines = [
        f"window {window}",
        "commit masked and pos == 1 as 5",
        "commit top(masked, 1, by=pos)",
        *([stay] if stay else []),
    ]
    text = [1, M, M, M, M, M, 8, M, 1, 1, M]
    ends, goes_on = (
        infill(Ending(2, 1.0), [text], policy("; ".join([*lines, *more])))
        for more in (["finish when eos_closed"], [])
    )
    assert ends.ids[0].tolist() == goes_on.ids[0].tolist()
    assert M not in ends.ids[0]
    assert ends.forwards.tolist() == goes_on.forwards.tolist()
    usual = dsldec.decode(
        Ending(2, 1.0),
        [[1]],
        policy("; ".join([*lines, "finish when eos_closed"])),
        gen_length=12,
        backend="eager",
    )
    assert usual.tokens < 12  # as the policy says, where nothing is given


def test_bad_logits_are_found_where_they_are() -> None:
    class Broken(ToyDenoiser):
        """No numbers at columns 4, where text is given, and 7, once three masks are written."""

        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            logits[:, 5, 3] = 50.0
            logits[:, 4] = float("nan")
            logits[(ids == M).sum(1) <= 2, 7] = float("nan")
            return logits

    text = [1, 2, M, M, 3, M, 4, M, M]
    decoded = infill(
        Broken(1, 1.0),
        [text, [M, 3, 4, 1, 1, 1, 1, 1]],
        policy("window blocks(3); commit top(masked, 1, by=conf)"),
    )
    error = decoded.errors[0]
    assert error is not None
    assert "in step 4 at generated position 5" in error.message
    assert [at for at, id_ in enumerate(decoded.ids[0].tolist()) if id_ == M] == [7, 8]
    assert decoded.tokens.tolist() == [3, 1]
    assert decoded.errors[1] is None


def test_those_who_watch_hear_of_masks_alone() -> None:
    events: list[StepEvent] = []
    text = TEXTS["several gaps"]
    of = dsldec.load(policy("window blocks(4); commit top(masked, 2, by=conf)"))
    (row,) = stream(ToyDenoiser(7, 1.0), [text], of, infill=True, backend="eager", on_step=events.append)
    first, canvas = masks(text)[0], list(text)
    for event in events:
        for at in event.written:
            assert canvas[first + at] == M
            canvas[first + at] = int(event.generated[at])
        assert event.generated.tolist() == canvas[first:]
    assert canvas == row.ids.tolist()
    assert row.generated.tolist() == canvas[first:]


def test_a_text_without_a_mask_is_a_mistake() -> None:
    for texts in ([[1, M], [1, 2]], [[1, M], []]):
        with pytest.raises(dsldec.UsageError, match=r"E0409.*prompt 1 has no mask"):
            infill(ToyDenoiser(1, 1.0), texts, "static")


def test_the_bound_knows_that_windows_have_fewer_masks() -> None:
    """A window of seven with two masks may take more forwards than one of seven masks."""
    text = """policy p():
  window blocks(8)
  phase a at most 9 - window_length visits else c:
    next b

  phase b at most 9 - window_length visits else c:
    next a

  phase c:
    commit top(masked, 1, by=conf)
    next a
"""
    of = dsldec.load(text)
    assert of.facts.forwards_bound(7, of.parameters) == 7 + 2 + 2
    decoded = infill(ToyDenoiser(1, 1.0), [[1, M, 3, 4, 5, 6, 7, M]], of)
    assert (
        of.facts.forwards_bound(7, of.parameters)
        < int(decoded.forwards)
        <= of.facts.forwards_bound(7, of.parameters, True)
    )
