"""Are all finished rows returned after any exception, from any place?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.runtime import decode_loop
from dsldec.runtime.decode import stream
from dsldec.runtime.poll import AsyncPoll
from dsldec.runtime.rows import Row
from dsldec.runtime.step_runner import StepRunner
from dsldec.runtime.trace import StepEvent, StepObserver

from .test_decode import Plain
from .test_poll import late


class Panic(BaseException):
    """What a tokenizer in Rust raises: no Exception."""


class Texts(Plain):
    """Plain with a tokenizer; `raised` when a text is made of ids that begin with `at`."""

    def __init__(self, raised: BaseException | None = None, at: int = 5) -> None:
        super().__init__()
        self.raised, self.at = raised, at

    def encode(self, text: str) -> list[int]:
        return [int(character) for character in text]

    def decode_text(self, ids: list[int]) -> str:
        if self.raised is not None and ids[0] == self.at:
            raise self.raised
        return "".join(map(str, ids))


class Raising(Texts):
    """Raises in its seventh call: by then the first of prompts of 6 forwards, one after the other, is
    finished.
    """

    def __init__(self, failure: BaseException) -> None:
        super().__init__()
        self.failure = failure

    def __call__(self, ids: Tensor) -> Tensor:
        if len(self.calls) == 6:
            raise self.failure
        return super().__call__(ids)


def first_alone(decoded: dsldec.Decoded) -> None:
    assert decoded.ids[0].tolist() == [1, 1, 2, 3, 4, 5, 6]
    assert decoded.text == ["123456", None, None]
    assert decoded.failed == [1, 2]
    assert [error and error.code for error in decoded.errors] == [None, "E0410", "E0410"]


def one_by_one(denoiser: Any, **how: Any) -> dsldec.Decoded:
    return dsldec.decode(denoiser, ["1", "2", "3"], "static", gen_length=6, batch=1, backend="eager", **how)


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RecursionError("too deep"), StopIteration(), GeneratorExit(),
        UnicodeDecodeError("utf-8", b"", 0, 1, "x"), AssertionError("theirs"),
    ],
    ids=lambda failure: type(failure).__name__,
)  # fmt: skip
def test_whatever_a_denoiser_raises_comes_with_what_is_finished(failure: BaseException) -> None:
    with pytest.raises(
        dsldec.DecodingStopped, match=f"after 1 of 3 prompts: {type(failure).__name__}"
    ) as stopped:
        one_by_one(Raising(failure))
    assert stopped.value.__cause__ is failure
    first_alone(stopped.value.decoded)


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt(), SystemExit(0), Panic()], ids=lambda stop: type(stop).__name__
)
def test_who_asks_to_stop_is_obeyed_and_gets_what_is_finished(stop: BaseException) -> None:
    with pytest.raises(type(stop)) as stopped:
        one_by_one(Raising(stop))
    assert stopped.value is stop
    first_alone(stopped.value.decoded)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "failure", [torch.OutOfMemoryError("out of memory"), MemoryError(), KeyboardInterrupt()], ids=repr
)
def test_a_step_that_fails_loses_nothing(failure: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    true_step, made = StepRunner.__call__, []

    def failing(self: StepRunner, *given: Any) -> Any:
        made.append(1)
        if len(made) > 6:
            raise failure
        return true_step(self, *given)

    monkeypatch.setattr(StepRunner, "__call__", failing)
    with pytest.raises((dsldec.DecodingStopped, KeyboardInterrupt)) as stopped:
        one_by_one(Texts())
    first_alone(stopped.value.decoded)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "late",
    [
        lambda x: x.to("meta"),
        lambda x: x.to_sparse(),
        lambda x: x.long(),
        lambda x: x.numpy(),
        lambda x: (x,),
        lambda x: x[0, 0],
    ],
    ids=["meta", "sparse", "int", "numpy", "tuple", "shape"],
)
def test_logits_that_go_wrong_late_lose_nothing(late: Callable[[Tensor], Any]) -> None:
    class Changing(Texts):
        def __call__(self, ids: Tensor) -> Any:
            logits = super().__call__(ids)
            return logits if len(self.calls) <= 6 else late(logits)

    with pytest.raises(dsldec.DecodingStopped, match="E0408") as stopped:
        one_by_one(Changing())
    first_alone(stopped.value.decoded)


@pytest.mark.parametrize("backend", ["eager", "reference"])
def test_logits_may_change_their_dtype_from_call_to_call(backend: str) -> None:
    class Mixed(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            dtypes = (torch.float32, torch.bfloat16, torch.float64, torch.float16, torch.float8_e5m2)
            return super().__call__(ids).to(dtypes[len(self.calls) % len(dtypes)])

    decoded = dsldec.decode(Mixed(), [[1], [2]], "threshold", gen_length=6, backend=backend, lookahead=2)
    assert [ids.tolist()[1:] for ids in decoded.ids] == [[1, 2, 3, 4, 5, 6]] * 2


@pytest.mark.parametrize(
    "failure", [ValueError("no such id"), RecursionError(), MemoryError(), Panic("panicked")], ids=repr
)
def test_ids_without_a_text_are_one_prompts_error(failure: BaseException) -> None:
    with pytest.warns(dsldec.DecodingWarning, match="1 of 2 prompts have no answer"):
        decoded = dsldec.decode(Texts(failure, at=2), ["1", "12"], "static", gen_length=4)
    assert decoded.text == ["1234", None]
    assert decoded.ids[1].tolist() == [1, 2, 2, 3, 4, 5]
    assert decoded.errors[0] is None
    assert decoded.errors[1] is not None
    assert f"make a text of the generated ids: {type(failure).__name__}" in decoded.errors[1].message


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_who_stops_while_texts_are_made_gets_all_ids(stop: BaseException) -> None:
    with pytest.raises(type(stop)) as stopped:
        dsldec.decode(Texts(stop, at=2), ["1", "12", "123"], "static", gen_length=4)
    decoded = stopped.value.decoded  # type: ignore[attr-defined]
    assert [len(ids) for ids in decoded.ids] == [5, 6, 7]
    assert decoded.errors == [None] * 3
    assert decoded.text[0] == "1234"


@pytest.mark.parametrize("failure", [ValueError("mine"), KeyboardInterrupt(), StopIteration()], ids=repr)
def test_a_callback_that_raises_loses_no_row_that_its_step_finished(failure: BaseException) -> None:
    def watch(event: StepEvent) -> None:
        if event.step == 2 and event.index == 0:
            raise failure

    rows: list[Row] = []
    kind = RuntimeError if isinstance(failure, StopIteration) else type(failure)  # PEP 479
    with pytest.raises(kind):
        rows.extend(
            stream(
                Plain(),
                [[1], [2], [3]],
                dsldec.load("static", tokens=3),
                gen_length=6,
                batch=2,
                on_step=watch,
            )
        )
    assert [(row.index, row.ids.tolist()[1:]) for row in rows] == [
        (0, [1, 2, 3, 4, 5, 6]),
        (1, [1, 2, 3, 4, 5, 6]),
    ]


def test_rows_whose_end_the_host_has_not_heard_of_are_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: flags arrive late, and what is raised comes before them."""

    class Uneven(Plain):
        def __call__(self, ids: Tensor) -> Tensor:
            if len(self.calls) == 2:
                raise MemoryError
            return super().__call__(ids) * ids[:, :1, None] / 8

    monkeypatch.setattr(decode_loop, "polling", lambda device, watched: AsyncPoll(late(lambda: 99)))
    with pytest.raises(dsldec.DecodingStopped) as stopped:
        dsldec.decode(Uneven(), [[1], [9]], "threshold", gen_length=24)
    decoded = stopped.value.decoded
    assert decoded.failed == [0]
    assert decoded.forwards.tolist() == [0, 1]
    assert decoded.ids[1].tolist() == [9, *(position % 10 for position in range(1, 25))]


def test_a_trace_that_fails_loses_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*given: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(StepObserver, "step", exhausted)
    with pytest.raises(dsldec.DecodingStopped, match="after 2 of 3 prompts: MemoryError") as stopped:
        dsldec.decode(
            Plain(), [[1], [2], [3]], dsldec.load("static", tokens=6), gen_length=6, batch=2, trace=True
        )
    assert stopped.value.decoded.failed == [2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("places", [slice(3, 4), slice(None)], ids=["one", "all"])
@pytest.mark.parametrize("backend", ["eager", "reference"])
def test_logits_that_are_not_finite_are_an_error_and_a_warning(
    bad: float, places: slice, backend: str
) -> None:
    class Bad(Texts):
        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            logits[ids[:, 0] == 1, places] = bad
            return logits

    with pytest.warns(dsldec.DecodingWarning) as told:
        decoded = dsldec.decode(Bad(), ["1", "2"], "static", gen_length=4, backend=backend)
    assert decoded.failed == [0]
    assert decoded.errors[0] is not None
    assert decoded.errors[0].code == "E0406"
    assert Plain.mask_id in decoded.ids[0]
    assert decoded.text == [None, "1234"]
    assert Plain.mask_id not in decoded.ids[1]
    assert "E0406" in repr(decoded)
    assert len(told) == 1
    assert str(told[0].message).startswith(
        "1 of 2 prompts have no answer (see `errors`)\nprompt 0: error[E0406]: "
    )
    assert told[0].filename == __file__


def test_a_decoding_without_errors_warns_of_nothing() -> None:
    with warnings.catch_warnings(action="error"):
        decoded = dsldec.decode(Texts(), ["1"], "static", gen_length=4)
    assert repr(decoded) == "<Decoded: 1 prompts, 0 failed, errors=none, forwards=[4]>"


def test_a_warning_made_an_error_loses_nothing() -> None:
    with warnings.catch_warnings(action="error"), pytest.raises(dsldec.DecodingWarning) as raised:
        dsldec.decode(Texts(ValueError(), at=2), ["1", "12"], "static", gen_length=4)
    assert raised.value.decoded.text == ["1234", None]
