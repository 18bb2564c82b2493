"""Which caches are refused, with which message, and which cache does `auto` choose?

Not here: the behaviour of a cache (`test_cache`, `test_cache_approximate`); models that cannot use a cache
(`tests/models/test_attention`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

import dsldec
from dsldec.diagnostics import Diagnostic, UsageError
from dsldec.runtime import decode_loop
from dsldec.runtime.decode import DecodingStopped
from dsldec.runtime.poll import SyncPoll

from .cached_runs import (
    CHANGING,
    MORE,
    OWN,
    RAGGED,
    SHIPPED,
    SLIDING,
    bound,
    decode,
    named,
)
from .families import MASK, VOCABULARY, Ids
from .keeping import Keeper, Memory


class Unkeepable(Keeper):
    """A model whose code keeps nothing."""

    def kv_cache(self, rows: int, length: int) -> Memory:
        raise UsageError(
            Diagnostic("E0414", "the keys and values of this model cannot be kept", help="`--cache none`")
        )


def refused(denoiser: Any, cache: Any, policy: str = "static", **how: Any) -> Diagnostic:
    with pytest.raises(UsageError) as error:
        decode(denoiser, RAGGED, policy, cache, **how)
    assert error.value.diagnostic.code == "E0414"
    assert not denoiser.calls
    assert not getattr(denoiser, "given", [])
    return error.value.diagnostic


class WithoutMemory:
    """Full attention, or not, and no `kv_cache`."""

    mask_id, vocab_size, pads = MASK, VOCABULARY, True

    def __init__(self, block_length: int | None) -> None:
        self.inner, self.block_length = Keeper(0, block_length), block_length

    @property
    def calls(self) -> list[list[Ids]]:
        return self.inner.calls

    def __call__(self, ids: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        return self.inner(ids, lengths)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("exakt", "exact"), ("Dual", "dual"), ("prefx", "prefix"), ("non", "none"), (None, "none")],
)
def test_a_cache_that_there_is_not_is_refused_with_the_one_that_was_meant(asked: Any, meant: str) -> None:
    said = refused(Keeper(0), asked)
    assert f"`{asked}`" in said.message
    assert said.help == f"did you mean `{meant}`?"


@pytest.mark.parametrize("asked", ["kangaroo", "", True, 3])
def test_a_cache_that_there_is_not_is_refused_with_those_that_there_are(asked: Any) -> None:
    said = refused(Keeper(0), asked)
    assert f"`{asked}`" in said.message
    assert all(f"`{one}`" in str(said.help) for one in ("auto", "none", "prefix", "dual", "exact"))


@pytest.mark.parametrize("asked", ["prefix", "dual", "exact"])
@pytest.mark.parametrize("block", [None, 4])
def test_a_denoiser_that_keeps_nothing_is_refused(asked: str, block: int | None) -> None:
    said = refused(WithoutMemory(block), asked)
    assert f"`{asked}`" in said.message
    assert "has no KV cache" in said.message
    assert '`cache="none"`' in str(said.help)
    matching = None if asked != "exact" else 4
    assert "cannot be kept" in refused(Unkeepable(0, matching), asked).message


def test_a_cache_for_another_attention_is_refused() -> None:
    said = refused(Keeper(0), "exact")
    assert "sees the whole canvas" in said.message
    assert "change with every written token" in said.message
    assert "prefix" in str(said.help)
    assert "dual" in str(said.help)
    for asked in ("prefix", "dual"):
        said = refused(Keeper(0, 4), asked)
        assert "block-causal" in said.message
        assert '`cache="exact"`' in str(said.help)


@pytest.mark.parametrize("asked", ["prefix", "dual"])
@pytest.mark.parametrize("policy", [SLIDING, "dcd"], ids=named)
def test_a_window_that_slides_left_of_what_is_kept_is_refused(asked: str, policy: str) -> None:
    """Whatever a policy writes, revokes or edits lies in its window: only one that is new at every step meets
    what is kept.
    """
    said = refused(Keeper(0), asked, policy)
    assert "slides" in said.message
    assert "`window blocks(n)`" in str(said.help)
    assert set(dsldec.load(policy).facts.caches) == {"none", "exact"}


def test_a_window_that_does_not_slide_is_refused_nothing() -> None:
    for name in [*SHIPPED, *CHANGING, *MORE, *OWN]:
        policy = dsldec.load(name) if "\n" in name else bound(name, 4)[0]
        slides = policy.facts.window == "sliding"
        dual = set() if policy.facts.noise else {"dual"}
        assert set(policy.facts.caches) == {"none", "exact"} | ({"prefix"} | dual if not slides else set()), (
            name
        )


@pytest.mark.parametrize(("asked", "block"), [("prefix", None), ("dual", None), ("exact", 4)])
def test_rows_that_are_fed_alone_are_refused(asked: str, block: int | None) -> None:
    said = refused(Keeper(0, block), asked, verify_rows="sequential")
    assert '`verify_rows="sequential"`' in said.message
    assert said.help == 'write `verify_rows="batch"`'


def test_auto_is_exact_where_that_can_be_had_and_else_none() -> None:
    def memories(denoiser: Any, **how: Any) -> int:
        decode(denoiser, RAGGED[:2], "static", "auto", gen_length=4, **how)
        assert bool(denoiser.calls) != bool(getattr(denoiser, "memories", []))
        return len(getattr(denoiser, "memories", []))

    assert memories(Keeper(0, 4)) == 1
    assert memories(Keeper(0, 4), lookahead=2) == 1
    assert memories(Keeper(0, 4), verify_rows="sequential") == 0
    assert (
        memories(Keeper(0))
        == memories(Unkeepable(0, 4))
        == memories(WithoutMemory(4))
        == memories(WithoutMemory(None))
        == 0
    )
    by_default = Keeper(0, 4)
    dsldec.decode(by_default, RAGGED[:2], "static", gen_length=4, backend="eager")
    assert by_default.memories
    none = Keeper(0, 4)
    decode(none, RAGGED[:2], "static", "none", gen_length=4)
    assert none.calls
    assert not none.memories


@pytest.mark.parametrize(
    ("cache", "block", "waits"),
    [("exact", 4, True), ("prefix", None, True), ("dual", None, True), ("none", 4, False)],
)
def test_the_host_waits_for_each_step_where_it_says_what_is_fed(
    cache: str, block: int | None, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[bool] = []

    def polling(device: torch.device, *, watched: bool, seen: list[bool] = watched) -> SyncPoll:
        seen.append(watched)
        return SyncPoll()

    monkeypatch.setattr(decode_loop, "polling", polling)
    decode(Keeper(0, block), RAGGED[:2], "static", cache, trace=False)
    assert watched == [waits]


@pytest.mark.parametrize("place", ["__call__", "store"])
def test_a_memory_that_fails_stops_decoding_in_words(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    true, count = getattr(Memory, place), Counter[str]()

    def failing(self: Memory, *given: Any, **how: Any) -> Any:
        count[place] += 1
        if count[place] > 6:
            raise ValueError("out of memory")
        return true(self, *given, **how)

    monkeypatch.setattr(Memory, place, failing)
    with pytest.raises(DecodingStopped, match="ValueError: out of memory") as stopped:
        decode(Keeper(0, 4), RAGGED, bound("static", 2)[0], "exact", batch=1)
    assert [error and error.code for error in stopped.value.decoded.errors].count("E0410") >= 1
