"""Policies that branch: the loop equals a plain loop over steps, batches, caches, windows, ends and failures."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.diagnostics import UsageError
from dsldec.runtime import branch_loop
from dsldec.runtime.brancher import chosen
from dsldec.runtime.session import Session

from ..toy import MASK, ToyDenoiser
from .keeping import Keeper

PROMPTS = [[9, 17, 0], [25, 0, 8, 3], [1, 2, 3], [30, 4, 12]]

# Each candidate has other states and another number of positions.
COUNTING = """policy counting(rows: int = 3 in 1..8):
  window {window}
  state total: int = 0 per sequence
  state tries: int each = 0 per block
  commit masked and conf > 0.8 at least 1 by conf
  branch rows as i:
    set total = total + i
    set tries = tries + i if masked else tries
    commit top(masked, i, by=conf)
    edit committed and token != canvas as token at most i
  pick by mean(conf) - 0.0625 * total + 0.125 * max(tries)
"""
WINDOWS = ("all", "blocks(5)", "sliding(max_masks=4, max_length=7)", "until(7, 3, 11, min=2, max=7)")
PHASES = """policy phased():
  window blocks(6)
  state best: real = 0 per sequence
  phase opening at most 2 visits else closing:
    commit masked and conf > 0.7
    branch 3 as i:
      set best = best + i
      commit sample(masked, i, by=conf) at least 1 by conf
    pick by mean(margin) - 0.01 * best
    next closing when steps_in_phase >= 1
  phase closing:
    commit masked and conf > 0.7 at least 1 by conf
    next opening when count(masked) > 2
"""


def decode(policy: Any, prompts: list[list[int]] = PROMPTS, denoiser: Any = None, **how: Any) -> Any:
    how = {"gen_length": 14, "backend": "eager", "trace": True, "stop_at_eos": False, **how}
    return dsldec.decode(denoiser or ToyDenoiser(7, 1.0), prompts, policy, **how)


def of_row(decoded: Any, row: int) -> tuple[Any, ...]:
    return (
        decoded.ids[row].tolist(),
        int(decoded.forwards[row]),
        int(decoded.rows[row]),
        decoded.trace[row],
    )


# --- the loop


class PlainLoop:
    """One row under `window all`, with the reference step: a list of candidates, forwarded one by one."""

    def __init__(
        self, policy: dsldec.Policy, denoiser: Any, prompt: list[int], length: int, key: int
    ) -> None:
        self.step = policy.compile("reference", mask_id=MASK)
        self.branches = policy.plan(length).branches
        self.denoiser, self.prompt, self.length = denoiser, prompt, length
        self.canvas = torch.full((1, length), MASK)
        self.state = self.step.start(1, length, vocab_size=denoiser.vocab_size)
        if "key" in self.state:
            self.state["key"] = torch.tensor([key])
        self.picked: list[int] = []
        self.forwards = self.rows = 0

    def stepped(self, canvas: Tensor, state: Any, branch: int, logits: Tensor) -> Any:
        given = dict(state)
        if "branch" in given:
            given["branch"] = torch.tensor([branch])
        return self.step(logits, canvas, torch.ones_like(canvas, dtype=torch.bool), given)

    def logits(self, canvas: Tensor) -> Tensor:
        return self.denoiser(torch.cat([torch.tensor([self.prompt]), canvas], 1))[:, len(self.prompt) :]

    def run(self) -> None:
        candidates = [(self.canvas, self.state)]
        while True:
            self.forwards += 1
            self.rows += len({tuple(canvas[0].tolist()) for canvas, _ in candidates})
            seen = [self.logits(canvas) for canvas, _ in candidates]
            best, winner = -math.inf, 0
            for number, (canvas, state) in enumerate(candidates):
                score = float(self.stepped(canvas, state, number, seen[number]).events.score)
                if score > best:
                    best, winner = score, number
            if len(candidates) > 1:
                self.picked.append(winner)
            (self.canvas, self.state), logits = candidates[winner], seen[winner]
            made = [self.stepped(self.canvas, self.state, i, logits) for i in range(self.branches)]
            candidates = [(one.canvas, one.state) for one in made]
            for number, one in enumerate(made):
                if bool(one.done):
                    self.canvas = one.canvas
                    self.picked.append(number)
                    return


def random_policy(seed: int) -> str:
    """A policy of one window. Its candidates differ in positions, states and draws."""
    rng = random.Random(seed)
    write = rng.choice(
        (
            "commit top(masked, i, by=conf)",
            "commit sample(masked, 1 + i, by=conf)",
            "commit masked and pos % 3 == i",
            "commit masked and conf > 0.9 - 0.2 * i",
            "commit chance(masked, 0.3)\n    commit top(masked, 1, by=-entropy) and i > 1",
        )
    )
    score = rng.choice(
        (
            "mean(conf)",
            "-sum(entropy)",
            "quantile(conf, 0.25) - total",
            "min(margin) + total",
            "-before(mean(conf))",
        )
    )
    first = rng.choice(
        (
            "commit top(masked, 1 + int(8 * total) % 3, by=conf) at least 1 by conf",
            "commit masked and conf > 0.8 - total at least 1 by margin",
        )
    )
    return f"""policy random_{seed}():
  window all
  state total: real = 0 per sequence
  {first}
  branch {rng.choice((2, 3, 5))} as i:
    set total = total + 0.125 * i
    {write}
  pick by {score} + 0 * total
"""


@pytest.mark.parametrize("seed", range(24))
def test_random_policies_decode_as_a_plain_loop(seed: int) -> None:
    policy, denoiser = dsldec.load(random_policy(seed)), ToyDenoiser(seed, (0.5, 1.0, 4.0)[seed % 3])
    got = decode(policy, PROMPTS[:2], denoiser, seed=seed, gen_length=9)
    for row, prompt in enumerate(PROMPTS[:2]):
        loop = PlainLoop(policy, denoiser, prompt, 9, dsldec.backends.noise.key(seed, row))
        loop.run()
        assert got.ids[row].tolist() == prompt + loop.canvas[0].tolist()
        assert (int(got.forwards[row]), int(got.rows[row])) == (loop.forwards, loop.rows)
        assert [step.branch for step in got.trace[row]] == loop.picked


def test_a_state_of_another_candidate_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would find: the picked canvas with the state of candidate 0."""

    def mixed(candidates: Any, which: Tensor) -> Any:
        state, first = chosen(candidates, which), candidates[0]
        return state._of(state._named() | {n: v for n, v in first._named().items() if "state_" in n})

    monkeypatch.setattr(branch_loop, "chosen", mixed)
    assert any(map(differs_from_the_plain_loop, range(24)))


def differs_from_the_plain_loop(seed: int) -> bool:
    try:
        test_random_policies_decode_as_a_plain_loop(seed)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("backend", ["reference", "eager"])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_row_alone_is_that_of_a_batch(window: str, backend: str) -> None:
    policy = dsldec.load(COUNTING.format(window=window))
    together, in_turn = (decode(policy, batch=batch, backend=backend) for batch in (4, 2))
    for row, prompt in enumerate(PROMPTS):
        alone = of_row(decode(policy, [prompt], backend="eager"), 0)
        assert of_row(together, row) == of_row(in_turn, row) == alone
    assert max(step.branch for row in together.trace for step in row) > 0
    assert (together.rows > together.forwards).all()


def test_phases_with_a_branch_in_one_of_them() -> None:
    policy = dsldec.load(PHASES)
    together = decode(policy, seed=3, batch=3)
    for row, prompt in enumerate(PROMPTS):
        alone = decode(policy, [prompt], seed=3, request_ids=[row])
        assert of_row(together, row) == of_row(alone, 0)
        assert MASK not in together.ids[row]
    assert {step.phase for row in together.trace for step in row if step.branch} == {"opening"}


@pytest.mark.parametrize("window", WINDOWS)
def test_one_candidate_is_the_policy_without_the_lines(window: str) -> None:
    text = COUNTING.format(window=window)
    without = "\n".join(
        line.replace("    ", "  ").replace("+ i", "+ 0").replace("i,", "0,").replace("most i", "most 0")
        for line in text.splitlines()
        if not line.lstrip().startswith(("branch", "pick"))
    )
    one, plain = decode(dsldec.load(text, rows=1)), decode(without)
    for row in range(len(PROMPTS)):
        assert of_row(one, row) == of_row(plain, row)
    assert (one.rows == one.forwards).all()


def test_one_candidate_draws_what_the_policy_without_the_lines_draws() -> None:
    text = "policy p():\n  window blocks(5)\n  branch 1 as i:\n    commit sample(masked, 2, by=conf) at least 1 by conf\n  pick by mean(conf)\n"
    without = "policy p():\n  window blocks(5)\n  commit sample(masked, 2, by=conf) at least 1 by conf\n"
    assert [of_row(decode(one, seed=4), 0) for one in (text, text)] == [
        of_row(decode(without, seed=4), 0)
    ] * 2


def test_a_score_draws_other_numbers_for_each_candidate() -> None:
    """Else noise would change no choice, and importance sampling of candidates (LookUM) could not be said."""
    text = "policy p():\n  window all\n  branch 4 as i:\n    commit top(masked, 2, by=conf)\n  pick by {}\n"
    got = decode(text.format("random"))
    assert len({step.branch for row in got.trace for step in row}) == 4
    assert of_row(got, 2) == of_row(decode(text.format("random"), [PROMPTS[2]], request_ids=[2]), 0)


def test_a_score_that_draws_moves_no_other_numbers() -> None:
    text = "policy p():\n  window blocks(5)\n  branch 1 as i:\n    commit sample(masked, 2, by=conf) at least 1 by conf\n  pick by random - random\n"
    without = "policy p():\n  window blocks(5)\n  commit sample(masked, 2, by=conf) at least 1 by conf\n"
    assert of_row(decode(text, seed=4), 0) == of_row(decode(without, seed=4), 0)
    one, two = (
        decode(text.replace("branch 1", "branch 3").replace("random - random", score), seed=4)
        for score in ("mean(conf)", "mean(conf) + 0 * random")
    )
    assert [of_row(one, row) for row in range(4)] == [of_row(two, row) for row in range(4)]


def test_the_bound_on_forwards_holds() -> None:
    for window in WINDOWS:
        policy = dsldec.load(COUNTING.format(window=window))
        got = decode(policy)
        assert int(got.forwards.max()) <= policy.plan(14).max_forwards
        assert (got.rows <= got.forwards * policy.plan(14).rows_per_forward).all()


# --- ends


class Ending(ToyDenoiser):
    """Knows an end of text."""

    eos_id = 5

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        logits[:, 13:, self.eos_id] += 30
        return logits

    def decode_text(self, ids: Any) -> str:
        return "".join(chr(97 + int(id_) % 26) for id_ in ids if int(id_) != self.eos_id)


def test_a_candidate_that_ends_ends_the_row() -> None:
    policy = "policy p():\n  window all\n  branch 3 as i:\n    commit masked and pos < 3 * i at least 1 by -pos\n  pick by -count(committed)\n"
    got = decode(policy, [[1, 2]], gen_length=6)
    # The first step makes canvases of 1, 3 and 6 ids: the third is full and wins, whatever the scores say.
    assert (int(got.forwards), int(got.rows), [step.branch for step in got.trace[0]]) == (1, 1, [2])


def test_ends_of_text_and_stop_strings() -> None:
    policy = dsldec.load(COUNTING.format(window="blocks(5)"))
    denoiser = Ending(3, 1.0)
    whole = decode(policy, denoiser=denoiser, stop_at_eos=True)
    assert any(len(text) < 14 for text in whole.text)
    stop = sorted({text[1:3] for text in whole.text if len(text) > 3})[:2]
    stopped = decode(policy, denoiser=denoiser, stop_at_eos=True, stop=stop)
    for row, (text, before) in enumerate(zip(stopped.text, whole.text, strict=True)):
        first = min((before.find(one) for one in stop if one in before), default=len(before))
        assert text == before[:first]
        assert int(stopped.forwards[row]) <= int(whole.forwards[row])
        alone = decode(policy, [PROMPTS[row]], denoiser, stop_at_eos=True, stop=stop)
        assert of_row(alone, 0) == of_row(stopped, row)


def test_infillings() -> None:
    texts = [[3, MASK, MASK, 7, MASK, MASK, MASK, 2], [MASK, 1, MASK, MASK, 5, MASK]]
    for window in WINDOWS:
        policy = dsldec.load(COUNTING.format(window=window))
        got = decode(policy, texts, infill=True, gen_length=None)
        for row, text in enumerate(texts):
            ids = got.ids[row].tolist()
            assert MASK not in ids
            assert [a for a, b in zip(ids, text, strict=True) if b != MASK] == [b for b in text if b != MASK]
            assert of_row(decode(policy, [text], infill=True, gen_length=None), 0) == of_row(got, row)


# --- failures


class Failing(ToyDenoiser):
    """Gives no finite logits for canvases with some number of masks."""

    def __init__(self, masks: tuple[int, ...]) -> None:
        super().__init__(7, 1.0)
        self.masks = masks

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        bad = torch.tensor([int((row == MASK).sum()) in self.masks for row in ids])
        return torch.where(bad.view(-1, 1, 1), float("nan"), logits)


FAILS = "policy p():\n  window all\n  branch 3 as i:\n    commit top(masked, i + 1, by=conf)\n  pick by {}\n"


def test_a_candidate_with_logits_that_are_not_finite_loses() -> None:
    """Of 8 masks, a step leaves 7, 6 or 5. The score prefers many masks."""
    policy = FAILS.format("count(masked)")
    got = decode(policy, [[1, 2]], Failing((7, 6)), gen_length=8)
    assert got.errors == [None]
    assert got.trace[0][0].branch == 2
    with pytest.warns(dsldec.DecodingWarning):
        failed = decode(policy, [[1, 2], [3]], Failing((7, 6, 5)), gen_length=8)
    assert [error.code for error in failed.errors] == ["E0406"] * 2
    assert int(failed.forwards[0]) == 2


def test_a_score_without_a_value_loses() -> None:
    """The mean over nothing has no value: where 7 or 6 masks are left, `count(masked) == 5` selects none."""
    got = decode(FAILS.format("mean(conf, over=masked and count(masked) == 5)"), [[1, 2]], gen_length=8)
    assert got.trace[0][0].branch == 2
    got = decode(FAILS.format("mean(conf, over=committed and masked)"), [[1, 2]], gen_length=4)
    assert [step.branch for step in got.trace[0]][:1] == [0]


def test_a_denoiser_that_raises_keeps_what_has_ended() -> None:
    class Raising(ToyDenoiser):
        def __call__(self, ids: Tensor) -> Tensor:
            if len(self.calls) > 6:
                raise RuntimeError("no more")
            return super().__call__(ids)

    with pytest.raises(dsldec.DecodingStopped) as stopped:
        decode("lopa", [[1, 2]] * 3, Raising(7, 4.0), batch=1, gen_length=8)
    assert any(error is None for error in stopped.value.decoded.errors)


# --- hosts, drafts and caches


def test_drafts_and_sessions_are_refused() -> None:
    with pytest.raises(UsageError, match="E0411"):
        decode("lopa", lookahead=2)
    assert decode("lopa", lookahead=1).errors == [None] * 4
    with pytest.raises(UsageError, match="E0450"):
        Session.of(dsldec.load("lopa"), slots=1, columns=16, mask_id=MASK, vocab_size=40)
    Session.of(dsldec.load("lopa", rows=1), slots=1, columns=16, mask_id=MASK, vocab_size=40)


def test_guidance_feeds_two_rows_for_each_candidate() -> None:
    policy = COUNTING.format(window="blocks(5)").replace(
        "  state total", "  logits cfg(0.5)\n  state total", 1
    )
    got = decode(policy)
    for row, prompt in enumerate(PROMPTS):
        assert of_row(decode(policy, [prompt]), 0) == of_row(got, row)
    assert (got.rows % 2 == 0).all()


def test_rows_one_by_one_give_the_same() -> None:
    policy = dsldec.load(COUNTING.format(window="blocks(5)"))
    together, one_by_one = (decode(policy, verify_rows=how) for how in ("batch", "sequential"))
    for row in range(len(PROMPTS)):
        assert of_row(together, row) == of_row(one_by_one, row)


CACHED = [[3, 4, 5, 6, 7, 1], [], [5], [0, 22, 9, 9]]


@pytest.mark.parametrize("window", WINDOWS)
def test_an_exact_cache_changes_nothing(window: str) -> None:
    """Candidates of one row may be in different blocks: each is forwarded from the last stored column on."""
    policy, denoiser = dsldec.load(COUNTING.format(window=window)), Keeper(5, 4)
    cached, plain = (decode(policy, CACHED, denoiser, cache=cache, batch=3) for cache in ("exact", "none"))
    for row in range(len(CACHED)):
        assert of_row(cached, row) == of_row(plain, row)
    assert max(step.branch for row in cached.trace for step in row) > 0


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_an_approximate_cache_is_one_for_each_row(cache: str) -> None:
    policy, denoiser = dsldec.load(COUNTING.format(window="blocks(5)")), Keeper(5, None)
    together = decode(policy, CACHED, denoiser, cache=cache, batch=3)
    for row, prompt in enumerate(CACHED):
        assert of_row(decode(policy, [prompt], denoiser, cache=cache), 0) == of_row(together, row)
