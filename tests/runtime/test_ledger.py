"""Does the ledger count forwards, input rows and drafts of each request, and know its bound? If the logits do
not change, are the drafts equal to the steps that follow?
"""

from __future__ import annotations

from itertools import pairwise

import torch

import dsldec
from dsldec.runtime.drafter import Draft, Drafter, accepted
from dsldec.runtime.forward import Forward
from dsldec.runtime.forward_output import ForwardOutput
from dsldec.runtime.ledger import Ledger
from dsldec.runtime.poll import SyncPoll
from dsldec.runtime.requests import NO_REQUEST, continued
from dsldec.runtime.rows import Rows
from dsldec.runtime.session import Session

from .families import MASK, VOCABULARY, context_free

CPU = torch.device("cpu")
BOTH, FIRST, NEITHER = (torch.tensor(rows) for rows in ([True, True], [True, False], [False, False]))


def rows(*lengths: int) -> Rows:
    requests = [continued(n, [1, 2], length) if length else NO_REQUEST for n, length in enumerate(lengths)]
    return Rows(requests, 4, MASK, None, CPU)


def test_costs_count_until_the_end_of_a_row() -> None:
    ledger = Ledger(rows(4, 8), 3, lambda request: request.length)
    ledger.forward(
        [0, 1, 0, 1], [BOTH, FIRST], 1
    )  # the second draft was forwarded for a row that had ended in it
    ledger.forward([0, 1], [FIRST], 1)  # the second row had ended, and the host did not know
    ledger.proposed[0] += BOTH
    ledger.accepted[0] += FIRST
    first, second = (ledger.of(row, torch.tensor(row == 1)) for row in (0, 1))
    assert (first.forwards, first.input_rows, first.wasted_rows, first.failed) == (2, 3, 0, False)
    assert (second.forwards, second.input_rows, second.wasted_rows, second.failed) == (1, 1, 2, True)
    assert (first.proposed, first.accepted) == ((1, 0), (1, 0))
    assert (second.proposed, second.accepted) == ((1, 0), (0, 0))
    assert first.seconds >= 0


def test_a_bound_counts_from_the_admission() -> None:
    ledger = Ledger(rows(1, 3), 1, lambda request: request.length)
    assert not ledger.overdue(0)
    ledger.forward([0, 1], [BOTH], 2)
    assert ledger.overdue(0)
    assert not ledger.overdue(1)
    ledger.admit({0: continued(2, [1], 2)}, FIRST)
    assert not ledger.overdue(0)
    assert ledger.of(0, torch.tensor(False)).input_rows == 0
    assert ledger.of(1, torch.tensor(False)).input_rows == 2
    ledger.forward([0, 1], [BOTH], 2)
    assert ledger.forwards_so_far(0) == 1
    assert ledger.forwards_so_far(1) == 2
    ledger.forward([0, 1], [NEITHER], 2)
    assert ledger.overdue(0)
    assert ledger.overdue(1)


def test_drafts_come_true_where_logits_do_not_change() -> None:
    policy, denoiser = dsldec.load("static", block=4), context_free(3)
    step = policy.compile("eager", mask_id=MASK)
    session = Session(policy, step, rows(8, 8), vocab_size=VOCABULARY)
    ledger = Ledger(session.rows, 4, lambda request: request.length)
    forward = Forward(denoiser, session.rows, None, drafts=4)
    drafter = Drafter(session.runner, forward, 4, ledger, SyncPoll())
    seen = ForwardOutput(denoiser(session.canvas), torch.arange(2))
    none = torch.zeros(2, dtype=torch.bool)
    drafts = drafter.drafted(Draft(session.state, [0, 1]), seen, BOTH, [], none)
    assert len(drafts) == 4
    for now, ahead in pairwise(drafts):
        assert (ahead.state.canvas != now.state.canvas).sum(1).tolist() == [1, 1]
        stepped = session.runner(session.state, seen, BOTH, ahead.state)
        session.state, passes = accepted(session.state, stepped, ahead.state, refreshes=False)
        assert passes.tolist() == [True, True]
    assert ledger.proposed.sum(0).tolist() == [3, 3]


def test_rows_without_a_forward_are_not_drafted() -> None:
    policy, denoiser = dsldec.load("static", block=4), context_free(3)
    session = Session(policy, policy.compile("eager", mask_id=MASK), rows(8, 8), vocab_size=VOCABULARY)
    ledger = Ledger(session.rows, 2, lambda request: request.length)
    drafter = Drafter(session.runner, Forward(denoiser, session.rows, None, drafts=2), 2, ledger, SyncPoll())
    seen = ForwardOutput(denoiser(session.canvas), torch.arange(2))
    _, draft = drafter.drafted(Draft(session.state, [0, 1]), seen, BOTH, [1], torch.tensor([False, True]))
    assert draft.rows == [0]
    assert draft.of(BOTH).tolist() == [True, False]
    assert drafter.drafted(Draft(session.state, [1]), seen, BOTH, [1], torch.tensor([False, True]))[1:] == []
