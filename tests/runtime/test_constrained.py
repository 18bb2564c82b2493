"""Every finished text matches its pattern, whatever the policy, the denoiser and the batch."""

from __future__ import annotations

import os

import pytest

from .constrained_runs import assert_matches, random_trial

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
    if trial.policy.facts.drafts is not None and not trial.policy.facts.exact:
        return
    plain = trial.run(lookahead=None)
    if trial.policy.facts.drafts is None:
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
    assert [x.tolist() for x in trial.run(backend="reference").ids] == [x.tolist() for x in trial.run().ids]
