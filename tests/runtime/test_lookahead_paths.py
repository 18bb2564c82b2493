"""Draft and verify takes the steps that the policy takes without drafts, in order, and never more forwards.

What it forwards, and how often, is compared with a naive loop for static decoding
(`tests/published/freedave_loop.py`), and for every other policy with the undrafted run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch

import dsldec
from dsldec.models.shifted import Shifted
from dsldec.policy import read
from dsldec.runtime.decode import Decoded, StepEvent, stream

from ..backends.policies import random_policy
from ..published import rules
from ..published.freedave_loop import Run, Static, freedave, static
from ..shipped import ONE_CANDIDATE, PUBLISHED
from ..toy import ToyDenoiser, golden, mix
from .families import (
    MASK,
    Ids,
    Level,
    Padded,
    Shy,
    Table,
    TinyTransformer,
    Watched,
    block_causal,
    context_free,
    everything,
    fickle,
    logit_of,
)  # fmt: skip

DRAFTS = (1, 2, 3, 5, "all", 50)
TOKENS = (1, 2, 3, 5)
STATIC = dsldec.load("static")

# --- both ways of decoding, and what they are compared by


def seeing(denoiser: Any, prompt: list[int]) -> rules.See:
    """A forward, as the naive loops want it."""

    def see(canvas: rules.Canvas) -> rules.Seen:
        ids = torch.tensor([prompt + masked(canvas, denoiser.mask_id)])
        return rules.seen(denoiser(ids)[0, len(prompt) :], denoiser.mask_id)

    return see


def masked(canvas: rules.Canvas, mask_id: int) -> list[int]:
    return [mask_id if id_ is None else id_ for id_ in canvas]


def decode(
    denoiser: Any,
    prompts: Sequence[list[int]],
    policy: dsldec.Policy | str,
    length: int,
    drafts: int | None,
    **how: Any,
) -> Decoded:
    """Decode with so many drafts; what was counted is what a hook on the denoiser counts, unless rows share
    calls.
    """
    watched = denoiser if isinstance(denoiser, Watched) else Watched(denoiser)
    decoded = dsldec.decode(
        watched,
        prompts,
        policy,
        gen_length=length,
        lookahead=drafts,
        trace=True,
        **{"backend": "eager", "batch": 8} | how,
    )
    assert int(decoded.rows.sum()) == sum(shape[0] for shape in watched.shapes)
    if len(prompts) == 1 and how.get("verify_rows") != "sequential":
        assert decoded.forwards.tolist() == [len(watched.calls)]
    return decoded


def committed(decoded: Decoded, row: int = 0) -> list[list[int]]:
    return [step.committed for step in decoded.trace[row]]


def path(decoded: Decoded, prompt: list[int], mask_id: int) -> list[list[int]]:
    """The generated part after every step of a policy that only writes."""
    ids = decoded.ids[0].tolist()[len(prompt) :]
    canvas, canvases = [mask_id] * len(ids), []
    for step in decoded.trace[0]:
        for position in step.committed:
            canvas[position] = ids[position]
        canvases.append(list(canvas))
    return canvases


def assert_as_the_loop(
    denoiser: Any, prompt: list[int], length: int, rule: Static, drafts: int, **how: Any
) -> tuple[Run, Decoded]:
    """Lookahead around static decoding visits, counts and forwards what the naive loop does; gives the
    undrafted run and the library's.
    """
    see, mask_id = seeing(denoiser, prompt), denoiser.mask_id
    undrafted, wanted = static(see, length, rule), freedave(see, length, rule, drafts)
    watched = Watched(denoiser)
    decoded = decode(
        watched, [prompt], STATIC.bind(tokens=rule.tokens, block=rule.block), length, drafts, **how
    )
    assert decoded.ids[0].tolist() == prompt + undrafted.filled(rule.eos)
    assert path(decoded, prompt, mask_id) == [masked(canvas, mask_id) for canvas in undrafted.path]
    assert (decoded.forwards.tolist(), decoded.rows.tolist()) == ([wanted.forwards], [wanted.rows])
    assert (list(decoded.proposed[0]), list(decoded.accepted[0])) == (wanted.proposed, wanted.accepted)
    assert [step.forward for step in decoded.trace[0]] == wanted.used
    fed = [sorted(prompt + masked(canvas, mask_id) for canvas in canvases) for canvases in wanted.fed]
    if how.get("verify_rows") == "sequential":
        assert sorted(chain(*watched.calls)) == sorted(chain(*fed))
    else:
        assert [sorted(call) for call in watched.calls] == fed
    assert decoded.forwards[0] <= undrafted.forwards
    assert decoded.forwards[0] >= 1 + math.ceil((undrafted.forwards - 1) / drafts)
    return undrafted, decoded


def steps_of(decoded: Decoded) -> list[list[Any]]:
    """Every step of every row, but for the forward whose logits it read."""
    return [[replace(step, forward=0) for step in row] for row in decoded.trace]


def assert_as_undrafted(decoded: Decoded, undrafted: Decoded) -> None:
    """The same steps from the same numbers in no more forwards, and a count of drafts that explains the
    forwards.
    """
    assert [ids.tolist() for ids in decoded.ids] == [ids.tolist() for ids in undrafted.ids]
    assert steps_of(decoded) == steps_of(undrafted)
    assert decoded.tokens.tolist() == undrafted.tokens.tolist()
    assert [error and (error.code, error.message) for error in decoded.errors] == [
        error and (error.code, error.message) for error in undrafted.errors
    ]
    assert (decoded.forwards <= undrafted.forwards).all()
    for row, steps in enumerate(decoded.trace):
        assert all(a <= p for a, p in zip(decoded.accepted[row], decoded.proposed[row], strict=True))
        if decoded.errors[row] is None:
            # A round takes one true step and the accepted ones. Every round but perhaps the last asks for one
            # forward; so does the start.
            rounds = len(steps) - sum(decoded.accepted[row])
            assert int(decoded.forwards[row]) in (rounds, rounds + 1)
        used = [step.forward for step in steps]
        assert used == sorted(used)
        assert used[:1] in ([], [0])
        assert all(forward < decoded.forwards[row] for forward in used)


# --- static decoding over families, blocks, tokens and drafts


def spread(seed: int) -> float:
    """How much a tiny transformer minds what is written."""
    return (0.1, 0.3, 0.6, 1.0)[seed % 4]


FAMILIES: dict[str, Callable[[int, int], Any]] = {  # from a seed and the length of the prompt
    "full": lambda seed, _: TinyTransformer(seed, everything, spread(seed)),
    "shifted": lambda seed, _: Shifted(TinyTransformer(seed, everything, spread(seed))),
    "block_causal": lambda seed, _: TinyTransformer(seed, block_causal(1 + seed % 7, 0), spread(seed)),
    "block_causal_generation": lambda seed, prompt: TinyTransformer(
        seed, block_causal(1 + seed % 5, prompt), spread(seed)
    ),
    "shifted_block_causal": lambda seed, prompt: Shifted(
        TinyTransformer(seed, block_causal(4, prompt), spread(seed))
    ),
    "context_free": lambda seed, _: context_free(seed),
    "fickle": lambda seed, _: fickle(seed),
    "level": lambda seed, _: Level(seed),
    "shy": lambda seed, _: Shy(seed, everything, spread(seed)),
    "toy": lambda seed, _: ToyDenoiser(seed % 20, (0.0, 0.5, 2.0, 4.0)[seed % 4]),
}


@dataclass(frozen=True)
class Setting:
    """One random run; `ends` is the generated position whose undrafted token is called the end of the text."""

    seed: int
    prompt: list[int]
    length: int
    block: int
    tokens: int
    drafts: int
    ends: int | None


def setting(seed: int) -> Setting:
    rng = random.Random(seed)
    length, drafts = rng.randint(1, 26), rng.choice(DRAFTS)
    return Setting(
        seed,
        [rng.randrange(MASK) for _ in range(rng.randint(0, 5))],
        length,
        rng.randint(1, 16),
        rng.choice(TOKENS),
        length if drafts == "all" else int(drafts),
        rng.randrange(length) if rng.random() < 0.3 else None,
    )


def assert_family(name: str, of: Setting) -> None:
    denoiser, rule = FAMILIES[name](of.seed, len(of.prompt)), Static(of.tokens, of.block)
    if of.ends is not None:
        eos = static(seeing(denoiser, of.prompt), of.length, rule).canvas[of.ends]
        denoiser.eos_id = eos
        rule = replace(rule, eos=eos)
    undrafted, decoded = assert_as_the_loop(denoiser, of.prompt, of.length, rule, of.drafts)
    if name == "fickle" or of.drafts == 1:
        assert decoded.forwards[0] == undrafted.forwards
    if name == "context_free":
        assert decoded.forwards[0] == 1 + math.ceil((undrafted.forwards - 1) / of.drafts)


@pytest.mark.parametrize("name", FAMILIES)
def test_lookahead_walks_the_static_path_and_feeds_what_the_naive_loop_feeds(name: str) -> None:
    for seed in range(30):
        assert_family(name, setting(seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_lookahead_walks_the_static_path_in_many_more_settings(name: str) -> None:
    for seed in range(1000, 1500):
        assert_family(name, setting(seed))


def test_the_random_settings_hold_every_kind_of_run() -> None:
    settings = [setting(seed) for seed in range(30)]
    assert {s.tokens for s in settings} == set(TOKENS)
    assert {1, 2, 3, 5, 50} <= {s.drafts for s in settings}
    assert any(s.drafts == s.length > 5 for s in settings)
    assert any(s.length % s.block and s.length > s.block for s in settings)
    assert any(s.ends is not None for s in settings)
    assert any(s.block <= 2 for s in settings)
    assert any(not s.prompt for s in settings)


def test_the_naive_loop_gives_the_goldens() -> None:
    for case in golden("freedave.json"):
        see = seeing(ToyDenoiser(case["seed"], case["gain"]), case["prompt"])
        rule = Static(case["args"]["tokens"], case["block"])
        undrafted = static(see, case["gen_length"], rule)
        run = freedave(see, case["gen_length"], rule, case["args"]["drafts"])
        assert case["prompt"] + run.filled(None) == case["ids"]
        assert run.path == undrafted.path
        assert (undrafted.forwards, run.forwards, run.rows) == (
            case["static_forwards"],
            case["forwards"],
            case["rows"],
        )


def test_the_shipped_policy_gives_the_goldens() -> None:
    for case in golden("freedave.json"):
        policy = dsldec.load("freedave", block=case["block"], **case["args"])
        decoded = decode(
            ToyDenoiser(case["seed"], case["gain"]), [case["prompt"]], policy, case["gen_length"], None
        )
        assert decoded.ids[0].tolist() == case["ids"]
        assert (decoded.forwards.tolist(), decoded.rows.tolist()) == ([case["forwards"]], [case["rows"]])


@pytest.mark.parametrize(("drafting", "plain"), [("freedave", "static"), ("freedave_plus", "threshold")])
def test_a_shipped_policy_that_drafts_takes_the_steps_of_the_one_that_does_not(
    drafting: str, plain: str
) -> None:
    for seed in range(3):
        undrafted = decode(tiny(seed), PROMPTS, dsldec.load(plain, block=5), 17, None)
        drafted = decode(tiny(seed), PROMPTS, dsldec.load(drafting, block=5, drafts=3), 17, None)
        same = decode(tiny(seed), PROMPTS, dsldec.load(plain, block=5), 17, 3)
        assert_as_undrafted(drafted, undrafted)
        assert drafted.forwards.sum() < undrafted.forwards.sum()
        assert (drafted.forwards.tolist(), drafted.proposed, drafted.accepted) == (
            same.forwards.tolist(),
            same.proposed,
            same.accepted,
        )


def test_a_policy_that_says_how_many_drafts_is_not_told_another_number() -> None:
    with pytest.raises(dsldec.UsageError):
        dsldec.decode(context_free(1), [[1]], "freedave", gen_length=4, lookahead=3)


def test_one_draft_is_the_undrafted_run() -> None:
    for name in ("full", "toy"):
        denoiser = FAMILIES[name](3, 2)
        without = dsldec.decode(denoiser, [[1, 2]], "static", gen_length=9, trace=True, backend="eager")
        one = decode(denoiser, [[1, 2]], "static", 9, 1)
        assert one.trace == without.trace
        assert one.rows.tolist() == one.forwards.tolist() == without.forwards.tolist() == [9]
        assert [list(x) for x in (*one.proposed, *one.accepted)] == [[], []]


@pytest.mark.parametrize("backend", ["reference", pytest.param("inductor", marks=pytest.mark.slow)])
def test_other_backends_walk_the_same_path(backend: str) -> None:
    for seed in range(4):
        denoiser = TinyTransformer(seed, everything, spread(seed))
        assert_as_the_loop(denoiser, [seed], 11, Static(2, 4), 3, backend=backend)


# --- known traps


def test_all_confidences_equal() -> None:
    for block, tokens, drafts in [(16, 1, 4), (5, 2, 3), (4, 3, 50), (1, 1, 5), (7, 5, 2)]:
        for seed in range(2):
            _, decoded = assert_as_the_loop(Level(seed), [1, 2], 16, Static(tokens, block), drafts)
            assert list(chain(*committed(decoded))) == list(range(16))


def test_confidences_next_to_one_and_one_in_four_blocks() -> None:
    """In blocks further right, a block's number plus a confidence would make the two confidences equal."""
    nearly, sure = 19.08, 30.0  # 1 - 2^-23 is the float32 below 1 that a quotient can be: 1 / (1 + 2^-23)
    denoiser = Table(lambda ids: [(i % 20, nearly if i % 2 else sure) for i in range(len(ids))])
    for drafts in (2, 3, 8):
        _, decoded = assert_as_the_loop(denoiser, [1], 8, Static(1, 2), drafts)
        assert committed(decoded) == [[1], [0], [3], [2], [5], [4], [7], [6]]
        assert decoded.forwards.tolist() == [1 + math.ceil(7 / drafts)]
        said = [step.observations["conf"][step.committed[0]] for step in decoded.trace[0]]
        assert said == [1.0, 1 - 2**-23] * 4


def written_of(ids: Ids) -> int:
    """Generated tokens behind a prompt of one."""
    return sum(id_ != MASK for id_ in ids[1:])


def test_right_tokens_at_wrong_positions_are_rejected() -> None:
    def rule(ids: Ids) -> list[tuple[int, float]]:
        slope = -0.25 if written_of(ids) % 2 == 0 else 0.25
        return [(5, 4 + slope * i) for i in range(len(ids))]

    for drafts in (2, 3, 6):
        _, decoded = assert_as_the_loop(Table(rule), [1], 6, Static(1, 6), drafts)
        assert committed(decoded) == [[0], [5], [1], [4], [2], [3]]
        assert decoded.forwards.tolist() == [6]
        assert list(decoded.accepted[0]) == [1] + [0] * (
            drafts - 2
        )  # the last mask can only be guessed right


def test_wrong_tokens_at_right_positions_are_rejected() -> None:
    def rule(ids: Ids) -> list[tuple[int, float]]:
        return [((i + 5 * written_of(ids)) % MASK, 8 - i / 4) for i in range(len(ids))]

    for drafts in (2, 3, 6):
        _, decoded = assert_as_the_loop(Table(rule), [1], 6, Static(1, 6), drafts)
        assert committed(decoded) == [[i] for i in range(6)]
        assert decoded.ids[0].tolist() == [1, *((1 + i + 5 * i) % MASK for i in range(6))]
        assert decoded.forwards.tolist() == [6]
        assert sum(decoded.accepted[0]) == 0


def test_two_positions_that_swap_their_tokens_are_rejected() -> None:
    def rule(ids: Ids) -> list[tuple[int, float]]:
        turned = written_of(ids) >= 2
        return [(1 + ((i - 1) ^ turned) if i else 0, 8 - i / 4) for i in range(len(ids))]

    _, decoded = assert_as_the_loop(Table(rule), [1], 6, Static(2, 6), 3)
    assert decoded.ids[0].tolist() == [1, 1, 2, 4, 3, 6, 5]
    assert (list(decoded.proposed[0]), list(decoded.accepted[0])) == ([2, 1], [1, 0])


def test_a_right_draft_behind_a_wrong_one_is_not_accepted() -> None:
    def rule(ids: Ids) -> list[tuple[int, float]]:
        """Token i at position i; but once only the first is written, 9 at the second."""
        return [(9 if i == 2 and written_of(ids) == 1 else i, 8 - i / 4) for i in range(len(ids))]

    _, decoded = assert_as_the_loop(Table(rule), [1], 4, Static(1, 4), 3)
    assert decoded.ids[0].tolist() == [1, 1, 9, 3, 4]
    assert decoded.forwards.tolist() == [3]
    assert decoded.rows.tolist() == [1 + 3 + 2]
    assert (list(decoded.proposed[0]), list(decoded.accepted[0])) == ([2, 2], [1, 1])


@pytest.mark.parametrize("drafts", [3, 4, 5])
def test_drafts_that_end_before_at_and_behind_the_end_of_a_block(drafts: int) -> None:
    for seed in range(3):
        for tokens in (1, 2, 3):
            rule = Static(tokens, 4 * tokens)
            assert_as_the_loop(TinyTransformer(seed, everything, 0.2), [3, 4], 10 * tokens, rule, drafts)
    undrafted, decoded = assert_as_the_loop(context_free(7), [3, 4], 10, Static(1, 4), drafts)
    assert decoded.forwards[0] == 1 + math.ceil((undrafted.forwards - 1) / drafts)
    assert [step.forward for step in decoded.trace[0]] == [0, *(1 + i // drafts for i in range(9))]


def test_fewer_masks_left_than_a_step_writes() -> None:
    for tokens, sizes in [(3, [3, 2, 3, 2, 1]), (4, [4, 1, 4, 1, 1]), (5, [5, 5, 1]), (9, [5, 5, 1])]:
        for drafts in (2, 3, 50):
            _, decoded = assert_as_the_loop(context_free(tokens), [2], 11, Static(tokens, 5), drafts)
            assert [len(positions) for positions in committed(decoded)] == sizes


IDLE = """
policy idle(block: int = 5 in 1..64):
  window blocks(block)
  commit top(masked, step % 3, by=conf)
  fill when steps_in_window + 1 >= 12
"""


def test_steps_of_a_schedule_that_write_nothing() -> None:
    for denoiser in (context_free(1), TinyTransformer(2, everything, 0.3), fickle(3)):
        undrafted = decode(denoiser, [[1]], IDLE, 13, 1)
        sizes = [len(positions) for positions in committed(undrafted)]
        assert sizes == [0, 1, 2, 0, 1, 1, 0, 1, 2, 0, 1, 1, 0, 1, 2]
        for drafts in (2, 3, 8, 50):
            assert_as_undrafted(decode(denoiser, [[1]], IDLE, 13, drafts), undrafted)
    assert decode(context_free(1), [[1]], IDLE, 13, 4).forwards.tolist() == [1 + math.ceil(14 / 4)]


def test_more_drafts_than_steps_left() -> None:
    for length in (1, 2, 3):
        _, decoded = assert_as_the_loop(context_free(length), [4], length, Static(1, 8), 50)
        assert decoded.forwards.tolist() == [min(length, 2)]
        assert decoded.rows.tolist() == [length]
        assert list(decoded.proposed[0]) == [int(depth < length) for depth in range(1, 50)]


def ending_at(place: int, unless: Callable[[Ids], bool]) -> Table:
    """Writes from left to right, and ends the text (id 0) at a place behind a prompt of one, unless something
    holds.
    """

    def rule(ids: Ids) -> list[tuple[int, float]]:
        return [(0 if i - 1 == place and not unless(ids) else 1 + i % 20, 9 - i / 4) for i in range(len(ids))]

    return Table(rule, eos_id=0)


def test_the_end_of_text_inside_a_spilled_draft() -> None:
    denoiser = ending_at(5, unless=lambda ids: False)
    _, decoded = assert_as_the_loop(denoiser, [1], 12, Static(1, 4, eos=0), 8)
    assert decoded.ids[0].tolist() == [1, 2, 3, 4, 5, 6, *[0] * 7]
    assert (decoded.forwards.tolist(), decoded.rows.tolist(), decoded.tokens.tolist()) == ([2], [6], [5])
    assert sum(decoded.proposed[0]) == 5
    _, whole = assert_as_the_loop(denoiser, [1], 12, Static(1, 4), 8, stop_at_eos=False)
    assert len(whole.trace[0]) == 12


def test_the_end_of_text_inside_a_rejected_draft_ends_nothing() -> None:
    denoiser = ending_at(5, unless=lambda ids: written_of(ids) >= 5)
    _, decoded = assert_as_the_loop(denoiser, [1], 12, Static(1, 4, eos=0), 8)
    assert decoded.tokens.tolist() == [12]
    assert 0 not in decoded.ids[0].tolist()


CLOSING = """
policy closing():
  window all
  commit top(masked, 1, by=conf)
  finish when eos_closed and mean(conf, over=committed) > 0.5
"""


@pytest.mark.parametrize(
    ("sure", "steps"), [(range(2), 8), (range(2, 8), 3), (range(5, 8), 6), (range(8), 3)]
)
def test_a_draft_on_the_right_canvas_that_ends_when_the_true_step_does_not(sure: range, steps: int) -> None:
    """The text ends at the third position; whether decoding ends there too depends on how sure it is of what
    is written.
    """

    def rule(ids: Ids) -> list[tuple[int, float]]:
        highest = 9.0 if written_of(ids) in sure else 1.0
        return [(0 if i == 3 else i, highest - i / 64) for i in range(len(ids))]

    denoiser = Table(rule, eos_id=0)
    undrafted = decode(denoiser, [[1]], CLOSING, 8, 1, stop_at_eos=False)
    assert len(undrafted.trace[0]) == steps
    for drafts in (2, 3, 4, 8, 50):
        assert_as_undrafted(decode(denoiser, [[1]], CLOSING, 8, drafts, stop_at_eos=False), undrafted)


def test_an_end_of_text_that_no_draft_foresaw() -> None:
    denoiser = ending_at(5, unless=lambda ids: written_of(ids) < 5)
    for drafts in (2, 5, 8):
        _, decoded = assert_as_the_loop(denoiser, [1], 12, Static(1, 4, eos=0), drafts)
        assert decoded.tokens.tolist() == [5]
        assert len(decoded.trace[0]) == 6


@pytest.mark.parametrize("block", [1, 2])
def test_short_blocks_of_shifted_logits(block: int) -> None:
    for seed in range(5):
        for tokens, drafts in [(1, 2), (1, 5), (2, 3)]:
            assert_as_the_loop(
                Shifted(TinyTransformer(seed, everything, 0.4)), [5, 6], 9, Static(tokens, block), drafts
            )


def test_a_likeliest_token_that_is_the_mask() -> None:
    met = 0
    for seed in range(6):
        denoiser = Shy(seed, everything, 0.3)
        _, decoded = assert_as_the_loop(denoiser, [1], 14, Static(2, 6), 4)
        assert MASK not in decoded.ids[0].tolist()
        met += sum(conf < 0.5 for step in decoded.trace[0] for conf in step.observations["conf"].values())
    assert met > 6


def test_bad_logits_in_a_rejected_draft_harm_nothing() -> None:
    def rule(ids: Ids) -> list[tuple[int, float]]:
        """Never is what the guess of two steps says; where 2 stands at the second position, logits are no
        numbers.
        """
        return [
            (9 if i == 2 and written_of(ids) == 1 else i, math.nan if ids[2] == 2 else 8 - i / 4)
            for i in range(len(ids))
        ]

    _, decoded = assert_as_the_loop(Table(rule), [1], 4, Static(1, 4), 3)
    assert decoded.errors == [None]
    assert decoded.ids[0].tolist() == [1, 1, 9, 3, 4]


@pytest.mark.parametrize("breaks", [0, 1, 3, 4, 6])
def test_bad_logits_stop_a_row_at_the_step_where_they_stop_it_without_drafts(breaks: int) -> None:
    def rule(ids: Ids) -> list[tuple[int, float]]:
        bad = ids[0] == 1 and written_of(ids) >= breaks
        return [(i, math.nan if bad and i == 1 + min(6, breaks + 1) else 8 - i / 4) for i in range(len(ids))]

    prompts = [[1], [2]]
    undrafted = decode(Table(rule), prompts, STATIC.bind(block=4), 7, 1)
    assert [error is None for error in undrafted.errors] == [False, True]
    for drafts in (2, 3, 8):
        drafted = decode(Table(rule), prompts, STATIC.bind(block=4), 7, drafts)
        assert_as_undrafted(drafted, undrafted)


# --- batches


def assert_as_alone(
    denoiser: Any, prompts: list[list[int]], policy: dsldec.Policy | str, length: int, drafts: int
) -> None:
    """Every row of a batch gets what it gets alone, and each call of the batch is fed what the rows alone are
    fed at their turn.
    """
    watched = Watched(denoiser)
    together = decode(watched, prompts, policy, length, drafts)
    alone = [Watched(denoiser) for _ in prompts]
    for row, prompt in enumerate(prompts):
        # A request's random numbers are those of its place in the list.
        single = decode(alone[row], [prompt], policy, length, drafts, request_ids=[row])
        assert together.ids[row].tolist() == single.ids[0].tolist()
        assert together.trace[row] == single.trace[0]
        for name in ("forwards", "rows", "tokens"):
            assert getattr(together, name)[row] == getattr(single, name)[0], name
        for name in ("proposed", "accepted"):
            assert list(getattr(together, name)[row]) == list(getattr(single, name)[0]), name
    turns = zip_longest(*(one.calls for one in alone), fillvalue=[])
    assert [sorted(call) for call in watched.calls] == [sorted(chain(*turn)) for turn in turns]


def test_a_row_of_a_batch_gets_what_it_gets_alone() -> None:
    prompts = [[3, 4], [5, 6], [0, 22], [9, 9], [17, 2]]
    for seed in range(2):
        denoiser = TinyTransformer(seed, everything, spread(seed), eos_id=9)
        for drafts, block, tokens in [(2, 5, 1), (4, 6, 1), (3, 3, 2), (50, 8, 1)]:
            assert_as_alone(denoiser, prompts, STATIC.bind(block=block, tokens=tokens), 15, drafts)


def test_the_size_of_a_batch_changes_no_result() -> None:
    prompts = [[3, 4], [5, 6], [0, 22], [9], [17, 2]]
    whole, *parts = (
        decode(tiny(1), prompts, STATIC.bind(block=6), 13, 4, batch=size) for size in (8, 1, 2, 3)
    )
    for part in parts:
        assert part.trace == whole.trace
        assert [ids.tolist() for ids in part.ids] == [ids.tolist() for ids in whole.ids]
        assert part.forwards.tolist() == whole.forwards.tolist()
        assert (part.rows.tolist(), part.proposed, part.accepted) == (
            whole.rows.tolist(),
            whole.proposed,
            whole.accepted,
        )


def test_those_who_watch_are_told_of_true_steps_alone() -> None:
    prompts = [[3, 4], [5, 6], [0, 22]]

    def told(policy: dsldec.Policy, drafts: int) -> list[list[Any]]:
        events: list[StepEvent] = []
        list(
            stream(
                tiny(3),
                prompts,
                policy,
                gen_length=13,
                backend="eager",
                lookahead=drafts,
                on_step=events.append,
            )
        )
        return [
            [(e.step, e.generated.tolist(), e.written, e.confidence) for e in events if e.index == row]
            for row in range(len(prompts))
        ]

    for name in ("static", "wino_plain", "klass"):
        assert told(loaded(name), 4) == told(loaded(name), 1)


def test_rows_of_mixed_lengths_get_what_they_get_alone() -> None:
    prompts = [[3, 4, 5, 6], [], [5], [0, 22], [9, 9, 1]]
    for seed in range(4):
        inner = TinyTransformer(seed, everything, spread(seed), eos_id=9)
        assert_as_alone(Padded(inner), prompts, STATIC.bind(block=5), 13, 3)
        assert_as_alone(Padded(Shifted(inner)), prompts, STATIC.bind(block=2), 9, 3)
    assert_as_alone(Padded(tiny(2)), prompts, loaded("dico"), 11, 4)


def by_first(ids: Ids) -> list[tuple[int, float]]:
    """Of the prompts [0], [1], [2], ... every third is decoded with drafts that never, always, sometimes come
    true.
    """
    first, written = ids[0], written_of(ids)
    changed = (7 * written, 0, written // 3)[first % 3]
    return [((mix(first, i) + changed) % MASK, logit_of(i, first)) for i in range(len(ids))]


def test_rows_with_different_acceptance_do_not_wait_for_each_other() -> None:
    prompts = [[i] for i in range(6)]
    denoiser = Watched(Table(by_first))
    forwards = decode(denoiser, prompts, STATIC.bind(block=4), 12, 4).forwards.tolist()
    assert forwards[0] == forwards[3] == 12
    assert forwards[1] == forwards[4] == 1 + math.ceil(11 / 4)
    assert 4 < forwards[2] < 12
    assert len(denoiser.calls) == 12
    assert_as_alone(Table(by_first), prompts, STATIC.bind(block=4), 12, 4)


def test_finished_drafts_and_finished_rows_are_not_forwarded() -> None:
    denoiser = Watched(context_free(3))
    decode(denoiser, [[1, 2]], STATIC.bind(block=8), 10, 4)
    assert denoiser.shapes == [(1, 12), (4, 12), (4, 12), (1, 12)]
    slow_and_fast = Watched(Table(by_first))
    decoded = decode(slow_and_fast, [[1], [0]], STATIC.bind(block=16), 9, 4)
    assert [shape[0] for shape in slow_and_fast.shapes[:4]] == [2, 8, 8, 4]
    assert all(MASK in canvas for call in slow_and_fast.calls for canvas in call)
    assert {shape[1] for shape in slow_and_fast.shapes} == {10}
    assert decoded.forwards.tolist() == [3, 9]


def test_sequential_verification_changes_nothing_but_the_calls() -> None:
    for seed in range(8):
        of = replace(setting(seed), drafts=3 + seed % 3)
        denoiser = TinyTransformer(seed, everything, spread(seed))
        assert_as_the_loop(
            denoiser, of.prompt, of.length, Static(of.tokens, of.block), of.drafts, verify_rows="sequential"
        )
    prompts = [[3, 4], [5, 6], [0, 22]]
    watched = Watched(TinyTransformer(2, everything, 0.3))
    packed = decode(TinyTransformer(2, everything, 0.3), prompts, "static", 14, 4)
    single = decode(watched, prompts, "static", 14, 4, verify_rows="sequential")
    assert single.trace == packed.trace
    assert [getattr(single, x).tolist() for x in ("forwards", "rows")] == [
        getattr(packed, x).tolist() for x in ("forwards", "rows")
    ]
    assert (single.proposed, single.accepted) == (packed.proposed, packed.accepted)
    assert len(watched.calls) > max(packed.forwards.tolist())


# --- every other policy


def drafts_itself(name: str | Path) -> bool:
    return "lookahead" in read(name)[0]


@cache
def loaded(name: str) -> dsldec.Policy:
    """A policy in small windows, so that drafts cross them."""
    policy = dsldec.load(name)
    small = {"block": 6, "steps": 7, "rounds": 3, "length": 9, "masks": 4}
    return policy.bind(**{name: value for name, value in small.items() if name in policy.parameters})


def names() -> list[str]:
    shipped = [name for name in ONE_CANDIDATE if not drafts_itself(name)]
    return shipped + [name for name in PUBLISHED if not drafts_itself(name)]


DETERMINISTIC = [name for name in names() if loaded(name).facts.deterministic]
PROMPTS = [[3, 7, 11], [5, 0, 8]]


def toy(seed: int) -> ToyDenoiser:
    """A toy that knows an end of text: what it says somewhere in it."""
    denoiser = ToyDenoiser(seed, 2.0)
    denoiser.eos_id = mix(seed, 4, 15) % 39
    return denoiser


def tiny(seed: int) -> TinyTransformer:
    return TinyTransformer(seed, everything, 0.3, eos_id=9)


def assert_policy(
    policy: dsldec.Policy | str, denoiser: Any, length: int, drafts: Sequence[int], **how: Any
) -> None:
    undrafted = decode(denoiser, PROMPTS, policy, length, 1, **how)
    for some in drafts:
        assert_as_undrafted(decode(denoiser, PROMPTS, policy, length, some, **how), undrafted)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_policy_takes_its_own_steps(name: str) -> None:
    assert_policy(loaded(name), toy(1), 15, (3,))
    assert_policy(loaded(name), tiny(1), 15, (2, 8))


def assert_all_guesses_true(policy: dsldec.Policy | str, length: int, drafts: int) -> None:
    """Where what is written changes no logits, no draft of any policy is rejected."""
    denoiser = context_free(4)
    denoiser.eos_id = mix(4, 1, length) % MASK
    undrafted, drafted = (decode(denoiser, PROMPTS, policy, length, some) for some in (1, drafts))
    assert_as_undrafted(drafted, undrafted)
    assert drafted.accepted == drafted.proposed
    assert drafted.forwards.tolist() == [
        1 + math.ceil((steps - 1) / drafts) for steps in undrafted.forwards.tolist()
    ]


@pytest.mark.parametrize("name", names())
def test_no_guess_of_a_policy_fails_where_logits_never_change(name: str) -> None:
    assert_all_guesses_true(loaded(name), 15, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_policy_takes_its_own_steps_in_more_worlds(name: str) -> None:
    for seed in range(2, 12):
        for world in (toy(seed), tiny(seed)):
            assert_policy(loaded(name), world, 20 + seed, (2, 3, 8), stop_at_eos=seed % 2 == 0)


def test_lookahead_saves_forwards_of_other_policies_too() -> None:
    for name in ("dico", "factor", "klass"):
        undrafted, drafted = (
            decode(ToyDenoiser(3, 0.5), PROMPTS, loaded(name), 18, drafts) for drafts in (1, 8)
        )
        assert drafted.forwards.sum() < undrafted.forwards.sum(), name


STATEFUL = """
policy stateful(block: int = 6 in 1..64):
  "What it carries comes from the logits of every step, and decides how much the next ones write, and where."
  window blocks(block)
  state turns: int = 0 per sequence
  state lift: int each = 0 per block
  state late: prob each = 0 per block
  commit top(masked, 1 + turns % 3, by=margin + lift / 64 + 1 * late) at least 1 by conf
  set turns = turns + count(masked and conf > 0.4) + count(same(before))
  set lift = lift + 1 if conf > before(conf) else 0
  set late = conf / 8
"""


def test_state_is_that_of_the_true_steps() -> None:
    assert_all_guesses_true(STATEFUL, 17, 3)
    for seed in range(5):
        for world in (toy(seed), tiny(seed)):
            assert_policy(STATEFUL, world, 17, (2, 8))


PHASED = """
policy phased(block: int = 7 in 1..64):
  window blocks(block)
  state met: int = 0 per flood
  phase trickle:
    commit top(masked, 1, by=conf)
    next flood when steps_in_phase >= 1 + step % 2
  phase flood at most 2 visits else rest:
    set met = met + 1 + count(kl(before) < 0.05)
    commit top(masked, 1 + met % 2, by=margin + 1 * age / 64) at least 1 by conf
    next trickle when met >= 3
  phase rest:
    commit masked and conf > 0.3 at least 1 by conf
"""


def test_phases_and_visits_are_those_of_the_true_steps() -> None:
    assert_all_guesses_true(PHASED, 17, 3)
    for seed in range(3):
        for world in (toy(seed), tiny(seed)):
            assert_policy(PHASED, world, 17, (2, 8))


DRAWN = """
policy drawn(heat: real = 0.7, block: int = 6 in 1..64):
  window blocks(block)
  draw gumbel(heat)
  commit top(masked, 1, by=conf)
"""


def test_draws_are_those_of_the_true_steps() -> None:
    assert_all_guesses_true(DRAWN, 15, 4)
    for seed in range(3):
        assert_policy(DRAWN, tiny(seed), 14, (2, 3, 8), seed=seed)
    assert_as_alone(TinyTransformer(1, everything, 0.3), [[1, 2], [3, 4], [5, 6]], DRAWN, 14, 4)
    one, other = (decode(TinyTransformer(1), [[1, 2]], DRAWN, 14, 4, seed=seed) for seed in (0, 1))
    assert one.ids[0].tolist() != other.ids[0].tolist()


def test_random_numbers_of_other_words_are_those_of_the_true_steps() -> None:
    for name in ("llada_random", "dream_origin"):
        assert not loaded(name).facts.deterministic
        assert_policy(loaded(name), tiny(5), 15, (2, 3, 8))


GUIDED = """
policy guided(scale: real = 0.5, block: int = 6 in 1..64):
  window blocks(block)
  logits cfg(scale)
  commit top(masked, 1, by=conf)
"""


def test_guided_drafts_are_fed_with_and_without_the_prompt() -> None:
    assert_policy(GUIDED, tiny(2), 11, (2, 3, 8))
    watched = Watched(context_free(2))
    decoded = decode(watched, [[1, 2]], GUIDED, 10, 4)
    assert [shape[0] for shape in watched.shapes] == [2, 8, 8, 2]
    assert decoded.rows.tolist() == [20]


def undrafting(seed: int) -> str:
    """A random policy that does not say how far it looks ahead."""
    return "".join(
        line
        for line in random_policy(seed, branches=False)[0].splitlines(keepends=True)
        if not line.lstrip().startswith("lookahead")
    )


def test_random_policies_take_their_own_steps() -> None:
    for seed in range(24):
        assert_policy(undrafting(seed), (toy, tiny)[seed % 2](seed), 11, (2 + seed % 5,))
    for seed in range(24, 30):
        assert_all_guesses_true(undrafting(seed), 11, 4)


@pytest.mark.slow
def test_many_random_policies_take_their_own_steps() -> None:
    for seed in range(1000, 1300):
        assert_policy(
            undrafting(seed), (toy, tiny)[seed % 2](seed), 9 + seed % 13, (2, 5), batch=1 + seed % 2
        )
