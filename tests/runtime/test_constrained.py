"""Every finished text matches its pattern, whatever the policy, the denoiser and the batch."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

import dsldec
from dsldec.patterns.automaton import DEAD, TokenAutomaton
from dsldec.patterns.tables import tables_of
from dsldec.runtime.requests import block_shown, continued
from dsldec.runtime.session import Session

from ..backends.automata import matches, random_automaton
from .constrained_runs import EOS, Moody, assert_matches, patterns_of, random_trial
from .families import MASK, VOCABULARY
from .keeping import Keeper

TRIALS = 10_000


@pytest.mark.parametrize("seed", range(60))
def test_every_text_matches(seed: int) -> None:
    trial = random_trial(seed)
    assert_matches(trial, trial.run())


@pytest.mark.slow
def test_every_text_matches_in_many_trials() -> None:
    first = int(os.environ.get("DSLDEC_FIRST_TRIAL", "0"))
    for seed in range(first, int(os.environ.get("DSLDEC_LAST_TRIAL", str(TRIALS)))):
        trial = random_trial(seed)
        try:
            assert_matches(trial, trial.run())
        except BaseException as error:
            raise AssertionError(f"trial {seed}") from error


@pytest.mark.parametrize("seed", range(100, 125))
def test_drafts_change_no_text(seed: int) -> None:
    trial = random_trial(seed)
    facts = trial.policy.facts
    if facts.branches is not None or (facts.drafts is not None and not facts.exact):
        return
    plain = trial.run(lookahead=None)
    if trial.policy.facts.drafts is None and trial.policy.facts.branches is None:
        assert [one.tolist() for one in trial.run(lookahead=3).ids] == [one.tolist() for one in plain.ids]


@pytest.mark.parametrize("seed", range(200, 225))
def test_a_prompt_has_its_answer_in_any_batch(seed: int) -> None:
    trial = random_trial(seed)
    together = trial.run()
    for at in range(len(trial.prompts)):
        if trial.patterns[at] is None:
            continue  # a policy whose requests have no pattern at all is refused
        assert trial.run(alone=at, batch=1).ids[0].tolist() == together.ids[at].tolist()


@pytest.mark.parametrize("seed", range(300, 308))
def test_the_reference_gives_the_same_texts(seed: int) -> None:
    trial = random_trial(seed)
    if trial.denoiser.mood == "dull":  # equal sums of probabilities are rounded in another order
        trial.denoiser.mood = "plain"
    assert [x.tolist() for x in trial.run(backend="reference").ids] == [x.tolist() for x in trial.run().ids]


@pytest.mark.parametrize("cache", ["none", "exact", "prefix", "dual"])
@pytest.mark.parametrize("seed", range(4))
def test_every_cache_keeps_the_pattern(cache: str, seed: int) -> None:
    rng = random.Random(f"{cache} {seed}")
    block = 4 if cache == "exact" else None
    denoiser = Keeper(seed, block)
    policy = dsldec.load("threshold", block=4, confidence=0.3).constrained()
    patterns: list[TokenAutomaton] = []
    while len(patterns) < 3:
        automaton = random_automaton(rng, VOCABULARY, MASK, None, 6)
        if tables_of(automaton, VOCABULARY, MASK).shortest(12) == 12:
            patterns.append(automaton)
    with patterns_of(dict(enumerate(patterns))):
        decoded = dsldec.decode(
            denoiser, [[1, 2], [3], [4, 5, 6]], policy, gen_length=12, cache=cache, backend="eager"
        )
    assert not any(decoded.errors)
    for pattern, ids in zip(patterns, decoded.ids, strict=True):
        assert matches(pattern, ids.tolist()[-12:])


def test_what_a_request_cannot_have() -> None:
    plain, shaped = dsldec.load("static"), dsldec.load("static").constrained()
    automaton = TokenAutomaton(
        np.array([[DEAD, 1], [DEAD, 2], [DEAD, DEAD]], dtype=np.int32),
        np.array([0, 1] + [0] * (VOCABULARY - 2), dtype=np.int32),
        np.array([False, False, True]),
    )
    denoiser = Moody(0, "plain", [0], None)

    def code(policy: dsldec.Policy, pattern: TokenAutomaton | None, length: int) -> str:
        with patterns_of({0: pattern}), pytest.raises(dsldec.UsageError) as caught:
            dsldec.decode(denoiser, [[1]], policy, gen_length=length)
        diagnostic = caught.value.diagnostic
        return f"{diagnostic.code} {diagnostic.help}"

    assert code(plain, automaton, 2).startswith("E0323")
    assert code(shaped, None, 2).startswith("E0320")
    assert (
        code(shaped, automaton, 1)
        == "E0321 its shortest match has 2 tokens: generate at least as many, `gen_length=2`"
    )
    assert code(shaped, automaton, 3) == "E0321 its shortest match has 2 tokens"
    with patterns_of({0: automaton}):
        assert dsldec.decode(denoiser, [[5]], shaped, gen_length=2).ids[0].tolist() == [5, 1, 1]


def test_a_canvas_that_cannot_match_ends_its_row_and_no_other() -> None:
    policy = dsldec.load("static", block=4).constrained()
    automaton = random_automaton(random.Random(3), VOCABULARY, MASK, EOS, 4, (EOS,))
    session = Session.of(policy, slots=2, columns=8, mask_id=MASK, vocab_size=VOCABULARY, eos_id=EOS)
    session.admit_all({row: replace(continued(row, [], 8), pattern=automaton) for row in range(2)})
    canvas = session.state.canvas.clone()
    canvas[0, 3] = (
        MASK - 1 if automaton.class_of[MASK - 1] == 0 else int((automaton.class_of[:MASK] == 0).argmax())
    )
    assert automaton.class_of[int(canvas[0, 3])] == 0
    session.state = replace(session.state, canvas=canvas)
    generator = torch.Generator().manual_seed(0)
    while not bool(session.done.all()):
        session.step(torch.randn(2, 8, VOCABULARY, generator=generator))
    error = session.error(0)
    assert error is not None
    assert error.code == "E0322"
    assert (session.canvas[0] == MASK).sum() == 7
    assert session.error(1) is None
    text = [EOS if id_ == MASK else id_ for id_ in session.canvas[1].tolist()]
    assert matches(automaton, text)


@pytest.mark.parametrize("seed", range(20))
def test_a_host_that_shows_one_block_at_a_time_gives_the_same_text(seed: int) -> None:
    rng = random.Random(seed)
    policy = dsldec.load("threshold", block=3, confidence=0.4).constrained()
    while True:
        automaton = random_automaton(rng, VOCABULARY, MASK, EOS, 6, (EOS,))
        if tables_of(automaton, VOCABULARY, MASK).shortest(9) == 9:
            break
    logits = torch.randn(40, 1, 9, VOCABULARY, generator=torch.Generator().manual_seed(seed))
    sizes = {"mask_id": MASK, "vocab_size": VOCABULARY, "eos_id": EOS, "stop_at_eos": False}
    whole = Session.of(policy, slots=1, columns=9, **sizes)
    whole.admit(0, replace(continued(0, [], 9), pattern=automaton))
    step = 0
    while not bool(whole.done.all()):
        whole.step(logits[step])
        step += 1
    blocks, text, step = Session.of(policy, slots=1, columns=3, gen_length=9, **sizes), list[int](), 0
    for start in (0, 3, 6):
        if start == 0:
            blocks.admit(0, replace(block_shown(0, [MASK] * 3, 0, 9, MASK), pattern=automaton))
        else:
            blocks.show(0, [MASK] * 3, start)
        while not bool(blocks.done.all()):
            blocks.step(logits[step][:, start : start + 3])
            step += 1
        text += blocks.canvas[0].tolist()
    assert text == whole.canvas[0].tolist()
    assert matches(automaton, text)


def test_the_ids_of_the_model_reach_a_step_that_finds_the_path_first() -> None:
    text = (
        "policy p(shape: pattern):\n  window all\n  logits ban(pad, bos)\n  logits constrain(shape)\n"
        "  commit top(masked, 1, by=conf if token != eos else -1)\n"
    )
    denoiser = dsldec.from_pretrained()
    eager, auto = (
        dsldec.decode(denoiser, ["What is 3+4?"], text, constrain="[0-9]+", gen_length=8, backend=backend)
        for backend in ("eager", "auto")
    )
    assert auto.ids[0].tolist() == eager.ids[0].tolist()
