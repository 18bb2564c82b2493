"""A late notice of finished rows changes no result, and only the poll reads tensor values between two
forwards.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import dsldec
from dsldec.backends.step import Step
from dsldec.runtime import decode_loop, step_runner
from dsldec.runtime.decode import Decoded, DecodingStopped, stream
from dsldec.runtime.poll import MOST_ON_THE_WAY, AsyncPoll, SyncPoll, polling

from ..as_on_a_gpu import read_nothing_in_steps
from ..shipped import ONE_CANDIDATE
from ..toy import MASK, ToyDenoiser

PROMPTS = [[9, 17, 0], [25, 0, 8], [1, 2, 3], [30, 4, 12]]
DRAWN = "policy drawn():\n  window sliding(max_masks=5, max_length=9)\n  draw gumbel(0.8)\n  commit masked and conf > 0.3 at least 1 by conf\n"
LENIENT = (
    "policy lenient():\n  window blocks(8)\n  lookahead 3 accept p(draft) >= 0.4\n  commit top(masked, 2, by=conf)\n"
    "  revoke committed and conf < 0.1 at most committed_before - 1 by doubt\n"
)
GUIDED = "policy guided():\n  window blocks(8)\n  logits cfg(1.5)\n  commit masked and conf > 0.5 at least 1 by conf\n"


class Ending(ToyDenoiser):
    """Rows end at different steps, some before everything is written."""

    eos_id = 5

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        written = (ids != MASK).sum(1)
        logits[:, :, 5] = torch.where((written > 14) & (ids[:, 0] % 2 == 0), 9.0, 0.0).unsqueeze(1)
        return logits


def late(after: Callable[[], int]) -> type:
    class LateCopy:
        """Flags that arrive when they have been asked for so often."""

        def __init__(self, flags: Tensor) -> None:
            self.flags, self.asked, self.after = flags.clone(), 0, after()

        def arrived(self) -> bool:
            self.asked += 1
            return self.asked > self.after

        def read(self) -> Any:
            return self.flags.tolist()

    return LateCopy


def delays() -> Iterator[tuple[str, Callable[[], Callable[[], int]]]]:
    yield "at once", lambda: lambda: 0
    yield "one later", lambda: lambda: 1
    yield "never", lambda: lambda: 99
    yield "now and then", lambda: partial(random.Random(4).randrange, 4)


def decoded_with(
    poll: Any, monkeypatch: pytest.MonkeyPatch, policy: Any, denoiser: Any, **how: Any
) -> Decoded:
    monkeypatch.setattr(decode_loop, "polling", lambda device, watched: poll)
    return dsldec.decode(denoiser, PROMPTS, policy, gen_length=24, backend="eager", **how)


def told(decoded: Decoded) -> Sequence[Any]:
    numbers = (decoded.forwards, decoded.rows, decoded.tokens)
    return (
        [row.tolist() for row in decoded.ids],
        [n.tolist() for n in numbers],
        decoded.proposed,
        decoded.accepted,
        decoded.errors,
    )


def policies() -> list[tuple[str, dict[str, Any]]]:
    shipped = [(name, {"lookahead": drafts}) for name in ONE_CANDIDATE for drafts in (None, 3)]
    own = [(text, {"lookahead": drafts}) for text in (DRAWN, GUIDED) for drafts in (1, 3)]
    return (
        [(name, how) for name, how in shipped if not (name.startswith("freedave") and how["lookahead"])]
        + own
        + [(LENIENT, {})]
    )


def named(value: Any) -> str:
    return (
        value.split("(")[0].removeprefix("policy ")
        if isinstance(value, str)
        else "-".join(f"{k}={v}" for k, v in value.items())
    )


@pytest.mark.parametrize(("policy", "how"), policies(), ids=named)
def test_hearing_late_changes_nothing(
    policy: str, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = dsldec.load(policy, **({"block": 10} if "\n" not in policy else {}))
    wanted = decoded_with(SyncPoll(), monkeypatch, policy, Ending(7, 1.0), **how)
    assert not wanted.wasted_rows.any()
    drafts = policy.drafts(how.get("lookahead")) * policy.facts.rows_per_draft
    for name, delay in delays():
        denoiser = Ending(7, 1.0)
        got = decoded_with(AsyncPoll(late(delay())), monkeypatch, policy, denoiser, **how)
        assert told(got) == told(wanted), name
        assert int(got.rows.sum() + got.wasted_rows.sum()) == sum(rows for rows, _ in denoiser.calls)
        assert len(denoiser.calls) <= int(got.forwards.max()) + MOST_ON_THE_WAY
        # Drafts that were over are wasted_rows too, whenever that was heard.
        if drafts == policy.facts.rows_per_draft:
            assert int(got.wasted_rows.max()) <= MOST_ON_THE_WAY * drafts
            if name != "now and then":
                assert bool(got.wasted_rows.any()) == (name != "at once")


def test_rows_that_fail_are_heard_of_late_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Ending):
        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            return torch.where(
                ((ids[:, 0] == 25) & ((ids != MASK).sum(1) > 9)).view(-1, 1, 1), float("nan"), logits
            )

    wanted, got = (
        decoded_with(poll, monkeypatch, "static", Broken(7, 1.0))
        for poll in (SyncPoll(), AsyncPoll(late(lambda: 2)))
    )
    assert [error.code if error else None for error in wanted.errors] == [None, "E0406", None, None]
    assert told(got) == told(wanted)
    assert got.wasted_rows.any()


@pytest.mark.parametrize("poll", [SyncPoll(), AsyncPoll(late(lambda: 2))], ids=["at once", "late"])
def test_a_bound_that_is_passed_is_noticed_and_one_that_is_met_is_not(
    poll: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert decoded_with(poll, monkeypatch, "static", ToyDenoiser(7, 1.0)).forwards.tolist() == [24] * 4
    monkeypatch.setattr(type(dsldec.load("static").facts), "forwards_bound", lambda *given: 23)
    with pytest.raises(DecodingStopped, match="more than the proved 23 forwards"):
        decoded_with(poll, monkeypatch, "static", ToyDenoiser(7, 1.0))


def test_who_watches_waits_and_so_does_a_cpu() -> None:
    assert isinstance(polling(torch.device("cuda"), watched=False), AsyncPoll)
    assert isinstance(polling(torch.device("cuda"), watched=True), SyncPoll)
    assert isinstance(polling(torch.device("cpu"), watched=False), SyncPoll)


class Reads(TorchFunctionMode):
    """Counts what makes the host wait for values: by the functions of a tensor, and by the operations behind
    them.
    """

    FUNCTIONS = frozenset(
        "item tolist cpu numpy nonzero unique masked_select equal allclose __bool__ __int__ __float__ __index__ __contains__".split()
    )

    def __init__(self) -> None:
        super().__init__()
        self.place = "between"
        self.counts: Counter[str] = Counter()
        self.operations = Operations(self)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in self.FUNCTIONS or (name == "to" and "cpu" in args[1:]):
            self.counts[self.place] += 1
        return function(*args, **(kwargs or {}))

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        before, self.place = self.place, place
        yield
        self.place = before

    def __enter__(self) -> Reads:
        super().__enter__()
        self.operations.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.operations.__exit__(*error)
        super().__exit__(*error)


class Operations(TorchDispatchMode):
    """What reads values without being called by name, as an index of bools does."""

    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function)
        by_bools = name.startswith(("aten.index.", "aten.index_put")) and any(
            isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1] or ()
        )
        if by_bools or name.startswith(
            ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten._unique")
        ):
            self.reads.counts[f"{self.reads.place}, by {name}"] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("drafts", [1, 3])
@pytest.mark.parametrize("late_poll", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("name", ONE_CANDIDATE)
def test_nothing_but_the_poll_reads_values(
    name: str, drafts: int, late_poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = dsldec.load(name, **({"drafts": drafts} if name.startswith("freedave") else {}))
    reads, polls = Reads(), Counter[str]()
    poll: Any = AsyncPoll(late(lambda: 1)) if late_poll else SyncPoll()

    def at(place: str, function: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            polls[place] += 1
            with reads.at(place):
                return function(*args, **kwargs)

        return called

    read_nothing_in_steps(monkeypatch)
    denoiser = ToyDenoiser(7, 1.0)
    monkeypatch.setattr(ToyDenoiser, "__call__", at("denoiser", ToyDenoiser.__call__))
    monkeypatch.setattr(Step, "__call__", at("step", Step.__call__))
    monkeypatch.setattr(Step, "start", at("start", Step.start))  # before the first forward: sizes may be read
    monkeypatch.setattr(decode_loop.DecodeLoop, "_finish", at("finish", decode_loop.DecodeLoop._finish))
    for way in ("now", "later", "wait"):
        monkeypatch.setattr(poll, way, at(way, getattr(poll, way)))
    monkeypatch.setattr(decode_loop, "polling", lambda device, watched: poll)
    monkeypatch.setattr(step_runner, "reads_flags", lambda device: False)  # as on a GPU
    ahead = None if name.startswith("freedave") else drafts
    with reads:
        rows = list(stream(denoiser, PROMPTS, policy, gen_length=24, backend="eager", lookahead=ahead))
    assert len(rows) == 4
    assert min(polls["step"], polls["denoiser"], polls["later" if late_poll else "now"]) > 1
    counted = {
        place: count for place, count in reads.counts.items() if not place.startswith(("denoiser", "start"))
    }
    if late_poll:  # what `now` does not say, it does not read either
        assert counted.pop("later") <= polls["later"] + 1
        assert "now" not in counted
        assert counted.pop("wait", 0) <= polls["wait"] <= 1
    else:
        assert counted.pop("now", 0) == polls["now"]
        assert counted.pop("later", 0) == polls["later"]
    assert counted.pop("finish") == 2 * polls["finish"] == 8
    assert counted == {}


@pytest.mark.parametrize(
    "read",
    [bool, int, float, Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.numpy, lambda x: [1, 2][x], lambda x: x.view(1)[x.view(1) > 0],
     lambda x: x.view(1)[(x > 0).view(1)], Tensor.nonzero, lambda x: x.to("cpu"), lambda x: 1 if x > 0 else 0],
)  # fmt: skip
def test_reads_are_noticed(read: Callable[[Tensor], Any]) -> None:
    reads = Reads()
    with reads:
        read(torch.tensor(1))
    assert reads.counts
