"""The caches `prefix` and `dual`: the first forward of a window is whole, and later forwards attend to cached
keys and values of positions outside the window.

The oracles are a slow loop of one row with whole forwards and replaced keys and values; a single row for a
row of a batch; and the same cache without drafts for a run with drafts. Not here: the exact cache
(`test_cache`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.runtime.cached_forward import CachedForward
from dsldec.runtime.decode import Decoded, DecodingStopped

from ..published.freedave_loop import Static
from ..published.rules import Canvas, closed
from .cached_loop import Guided, Rule, Run, Threshold, Views, Whole, slow, slow_ahead
from .cached_runs import (
    CHANGING,
    DRAWN,
    EDITING,
    GUIDED,
    LENIENT,
    MORE,
    RAGGED,
    SHIPPED,
    TEXTS,
    UNTIL,
    bound,
    decode,
    named,
    told,
    undrafting,
)
from .families import MASK
from .keeping import Keeper, Memory

CACHES = ("prefix", "dual")


def takes(policy: dsldec.Policy | str, cache: str) -> bool:
    """Whether a policy takes a cache: those that show random ids take no `dual`."""
    of = dsldec.load(policy) if isinstance(policy, str) else policy
    return cache in of.facts.caches


# --- one row, against the loop


def policy_of(rule: Rule) -> dsldec.Policy:
    if isinstance(rule, Static):
        return dsldec.load("static", tokens=rule.tokens, block=rule.block)
    return dsldec.load("threshold", confidence=rule.confidence, block=rule.block)


def filled(run: Run, eos: int | None) -> list[int]:
    """Ids; what is masked behind the end of the text is filled with it."""
    if eos is None or not closed(run.canvas, eos):
        assert None not in run.canvas
        return [id_ for id_ in run.canvas if id_ is not None]
    return [eos if id_ is None else id_ for id_ in run.canvas]


def path(decoded: Decoded, length: int) -> list[Canvas]:
    """The generated part after every step of a policy that only writes."""
    ids = decoded.ids[0].tolist()[-length:]
    canvas: Canvas = [None] * length
    canvases = []
    for step in decoded.trace[0]:
        for position in step.committed:
            canvas[position] = ids[position]
        canvases.append(list(canvas))
    return canvases


def calls_of(run: Run) -> list[list[tuple[Views, list[int]]]]:
    """What is fed in each call: of a forward, what is in a new window has a call of its own, the last."""
    parts = [
        [(views, ids) for new, views, ids in fed if new is which]
        for fed in run.fed
        for which in (False, True)
    ]
    return [part for part in parts if part]


def assert_as_the_loop(
    make: Callable[[], Keeper],
    prompt: list[int],
    length: int,
    rule: Rule,
    cache: str,
    drafts: int | None,
    guided: bool = False,
) -> Decoded:
    whole = (Guided if guided else Whole)(make(), prompt, cache)
    wanted = slow(whole, length, rule) if drafts is None else slow_ahead(whole, length, rule, drafts)
    denoiser = make()
    decoded = decode(
        denoiser, [prompt], GUIDED if guided else policy_of(rule), cache, gen_length=length, lookahead=drafts
    )
    assert decoded.ids[0].tolist() == prompt + filled(wanted, rule.eos)
    assert path(decoded, length) == wanted.path
    assert decoded.forwards.tolist() == [len(wanted.fed)]
    assert decoded.rows.tolist() == [sum(len(fed) for fed in wanted.fed) * (1 + guided)]
    assert (decoded.proposed, decoded.accepted) == ([wanted.proposed], [wanted.accepted])
    assert not denoiser.calls
    memory, *without_prompt = denoiser.memories
    assert len(without_prompt) == guided
    columns = len(prompt) + length
    assert [[((part.begin, part.end), list(part.ids)) for part in call] for call in memory.calls] == calls_of(
        wanted
    )
    for part in (part for call in memory.calls for part in call):
        assert part.seen == tuple(c for c in range(columns) if not part.begin <= c < part.end)
    return decoded


@dataclass(frozen=True)
class Setting:
    seed: int
    prompt: list[int]
    length: int
    rule: Rule
    drafts: int

    def make(self) -> Keeper:
        return Keeper(
            self.seed,
            None,
            (0.1, 0.3, 0.8)[self.seed % 3],
            self.rule.eos,
            pads=self.seed % 4 > 0,
            selects_columns=self.seed % 2 > 0,
        )


def setting(seed: int) -> Setting:
    rng = random.Random(seed)
    block, eos = rng.choice((1, 2, 3, 4, 6, 9, 30)), rng.choice((None, None, 9, 3))
    rule = (
        Static(rng.choice((1, 1, 2, 3)), block, eos)
        if seed % 2
        else Threshold(rng.choice((0.2, 0.4, 0.7)), block, eos)
    )
    prompt = [rng.randrange(MASK) for _ in range(rng.randint(0, 6))]
    return Setting(seed, prompt, rng.randint(1, 18), rule, (2, 3, 4, 8)[seed // 2 % 4])


@pytest.mark.parametrize("cache", CACHES)
def test_a_row_is_decoded_as_by_the_loop(cache: str) -> None:
    differs = 0
    for seed in range(16):
        of = setting(seed)
        decoded = assert_as_the_loop(of.make, of.prompt, of.length, of.rule, cache, None)
        exactly = decode(of.make(), [of.prompt], policy_of(of.rule), "none", gen_length=of.length)
        differs += exactly.ids[0].tolist() != decoded.ids[0].tolist()
    assert differs  # an approximation


@pytest.mark.parametrize("cache", CACHES)
def test_drafts_of_a_row_are_those_of_the_loop(cache: str) -> None:
    for seed in range(16):
        of = setting(seed)
        drafted = assert_as_the_loop(of.make, of.prompt, of.length, of.rule, cache, of.drafts)
        one = slow(Whole(of.make(), of.prompt, cache), of.length, of.rule)
        assert drafted.ids[0].tolist() == of.prompt + filled(one, of.rule.eos)


@pytest.mark.parametrize("cache", CACHES)
def test_what_is_said_without_the_prompt_has_keys_and_values_of_its_own(cache: str) -> None:
    for seed in range(4):
        for drafts in (None, 3):
            assert_as_the_loop(
                lambda seed=seed: Keeper(seed, None, 0.5),
                [5, 6, 7],
                12,
                Threshold(0.4, 5),
                cache,
                drafts,
                guided=True,
            )


@pytest.mark.slow
@pytest.mark.parametrize("cache", CACHES)
def test_many_rows_are_decoded_as_by_the_loop(cache: str) -> None:
    for seed in range(1000, 1250):
        of = setting(seed)
        for drafts in (None, of.drafts):
            assert_as_the_loop(of.make, of.prompt, of.length, of.rule, cache, drafts)


def test_both_loops_agree_where_nothing_is_drafted() -> None:
    for seed in range(12):
        of = setting(seed)
        for cache in CACHES:
            whole = Whole(of.make(), of.prompt, cache)
            one, other = slow(whole, of.length, of.rule), slow_ahead(whole, of.length, of.rule, 1)
            assert (one.path, one.fed) == (other.path, other.fed)


# --- batches


def assert_as_alone(
    make: Callable[[], Keeper], prompts: list[list[int]], policy: Any, cache: str, **how: Any
) -> None:
    together = told(decode(make(), prompts, policy, cache, **how))
    for row, prompt in enumerate(prompts):
        alone = told(decode(make(), [prompt], policy, cache, **(how | {"request_ids": [row]})))
        for name, value in alone.items():
            assert value[0] == together[name][row], name


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(
    "name", ["static", "klass", "dico", UNTIL, GUIDED, DRAWN, LENIENT, EDITING], ids=named
)
def test_a_row_of_a_batch_gets_what_it_gets_alone(name: str, cache: str) -> None:
    seed = len(name)
    policy, drafts = (name, None if name == LENIENT else 3) if "\n" in name else bound(name, 4, 3)
    assert_as_alone(
        lambda: Keeper(seed, None, 0.3, 9),
        RAGGED,
        policy,
        cache,
        lookahead=drafts,
        batch=(3, 8)[seed % 2],
        gen_length=11,
    )


@pytest.mark.parametrize("cache", CACHES)
def test_a_row_of_a_batch_gets_what_it_gets_alone_where_masks_are_decoded_in_place(cache: str) -> None:
    for drafts in (1, 3):
        policy = bound("static", 4)[0]
        assert_as_alone(
            lambda: Keeper(1, None, 0.3), TEXTS, policy, cache, lookahead=drafts, batch=3, infill=True
        )


# --- drafts


def assert_lossless(
    make: Callable[[], Keeper],
    prompts: list[list[int]],
    policy: Any,
    cache: str,
    drafts: Sequence[int],
    **how: Any,
) -> None:
    """Drafts change no step, and cost no forward."""

    def steps(decoded: Decoded) -> list[list[Any]]:
        return [[replace(step, forward=0) for step in row] for row in decoded.trace]

    undrafted = decode(make(), prompts, policy, cache, lookahead=1, **how)
    wanted = told(undrafted)
    for some in drafts:
        drafted = decode(make(), prompts, policy, cache, lookahead=some, **how)
        assert steps(drafted) == steps(undrafted)
        assert {name: told(drafted)[name] for name in ("ids", "tokens", "errors")} == {
            n: wanted[n] for n in ("ids", "tokens", "errors")
        }
        assert (drafted.forwards <= undrafted.forwards).all()


UNDRAFTING = [name for name in SHIPPED if not name.startswith("freedave")]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", [*UNDRAFTING, *CHANGING, UNTIL, GUIDED, DRAWN, EDITING], ids=named)
def test_drafts_change_nothing(name: str, cache: str) -> None:
    seed = len(name)
    policy = name if "\n" in name else bound(name, 5)[0]
    if not takes(policy, cache):
        pytest.skip("refused")
    assert_lossless(
        lambda: Keeper(seed, None, 0.2, 9),
        RAGGED[:2] + RAGGED[3:4],
        policy,
        cache,
        ((2, 4)[seed % 2],),
        gen_length=12,
    )


@pytest.mark.slow
@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(
    "name",
    [*UNDRAFTING, *CHANGING, *(name for name in MORE if name != "dcd"), UNTIL, GUIDED, DRAWN, EDITING],
    ids=named,
)
def test_drafts_change_nothing_in_many_more_settings(name: str, cache: str) -> None:
    for seed in range(5):
        policy = name if "\n" in name else bound(name, (1, 3, 4, 6, 20)[seed % 5])[0]
        if not takes(policy, cache):
            pytest.skip("refused")
        make = lambda seed=seed: Keeper(seed, None, (0.1, 0.3, 0.8)[seed % 3], (None, 9)[seed % 2])  # noqa: E731
        assert_lossless(make, RAGGED, policy, cache, (2, 5), gen_length=9 + seed, batch=2 + seed % 5)


def taking(cache: str, seeds: range) -> list[tuple[int, str]]:
    texts = ((seed, undrafting(seed)) for seed in seeds)
    return [(seed, text) for seed, text in texts if takes(text, cache)]


@pytest.mark.parametrize("cache", CACHES)
def test_drafts_of_random_policies_change_nothing(cache: str) -> None:
    for seed, text in taking(cache, range(5)):
        assert_lossless(
            lambda seed=seed: Keeper(seed, None, 0.2, 9),
            RAGGED[:3],
            text,
            cache,
            (2 + seed % 4,),
            gen_length=11,
        )


@pytest.mark.slow
@pytest.mark.parametrize("cache", CACHES)
def test_drafts_of_many_random_policies_change_nothing(cache: str) -> None:
    for seed, text in taking(cache, range(1000, 1080)):
        assert_lossless(
            lambda seed=seed: Keeper(seed, None, 0.2, 9),
            RAGGED[:4],
            text,
            cache,
            (2, 4),
            gen_length=13,
            batch=2,
        )


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(("drafting", "plain"), [("freedave", "static"), ("freedave_plus", "threshold")])
def test_a_policy_that_drafts_takes_the_steps_of_the_one_that_does_not_in_fewer_forwards(
    drafting: str, plain: str, cache: str
) -> None:
    one, other = bound(plain, 6)[0], bound(drafting, 6, 4)[0]
    undrafted, drafted = (decode(Keeper(2, None, 0.1), RAGGED, policy, cache) for policy in (one, other))
    assert [ids.tolist() for ids in undrafted.ids] == [ids.tolist() for ids in drafted.ids]
    assert [[step.committed for step in row] for row in undrafted.trace] == [
        [step.committed for step in row] for row in drafted.trace
    ]
    assert drafted.forwards.sum() < undrafted.forwards.sum()


@pytest.mark.parametrize("cache", CACHES)
def test_drafts_stop_at_the_first_canvas_of_a_new_window(cache: str) -> None:
    """Where what is written changes no logits no draft is wrong: in windows of 4, what is left of one and the
    first canvas of the next.
    """
    for drafts, forwards in [(2, [1, 2, 2, 2, 2, 2, 1]), (4, [1, 4, 4, 3]), (50, [1, 4, 4, 3])]:
        denoiser = Keeper(3, None, 0.0)
        decoded = decode(denoiser, [[1, 2]], bound("static", 4)[0], cache, gen_length=12, lookahead=drafts)
        assert decoded.accepted == decoded.proposed
        fed = [len(call) for call in denoiser.memories[0].calls]
        assert (len(decoded.trace[0]), sum(fed)) == (12, 12)
        assert decoded.forwards.tolist() == [len(forwards)]
        assert int(decoded.rows[0]) == sum(forwards)
        assert [step.forward for step in decoded.trace[0]] == [
            number for number, size in enumerate(forwards) for _ in range(size)
        ]


@pytest.mark.parametrize("cache", CACHES)
def test_masks_between_given_text_are_drafted_as_they_are_decoded(cache: str) -> None:
    for name in ("static", UNTIL):
        policy = name if "\n" in name else bound(name, 3)[0]
        assert_lossless(lambda: Keeper(4, None, 0.2), TEXTS, policy, cache, (3,), infill=True, batch=3)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("backend", ["reference", pytest.param("inductor", marks=pytest.mark.slow)])
def test_other_backends_decode_alike(backend: str, cache: str) -> None:
    for name in ("threshold", "dico"):
        one, other = (
            told(
                decode(
                    Keeper(4, None, 0.4),
                    RAGGED[:3],
                    bound(name, 6)[0],
                    cache,
                    backend=b,
                    gen_length=11,
                    lookahead=2,
                )
            )
            for b in ("eager", backend)
        )
        assert {name: one[name] for name in ("ids", "forwards", "rows")} == {
            name: other[name] for name in ("ids", "forwards", "rows")
        }
        assert [[step.committed for step in row] for row in one["trace"]] == [
            [step.committed for step in row] for row in other["trace"]
        ]


# --- mistakes are noticed

Mutation = Callable[[pytest.MonkeyPatch], None]


def fed_as(monkeypatch: pytest.MonkeyPatch, change: Callable[[CachedForward, Any], Any]) -> None:
    true = CachedForward._input
    monkeypatch.setattr(
        CachedForward, "_input", lambda self, row, start, end: change(self, true(self, row, start, end))
    )


def always_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward._input

    def fed(self: CachedForward, row: int, start: int, end: int) -> Any:
        self.window[row] = -1
        return true(self, row, start, end)

    monkeypatch.setattr(CachedForward, "_input", fed)


def nothing_is_kept_on_the_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_as(monkeypatch, lambda self, fed: replace(fed, keeps=((0, 0), *fed.keeps[1:])) if fed.keeps else fed)


def nothing_is_kept_on_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """`prefix` keeps nothing there: the mistake is that it would."""
    fed_as(
        monkeypatch,
        lambda self, fed: (
            replace(fed, keeps=fed.keeps[:1]) if self.kind == "dual" else replace(fed, end=fed.end - 1)
        ),
    )


def one_column_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_as(monkeypatch, lambda self, fed: fed if fed.keeps else replace(fed, left=max(0, fed.left - 1)))


def as_the_other_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(self: CachedForward, fed: Any) -> Any:
        if fed.keeps:
            return replace(
                fed, keeps=((0, fed.window), (min(fed.length, fed.window + self.rows.window), fed.length))
            )
        end = fed.length if self.kind == "dual" else min(fed.length, fed.begin + self.rows.window)
        return replace(fed, end=end, right=end)

    fed_as(monkeypatch, change)


def from_the_wrong_place(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.keep

    def keep(self: CachedForward, source: Tensor) -> None:
        self.place = {i: len(self.place) - 1 - n for i, n in self.place.items()}
        true(self, source)

    monkeypatch.setattr(CachedForward, "keep", keep)


def a_rejected_draft_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.keep

    def keep(self: CachedForward, source: Tensor) -> None:
        last = {fed.row: i for i, fed in enumerate(self.inputs)}
        true(self, torch.tensor([last.get(row, i) for row, i in enumerate(source.tolist())]))

    monkeypatch.setattr(CachedForward, "keep", keep)


def as_if_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "store", lambda self, source, begin, end: None)


def windows_are_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once something is kept of a row it is not kept again."""
    true = CachedForward._input

    def fed(self: CachedForward, row: int, start: int, end: int) -> Any:
        self.window[row] = start if self.window[row] >= 0 else self.window[row]
        return true(self, row, start, end)

    monkeypatch.setattr(CachedForward, "_input", fed)


def rows_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CachedForward, "admit", lambda self, rows: None)


def rows_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward._call
    monkeypatch.setattr(
        CachedForward,
        "_call",
        lambda self, fed, canvases, index, at: true(self, fed, canvases, index.flip(0), at),
    )


def logits_are_not_put_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "argsort", lambda self: torch.arange(len(self)))


def drafts_go_on_behind_a_new_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CachedForward, "may_draft", lambda self, start, refresh: None)


def views_share(monkeypatch: pytest.MonkeyPatch) -> None:
    true = CachedForward.admit

    def admit(self: CachedForward, rows: Sequence[int]) -> None:
        self.views = self.views[:1] * len(self.views)
        true(self, rows)

    monkeypatch.setattr(CachedForward, "admit", admit)


MUTATIONS = [
    always_whole, nothing_is_kept_on_the_left, nothing_is_kept_on_the_right, one_column_is_missing, as_the_other_cache,
    from_the_wrong_place, a_rejected_draft_is_kept, as_if_kept, windows_are_not_noted, rows_are_not_forgotten, rows_see_each_other,
    logits_are_not_put_back_in_order, drafts_go_on_behind_a_new_window, views_share,
]  # fmt: skip


def assert_results(cache: str) -> None:
    """Of one row, with drafts, with guidance, of many in few places; by a memory that tells of no mistake
    itself.
    """

    def make(seed: int = 2, context: float = 0.8) -> Keeper:
        return Keeper(seed, None, context, strict=False)

    assert_as_the_loop(make, [3, 4], 9, Static(1, 3), cache, None)
    for seed in (0, 1):
        assert_as_the_loop(lambda seed=seed: make(seed, 0.3), [3, 4], 9, Static(1, 3), cache, 4)
    assert_as_the_loop(make, [5, 6, 7], 9, Threshold(0.4, 5), cache, None, guided=True)
    prompts = [[5, 6, 7], [8, 9, 0], [1], [3, 4, 5]]
    for block, drafts in [(3, 1), (3, 3), (30, 1)]:
        assert_as_alone(
            make, prompts, bound("static", block)[0], cache, lookahead=drafts, batch=2, gen_length=7
        )


@pytest.mark.parametrize("cache", CACHES)
def test_no_mistake_changes_nothing(cache: str) -> None:
    assert_results(cache)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.__name__)
def test_a_mistake_is_noticed(mutation: Mutation, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    with pytest.raises((AssertionError, DecodingStopped)):
        assert_results(cache)
