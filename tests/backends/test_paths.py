"""The path of `logits constrain(...)` is the likeliest match, in every form in which it is computed."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

import dsldec
from dsldec.backends import paths
from dsldec.backends.reference_paths import PatternOfRow, likeliest_path
from dsldec.patterns import tables
from dsldec.patterns.tables import tables_of
from dsldec.runtime.requests import Request, continued, infilled
from dsldec.runtime.session import Session

from .automata import likeliest_match, matches, random_automaton

V, MASK, EOS = 7, 6, 5
SEEDS = range(60)


def random_scores(rng: random.Random, length: int, *, ties: bool) -> list[list[float]]:
    """Multiples of 1/4, so that every sum is exact; often ties, and ids without a probability."""
    few = (0.0, 1.0, -math.inf) if ties else [x / 4 for x in range(-40, 40)] + [-math.inf]
    return [[rng.choice(few) for _ in range(V)] for _ in range(length)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_path_is_the_likeliest_of_all_texts(seed: int) -> None:
    rng = random.Random(seed)
    length, eos = rng.randint(1, 5), rng.choice((EOS, None))
    automaton = random_automaton(rng, V, MASK, eos)
    of = tables_of(automaton, V, MASK)
    scores = random_scores(rng, length, ties=rng.random() < 0.5)
    given = [rng.randrange(V) if rng.random() < 0.2 else None for _ in range(length)]
    pattern = PatternOfRow(of.following.tolist(), of.class_of.tolist(), of.final.tolist())
    found = likeliest_path(pattern, 0, scores, given)
    wanted = likeliest_match(automaton, scores, given, MASK)
    assert (None if found is None else tuple(found)) == wanted


@pytest.mark.parametrize("seed", SEEDS)
def test_the_open_states_are_those_from_which_a_match_is_possible(seed: int) -> None:
    rng = random.Random(seed)
    length = rng.randint(0, 4)
    automaton = random_automaton(rng, V, MASK, rng.choice((EOS, None)))
    given = [rng.randrange(V - 1) if rng.random() < 0.3 else MASK for _ in range(length)]
    open_ = tables_of(automaton, V, MASK).open_states(given, MASK)
    for at in range(length + 1):
        rest = [None if id_ == MASK else id_ for id_ in given[at:]]
        for state in range(automaton.states):
            wanted = _possible(automaton, state, rest)
            assert open_[at, state] == wanted


def _possible(automaton, state, rest) -> bool:  # type: ignore[no-untyped-def]
    if not rest:
        return bool(automaton.final[state])
    ids = [one for one in range(V) if one != MASK] if rest[0] is None else [rest[0]]
    following = {int(automaton.next_state[state, automaton.class_of[id_]]) for id_ in ids}
    return any(_possible(automaton, one, rest[1:]) for one in following if one >= 0)


POLICY = """policy one(shape: pattern, warm: real = 0):
  window {window}
  {draw}
  logits constrain(shape)
  commit top(masked, 1, by=conf)
"""
WINDOWS = ("all", "blocks(2)", "blocks(3)", "sliding(max_masks=2, max_length=3)", "until(1, max=3)")


def session_of(policy: dsldec.Policy, requests: list[Request], backend: str, columns: int) -> Session:
    session = Session.of(
        policy, slots=len(requests), columns=columns, mask_id=MASK, vocab_size=V, eos_id=EOS, backend=backend
    )
    session.admit_all(dict(enumerate(requests)))
    return session


def decoded(session: Session, seed: int, *, grid: bool = True) -> list[list[int]]:
    """The canvases after each step, and at the end, for random logits."""
    generator, rows = torch.Generator().manual_seed(seed), len(session.canvas)
    trace, steps = [], 0
    while not bool(session.done.all()):
        shape = (rows, session.canvas.shape[1], V)
        logits = (
            torch.randint(-9, 9, shape, generator=generator) / 2
            if grid
            else torch.randn(shape, generator=generator)
        )
        bad = torch.rand(shape, generator=generator) < 0.3
        bad[..., 0] = False  # MASK or not, one id keeps a probability: the logits are finite
        session.step(torch.where(bad, float("-inf"), logits))
        trace += session.canvas.tolist()
        steps += 1
        assert steps <= 100
    assert [session.error(slot) for slot in range(rows)] == [None] * rows
    return trace


def random_request(rng: random.Random, index: int, columns: int) -> Request:
    """A prompt or an infilling of some length, with a pattern that it can match, or without one."""
    while True:
        if rng.random() < 0.4:
            text = [MASK if rng.random() < 0.6 else rng.randrange(V - 1) for _ in range(columns)]
            text[rng.randrange(columns)] = MASK
            request = infilled(index, text, MASK, None)
        else:
            begin = rng.randint(0, 2)
            request = continued(index, [1] * begin, columns - begin)
        request = replace(request, key=rng.randrange(99))
        if rng.random() < 0.2:
            return request
        # The model ends texts at EOS, so that it is in no other place of a match.
        automaton = random_automaton(rng, V, MASK, rng.choice((EOS, None)), never=(EOS,))
        given = [request.canvas(MASK)[at] for at in range(request.begin, request.begin + request.length)]
        if tables_of(automaton, V, MASK).open_states(given, MASK)[0, 0]:
            return replace(request, pattern=automaton)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("window", WINDOWS)
def test_every_text_matches_and_all_forms_agree(
    window: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(f"{seed} {window}")
    draw = rng.choice(("draw gumbel(0.7)", "draw nucleus(0.7, 0.6)", "draw gumbel(warm)", ""))
    policy = dsldec.load(POLICY.format(window=window, draw=draw))
    requests = [random_request(rng, index, 8) for index in range(3)]
    eager = session_of(policy, requests, "eager", 8)
    steps = decoded(eager, seed)
    for request, canvas in zip(requests, eager.canvas.tolist(), strict=True):
        text = canvas[request.begin : request.begin + request.length]
        if MASK in text:  # the row ended at its end of text
            text = [EOS if id_ == MASK else id_ for id_ in text]
        assert request.pattern is None or matches(request.pattern, text)
    assert decoded(session_of(policy, requests, "reference", 8), seed) == steps
    by_rows = paths._by_rows
    monkeypatch.setattr(paths, "_by_rows", lambda patterns, logits, *rest: _at_once(patterns, logits, *rest))
    assert by_rows is not paths._by_rows
    assert decoded(session_of(policy, requests, "eager", 8), seed) == steps


def _at_once(patterns, logits, canvas, pos, inside, state, mask_id, method, draw):  # type: ignore[no-untyped-def]
    """The form for devices without a host's loops."""
    scores = paths._scores(logits, mask_id, method, draw, pos)
    found = paths._whole(patterns, scores, canvas, inside, state, mask_id)
    return torch.where((state < 0).unsqueeze(1), paths._free(logits, mask_id, method, draw, pos), found)


@pytest.mark.parametrize("seed", range(30))
def test_the_class_with_the_most_ids(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LARGE", 30)
    rng, size = random.Random(seed), 300
    automaton = random_automaton(rng, size, size - 1, None, never=tuple(range(rng.choice((0, 60)))))
    requests = [Request(0, (), 6, 0, 6, pattern=automaton)]
    if tables_of(automaton, size, size - 1).shortest(6) != 6:
        return
    steps = []
    for backend in ("reference", "eager"):
        policy = dsldec.load(POLICY.format(window="all", draw=""))
        session = Session.of(
            policy, slots=1, columns=6, mask_id=size - 1, vocab_size=size, eos_id=None, backend=backend
        )
        session.admit(0, requests[0])
        generator = torch.Generator().manual_seed(seed)
        while not bool(session.done.all()):
            logits = torch.randint(0, 500 if seed % 2 else 9, (1, 6, size), generator=generator)
            logits = logits.to(torch.bfloat16 if seed % 3 else torch.float32)
            logits[..., size - 1] = (0.0, math.nan, math.inf)[seed % 5 % 3]  # of MASK, which no step reads
            session.step(logits)
            steps.append((backend, session.canvas.tolist()))
    half = len(steps) // 2
    assert [one for _, one in steps[:half]] == [one for _, one in steps[half:]]


@pytest.mark.parametrize("seed", range(10))
def test_a_row_decodes_alone_as_in_a_batch(seed: int) -> None:
    rng = random.Random(seed)
    policy = dsldec.load(POLICY.format(window=WINDOWS[seed % len(WINDOWS)], draw="draw gumbel(0.7)"))
    requests = [random_request(rng, index, 8) for index in range(4)]
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(40, 4, 8, V, generator=generator)
    together = session_of(policy, requests, "eager", 8)
    for step in range(40):
        if not bool(together.done.all()):
            together.step(logits[step])
    for row, request in enumerate(requests):
        alone = session_of(policy, [request], "eager", 8)
        for step in range(40):
            if not bool(alone.done.all()):
                alone.step(logits[step][row : row + 1])
        assert alone.canvas.tolist()[0] == together.canvas.tolist()[row]
