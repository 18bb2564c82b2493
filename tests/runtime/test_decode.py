"""The decoding loop: its calls, its stored values, and its end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends.vocabulary import OBSERVATIONS
from dsldec.runtime.decode import stream
from dsldec.runtime.trace import StepEvent

from ..shipped import CORE
from ..toy import MASK, ToyDenoiser


class Plain:
    """Is sure of id `position mod 10` everywhere, more so further left; remembers its calls."""

    mask_id = 10
    vocab_size = 11

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, ids: Tensor) -> Tensor:
        self.calls.append(tuple(ids.shape))
        logits = torch.zeros(*ids.shape, self.vocab_size)
        positions = torch.arange(ids.shape[1])
        logits[:, positions, positions % 10] = 8.0 - positions / 16
        return logits


class Ending(Plain):
    """Plain, and says end-of-text (id 0) at generated position 3 and later, of a prompt of length 2."""

    eos_id = 0

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        logits[:, 5:] = 0.0
        logits[:, 5:, 0] = 9.0
        return logits


def test_a_plain_callable_is_called_for_each_counted_forward_and_never_padded() -> None:
    denoiser = Plain()
    decoded = dsldec.decode(denoiser, [[1], [2, 3], [4], [5]], "static", gen_length=6, batch=2)
    assert decoded.forwards.tolist() == [6] * 4
    # Prompts of length 1 in batches of two and one, the prompt of length 2 alone.
    assert sorted(set(denoiser.calls)) == [(1, 7), (1, 8), (2, 7)]
    assert len(denoiser.calls) == 18
    assert [ids.tolist() for ids in decoded.ids] == [
        [1, 1, 2, 3, 4, 5, 6],
        [2, 3, 2, 3, 4, 5, 6, 7],
        [4, 1, 2, 3, 4, 5, 6],
        [5, 1, 2, 3, 4, 5, 6],
    ]
    assert decoded.text == [None] * 4
    assert decoded.errors == [None] * 4


def test_a_denoiser_that_knows_padding_gets_mixed_lengths() -> None:
    class Padded(Plain):
        pads = True

        def __call__(self, ids: Tensor, lengths: list[int] | None = None) -> Tensor:
            assert lengths is not None
            assert ids.shape == (len(lengths), max(lengths))
            return super().__call__(ids)

    denoiser = Padded()
    decoded = dsldec.decode(denoiser, [[1], [2, 3], [4]], "static", gen_length=4)
    assert denoiser.calls == [(3, 6)] * 4
    assert decoded.ids[1].tolist() == [2, 3, 2, 3, 4, 5]
    assert decoded.ids[2].tolist() == [4, 1, 2, 3, 4]


def test_rows_that_are_done_are_not_forwarded() -> None:
    class Uneven(Plain):
        """The larger a prompt's first id, the surer."""

        def __call__(self, ids: Tensor) -> Tensor:
            return super().__call__(ids) * ids[:, :1, None] / 8

    denoiser = Uneven()
    decoded = dsldec.decode(denoiser, [[1], [5], [9]], "threshold", gen_length=24)
    counts = decoded.forwards.tolist()
    assert counts[0] == 24 > counts[1] > counts[2] == 1
    assert [shape[0] for shape in denoiser.calls] == [sum(n > step for n in counts) for step in range(24)]
    assert len({tuple(ids.tolist()[1:]) for ids in decoded.ids}) == 1


def test_decoding_ends_at_the_end_of_text() -> None:
    denoiser = Ending()
    policy = dsldec.load("static", block=4)
    decoded = dsldec.decode(denoiser, [[7, 7]], policy, gen_length=12)
    assert decoded.ids[0].tolist() == [7, 7, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert decoded.tokens.tolist() == [3]
    assert decoded.forwards.tolist() == [4]
    whole = dsldec.decode(denoiser, [[7, 7]], policy, gen_length=12, stop_at_eos=False)
    assert whole.forwards.tolist() == [12]
    assert whole.tokens.tolist() == [3]


def test_end_of_text_with_a_mask_before_it_is_not_the_end() -> None:
    decoded = dsldec.decode(Ending(), [[7, 7]], dsldec.load("static", block=12), gen_length=12)
    # The surest positions are the end-of-text ones: all nine are written before the three content tokens.
    assert decoded.forwards.tolist() == [12]
    assert decoded.ids[0].tolist() == [7, 7, 2, 3, 4] + [0] * 9


def test_bad_logits_stop_their_row_alone_and_keep_what_was_written() -> None:
    class Failing(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            # The first row breaks at generated position 4 once three positions are written.
            broken = (ids[:, 0] == 1) & ((ids[:, 1:] != self.mask_id).sum(1) >= 3)
            logits[broken, 5] = float("nan")
            return logits

    decoded = dsldec.decode(Failing(), [[1], [2]], "static", gen_length=6)
    error = decoded.errors[0]
    assert error is not None
    assert error.code == "E0406"
    assert "in step 4 at generated position 4" in error.message
    assert decoded.ids[0].tolist() == [1, 1, 2, 3, 10, 10, 10]
    assert decoded.tokens.tolist() == [3, 6]
    assert decoded.errors[1] is None
    assert decoded.ids[1].tolist() == [2, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("position", [3, 11, 19])
def test_the_position_of_bad_logits_is_right_in_every_block_and_for_every_mask_id(position: int) -> None:
    class First(Plain):
        mask_id = 0

        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            logits[:, 1 + position] = float("nan")
            return logits

    text = "policy p():\n  window blocks(8)\n  commit masked\n"
    decoded = dsldec.decode(First(), [[1]], text, gen_length=24)
    assert decoded.errors[0] is not None
    assert f"at generated position {position}" in decoded.errors[0].message
    assert decoded.ids[0].tolist()[1 + 8 * (position // 8) :] == [0] * (24 - 8 * (position // 8))


def test_no_graph_is_built() -> None:
    class Trained(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))
            self.kept: list[bool] = []

        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids) * self.weight
            self.kept.append(logits.requires_grad)
            return logits

    denoiser = Trained()
    dsldec.decode(denoiser, [[1]], "static", gen_length=4)
    assert denoiser.kept == [False] * 4


def test_a_denoiser_that_fails_loses_nothing() -> None:
    class Exhausted(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            if len(self.calls) == 6:
                raise MemoryError("no more")
            return super().__call__(ids)

    with pytest.raises(dsldec.DecodingStopped, match="after 1 of 3 prompts: MemoryError: no more") as stopped:
        dsldec.decode(Exhausted(), [[1], [2], [3]], "static", gen_length=6, batch=1)
    assert isinstance(stopped.value.__cause__, MemoryError)
    decoded = stopped.value.decoded
    assert decoded.ids[0].tolist() == [1, 1, 2, 3, 4, 5, 6]
    assert [error is None for error in decoded.errors] == [True, False, False]


def test_an_interrupt_brings_what_is_finished_with_it() -> None:
    class Interrupted(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            if len(self.calls) == 6:
                raise KeyboardInterrupt
            return super().__call__(ids)

    with pytest.raises(KeyboardInterrupt) as stopped:
        dsldec.decode(Interrupted(), [[1], [2], [3]], "static", gen_length=6, batch=1)
    decoded = stopped.value.decoded  # type: ignore[attr-defined]
    assert decoded.ids[0].tolist() == [1, 1, 2, 3, 4, 5, 6]
    assert [error is None for error in decoded.errors] == [True, False, False]


def test_a_mistake_that_shows_late_loses_nothing() -> None:
    class Narrowing(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            return logits if len(self.calls) <= 6 else logits[..., 1:]

    with pytest.raises(dsldec.DecodingStopped, match=r"after 1 of 2 prompts: .*E0408") as stopped:
        dsldec.decode(Narrowing(), [[1], [2]], "static", gen_length=6, batch=1)
    assert stopped.value.decoded.ids[0].tolist() == [1, 1, 2, 3, 4, 5, 6]
    with pytest.raises(dsldec.UsageError, match="E0408"):
        dsldec.decode(Narrowing(), [[1], [2]], "static", gen_length=8, batch=1)


def test_trace_holds_the_numbers_behind_a_step() -> None:
    decoded = dsldec.decode(
        Plain(), [[1]], dsldec.load("static", tokens=2, block=4), gen_length=6, trace=True
    )
    steps = decoded.trace[0]
    assert [step.committed for step in steps] == [[0, 1], [2, 3], [4, 5]]
    assert [step.forward for step in steps] == [0, 1, 2]
    assert all((step.phase, step.revoked, step.edited) == ("", [], []) for step in steps)
    assert set(steps[0].observations) == set(OBSERVATIONS)
    assert steps[0].observations["conf"].keys() == {0, 1}
    assert steps[0].observations["conf"][0] > steps[0].observations["conf"][1] > 0.9


def test_stream_gives_rows_as_they_finish_and_tells_of_steps() -> None:
    events: list[StepEvent] = []
    rows = list(
        stream(
            Plain(),
            [[1], [2], [3]],
            dsldec.load("static", tokens=3),
            gen_length=6,
            batch=2,
            on_step=events.append,
        )
    )
    assert sorted(row.index for row in rows) == [0, 1, 2]
    assert [(e.index, e.step, e.forwards, e.written) for e in events if e.index == 2] == [
        (2, 1, 1, [0, 1, 2]),
        (2, 2, 2, [3, 4, 5]),
    ]
    assert events[0].generated.tolist() == [1, 2, 3, 10, 10, 10]
    assert all(0.9 < conf <= 1 for event in events for conf in event.confidence.values())
    assert all(row.seconds > 0 for row in rows)


def test_what_is_no_denoiser_or_no_prompt_is_said() -> None:
    def bare(ids: Tensor) -> Tensor:
        return ids

    class Wrong(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            return torch.zeros(1, 2, 3)

    class Masked(Plain):
        mask_id = 12

    class Maskless(Plain):
        mask_id = 11  # as many as there are ids: declares that there is no MASK

    class Listed(Plain):
        eos_id = [0]  # noqa: RUF012

    class Short(Plain):
        max_length = 8

    cases = [
        (lambda: dsldec.decode(bare, [[1]], "static"), "E0408", "lacks `mask_id` and `vocab_size`"),
        (lambda: dsldec.decode(3, [[1]], "static"), "E0408", "must be callable"),
        (
            lambda: dsldec.decode(Wrong(), [[1]], "static", gen_length=4),
            "E0408",
            "a tensor [1, 2, 3] where logits [1, 5, 11]",
        ),
        (lambda: dsldec.decode(Plain(), ["hello"], "static"), "E0409", "no tokenizer"),
        (lambda: dsldec.decode(Plain(), [[[1]]], "static"), "E0409", "flat list of ids"),
        (lambda: dsldec.decode(Plain(), "hello", "static"), "E0409", "no tokenizer"),
        (
            lambda: dsldec.decode(Plain(), b"hello", "static"),
            "E0409",
            "the prompts are a list, and this is `b'hello'`",
        ),
        (lambda: dsldec.decode(Masked(), [[1]], "static"), "E0408", "its `mask_id` is 12"),
        (lambda: dsldec.decode(Maskless(), [[1]], "static"), "E0500", "the model has no MASK"),
        (lambda: dsldec.decode(Maskless(), [[1]], "static"), "E0500", "has a `mask_id` below 11"),
        (lambda: dsldec.decode(Listed(), [[1]], "static"), "E0408", "its `eos_id` is [0]"),
        (lambda: dsldec.decode(Plain(), [[11]], "static"), "E0409", "holds the id 11"),
        (
            lambda: dsldec.decode(Plain(), [[1]], "static", gen_length=0),
            "E0409",
            "`gen_length` must be a whole number",
        ),
        (lambda: dsldec.decode(Plain(), [[1]], "static", request_ids=[1, 2]), "E0409", "2 request ids"),
        (lambda: dsldec.decode(Plain(), [[1]], "static", request_ids=1), "E0409", "the request ids are `1`"),
        (
            lambda: dsldec.decode(Plain(), [[1]], "static", request_ids=["a"]),
            "E0409",
            "`request_ids` takes whole numbers, not `a`",
        ),
        (
            lambda: dsldec.decode(Plain(), [[1]], "static", seed=1.5),
            "E0409",
            "`seed` takes whole numbers, not `1.5`",
        ),
        (lambda: dsldec.decode(Plain(), 3, "static"), "E0409", "the prompts are a list, and this is `3`"),
        (
            lambda: dsldec.decode(Short(), [[1, 2, 3]], "static", gen_length=6),
            "E0407",
            "prompt 0 is too long",
        ),
    ]
    for call, code, says in cases:
        with pytest.raises(dsldec.UsageError) as error:
            call()  # type: ignore[no-untyped-call]
        assert error.value.diagnostic.code == code
        assert says in str(error.value)


def test_no_prompts_are_no_work() -> None:
    decoded = dsldec.decode(Plain(), [], "static")
    assert decoded.ids == []
    assert decoded.forwards.tolist() == []


def test_half_precision_logits() -> None:
    class Half(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            return super().__call__(ids).bfloat16()

    assert dsldec.decode(Half(), [[1]], "entropy_bounded", gen_length=4).ids[0].tolist() == [1, 1, 2, 3, 4]


def test_every_row_stays_inside_the_proved_bound() -> None:
    for name in CORE:
        policy = dsldec.load(name, block=5)
        decoded = dsldec.decode(ToyDenoiser(11, 0.5), [[1], [2], [MASK - 1]], policy, gen_length=13)
        assert decoded.forwards.max() <= policy.facts.forwards_bound(13, policy.parameters)


def test_a_policy_may_compute_with_the_parameter_that_sizes_its_window() -> None:
    text = "policy half(block: int = 4 in 2..64):\n  window blocks(block)\n  commit masked and pos < block at least 1 by conf\n"
    for backend in ("eager", "reference"):
        decoded = dsldec.decode(Plain(), [[1]], text, gen_length=8, backend=backend, trace=True)
        assert [step.committed for step in decoded.trace[0]] == [[0, 1, 2, 3], [4], [5], [6], [7]]


def test_a_prompt_that_is_written_several_times_is_sampled_several_times() -> None:
    policy = dsldec.load(
        "policy drawn():\n  window all\n  draw gumbel(9.0)\n  commit top(masked, 1, by=conf)\n"
    )

    def drawn(seed: int, count: int = 4, ids: list[int] | None = None) -> list[list[int]]:
        decoded = dsldec.decode(Plain(), [[1, 2]] * count, policy, gen_length=6, seed=seed, request_ids=ids)
        return [row.tolist() for row in decoded.ids]

    assert len({tuple(row) for row in drawn(0)}) == 4
    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert drawn(0, 1, [2]) == drawn(0)[2:3]
